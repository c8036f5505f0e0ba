"""What operators' lists read: the index follows every write, and no list reads the whole table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.model import Line, PaymentStatus, Status
from line_requests.domain.prices import Allowance
from line_requests.domain.reversals import Reversal
from line_requests.domain.submission import Kind
from line_requests.flows.late import report_late
from line_requests.operator import commands, listing
from line_requests.operator.refusal import Refused
from line_requests.storage import records
from line_requests.storage.operator_index import Scanned, ScannedLine
from line_requests.storage.table import Write
from tests.decision.examples import ADD_ONS, NOW_MS
from tests.support.world import World, new_line

if TYPE_CHECKING:
    from collections.abc import Callable

LATER_MS = NOW_MS + 60_000
DAY_MS = 86_400_000


def entry(world: World, line: Line) -> tuple[str, int] | None:
    """What the index has of a line, read from the index itself."""
    statuses = [*Status, records.REFUND_ENTRY]
    found = [one for one in world.stores.operator.entries(statuses) if one.line_id == line.id]
    assert len(found) <= 1
    return (found[0].op_status, found[0].since_ms) if found else None


def stale(world: World) -> list[str]:
    found = [scanned for scanned in world.stores.operator.scan() if scanned.is_stale]
    return [scanned.line.id if scanned.line else scanned.workspace_id for scanned in found]


def test_entry_follows_each_transition_of_a_paid_line(world: World) -> None:
    """[49]"""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    assert entry(world, line) == ("awaiting_payment", line.history[-1].at_ms)
    line = world.lines.mark_paid(line, LATER_MS, invoice_id="in_1", url=None)
    assert entry(world, line) is None
    assert not {"op_status", "since_ms"} & world.raw(line).keys()
    world.lines.set_due(line, LATER_MS + DAY_MS, late=True)
    assert entry(world, line) == ("provisioning", LATER_MS)
    line = world.lines.mark_failed(line, "no number", LATER_MS + 1)
    assert entry(world, line) == ("failed", LATER_MS + 1)
    line = world.lines.retry(world.now(), line, "retried_by_operator", LATER_MS + 2)
    assert entry(world, line) is None
    line = world.lines.mark_failed(line, "no number", LATER_MS + 3)
    line = world.lines.release(line, "released_by_operator", LATER_MS + 4)
    assert entry(world, line) == ("refund_due", LATER_MS + 4)
    assert line.due_at_ms == LATER_MS + 4, "it may have been refunded already"


def test_entry_is_gone_once_a_line_is_active_canceled_or_waived(world: World) -> None:
    """[39][49]"""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    end: list[Callable[[Line], Line]] = [
        lambda line: world.lines.cancel(line, "canceled", LATER_MS),
        lambda line: world.lines.waive(line, LATER_MS),
        lambda line: world.lines.mark_active(world.lines.waive(line, LATER_MS), LATER_MS),
    ]
    for ended in end:
        line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
        assert entry(world, ended(line)) is None


def test_payment_after_a_cancel_enters_the_index(world: World) -> None:
    """[44][55]"""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    canceled = world.lines.cancel(world.added(Kind.EMAIL, Status.AWAITING_PAYMENT), "canceled", LATER_MS)
    world.lines.flag_refund(canceled, "in_1")
    assert entry(world, canceled) == ("refund_due", LATER_MS)
    assert stale(world) == []


def test_refund_that_stripe_reports_leaves_the_index_and_a_failed_one_returns(world: World) -> None:
    """[55]"""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.lines.mark_active(world.paid(Kind.EMAIL), LATER_MS)
    world.wire.watch()
    for refund_due, expected in ((True, ("refund_due", LATER_MS)), (False, None), (True, ("refund_due", LATER_MS))):
        saved = world.lines.save_reversals(line, [], refund_due=refund_due)
        assert saved is not None
        line = saved
        assert entry(world, line) == expected
    updates = [call.get("UpdateExpression", "") for _, call in world.wire.calls]
    assert not any(update.endswith("REMOVE ") for update in updates), "DynamoDB refuses an empty clause"
    world.lines.save_reversals(line, [], refund_due=False)
    world.lines.set_due(line, LATER_MS)
    assert entry(world, line) is None, "a line that was read before does not bring its entry back"


def test_included_line_is_not_in_the_index(world: World) -> None:
    """[15]"""
    world.workspace(email=Allowance(1))
    assert entry(world, world.added(Kind.EMAIL)) is None


@pytest.fixture
def full(world: World) -> list[Line]:
    """300 failed lines of three workspaces, oldest first, among as many active ones."""
    for name in ("acme", "beta", "gamma"):
        world.workspace(name, email=Allowance(9))
    made = [
        new_line(Kind.EMAIL, workspace_id=("acme", "beta", "gamma")[number % 3], created_at_ms=NOW_MS + number)
        for number in range(600)
    ]
    made = [
        settled(line, Status.FAILED if number % 2 else Status.ACTIVE, NOW_MS + number)
        for number, line in enumerate(made)
    ]
    world.put_lines(made)
    return [line for line in made if line.status is Status.FAILED]


def settled(line: Line, status: Status, at_ms: int) -> Line:
    change = replace(line.history[0], at_ms=at_ms, status=status)
    return replace(line, status=status, history=(*line.history, change))


@pytest.mark.parametrize("sort", ["oldest", "newest"])
def test_first_page_of_a_long_list_is_one_query_for_each_status_and_one_read(
    world: World, full: list[Line], sort: listing.LineSort
) -> None:
    world.wire.watch()
    page = listing.open_lines(world.stores, listing.Filter(), now_ms=LATER_MS, sort=sort, limit=100)
    expected = full[:100] if sort == "oldest" else full[:-101:-1]
    assert ([line.id for line in page.lines], page.more) == ([line.id for line in expected], True)
    assert world.wire.operations == {"Query": len(listing.OPEN), "BatchGetItem": 1}
    assert all(call.get("Limit") == 101 for operation, call in world.wire.calls if operation == "Query")


def test_page_is_filled_behind_refunds_in_another_status(world: World, full: list[Line]) -> None:
    refunds = [replace(line, refund_due=True) for line in full[:150]]
    world.put_lines(refunds)
    wanted = listing.Filter(Status.FAILED)
    page = listing.open_lines(world.stores, wanted, now_ms=LATER_MS, limit=100)
    assert ([line.id for line in page.lines], page.more) == ([line.id for line in full[:100]], True)
    world.put_lines([replace(line, status=Status.CANCELED) for line in refunds])
    page = listing.open_lines(world.stores, wanted, now_ms=LATER_MS, limit=100)
    assert ([line.id for line in page.lines], page.more) == ([line.id for line in full[150:250]], True)


def test_older_than_is_part_of_the_query(world: World, full: list[Line]) -> None:
    wanted = listing.Filter(Status.FAILED, since_ms=full[4].history[-1].at_ms)
    world.wire.watch()
    page = listing.open_lines(world.stores, wanted, now_ms=LATER_MS)
    assert ([line.id for line in page.lines], page.more) == ([line.id for line in full[:5]], False)
    assert world.wire.operations == {"Query": 2, "BatchGetItem": 1}


def test_entries_are_read_page_after_page_oldest_first(world: World, full: list[Line]) -> None:
    found = world.stores.operator.entries([Status.FAILED], page=100)
    assert [one.line_id for one in found] == [line.id for line in full]
    newest = world.stores.operator.entries([Status.FAILED, Status.ACTIVE], newest=True)
    assert [one.line_id for one in newest] == [line.id for line in full[::-1]]


def test_no_list_and_no_search_reads_the_whole_table(world: World, full: list[Line]) -> None:
    world.wire.watch()
    listing.open_lines(world.stores, listing.Filter(Status.PROVISIONING), now_ms=LATER_MS)
    listing.open_lines(world.stores, listing.Filter(refund_due=True), now_ms=LATER_MS)
    assert [listed.workspace.id for listed in listing.workspaces(world.stores)] == ["acme", "beta", "gamma"]
    assert listing.workspaces(world.stores, locked=True) == []
    assert commands.find(world.stores, full[0].id) == full[0]
    assert world.wire.operations["Scan"] == 0


def test_locked_workspaces_are_those_of_waiting_lines(world: World) -> None:
    for name in ("acme", "beta"):
        world.workspace(name, email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, workspace_id="beta")
    assert [listed.workspace.id for listed in listing.workspaces(world.stores, locked=True)] == ["beta"]


def test_entry_that_is_out_of_date_is_not_shown(world: World) -> None:
    """An older release moves a line and leaves its entry."""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    key = records.line_key("acme", line.id)
    world.table.write(Write(key, update="SET #status = :status", values={"status": "active"}))
    assert entry(world, line) is not None
    wanted = listing.Filter(Status.AWAITING_PAYMENT)
    assert listing.open_lines(world.stores, wanted, now_ms=LATER_MS).lines == []
    assert stale(world) == [line.id]
    world.stores.operator.repair(world.line(line))
    assert entry(world, line) is None
    assert stale(world) == []


def test_items_without_an_entry_are_found_out_and_repaired(world: World) -> None:
    """A restored table, or lines of an older release."""
    workspace = world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    for key in (records.line_key("acme", line.id), records.workspace_key("acme")):
        world.table.write(Write(key, update="REMOVE #op_status, #since_ms"))
    assert world.line(line) == line
    assert world.stores.operator.workspace_ids() == []
    with pytest.raises(Refused, match="no workspace has a line"):
        commands.find(world.stores, line.id)
    assert set(stale(world)) == {line.id, "acme"}
    world.stores.operator.repair(line)
    world.stores.operator.repair(workspace)
    assert stale(world) == []
    assert commands.find(world.stores, line.id) == line
    assert entry(world, line) == ("awaiting_payment", line.history[-1].at_ms)


def test_line_in_provisioning_has_its_entry_only_once_its_provisioner_is_late(world: World) -> None:
    world.workspace(email=Allowance(1))
    line = world.added(Kind.EMAIL)
    assert stale(world) == []
    world.lines.set_due(line, LATER_MS)
    assert entry(world, line) is None
    world.lines.set_due(line, LATER_MS, late=True)
    assert stale(world) == []
    world.stores.operator.repair(line)
    assert entry(world, line) is not None


@pytest.mark.parametrize(
    ("status", "entries"),
    [
        (Status.AWAITING_PAYMENT, {"awaiting_payment"}),
        (Status.PROVISIONING, {None, "provisioning"}),
        (Status.ACTIVE, {None}),
        (Status.FAILED, {"failed"}),
        (Status.CANCELED, {None}),
    ],
)
def test_only_the_entry_of_the_present_status_is_not_stale(status: Status, entries: set[str | None]) -> None:
    line = ScannedLine("1", Kind.EMAIL, status, PaymentStatus.PAID, refund_due=False)
    found = {None, "refund_due", *map(str, Status)}
    assert {one for one in found if not Scanned("acme", one, line).is_stale} == entries
    refund = replace(line, refund_due=True)
    assert {one for one in found if not Scanned("acme", one, refund).is_stale} == {"refund_due"}
    assert line.awaiting == (status is Status.AWAITING_PAYMENT)
    assert {one for one in {*found, "workspace"} if not Scanned("acme", one).is_stale} == {"workspace"}


def test_repair_leaves_a_line_alone_that_has_moved_on(world: World) -> None:
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    seen = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    world.lines.cancel(seen, "canceled", LATER_MS)
    world.stores.operator.repair(seen)
    assert entry(world, seen) is None


def reported(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> dict[str, list[str]]:
    """Each alarm's metric with the lines that its log names."""
    counted = [json.loads(text) for text in capsys.readouterr().out.splitlines() if "_aws" in text]
    named = [record.__dict__["lines"] for record in caplog.records]
    caplog.clear()
    metrics = [name for row in counted for name in ("PaymentLate", "ProvisioningLate") if name in row]
    return dict(zip(metrics, named, strict=True))


def test_request_that_waits_for_three_days_alarms_until_it_is_settled(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[47]"""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    since_ms = line.history[-1].at_ms
    report_late(world.stores, since_ms + 3 * DAY_MS - 1)
    assert reported(capsys, caplog) == {}
    for _ in range(2):
        report_late(world.stores, since_ms + 3 * DAY_MS)
        assert reported(capsys, caplog) == {"PaymentLate": [line.id]}
    world.lines.cancel(line, "canceled", LATER_MS)
    report_late(world.stores, since_ms + 4 * DAY_MS)
    assert reported(capsys, caplog) == {}


def test_line_whose_provisioner_is_late_for_an_hour_alarms(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[48]"""
    world.workspace(email=Allowance(1))
    line = world.added(Kind.EMAIL)
    since_ms = line.history[-1].at_ms
    world.lines.set_due(line, LATER_MS, late=True)
    report_late(world.stores, since_ms + 3_600_000 - 1)
    assert reported(capsys, caplog) == {}
    report_late(world.stores, since_ms + 3_600_000)
    assert reported(capsys, caplog) == {"ProvisioningLate": [line.id]}


def test_line_whose_provisioner_is_late_alarms_whatever_its_refund_flag_and_its_reversals(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[47][55]"""

    def alarmed() -> dict[str, list[str]]:
        report_late(world.stores, LATER_MS + DAY_MS)
        return reported(capsys, caplog)

    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.paid(Kind.EMAIL)
    world.lines.set_due(line, LATER_MS, late=True)
    heard = [Reversal(LATER_MS, f"re_{number}", "refund_succeeded", 100, "usd") for number in range(2)]
    assert world.lines.save_reversals(line, heard[:1], refund_due=False) is not None
    assert alarmed() == {"ProvisioningLate": [line.id]}
    assert world.lines.save_reversals(world.line(line), [], refund_due=True) is not None
    assert entry(world, line) == ("refund_due", NOW_MS)
    assert alarmed() == {"ProvisioningLate": [line.id]}
    assert world.lines.save_reversals(world.line(line), heard[1:], refund_due=False) is not None
    assert alarmed() == {"ProvisioningLate": [line.id]}
    assert stale(world) == []


@pytest.mark.parametrize("flagged", [True, False])
def test_line_whose_refund_flag_changes_meanwhile_is_found_late(world: World, *, flagged: bool) -> None:
    """[47][55]"""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.paid(Kind.EMAIL)
    world.put_lines([now := replace(line, refund_due=flagged)])
    world.lines.set_due(replace(line, refund_due=not flagged), LATER_MS, late=True)
    assert world.line(line) == replace(now, due_at_ms=LATER_MS)
    assert entry(world, line) == ("refund_due" if flagged else "provisioning", NOW_MS)


def test_late_line_is_named_behind_many_refunds(
    world: World, full: list[Line], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[47]"""
    world.put_lines([replace(line, refund_due=True) for line in full[:-1]])
    late = replace(settled(full[-1], Status.PROVISIONING, LATER_MS), refund_due=True)
    world.put_lines([late])
    report_late(world.stores, LATER_MS + DAY_MS)
    assert reported(capsys, caplog) == {"ProvisioningLate": [late.id]}


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize(
    ("start", "write"),
    [
        (Status.PROVISIONING, lambda world, seen: world.lines.mark_active(seen, LATER_MS)),
        (Status.PROVISIONING, lambda world, seen: world.lines.mark_failed(seen, "no number", LATER_MS)),
        (Status.PROVISIONING, lambda world, seen: world.lines.set_due(seen, LATER_MS, late=True)),
        (Status.ACTIVE, lambda world, seen: world.lines.release(seen, "released_by_client", LATER_MS)),
        (Status.ACTIVE, lambda world, seen: world.stores.operator.repair(seen)),
        (Status.FAILED, lambda world, seen: world.lines.retry(world.now(), seen, "retried_by_operator", LATER_MS)),
        (Status.FAILED, lambda world, seen: world.lines.release(seen, "released_by_operator", LATER_MS)),
    ],
)
def test_entry_follows_a_refund_flag_that_changed_after_the_line_was_read(
    world: World, start: Status, write: Callable[[World, Line], Line | None], *, flagged: bool
) -> None:
    """[55] A second payment is heard of, or went back, between a caller's read and its write."""
    world.workspace(email=Allowance(0, cap=9, add_on=ADD_ONS[Kind.EMAIL]))
    seen = world.paid(Kind.EMAIL)
    if start is Status.ACTIVE:
        seen = world.lines.mark_active(seen, NOW_MS)
    elif start is Status.FAILED:
        seen = world.lines.mark_failed(seen, "no number", NOW_MS)
    if flagged:
        world.lines.flag_refund(seen, "in_2")
    else:
        world.lines.save_reversals(seen, [], refund_due=True)
        seen = world.line(seen)
        world.lines.save_reversals(seen, [], refund_due=False)
    after = write(world, seen)
    stored = world.line(seen)
    assert after in {None, stored}
    assert stored.refund_due is (flagged or (start is Status.FAILED and stored.status is Status.CANCELED))
    assert stale(world) == []


def test_reports_of_what_is_late_cost_three_queries_while_nothing_is(world: World) -> None:
    """[47]"""
    world.wire.watch()
    report_late(world.stores, LATER_MS)
    assert world.wire.operations == {"Query": 3}


def test_alarm_names_ten_of_many(
    world: World, full: list[Line], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[48]"""
    for line in full[:12]:
        again = world.lines.retry(world.now(line.workspace_id), line, "retried_by_operator", LATER_MS)
        world.lines.set_due(again, LATER_MS, late=True)
    report_late(world.stores, LATER_MS + DAY_MS)
    (named,) = reported(capsys, caplog).values()
    assert len(named) == 10
