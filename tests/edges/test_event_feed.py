"""The event feed on a table, beside a Stripe that is a list of events and of invoices."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.events import Hint
from line_requests.domain.errors import BillingMisconfigured, BillingRefused, BillingUnavailable
from line_requests.domain.model import Invoice, PaymentStatus, Status
from line_requests.flows import event_feed
from line_requests.flows.event_feed import DAY_S, EventFeed
from line_requests.flows.progress import Progress
from tests.decision.examples import NOW_MS
from tests.support.shop import WaitingClock
from tests.support.world import new_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from line_requests.clock import Clock
    from line_requests.domain.model import Line
    from tests.support.world import World

NOW_S = NOW_MS // 1000
HOUR_S = 3600


class Feed:
    """A feed, and what it asks of Stripe and of the lifecycle."""

    def __init__(self, world: World, budget_s: float = 40.0) -> None:
        self.world = world
        self.at = WaitingClock(NOW_MS, budget_s)
        self.hints: list[Hint] = []
        self.slices: list[tuple[int, int]] = []
        self.slice_takes_s = 0.0
        self.apply_takes_s = 0.0
        self.single: dict[str, Invoice] = {}
        self.listed: list[Invoice] = []
        self.calls: list[object] = []
        self.applied: dict[str, tuple[Invoice, bool]] = {}
        """The invoice by line, and whether it was applied beside others."""
        self.trouble: dict[str, Exception] = {}

    def follow(self) -> dict[str, int]:
        lifecycle: Any = SimpleNamespace(
            connect=lambda _: SimpleNamespace(events=self, invoices=self),
            apply_then_advance=self._apply,
            reversals=SimpleNamespace(apply=self._reverse),
        )
        progress = Progress(self.at)
        EventFeed(self.world.stores, lifecycle, self.at, progress).follow()
        return progress.summary()

    def between(self, *, since_s: int, until_s: int) -> Iterator[Hint]:
        self.slices.append((since_s, until_s))
        self.at.waited_s.append(self.slice_takes_s)
        return iter([hint for hint in self.hints if since_s <= hint.created_s <= until_s])

    def retrieve(self, invoice_id: str) -> Invoice:
        self.calls.append(invoice_id)
        return self.single[invoice_id]

    def since(self, *, since_s: int) -> Iterator[Invoice]:
        self.calls.append(since_s)
        for invoice in self.listed:
            self.calls.append(None)
            yield invoice

    def _apply(self, _: Clock, line: Line, invoice: Invoice) -> None:
        self.at.waited_s.append(self.apply_takes_s)
        if line.id in self.trouble:
            raise self.trouble[line.id]
        self.applied[line.id] = invoice, threading.current_thread() is not threading.main_thread()

    def _reverse(self, _: Clock, hint: Hint) -> bool:
        self.calls.append(hint.invoice_id)
        if hint.invoice_id in self.trouble:
            raise self.trouble[hint.invoice_id]
        return hint.invoice_id == "in_ours"

    def mark_s(self) -> int | None:
        return self.world.due.watermark_s()


def hint(kind: str, created_s: int = NOW_S - 100, **fields: str) -> Hint:
    usual = dict.fromkeys(("object_id", "customer", "workspace_id", "line_id"), "")
    return Hint(type=kind, created_s=created_s, livemode=False, **usual | fields)


def about(line: Line, kind: str = "invoice.paid", invoice_id: str | None = None) -> Hint:
    object_id = invoice_id or line.invoice_id or ""
    return hint(kind, object_id=object_id, workspace_id="acme", line_id=line.id, customer="cus_acme")


def waiting(number: int, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
    """A line that awaits the payment of its invoice of this number."""
    return new_line(status=Status.AWAITING_PAYMENT, invoice_id=f"in_{number}", **changes)


def backlog(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> list[int]:
    """How far behind each alarm says that the feed is."""
    logged = [record.behind_s for record in caplog.records if hasattr(record, "behind_s")]
    assert capsys.readouterr().out.count('"ReconcilerBacklog":[1.0]') == len(logged)
    return logged


@pytest.fixture
def feed(world: World) -> Feed:
    world.workspace()
    return Feed(world)


def test_first_run_reads_the_last_day_in_slices(
    feed: Feed, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[47] Each overlaps the one before; the last minute stays open."""
    feed.hints = [hint("charge.succeeded", NOW_S - DAY_S + 10), hint("charge.succeeded", NOW_S - 10)]
    done = feed.follow()
    starts = [NOW_S - hours * HOUR_S for hours in (24, 18, 12, 6)]
    assert feed.slices == [(start - 300, start + 6 * HOUR_S) for start in starts]
    assert feed.mark_s() == NOW_S - 60
    assert done["events"] == 2
    assert backlog(capsys, caplog) == []


@pytest.mark.parametrize(
    ("mark_s", "start_s", "after_s"),
    [
        (NOW_S - 1000, NOW_S - 1000, NOW_S - 60),
        (NOW_S - 40 * DAY_S, NOW_S - 29 * DAY_S, NOW_S - 60),
        (NOW_S - 30, NOW_S - 30, NOW_S - 30),
    ],
)
def test_next_run_goes_on_at_the_watermark(feed: Feed, mark_s: int, start_s: int, after_s: int) -> None:
    """[47] But not beyond what Stripe keeps, and the mark never moves back."""
    feed.world.due.move_watermark(seen_s=None, to_s=mark_s)
    feed.follow()
    assert feed.slices[0] == (start_s - 300, min(start_s + 6 * HOUR_S, NOW_S))
    assert feed.slices[-1][1] == NOW_S
    assert feed.mark_s() == after_s


@pytest.mark.parametrize("behind_s", [60, 0])
def test_mark_that_need_not_move_is_not_written(feed: Feed, behind_s: int) -> None:
    """[47]"""
    feed.world.due.move_watermark(seen_s=None, to_s=NOW_S - behind_s)
    feed.world.wire.watch()
    feed.follow()
    assert feed.world.wire.operations == {"GetItem": 1}
    assert len(feed.slices) == (1 if behind_s else 0)


def test_half_of_the_time_is_for_the_feed(
    feed: Feed, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[47]"""
    feed.slice_takes_s = 5.0
    start_s = NOW_S - 10 * DAY_S
    feed.world.due.move_watermark(seen_s=None, to_s=start_s)
    feed.follow()
    assert len(feed.slices) == 4, "of forty seconds"
    assert feed.mark_s() == start_s + DAY_S
    assert backlog(capsys, caplog) == [9 * DAY_S]


@pytest.mark.parametrize(("takes_s", "moves"), [(40.0, False), (39.0, True)])
def test_slice_that_was_not_applied_in_time_is_read_again(
    feed: Feed, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, takes_s: float, *, moves: bool
) -> None:
    """[47]"""
    feed.world.put_lines([line := waiting(1)])
    feed.single = {"in_1": Invoice("in_1", "paid")}
    feed.hints, feed.apply_takes_s = [about(line)], takes_s
    feed.world.due.move_watermark(seen_s=None, to_s=NOW_S - 500)
    feed.follow()
    assert feed.mark_s() == (NOW_S - 60 if moves else NOW_S - 500)
    assert backlog(capsys, caplog) == []


@pytest.mark.parametrize(
    ("kind", "fields", "too_many"),
    [
        ("charge.succeeded", [{}] * 4, True),
        ("charge.succeeded", [{}] * 3, False),
        ("refund.created", [{"invoice_id": "in_1"}, {"invoice_id": "in_1", "payment_intent": "pi_1"}], True),
        ("refund.created", [{"invoice_id": "in_1"}] * 2, False),
    ],
)
def test_slice_with_too_many_events_is_halved(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, kind: str, fields: list[dict[str, str]], *, too_many: bool
) -> None:
    """[47] Down to what the next one reads again anyway; that is read whole."""
    monkeypatch.setattr(event_feed, "FEED_SLICE_EVENTS", 4)
    monkeypatch.setattr(event_feed, "FEED_SLICE_REVERSALS", 1)
    feed.world.due.move_watermark(seen_s=None, to_s=NOW_S - 600)
    feed.hints = [hint(kind, NOW_S - 500, **one) for one in fields]
    feed.hints += [hint("charge.succeeded", NOW_S - 400)] if too_many and len(fields) == 4 else []
    events = len(feed.hints)
    done = feed.follow()
    if too_many:
        assert feed.slices == [(NOW_S - 900, NOW_S), (NOW_S - 900, NOW_S - 300), (NOW_S - 600, NOW_S)]
        assert done["events"] == 2 * events, "the overlap of two slices has them all"
    else:
        assert feed.slices == [(NOW_S - 900, NOW_S)]
        assert done["events"] == events
    assert feed.mark_s() == NOW_S - 60


def test_invoices_that_settle_a_line_are_applied(feed: Feed) -> None:
    """[44][45][47]"""
    lines = [waiting(number) for number in range(3)]
    feed.world.put_lines(lines)
    feed.single = {f"in_{number}": Invoice(f"in_{number}", "open") for number in range(3)}
    feed.single["in_2"] = Invoice("in_other", "paid", customer="cus_other")
    feed.hints = [
        about(lines[0]),
        about(lines[1], "invoice.voided"),
        about(lines[2]),
        hint("invoice.paid", object_id="in_9", workspace_id="acme", line_id="no id"),
        hint("invoice.paid", object_id="in_9"),
        hint("customer.updated", customer="cus_acme"),
    ]
    done = feed.follow()
    assert feed.applied == {line.id: (feed.single[str(line.invoice_id)], False) for line in lines[:2]}
    assert feed.calls == ["in_0", "in_1", "in_2"]
    assert (done["lines"], done["failed"]) == (2, 0)


CANCELED: dict[str, Any] = {"status": Status.CANCELED, "payment_status": PaymentStatus.CANCELED}
PAID: dict[str, Any] = {"status": Status.PROVISIONING, "payment_status": PaymentStatus.PAID}


@pytest.mark.parametrize(
    ("changes", "kind", "invoice_id", "news"),
    [
        (CANCELED, "invoice.paid", "in_1", True),
        (CANCELED, "invoice.voided", "in_1", False),
        (CANCELED | {"refund_due": True}, "invoice.paid", "in_1", False),
        (PAID, "invoice.paid", "in_1", False),
        (PAID, "invoice.paid", "in_2", True),
        (PAID, "invoice.voided", "in_2", False),
        (PAID | {"refund_due": True, "refund_invoice_id": "in_2"}, "invoice.paid", "in_2", False),
    ],
)
def test_settled_line_needs_only_a_payment_that_is_not_known(
    feed: Feed, changes: dict[str, Any], kind: str, invoice_id: str, *, news: bool
) -> None:
    """[44][55] One that has to go back."""
    line = new_line(**{"invoice_id": "in_1"} | changes)
    feed.world.put_lines([line])
    feed.single = {invoice_id: Invoice(invoice_id, "paid", "acme", line.id, customer="cus_acme", revises="in_1")}
    feed.hints = [about(line, kind, invoice_id)]
    feed.follow()
    assert bool(feed.calls) is bool(feed.applied) is news


def test_line_whose_invoice_cannot_be_applied_is_due_at_once(feed: Feed) -> None:
    """[47] The others are applied."""
    lines = [waiting(number, due_at_ms=NOW_MS + DAY_S * 1000) for number in range(2)]
    feed.world.put_lines(lines)
    feed.single = {f"in_{number}": Invoice(f"in_{number}", "open") for number in range(2)}
    feed.trouble = {lines[0].id: BillingUnavailable("no answer")}
    feed.hints = [about(line) for line in lines]
    done = feed.follow()
    assert (done["lines"], done["failed"]) == (1, 1)
    assert [feed.world.line(line).due_at_ms for line in lines] == [NOW_MS, NOW_MS + DAY_S * 1000]
    assert feed.mark_s() == NOW_S - 60


def test_many_invoices_are_listed(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """[47] Those that only write to the table are applied side by side; what a list does not show is read."""
    monkeypatch.setattr(event_feed, "LIST_FROM", 5)
    lines = [waiting(number, created_at_ms=NOW_MS - (number + 1) * 1000) for number in range(5)]
    feed.world.put_lines(lines)
    statuses = {"in_0": "paid", "in_1": "void", "in_2": "open", "in_3": "open"}
    feed.listed = [Invoice("in_foreign", "paid"), *(Invoice(name, status) for name, status in statuses.items())]
    feed.listed[-1] = replace(feed.listed[-1], latest_revision="in_revision")
    feed.single = {"in_3": Invoice("in_3", "open", revises="in_3"), "in_4": Invoice("in_4", "paid")}
    feed.hints = [about(line, "invoice.voided") for line in lines]
    assert feed.follow()["lines"] == 5
    assert feed.calls == [NOW_S - 5, *[None] * 5, "in_3", "in_4"]
    assert {line.invoice_id: feed.applied[line.id] for line in lines} == {
        "in_0": (feed.listed[1], True),
        "in_1": (feed.listed[2], True),
        "in_2": (feed.listed[3], False),
        "in_3": (feed.single["in_3"], False),
        "in_4": (feed.single["in_4"], False),
    }


@pytest.mark.parametrize(("foreign", "read", "single"), [(0, 4, 0), (500, 100, 4)])
def test_list_is_read_while_it_is_cheaper(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, foreign: int, read: int, single: int
) -> None:
    """[47] A hundred invoices a call, and at most a quarter of the calls."""
    monkeypatch.setattr(event_feed, "LIST_FROM", 4)
    lines = [waiting(number) for number in range(4)]
    feed.world.put_lines(lines)
    ours = [Invoice(f"in_{number}", "open") for number in range(4)]
    feed.listed = [Invoice("in_foreign", "open")] * foreign + ours + [Invoice("in_foreign", "open")]
    feed.single = {invoice.id: invoice for invoice in ours}
    feed.hints = [about(line) for line in lines]
    assert feed.follow()["lines"] == 4
    assert feed.calls[:1] == [NOW_S]
    assert feed.calls.count(None) == read
    assert len(feed.calls) - read - 1 == single


def test_invoice_without_its_line_alarms(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    """[56]"""
    lost = new_line(invoice_id="in_1")
    feed.hints = [about(lost)]
    assert feed.follow()["failed"] == 0
    assert capsys.readouterr().out.count('"InvoiceWithoutLine":[1.0]') == 1


def test_line_of_a_newer_release_is_not_lost(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    """[56]"""
    feed.world.put_lines([line := waiting(1)])
    feed.world.client.update_item(
        TableName=feed.world.table_name,
        Key={"pk": {"S": "W#acme"}, "sk": {"S": f"LINE#{line.id}"}},
        UpdateExpression="SET #status = :newer",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":newer": {"S": "parked"}},
    )
    feed.hints = [about(line)]
    assert feed.follow()["failed"] == 1
    assert "InvoiceWithoutLine" not in capsys.readouterr().out


@pytest.mark.parametrize("created_s", [NOW_S - 100, 0])
@pytest.mark.parametrize(("late_ms", "due"), [(0, True), (1, False)])
def test_changed_subscription_is_due_unless_it_was_read_long_enough_after(
    feed: Feed, created_s: int, late_ms: int, *, due: bool
) -> None:
    """[46][58] A second for Stripe's rounding, and a minute for clocks that differ."""
    read_ms = (created_s + 61) * 1000 + late_ms
    feed.world.workspaces.finish_quantities(feed.world.now(), asked_at_ms=read_ms)
    times = (created_s - 50, created_s, created_s - 50)
    feed.hints = [hint("customer.subscription.updated", max(0, time_s), customer="cus_acme") for time_s in times]
    feed.between = lambda **_: iter(feed.hints)  # type: ignore[method-assign] # also those whose time is none
    feed.follow()
    assert feed.world.workspaces.is_due("acme", NOW_MS) is due


@pytest.mark.parametrize("customer", ["cus_other", ""])
def test_subscription_of_no_workspace_is_ignored(feed: Feed, customer: str) -> None:
    """[45]"""
    feed.hints = [hint("customer.subscription.updated", customer=customer)]
    assert feed.follow()["failed"] == 0
    assert not feed.world.workspaces.is_due("acme", NOW_MS)


def test_subscription_that_cannot_be_marked_leaves_the_slice_to_the_next_run(feed: Feed) -> None:
    """[46]"""
    feed.world.due.move_watermark(seen_s=None, to_s=NOW_S - 500)
    feed.hints = [hint("customer.subscription.updated", customer="cus_acme")]

    def crash() -> None:
        raise InterruptedError

    feed.world.wire.before("GetItem", lambda: None)  # the watermark
    feed.world.wire.before("GetItem", crash)
    with pytest.raises(InterruptedError):
        feed.follow()
    assert feed.mark_s() == NOW_S - 500


def test_reversals_are_applied_once_each(feed: Feed) -> None:
    """[55]"""
    feed.trouble = {"in_refused": BillingRefused("refused"), "in_forbidden": BillingMisconfigured("403")}
    names = ["in_refused", "in_forbidden", "in_ours", "in_ours", "in_other"]
    feed.hints = [hint("refund.created", invoice_id=name) for name in names]
    done = feed.follow()
    assert feed.calls == ["in_refused", "in_forbidden", "in_ours", "in_other"]
    assert (done["lines"], done["failed"]) == (1, 2)
    assert feed.mark_s() == NOW_S - 60


def test_reversals_that_stripe_does_not_answer_leave_the_slice_to_the_next_run(feed: Feed) -> None:
    """[55]"""
    feed.trouble = {"in_1": BillingUnavailable("no answer")}
    feed.hints = [hint("refund.created", invoice_id=name) for name in ("in_1", "in_ours")]
    with pytest.raises(BillingUnavailable, match="no answer"):
        feed.follow()
    assert feed.calls == ["in_1"]
    assert feed.mark_s() is not None
    assert (feed.mark_s() or 0) < NOW_S - 60
