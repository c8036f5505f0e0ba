"""One run along Stripe's event feed: which slices are read, what each event leads to, where the next run begins."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import BillingMisconfigured, BillingUnavailable
from line_requests.domain.model import Line, PaymentStatus, Status
from line_requests.flows import event_feed
from line_requests.flows.event_feed import FEED_MAX_S, FEED_OVERLAP_S, FEED_SLICE_S
from tests.decision import examples
from tests.decision.examples import LINE_ID, NOW_MS
from tests.edges.feed import NOW_S, Deployment, counted, hinted, invoice, invoice_event

if TYPE_CHECKING:
    from collections.abc import Sequence


# --- slices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark_s", "start_s"),
    [
        (None, NOW_S - 24 * 3600),
        (NOW_S - 100, NOW_S - 100),
        (NOW_S - FEED_MAX_S - 1, NOW_S - FEED_MAX_S),
    ],
)
def test_run_reads_from_its_mark_or_as_far_back_as_it_makes_sense(mark_s: int | None, start_s: int) -> None:
    """[47] Five minutes are read again."""
    made = Deployment(mark_s=mark_s)
    made.follow()
    assert made.of("read")[0] == ("read", start_s - FEED_OVERLAP_S, min(start_s + FEED_SLICE_S, NOW_S))


def test_first_run_stores_where_it_begins_before_it_reads() -> None:
    """[47] When the runs of the first days fail, the next one reads what they did not."""
    made = Deployment(mark_s=None)
    made.follow()
    assert [act[0] for act in made.did[:2]] == ["mark", "read"]
    assert made.did[0] == ("mark", None, NOW_S - 24 * 3600)


def test_mark_moves_after_each_slice_and_leaves_the_last_minute_open() -> None:
    """[47]"""
    start_s = NOW_S - FEED_SLICE_S - 100
    made = Deployment(mark_s=start_s)
    made.follow()
    middle_s = start_s + FEED_SLICE_S
    assert made.did == [
        ("read", start_s - FEED_OVERLAP_S, middle_s),
        ("mark", start_s, middle_s),
        ("read", middle_s - FEED_OVERLAP_S, NOW_S),
        ("mark", middle_s, NOW_S - 60),
    ]


@pytest.mark.parametrize(("ago_s", "reads", "marks"), [(0, 0, 0), (59, 1, 0), (60, 1, 0), (61, 1, 1)])
def test_mark_never_moves_back(ago_s: int, reads: int, marks: int, capsys: pytest.CaptureFixture[str]) -> None:
    """[47]"""
    made = Deployment(mark_s=NOW_S - ago_s)
    made.follow()
    assert (len(made.of("read")), len(made.of("mark"))) == (reads, marks)
    assert "ReconcilerBacklog" not in capsys.readouterr().out


@pytest.mark.parametrize(("cost_s", "reads"), [(29.0, 2), (30.0, 1), (31.0, 1)])
def test_half_of_the_run_is_left_for_what_is_due(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, cost_s: float, reads: int
) -> None:
    """[47] The alarm says how far behind the feed is."""
    made = Deployment(mark_s=NOW_S - 3 * FEED_SLICE_S, cost_s=cost_s)
    made.follow()
    assert len(made.of("mark")) == reads
    assert capsys.readouterr().out.count('"ReconcilerBacklog":[1.0]') == 1
    assert caplog.records[-1].__dict__["behind_s"] == (3 - reads) * FEED_SLICE_S


@pytest.mark.parametrize(("cost_s", "marks"), [(59.5, 1), (60.0, 0)])
def test_slice_that_time_did_not_suffice_for_is_read_again(cost_s: float, marks: int) -> None:
    """[47] Some of its events may not have been applied."""
    made = Deployment(cost_s=cost_s)
    made.follow()
    assert len(made.of("mark")) == marks


@pytest.mark.parametrize(
    ("number", "ago_s", "length_s"), [(199, 800, 1_000), (200, 800, 400), (200, 50, 300), (200, 1_200, 500)]
)
def test_slice_of_too_many_events_is_shortened(
    monkeypatch: pytest.MonkeyPatch, number: int, ago_s: int, length_s: int
) -> None:
    """[47] To half of what was read of it, and no more than half of it."""
    monkeypatch.setattr(event_feed, "FEED_SLICE_EVENTS", 200)
    start_s = NOW_S - 1_000
    made = Deployment(mark_s=start_s, events=[hinted("customer.subscription.updated")] * (number - 1))
    made.events.append(hinted("customer.subscription.updated", ago_s))
    made.follow()
    assert made.of("read")[:2][-1] == ("read", start_s - FEED_OVERLAP_S, start_s + length_s)
    # The last slice fits into the five minutes that are read again.
    assert counted(made)["events"] >= number


@pytest.mark.parametrize(("number", "halved"), [(200, False), (201, True)])
def test_slice_of_too_many_reversals_is_halved(number: int, *, halved: bool) -> None:
    """[47][55] One that comes twice counts once."""
    events = [hinted("refund.updated", invoice_id=f"in_{one % number}") for one in range(number + 5)]
    made = Deployment(mark_s=NOW_S - 1_000, events=events)
    made.follow()
    assert (made.of("read")[0][2], len(made.of("read")) > 1) == (NOW_S, halved)
    assert len(made.of("reversal")) >= number


@pytest.mark.parametrize("length_s", [FEED_OVERLAP_S, FEED_OVERLAP_S + 1])
def test_slice_is_not_halved_below_what_is_read_again(monkeypatch: pytest.MonkeyPatch, length_s: int) -> None:
    """[47] It is read whole instead, however many it has."""
    monkeypatch.setattr(event_feed, "FEED_SLICE_EVENTS", 2)
    made = Deployment(mark_s=NOW_S - length_s, events=[hinted("customer.subscription.updated")] * 5)
    made.follow()
    assert (len(made.of("read")) > 1) is (length_s > FEED_OVERLAP_S)
    assert counted(made)["events"] >= 5, "all of them"


def test_reversals_leave_half_of_the_run_and_the_next_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """[47][55] The oldest first, also of hundreds that no run has time for."""
    events = [hinted("refund.updated", 90 - number, invoice_id=f"in_{number}") for number in (3, 1, 0, 2)]
    start_s, oldest_s = NOW_S - 100, NOW_S - 90
    made = Deployment(events=events, cost_s=10.0)  # of 60, of which the feed itself takes one
    made.follow()
    assert made.of("reversal", "worked", "mark") == [
        ("reversal", "in_0"),
        ("reversal", "in_1"),
        ("worked", start_s, oldest_s + 2),
    ]
    assert made.clock.remaining_s() == 30.0
    assert '"ReconcilerBacklog":[1.0]' in capsys.readouterr().out
    later = Deployment(reversals_s=oldest_s + 2, events=events, cost_s=10.0)
    later.follow()
    assert later.of("reversal", "mark") == [
        ("reversal", "in_2"),
        ("reversal", "in_3"),
        ("mark", start_s, NOW_S - 60),
    ]


def test_each_run_works_through_a_second_of_reversals_at_least() -> None:
    """[47] Or a slow one would be begun again and again."""
    events = [hinted("refund.updated", 90, invoice_id=f"in_{number}") for number in range(3)]
    made = Deployment(reversals_s=NOW_S - 90, events=events, cost_s=16.0)
    made.budget_s = 60.0
    made.follow()
    assert len(made.of("reversal")) == 3
    assert made.of("worked") == []


# --- subscriptions ------------------------------------------------------------------------------


def test_latest_change_of_a_subscription_makes_its_workspace_due() -> None:
    """[46][58] A minute later, for clocks that differ."""
    changes = [hinted("customer.subscription.updated", ago, customer="cus_acme") for ago in (50, 40, 45)]
    made = Deployment(events=[*changes, hinted("customer.subscription.updated", customer="cus_other")])
    made.events.append(hinted("customer.subscription.updated"))
    made.events.append(hinted("customer.updated", customer="cus_acme", ago_s=1))
    made.follow()
    assert made.of("due") == [("due", "acme", (NOW_S - 40 + 61) * 1000, NOW_MS)]


def test_failure_to_mark_a_workspace_leaves_the_slice_to_the_next_run() -> None:
    """[46]"""
    made = Deployment(events=[hinted("customer.subscription.updated", customer="cus_acme")])

    def fail(*_: object, **__: object) -> None:
        raise BillingUnavailable("no table")

    made.mark_subscription_due = fail  # type: ignore[method-assign]
    with pytest.raises(BillingUnavailable):
        made.follow()
    assert made.of("mark") == []


# --- invoices -----------------------------------------------------------------------------------


PAID = {"status": Status.ACTIVE, "payment_status": PaymentStatus.PAID}
CANCELED = {"status": Status.CANCELED, "payment_status": PaymentStatus.CANCELED}


@pytest.mark.parametrize(
    ("kind", "line", "applied"),
    [
        ("invoice.paid", {}, True),
        ("invoice.voided", {}, True),
        ("invoice.paid", PAID | {"invoice_id": "in_1"}, False),
        ("invoice.paid", PAID | {"invoice_id": "in_2", "refund_invoice_id": "in_1"}, False),
        ("invoice.paid", PAID | {"invoice_id": "in_2"}, True),
        ("invoice.voided", PAID | {"invoice_id": "in_2"}, False),
        ("invoice.paid", CANCELED | {"invoice_id": "in_1"}, True),
        ("invoice.paid", CANCELED | {"invoice_id": "in_1", "refund_due": True}, False),
        ("invoice.voided", CANCELED | {"invoice_id": "in_1"}, False),
    ],
)
def test_invoice_is_read_for_a_waiting_line_or_for_a_payment_that_is_one_too_many(
    kind: str, line: dict[str, Any], *, applied: bool
) -> None:
    """[44][47]"""
    made = Deployment(
        events=[invoice_event(kind)], stored={LINE_ID: waiting(**line)}, invoices=[invoice(customer="cus_acme")]
    )
    made.follow()
    assert made.of("retrieve", "applied") == ([("retrieve", "in_1"), ("applied", LINE_ID, "in_1")] if applied else [])
    assert counted(made) == {"events": 1} | ({"lines": 1} if applied else {})


def waiting(line_id: str = LINE_ID, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
    line = examples.line(id=line_id)
    assert line.charge is not None
    return replace(line, charge=replace(line.charge, customer="cus_acme"), **changes)


def test_invoice_of_another_customer_is_not_applied() -> None:
    """[45] Metadata can be copied."""
    made = Deployment(events=[invoice_event()], stored={LINE_ID: waiting()}, invoices=[invoice(customer="cus_other")])
    made.follow()
    assert made.of("applied") == []


def test_invoice_that_stripe_does_not_show_makes_its_line_due() -> None:
    """[47] The feed goes on without it."""
    made = Deployment(events=[invoice_event()], stored={LINE_ID: waiting()}, trouble=BillingUnavailable("timed out"))
    made.follow()
    assert made.of("due", "mark") == [("due", LINE_ID, NOW_MS), ("mark", NOW_S - 100, NOW_S - 60)]
    assert counted(made) == {"events": 1, "failed": 1}


@pytest.mark.parametrize("known", [True, False])
def test_invoice_without_its_line_alarms(capsys: pytest.CaptureFixture[str], *, known: bool) -> None:
    """[56] Not for one that only this release cannot read."""
    made = Deployment(events=[invoice_event(), invoice_event(invoice="in_2", line_id="no id")])
    if known:
        made.get_many = lambda ids: []  # type: ignore[method-assign] # noqa: ARG005 - its own name
        made.stored[LINE_ID] = waiting()
    made.follow()
    assert capsys.readouterr().out.count('"InvoiceWithoutLine":[1.0]') == (not known)


def many(number: int, statuses: Sequence[str] = ("paid",)) -> dict[str, Any]:
    """So many waiting lines with an event each, and their invoices in Stripe's list."""
    ids = [f"{one:024x}" for one in range(number)]
    return {
        "events": [invoice_event(invoice=f"in_{one}", line_id=line_id) for one, line_id in enumerate(ids)],
        "stored": {one: waiting(one, created_at_ms=NOW_MS + int(one, 16) * 1000) for one in ids},
        "invoices": [
            invoice(f"in_{one}", statuses[one % len(statuses)], line_id=line_id) for one, line_id in enumerate(ids)
        ],
    }


@pytest.mark.parametrize(("number", "lists"), [(19, 0), (20, 1)])
def test_many_invoices_are_listed_since_the_oldest_line(number: int, lists: int) -> None:
    """[47] A hundred a call instead of one; what only writes to the table is done beside each other."""
    made = Deployment(**many(number, ("paid", "void", "open")))
    made.follow()
    assert made.of("list") == [("list", NOW_S)] * lists
    assert Counter(made.beside) == ({"paid": 7, "void": 7} if lists else {})
    assert len(made.of("retrieve")) == (0 if lists else number)
    assert Counter(made.of("applied")) == Counter(("applied", f"{one:024x}", f"in_{one}") for one in range(number))


def test_list_ends_with_the_last_line_or_when_it_is_no_longer_worthwhile() -> None:
    """[47] What it did not show is read one by one."""
    made = Deployment(**many(20))
    made.invoices += [invoice("in_foreign")] * 3
    made.follow()
    assert len(made.of("listed")) == 20
    made = Deployment(**many(20))
    made.invoices = [*[invoice("in_foreign")] * 490, *made.invoices]
    made.follow()
    assert len(made.of("listed")) == 500
    assert (len(made.of("retrieve")), len(made.of("applied"))) == (10, 20)


def test_invoice_that_was_revised_is_read_alone() -> None:
    """[56] A list shows the original."""
    made = Deployment(**many(20))
    made.invoices[0] = replace(made.invoices[0], status="void", latest_revision="in_99")
    made.follow()
    assert made.of("retrieve") == [("retrieve", "in_0")]


# --- reversals ----------------------------------------------------------------------------------


REFUNDS = [hinted("refund.updated", invoice_id=f"in_{one}") for one in (1, 2, 1)]


def test_each_reversal_is_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    """[55]"""
    made = Deployment(events=[*REFUNDS, hinted("refund.updated")])
    made.follow()
    assert made.of("reversal") == [("reversal", "in_1"), ("reversal", "in_2")]
    assert counted(made) == {"events": 4, "lines": 1}
    assert capsys.readouterr().out == ""


def test_reversals_that_stripe_does_not_show_leave_the_slice_to_the_next_run() -> None:
    """[55]"""
    made = Deployment(events=REFUNDS, trouble=BillingUnavailable("timed out"))
    with pytest.raises(BillingUnavailable):
        made.follow()
    assert made.of("reversal", "mark") == [("reversal", "in_1")]


def test_key_without_the_scope_for_reversals_does_not_stop_the_feed() -> None:
    """[55]"""
    made = Deployment(events=REFUNDS, trouble=BillingMisconfigured("no scope"))
    made.follow()
    assert len(made.of("reversal")) == 2
    assert len(made.of("mark")) == 1
    assert counted(made) == {"events": 3, "failed": 2}
