"""The transaction that writes a new line, and every condition that it can lose by."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.errors import RateLimited
from line_requests.domain.model import Allowance, PaymentStatus, Status
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.storage.records import workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import ADD_ONS, NOW_MS, counts
from tests.support.world import LIMIT, World, new_line

if TYPE_CHECKING:
    from line_requests.storage.lines import Conflict

EMAIL = ADD_ONS[Kind.EMAIL]


def assert_lost(world: World, lost: Conflict | None, before: list[dict[str, object]]) -> Conflict:
    assert lost is not None
    assert world.everything() == before, "nothing is written"
    return lost


def test_an_included_line_takes_a_place_and_its_key_answers(world: World) -> None:
    """[15][19][29]"""
    workspace = world.workspace()
    line = new_line(idempotency_key_hash="k")
    assert world.admit(workspace, line, answer="{}", limit=LIMIT) is None
    now = world.now()
    assert world.counts() == (counts(purchased_phone=1), counts(purchased_phone=1))
    assert (now.lock, now.tat_ms) == (None, NOW_MS + 500)
    assert world.line(line) == line
    record = world.lines.idempotency_record("acme", "k")
    assert record is not None
    assert (record.line_id, record.fingerprint, record.response_body) == (line.id, "print", "{}")


def test_a_payable_line_takes_the_lock_too_and_its_key_has_no_answer_yet(world: World) -> None:
    """[16][23]"""
    workspace = world.workspace(email=Allowance(0, add_on=EMAIL))
    line = new_line(Kind.EMAIL, Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert world.admit(workspace, line) is None
    now = world.now()
    assert (now.lock, now.lock_kind) == (line.id, Kind.EMAIL)
    assert world.counts() == (counts(email=1), counts(email=1))
    assert world.line(line) == line
    record = world.lines.idempotency_record("acme", "k")
    assert record is not None
    assert record.response_body is None


def test_the_last_included_place_is_taken_once_and_the_loser_sees_who_was_faster(world: World) -> None:
    """[19]"""
    workspace = world.workspace()
    world.added()
    before = world.everything()
    lost = assert_lost(world, world.admit(workspace, new_line(idempotency_key_hash="k"), answer="{}"), before)
    assert lost.workspace == world.now()
    assert lost.idempotency_record is None


def test_while_a_line_awaits_payment_no_other_is_written_included_or_not(world: World) -> None:
    """[23]"""
    workspace = world.workspace(email=Allowance(0, add_on=EMAIL), purchased_phone=Allowance(1))
    holder = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    before = world.everything()
    for line in (new_line(), new_line(Kind.EMAIL, Status.AWAITING_PAYMENT)):
        lost = assert_lost(world, world.admit(workspace, line), before)
        assert lost.workspace is not None
        assert lost.workspace.lock == holder.id


def test_nothing_is_written_at_the_cap(world: World) -> None:
    """[18][19]"""
    workspace = world.workspace(email=Allowance(0, cap=1, add_on=EMAIL))
    world.paid(Kind.EMAIL)
    seen_before = replace(workspace, lock=None)
    before = world.everything()
    assert_lost(world, world.admit(seen_before, new_line(Kind.EMAIL, Status.AWAITING_PAYMENT)), before)


def test_the_cap_holds_for_included_lines_too(world: World) -> None:
    """[18][19]"""
    workspace = world.workspace(email=Allowance(2, cap=1))
    world.added(Kind.EMAIL)
    assert_lost(world, world.admit(workspace, new_line(Kind.EMAIL)), world.everything())


def test_a_decision_on_another_plan_than_the_stored_one_is_not_written(world: World) -> None:
    """[17][46]"""
    workspace = world.workspace()
    assert world.workspaces.save_subscription(workspace, None, NOW_MS) is not None
    lost = assert_lost(world, world.admit(workspace, new_line()), world.everything())
    assert lost.workspace is not None
    assert lost.workspace.subscription is None


def test_a_line_is_not_charged_for_when_a_place_has_become_free(world: World) -> None:
    """[19]"""
    workspace = world.workspace()
    included = world.added()
    workspace = world.now()
    world.lines.mark_failed(included, "no numbers left", NOW_MS)
    lost = assert_lost(world, world.admit(workspace, new_line(status=Status.AWAITING_PAYMENT)), world.everything())
    assert lost.workspace is not None
    assert Counter(lost.workspace.unpaid) == counts()


def test_a_known_key_shows_its_record_to_the_loser(world: World) -> None:
    """[29][31]"""
    workspace = world.workspace(purchased_phone=Allowance(5))
    first = world.added(idempotency_key_hash="k")
    before = world.everything()
    lost = assert_lost(world, world.admit(workspace, new_line(idempotency_key_hash="k"), answer="other"), before)
    assert lost.workspace is None
    assert lost.idempotency_record is not None
    assert (lost.idempotency_record.line_id, lost.idempotency_record.response_body) == (first.id, "{}")


def test_a_loser_of_both_sees_both(world: World) -> None:
    """[29][31]"""
    workspace = world.workspace()
    holder = world.added()
    holder = world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    same_key = new_line(status=Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    lost = assert_lost(world, world.admit(workspace, same_key), world.everything())
    assert lost.workspace is not None
    assert lost.workspace.lock == holder.id
    assert lost.idempotency_record is not None
    assert lost.idempotency_record.line_id == holder.id


def test_a_line_s_id_is_never_used_twice(world: World) -> None:
    """[20]"""
    workspace = world.workspace(purchased_phone=Allowance(5))
    line = world.added()
    lost = assert_lost(world, world.admit(workspace, replace(line, idempotency_key_hash="k")), world.everything())
    assert (lost.workspace, lost.idempotency_record) == (None, None)


def test_an_included_line_beside_paid_ones_makes_the_quantities_due(world: World) -> None:
    """[50]"""
    world.workspace(email=Allowance(1, add_on=EMAIL))
    included = world.added(Kind.EMAIL)
    world.paid(Kind.EMAIL)
    world.lines.mark_failed(included, "no numbers left", NOW_MS)
    world.workspaces.finish_quantities(world.now(), asked_at_ms=NOW_MS)
    assert "due_at" not in world.raw(world.now())
    revision = world.now().quantities_revision
    world.added(Kind.EMAIL)
    assert world.raw(world.now())["due_at"] == NOW_MS
    assert world.now().quantities_revision == revision + 1


def test_an_included_line_is_not_written_on_the_belief_that_nobody_has_paid(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=Allowance(2, add_on=EMAIL))
    unpaid = counts(email=0)
    world.table.write(paid_elsewhere(world))
    believed = replace(workspace, held=unpaid, unpaid=unpaid)
    lost = assert_lost(world, world.admit(believed, new_line(Kind.EMAIL)), world.everything())
    assert lost.workspace is not None
    assert world.admit(lost.workspace, new_line(Kind.EMAIL)) is None


def paid_elsewhere(world: World) -> Write:
    return Write(
        workspace_key(world.now().id),
        update="SET #held.#email = :one",
        values={"one": 1},
    )


def test_a_new_workspace_without_paid_lines_is_not_due(world: World) -> None:
    """[50]"""
    world.workspace()
    world.added()
    assert "due_at" not in world.raw(world.now())


# --- the rate window --------------------------------------------------------------------------------


def test_the_transaction_moves_the_window_once_idle_and_then_busy(world: World) -> None:
    """[35]"""
    workspace = world.workspace(purchased_phone=Allowance(9))
    for tat_ms in (NOW_MS + 500, NOW_MS + 1000):
        assert world.admit(workspace, new_line(), limit=LIMIT) is None
        workspace = world.now()
        assert workspace.tat_ms == tat_ms
    assert world.admit(workspace, new_line(), limit=LIMIT, now_ms=NOW_MS + 5000) is None
    assert world.now().tat_ms == NOW_MS + 5500


def test_a_request_that_was_counted_already_is_not_counted_again(world: World) -> None:
    """[35]"""
    workspace = world.workspace()
    assert world.admit(workspace, new_line(), limit=None) is None
    assert world.now().tat_ms is None


def test_a_used_up_window_writes_nothing(world: World) -> None:
    """[35]"""
    once = RateLimit(60, 1)
    workspace = world.workspace(purchased_phone=Allowance(9))
    assert world.admit(workspace, new_line(), limit=once) is None
    before = world.everything()
    for seen in (workspace, world.now()):
        lost = assert_lost(world, world.admit(seen, new_line(), limit=once), before)
        assert lost.workspace is not None
        assert lost.workspace.tat_ms == NOW_MS + 1000


def test_a_window_that_was_busy_and_is_idle_now_is_seen_as_it_is(world: World) -> None:
    """[35]"""
    workspace = world.workspace(purchased_phone=Allowance(9))
    seen = replace(workspace, tat_ms=NOW_MS + 100)
    lost = assert_lost(world, world.admit(seen, new_line(), limit=LIMIT), world.everything())
    assert lost.workspace == workspace
    assert world.admit(lost.workspace, new_line(), limit=LIMIT) is None


def test_a_refused_request_moves_the_window_and_nothing_else(world: World) -> None:
    """[22][35]"""
    workspace = world.workspace()
    world.wire.watch()
    world.workspaces.consume_rate(workspace, LIMIT, NOW_MS)
    assert world.wire.operations == {"UpdateItem": 1}
    assert world.now() == replace(workspace, tat_ms=NOW_MS + 500)


def test_over_the_limit_nothing_is_written_and_the_wait_is_told(world: World) -> None:
    """[35]"""
    workspace = world.workspace()
    once = RateLimit(60, 1)
    world.workspaces.consume_rate(workspace, once, NOW_MS)
    seen = world.now()
    world.wire.watch()
    with pytest.raises(RateLimited) as refused:
        world.workspaces.consume_rate(seen, once, NOW_MS + 400)
    assert refused.value.retry_after_ms == 600
    assert world.wire.operations == {}


def test_whoever_saw_an_old_window_is_counted_in_the_new_one(world: World) -> None:
    """[35]"""
    seen = world.workspace()
    world.workspaces.consume_rate(seen, LIMIT, NOW_MS)
    world.workspaces.consume_rate(seen, LIMIT, NOW_MS)
    assert world.now().tat_ms == NOW_MS + 1000
    once = RateLimit(120, 2)
    with pytest.raises(RateLimited) as refused:
        world.workspaces.consume_rate(seen, once, NOW_MS)
    assert refused.value.retry_after_ms == 500


# --- the frozen answer ------------------------------------------------------------------------------


def test_the_first_answer_of_a_key_is_its_answer_for_ever(world: World) -> None:
    """[29][31]"""
    world.workspace(email=Allowance(0, add_on=EMAIL))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert world.lines.freeze_response(line, "first") == ("first", False)
    assert world.lines.freeze_response(line, "second") == ("first", True)
    record = world.lines.idempotency_record("acme", "k")
    assert record is not None
    assert record.response_body == "first"


def test_a_key_that_no_longer_stands_for_the_line_is_not_answered(world: World) -> None:
    """[32]"""
    world.workspace(email=Allowance(0, add_on=EMAIL))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert world.lines.freeze_response(replace(line, id="0" * 24), "theirs") is None
    assert world.lines.freeze_response(replace(line, idempotency_key_hash="unknown"), "theirs") is None
    canceled = world.lines.cancel(line, "canceled", NOW_MS)
    assert canceled.payment_status is PaymentStatus.CANCELED
    assert world.lines.freeze_response(line, "late") is None
    assert world.lines.idempotency_record("acme", "k") is None


def test_without_a_key_the_answer_is_just_given(world: World) -> None:
    """[32]"""
    world.workspace()
    line = world.added()
    world.wire.watch()
    assert world.lines.freeze_response(line, "body") == ("body", False)
    assert world.wire.operations == {}
