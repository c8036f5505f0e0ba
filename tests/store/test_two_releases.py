"""Items of an older or a newer release, which share the table during every deploy."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import ForbiddenLineType, UnreadableRecord
from line_requests.domain.model import Status
from line_requests.domain.prices import Allowance, Plan
from line_requests.domain.submission import Kind
from line_requests.storage.plans import Plans
from line_requests.storage.records import line_key, plan_key, workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import ADD_ONS, NOW_MS
from tests.support.world import World, counts, new_line

if TYPE_CHECKING:
    from line_requests.domain.model import Line, Workspace

EMAIL = ADD_ONS[Kind.EMAIL]


def change(world: World, key: dict[str, Any], update: str, **values: object) -> None:
    """What another release writes."""
    world.table.write(Write(key, update=update, values=values))


def before_email(world: World, allowance: Allowance, **counted: int) -> Workspace:
    """A workspace whose item was written before there were email lines; `counted` are the counts that it has."""
    world.workspace(email=allowance)
    for name in ("held", "unpaid"):
        counts_then = {"purchased_phone": 0} | ({"email": counted[name]} if name in counted else {})
        change(world, workspace_key("acme"), f"SET #{name} = :counts", counts=counts_then)
    return world.now()


# --- a kind that the workspace item does not count yet --------------------------------------------------


@pytest.mark.parametrize("counted", [{}, {"held": 0}, {"unpaid": 0}, {"held": 0, "unpaid": 0}])
def test_first_included_line_of_an_uncounted_kind_is_inserted(world: World, counted: dict[str, int]) -> None:
    """[15][19]"""
    workspace = before_email(world, Allowance(1, cap=1), **counted)
    assert world.insert(workspace, new_line(Kind.EMAIL)) is None
    assert world.counts() == (counts(email=1), counts(email=1))
    assert world.insert(workspace, new_line(Kind.EMAIL)) is not None, "the one place is taken"


@pytest.mark.parametrize("counted", [{}, {"held": 0}, {"unpaid": 0}])
def test_first_paid_line_of_an_uncounted_kind_is_inserted_and_settled(world: World, counted: dict[str, int]) -> None:
    """[16][19][50]"""
    before_email(world, Allowance(0, cap=1, add_on=EMAIL), **counted)
    paid = world.paid(Kind.EMAIL)
    assert world.counts() == (counts(email=1), counts())
    world.lines.release(world.lines.mark_active(paid, NOW_MS), "operator", NOW_MS)
    assert world.counts() == (counts(), counts())


def test_payable_line_is_not_inserted_while_an_uncounted_kind_has_an_included_place(world: World) -> None:
    """[19]"""
    workspace = before_email(world, Allowance(1, add_on=EMAIL))
    assert world.insert(workspace, new_line(Kind.EMAIL, Status.AWAITING_PAYMENT)) is not None


@pytest.mark.parametrize("paid", [True, False])
def test_retry_counts_a_kind_that_is_not_counted(world: World, *, paid: bool) -> None:
    """[19][49]"""
    before_email(world, Allowance(0 if paid else 1, cap=1, add_on=EMAIL))
    failed = world.lines.mark_failed(world.paid(Kind.EMAIL) if paid else world.added(Kind.EMAIL), "failed", NOW_MS)
    change(world, workspace_key("acme"), "REMOVE #held.#email, #unpaid.#email")
    assert world.lines.retry(world.now(), failed, "operator", NOW_MS).status is Status.PROVISIONING
    assert world.counts() == (counts(email=1), counts(email=int(not paid)))


@pytest.mark.parametrize(
    ("allowance", "paid"),
    [(Allowance(0, add_on=EMAIL), False), (Allowance(1, cap=0, add_on=EMAIL), True), (Allowance(1, cap=0), False)],
)
def test_retry_of_an_uncounted_kind_finds_no_place_where_none_is_granted(
    world: World, allowance: Allowance, *, paid: bool
) -> None:
    """[18][49]"""
    workspace = before_email(world, Allowance(0 if paid else 1, add_on=EMAIL))
    failed = world.lines.mark_failed(world.paid(Kind.EMAIL) if paid else world.added(Kind.EMAIL), "failed", NOW_MS)
    change(world, workspace_key("acme"), "REMOVE #held.#email, #unpaid.#email")
    workspace = world.subscribe(email=allowance)
    with pytest.raises(ForbiddenLineType):
        world.lines.retry(workspace, failed, "operator", NOW_MS)
    assert world.counts() == (counts(), counts())


# --- what only a newer release knows --------------------------------------------------------------------


def test_unknown_kinds_of_a_workspace_are_ignored_and_kept(world: World) -> None:
    """[17][19]"""
    workspace = world.workspace(email=Allowance(1))
    change(
        world,
        workspace_key("acme"),
        "SET #held.#fax = :two, #unpaid.#fax = :two, #charged.#fax = :two, #subscription.#allowances.#fax = :fax,"
        " #lock_kind = :kind, #colour = :blue",
        two=2,
        fax={"included": 3},
        kind="fax",
        blue="blue",
    )
    assert world.now() == workspace
    assert world.insert(world.now(), new_line(Kind.EMAIL)) is None
    assert world.raw(workspace)["held"]["fax"] == 2


def test_unknown_kinds_of_earlier_limits_are_ignored(world: World) -> None:
    """[54]"""
    world.workspace(email=Allowance(1))
    world.wire.watch()
    world.subscribe("acme", email=Allowance(1))
    limited = world.subscribe("acme", "past_due")
    updates = [call.get("UpdateExpression", "") for _, call in world.wire.calls]
    assert not any(update.endswith("REMOVE ") for update in updates), "DynamoDB refuses an empty clause"
    assert all(update.count("#excess_basis") <= 1 for update in updates), "and one attribute in two clauses"
    change(world, workspace_key("acme"), "SET #excess_basis.#allowances.#fax = :fax", fax={"included": 3})
    assert world.now() == limited


def test_unknown_attributes_of_a_line_are_ignored_and_kept(world: World) -> None:
    """[49]"""
    world.workspace()
    line = world.added()
    key = line_key("acme", line.id)
    change(
        world, key, "SET #colour = :blue, #submission.#colour = :blue, #share = :half", blue="blue", half=Decimal("0.5")
    )
    assert world.line(line) == line
    active = world.lines.mark_active(line, NOW_MS)
    assert world.line(active) == active
    raw = world.raw(line)
    assert (raw["colour"], raw["submission"]["colour"], raw["share"]) == ("blue", "blue", Decimal("0.5"))


@pytest.fixture
def lines(world: World) -> list[Line]:
    """A line that can be read between two that only a newer release reads, oldest first."""
    world.workspace(purchased_phone=Allowance(3))
    made = sorted((world.added() for _ in range(3)), key=lambda line: line.id)
    change(world, line_key("acme", made[0].id), "SET #status = :new", new="ported")
    change(world, line_key("acme", made[2].id), "SET #submission.#channel_type = :new", new="fax")
    return made


def alarms(capsys: pytest.CaptureFixture[str]) -> int:
    return capsys.readouterr().out.count('"UnreadableRecord":[1.0]')


def test_pages_go_on_behind_lines_of_a_newer_release(world: World, lines: list[Line]) -> None:
    """[42]"""
    found, before = list[str](), None
    for _ in range(4):
        page, before = world.lines.page("acme", limit=1, before=before, status=None)
        found += [line.id for line in page]
        if before is None:
            break
    assert (found, before) == ([lines[1].id], None)


def test_scan_goes_on_behind_lines_of_a_newer_release(
    world: World, lines: list[Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[53]"""
    assert [found.line.id for found in world.stores.operator.scan() if found.line] == [lines[1].id]
    assert alarms(capsys) == 2


def test_single_line_of_a_newer_release_is_an_error_of_its_own(world: World, lines: list[Line]) -> None:
    """[44] Without the values, which can be personal."""
    for line, unreadable in ((lines[0], "status"), (lines[2], "submission.kind")):
        with pytest.raises(UnreadableRecord, match=rf"LINE#{line.id}: {unreadable}$"):
            world.lines.get("acme", line.id)


def test_fraction_where_this_release_has_a_whole_number_is_an_error_of_its_own(world: World) -> None:
    """[47]"""
    world.workspace()
    line = world.added()
    change(world, line_key("acme", line.id), "SET #amount_paid = :half", half=Decimal("0.5"))
    with pytest.raises(UnreadableRecord, match="amount_paid"):
        world.lines.get("acme", line.id)


def test_plan_of_a_newer_release_is_skipped_with_an_alarm(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """[17]"""
    old = Plan("old", ("price_1",), {Kind.EMAIL: Allowance(1)})
    Plans(world.table).save([old, Plan("new", ("price_2",), {Kind.EMAIL: Allowance(2)})])
    change(world, plan_key("new"), "SET #allowances.#email.#included = :many", many="unlimited")
    change(world, plan_key("old"), "SET #allowances.#fax = :three, #colour = :blue", three={"included": 3}, blue="blue")
    assert world.plans.all() == [old]
    assert alarms(capsys) == 1


def test_values_of_items_are_plain_integers_although_dynamodb_answers_decimals(world: World) -> None:
    """[36] A Decimal would not survive json.dumps."""
    world.workspace(email=Allowance(0, cap=3, add_on=EMAIL))
    line = world.line(world.added(Kind.EMAIL, Status.AWAITING_PAYMENT))
    assert line.charge is not None
    numbers = [line.created_at_ms, line.history[0].at_ms, line.charge.amount, line.stripe_keyed_at_ms]
    workspace = world.now()
    assert workspace.subscription is not None
    allowance = workspace.subscription.allowances[Kind.EMAIL]
    numbers += [workspace.revision, workspace.held[Kind.EMAIL], allowance.included, allowance.cap or 0]
    assert Counter(map(type, numbers)) == {int: len(numbers)}
