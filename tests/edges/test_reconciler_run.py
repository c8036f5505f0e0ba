"""One run of the reconciler, without a table: in which order it works, and what it does with each sort of line."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import BillingRefused
from line_requests.domain.model import Change, Line, PaymentStatus, Status, Workspace
from line_requests.flows import reconciler
from line_requests.flows.extra_invoices import RECHECK_MAX_MS
from line_requests.flows.leases import Until
from line_requests.flows.reconciler import Reconciler
from line_requests.storage.due import Due
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from tests.decision.examples import NOW_MS, workspace
from tests.support.shop import WaitingClock
from tests.support.world import new_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AT_MS = NOW_MS + 60_000  # The minute decides which shard comes first: here the second.
DAY_MS = 86_400_000


class Run:
    """A run with its table, its bus and its lifecycle, which keep what they are asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lines: Line, budget_s: float = 60.0) -> None:
        self.at = WaitingClock(AT_MS, budget_s)
        self.lines = {line.id: line for line in lines}
        self.pages: dict[int, list[list[Due]]] = {2: [[Due("acme", line.id) for line in lines]]}
        self.page_takes_s = 0.0
        self.did: list[tuple[Any, ...]] = []
        self.trouble: dict[str, Exception] = {}
        self.refused: list[Line] = []
        self.settled: Workspace | None = workspace()
        monkeypatch.setattr(reconciler, "EventFeed", lambda *_: self)
        monkeypatch.setattr(reconciler, "report_late", lambda _, now_ms: self._do("late", now_ms))

    def run(self) -> dict[str, int]:
        stub: Any = self
        lifecycle: Any = SimpleNamespace(
            advance=lambda _, line, until: self._do("advance", line.id, until),
            extra_invoices=SimpleNamespace(
                void_replaced=lambda _, line: self._do("replaced", line.id),
                check_late_payment=lambda _, line: self._do("late payment", line.id),
            ),
            reversals=SimpleNamespace(recheck=lambda _, line: self._do("recheck", line.id)),
            connect=lambda _: "billing",
            add_ons=self,
            end_if_unneeded=lambda _, seen: self._do("end", seen.id),
        )
        stores: Any = SimpleNamespace(lines=self, due=self)
        return Reconciler(stores, lifecycle, stub, self.at).run()

    def of(self, *names: str) -> list[tuple[Any, ...]]:
        return [one for one in self.did if one[0] in names]

    def _do(self, *what: Any) -> None:  # noqa: ANN401 - a name and what belongs to it
        self.did.append(what)
        if trouble := self.trouble.get(what[0]):
            raise trouble

    def follow(self) -> None:
        self._do("feed")

    def page(self, shard: int, now_ms: int, start: int | None) -> tuple[list[Due], int | None]:
        self._do("page", shard, now_ms, start)
        self.at.waited_s.append(self.page_takes_s)
        pages, number = self.pages.get(shard, [[]]), start or 0
        return pages[number], number + 1 if number + 1 < len(pages) else None

    def get_many(self, ids: Iterable[tuple[str, str]]) -> list[Line]:
        return [self.lines[line_id] for workspace_id, line_id in ids if workspace_id == "acme" and line_id]

    def set_due(self, line: Line, at_ms: int | None, *, late: bool = False) -> None:
        self._do("due", line.id, at_ms, late)

    def publish(self, lines: Sequence[Line]) -> list[Line]:
        self._do("publish", *(line.id for line in lines))
        return self.refused

    def settle(self, billing: str, workspace_id: str, now_ms: int) -> tuple[Workspace | None, int]:
        self._do("settle", billing, workspace_id, now_ms)
        return self.settled, 3


def since(at_ms: int, status: Status = Status.PROVISIONING, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
    """A line that has been in the status since then."""
    history = (Change(1, Status.AWAITING_PAYMENT, "requested"), Change(at_ms, status, "then"))
    return new_line(status=status, history=history, **changes)


def test_run_follows_the_feed_then_each_shard_then_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """[47] Another shard comes first each minute."""
    run = Run(monkeypatch)
    assert run.run() == {"events": 0, "lines": 0, "republished": 0, "quantities": 0, "failed": 0}
    pages = [("page", shard, AT_MS, None) for shard in (1, 2, 3, 0)]
    assert run.did == [("feed",), *pages, ("late", AT_MS)]


@pytest.mark.parametrize("name", ["feed", "late", "republish", "due"])
def test_failure_is_named_and_stops_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """[47]"""
    run = Run(monkeypatch, since(AT_MS))
    run.trouble = {{"republish": "publish", "due": "page"}.get(name, name): RuntimeError()}
    failed = 4 if name == "due" else 1
    assert run.run()["failed"] == failed
    assert len(run.of("feed", "page", "late")) == 6
    subjects = [record.subject for record in caplog.records if hasattr(record, "subject")]
    assert subjects == [name] * 2 * failed, "each is logged and alarmed"


@pytest.mark.parametrize(("budget_s", "in_time"), [(0.0, False), (1.0, True)])
def test_run_without_time_alarms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], budget_s: float, *, in_time: bool
) -> None:
    """[47]"""
    run = Run(monkeypatch, budget_s=budget_s)
    run.run()
    assert bool(run.did) is in_time
    assert capsys.readouterr().out.count('"ReconcilerBacklog":[1.0]') == (not in_time)


@pytest.mark.parametrize(("page_takes_s", "pages"), [(0.0, 3), (29.5, 3), (30.0, 2), (60.0, 1)])
def test_shard_is_worked_through_page_by_page_while_time_is_left(
    monkeypatch: pytest.MonkeyPatch, page_takes_s: float, pages: int
) -> None:
    """[47] What the run postpones is not due again in it."""
    run = Run(monkeypatch)
    run.pages = {1: [[], [], []]}
    run.page_takes_s = page_takes_s
    run.run()
    assert run.of("page")[:pages] == [("page", 1, AT_MS, start) for start in (None, 1, 2)[:pages]]
    assert len(run.of("page")) == (pages + 3 if page_takes_s == 0 else pages)


CANCELED: dict[str, Any] = {"status": Status.CANCELED, "payment_status": PaymentStatus.CANCELED}


@pytest.mark.parametrize(
    ("line", "did"),
    [
        (new_line(status=Status.AWAITING_PAYMENT), [("advance", Until.CHECKED)]),
        (new_line(status=Status.ACTIVE, replaced_invoice_id="in_0"), [("replaced",)]),
        (since(AT_MS - REPUBLISH_AFTER_MS + 1, replaced_invoice_id="in_0"), [("replaced",)]),
        (since(AT_MS - REPUBLISH_AFTER_MS, replaced_invoice_id="in_0"), [("replaced",), ("publish",)]),
        (new_line(**CANCELED, refund_due=True), [("recheck",)]),
        (since(AT_MS, refund_due=True), [("publish",)]),
        (new_line(**CANCELED), [("late payment",)]),
        (new_line(status=Status.ACTIVE), [("due", None, False)]),
        (since(AT_MS), [("publish",)]),
    ],
)
def test_line_gets_what_its_state_needs(
    monkeypatch: pytest.MonkeyPatch, line: Line, did: list[tuple[Any, ...]]
) -> None:
    """[47][48][56]"""
    run = Run(monkeypatch, line)
    run.refused = [line]
    run.run()
    assert run.of("advance", "replaced", "recheck", "late payment", "due", "publish", "settle") == [
        (name, line.id, *rest) for name, *rest in did
    ]


def test_line_that_stripe_refuses_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """[34] It was canceled."""
    run = Run(monkeypatch, new_line(status=Status.AWAITING_PAYMENT), new_line(status=Status.AWAITING_PAYMENT))
    run.trouble = {"advance": BillingRefused("No such product")}
    done = run.run()
    assert (done["lines"], done["failed"]) == (2, 0)


@pytest.mark.parametrize(
    ("waited_ms", "next_ms"),
    [
        (0, REPUBLISH_AFTER_MS),
        (2 * REPUBLISH_AFTER_MS, 2 * REPUBLISH_AFTER_MS),
        (3 * DAY_MS, RECHECK_MAX_MS),
    ],
)
def test_late_line_is_published_again_at_ever_longer_intervals(
    monkeypatch: pytest.MonkeyPatch, waited_ms: int, next_ms: int
) -> None:
    """[48]"""
    line, refused = since(AT_MS - waited_ms), since(AT_MS)
    run = Run(monkeypatch, line, refused)
    run.refused = [refused]
    assert run.run()["republished"] == 1
    assert run.of("publish") == [("publish", line.id, refused.id)]
    assert run.of("due") == [("due", line.id, AT_MS + next_ms, True)]


@pytest.mark.parametrize("settled", [True, False])
def test_due_workspace_is_settled(monkeypatch: pytest.MonkeyPatch, *, settled: bool) -> None:
    """[39][50] Then a request that waits may be included, unless another caller settles it."""
    run = Run(monkeypatch, new_line(status=Status.AWAITING_PAYMENT))
    run.pages[2][0].append(Due("acme", None))
    run.settled = replace(workspace(), id="acme") if settled else None
    assert run.run() | {"lines": 0} == {"events": 0, "lines": 0, "republished": 0, "quantities": 3, "failed": 0}
    assert run.of("settle", "end") == [("settle", "billing", "acme", AT_MS), *([("end", "acme")] if settled else [])]
