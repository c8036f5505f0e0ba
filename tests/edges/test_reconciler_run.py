"""What a run of the reconciler does with each thing that is due, and when it is due again."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import BillingRefused, BillingUnavailable
from line_requests.domain.model import Line, PaymentStatus, Status
from line_requests.flows import reconciler
from line_requests.flows.reconciler import Reconciler
from line_requests.storage.due import Due, Feed
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from line_requests.storage.records import DUE_SHARDS
from tests.decision import examples
from tests.decision.examples import LINE_ID, NOW_MS
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DAY_MS = 86_400_000
FIRST = NOW_MS // 60_000 % DUE_SHARDS


@dataclass
class Run:
    """One run, whose stores, lifecycle and bus only note what they are told."""

    lines: list[Line] = field(default_factory=list)
    workspaces: list[str] = field(default_factory=list)
    pages: int = 1
    trouble: Exception | None = None
    refused: list[Line] = field(default_factory=list)
    late_ms: int = 0
    budget_s: float = 60.0
    known: bool = True
    broken: bool = False
    """Whether the feed and the index fail."""
    fed: int = 0
    did: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = WaitingClock(NOW_MS + self.late_ms, self.budget_s)

    def run(self) -> dict[str, int]:
        stub: Any = SimpleNamespace(
            due=self,
            lines=self,
            workspaces=self,
            connect=lambda _: SimpleNamespace(events=self),
            extra_invoices=SimpleNamespace(
                void_replaced=lambda _, line: self.note("void", line),
                check_late_payment=lambda _, line: self.note("check", line),
            ),
            reversals=SimpleNamespace(recheck=lambda _, line: self.note("recheck", line)),
            add_ons=SimpleNamespace(settle=self.settle),
            advance=lambda _, line, __: self.note("advance", line),
            end_if_unneeded=lambda _, workspace: self.did.append(("end", workspace)),
        )
        bus: Any = SimpleNamespace(publish=self.publish)
        return {name: number for name, number in Reconciler(stub, stub, bus, self.clock).run().items() if number}

    def between(self, **_: int) -> Iterator[Any]:
        self.fed += 1
        if self.broken:
            raise RuntimeError
        return iter(())

    def note(self, what: str, line: Line) -> None:
        self.did.append((what, line.id))
        if self.trouble:
            raise self.trouble

    def settle(self, _: object, workspace_id: str, now_ms: int) -> tuple[str | None, int]:
        self.did.append(("settle", workspace_id, now_ms))
        return (workspace_id if self.known else None), 2

    def publish(self, lines: list[Line]) -> list[Line]:
        self.did.append(("publish", *[line.id for line in lines]))
        return self.refused

    def page(self, shard: int, until_ms: int, start: int | None) -> tuple[list[Due], int | None]:
        self.did.append(("page", shard, until_ms, start))
        assert len(self.did) < 999, "it does not end"
        if self.broken:
            raise RuntimeError
        if shard != FIRST:
            return [], None
        number = start or 0
        due = [Due("acme", line.id) for line in self.lines] + [Due(name, None) for name in self.workspaces]
        return due, number + 1 if number + 1 < self.pages else None

    def get_many(self, ids: Iterable[tuple[str, str]]) -> list[Line]:
        wanted = {line_id for _, line_id in ids}
        return [line for line in self.lines if line.id in wanted]

    def set_due(self, line: Line, at_ms: int | None, *, late: bool = False) -> None:
        self.did.append(("due", line.id, at_ms, late))

    def feed(self) -> Feed:
        return Feed(self.clock.now_ms() // 1000 - 1)

    def of(self, *names: str) -> list[Any]:
        return [one for one in self.did if one[0] in names]

    def beside(self, *names: str) -> list[Any]:
        return [one for one in self.did if one[0] not in names]


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reported: list[int] = []
    monkeypatch.setattr(reconciler, "report_late", lambda _, now_ms: reported.append(now_ms))
    return reported


def line(status: Status, payment: PaymentStatus = PaymentStatus.NOT_REQUIRED, **changes: Any) -> Line:  # noqa: ANN401 - any of its fields
    return examples.line(status=status, payment_status=payment, **changes)


AWAITING = line(Status.AWAITING_PAYMENT, PaymentStatus.AWAITING_PAYMENT)
PROVISIONING = line(Status.PROVISIONING)
REPLACED = {"replaced_invoice_id": "in_0"}


@pytest.mark.parametrize(
    ("due", "did"),
    [
        (AWAITING, [("advance", LINE_ID)]),
        (line(Status.ACTIVE, PaymentStatus.PAID, **REPLACED), [("void", LINE_ID)]),
        (line(Status.CANCELED, PaymentStatus.PAID, refund_due=True), [("recheck", LINE_ID)]),
        (line(Status.CANCELED, PaymentStatus.CANCELED), [("check", LINE_ID)]),
        (line(Status.CANCELED, PaymentStatus.CANCELED, refund_due=True), [("recheck", LINE_ID)]),
        (line(Status.ACTIVE), [("due", LINE_ID, None, False)]),
        (PROVISIONING, [("publish", LINE_ID), ("due", LINE_ID, NOW_MS + REPUBLISH_AFTER_MS, True)]),
        (
            line(Status.PROVISIONING, PaymentStatus.PAID, refund_due=True),
            [("publish", LINE_ID), ("due", LINE_ID, NOW_MS + REPUBLISH_AFTER_MS, True)],
        ),
        (line(Status.PROVISIONING, PaymentStatus.PAID, **REPLACED), [("void", LINE_ID)]),
    ],
)
def test_each_line_that_is_due_gets_what_its_state_needs(due: Line, did: list[Any]) -> None:
    """[47][48][55][56]"""
    run = Run([due])
    done = run.run()
    assert run.beside("page") == did
    republished = {"republished": 1} if ("publish", LINE_ID) in did else {}
    assert done == ({"lines": 1} if due.awaiting else republished)


@pytest.mark.parametrize(("late_ms", "republished"), [(REPUBLISH_AFTER_MS - 1, False), (REPUBLISH_AFTER_MS, True)])
def test_line_with_a_replaced_invoice_is_published_again_when_its_provisioner_is_late(
    late_ms: int, *, republished: bool
) -> None:
    """[48][56] It is due before that."""
    run = Run([line(Status.PROVISIONING, PaymentStatus.PAID, **REPLACED)], late_ms=late_ms)
    run.run()
    assert [one[0] for one in run.beside("page", "due")] == (["void", "publish"] if republished else ["void"])


@pytest.mark.parametrize(
    ("late_ms", "wait_ms"),
    [
        (0, REPUBLISH_AFTER_MS),
        (REPUBLISH_AFTER_MS + 7, REPUBLISH_AFTER_MS + 7),
        (9 * DAY_MS, DAY_MS),
    ],
)
def test_late_provisioner_is_told_again_at_growing_intervals(late_ms: int, wait_ms: int) -> None:
    """[48]"""
    run = Run([PROVISIONING], late_ms=late_ms)
    assert run.run() == {"republished": 1}
    assert run.of("due") == [("due", LINE_ID, NOW_MS + late_ms + wait_ms, True)]


def test_event_that_the_bus_refuses_stays_due() -> None:
    """[48]"""
    other = line(Status.PROVISIONING, id="f" * 24)
    run = Run([PROVISIONING, other], refused=[PROVISIONING])
    assert run.run() == {"republished": 1}
    assert [one[1] for one in run.of("due")] == [other.id]


@pytest.mark.parametrize(
    ("trouble", "done"),
    [(BillingRefused("no product"), {"lines": 2}), (BillingUnavailable("timed out"), {"failed": 2})],
)
def test_one_line_that_fails_stops_no_other(trouble: Exception, done: dict[str, int]) -> None:
    """[47] One that Stripe refuses is canceled, and no failure."""
    other = line(Status.AWAITING_PAYMENT, PaymentStatus.AWAITING_PAYMENT, id="f" * 24)
    run = Run([AWAITING, other], trouble=trouble)
    assert run.run() == done
    assert len(run.of("advance")) == 2


@pytest.mark.parametrize("known", [True, False])
def test_workspace_that_is_due_is_settled_and_its_request_judged_again(*, known: bool) -> None:
    """[39][50]"""
    run = Run([AWAITING], workspaces=["acme"], known=known)
    assert run.run() == {"lines": 1, "quantities": 2}
    assert run.beside("page", "advance") == [("settle", "acme", NOW_MS)] + ([("end", "acme")] if known else [])


def test_run_goes_through_every_page_of_every_shard_from_another_first_one_each_minute(late: list[int]) -> None:
    """[47] What is due when the run began."""
    run = Run([AWAITING], pages=3)
    assert run.run() == {"lines": 3}
    assert run.of("page")[:4] == [
        *[("page", FIRST, NOW_MS, start) for start in (None, 1, 2)],
        ("page", (FIRST + 1) % DUE_SHARDS, NOW_MS, None),
    ]
    assert {one[1] for one in run.of("page")} == set(range(DUE_SHARDS))
    assert len(run.of("page")) == DUE_SHARDS + 2
    assert (run.fed, late) == (1, [NOW_MS])
    later = Run(late_ms=60_000)
    later.run()
    assert later.of("page")[0][1] == (FIRST + 1) % DUE_SHARDS


@pytest.mark.parametrize(("budget_s", "alarmed"), [(0.0, 1), (0.1, 0)])
def test_run_without_time_does_nothing_and_alarms(
    capsys: pytest.CaptureFixture[str], late: list[int], budget_s: float, alarmed: int
) -> None:
    """[47]"""
    run = Run([AWAITING], budget_s=budget_s)
    run.run()
    assert capsys.readouterr().out.count('"ReconcilerBacklog":[1.0]') == alarmed
    assert bool(run.did) is bool(late) is not bool(alarmed)


def test_run_stops_between_pages_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """[47]"""
    run = Run([AWAITING], pages=9, budget_s=1.0)
    advance = run.note

    def note(what: str, due: Line) -> None:
        run.clock.sleep(1.0)
        advance(what, due)

    monkeypatch.setattr(run, "note", note)
    assert run.run() == {"lines": 1}
    assert len(run.of("page")) == 1


def test_part_of_a_run_that_fails_is_named_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """[47]"""

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(reconciler, "report_late", fail)
    assert Run(broken=True).run() == {"failed": DUE_SHARDS + 2}
    named = [record.__dict__["subject"] for record in caplog.records if "step failed" in record.message]
    assert named == ["feed", *["due"] * DUE_SHARDS, "late"]


def test_bus_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """[48]"""
    run = Run([PROVISIONING])
    monkeypatch.setattr(run, "publish", lambda _: 1 // 0)
    assert run.run() == {"failed": 1}
    assert [record.__dict__["subject"] for record in caplog.records if "step failed" in record.message] == ["republish"]
