"""The transaction that inserts a line, and every condition that can fail it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.errors import RateLimited
from line_requests.domain.model import PaymentStatus, Status
from line_requests.domain.prices import Allowance
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.storage.records import workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import ADD_ONS, NOW_MS
from tests.support.world import LIMIT, World, counts, new_line

if TYPE_CHECKING:
    from line_requests.storage.lines import Conflict

EMAIL = ADD_ONS[Kind.EMAIL]


def assert_lost(world: World, lost: Conflict | None, before: list[dict[str, object]]) -> Conflict:
    assert lost is not None
    assert world.everything() == before, "nothing is written"
    return lost


def test_included_line_is_inserted_with_its_place_and_its_response(world: World) -> None:
    """[15][19][29]"""
    workspace = world.workspace()
    line = new_line(idempotency_key_hash="k")
    assert world.insert(workspace, line, answer="{}", limit=LIMIT) is None
    now = world.now()
    assert world.counts() == (counts(purchased_phone=1), counts(purchased_phone=1))
    assert (now.lock, now.tat_ms) == (None, NOW_MS + 500)
    assert world.line(line) == line
    record = world.record("k")
    assert world.snapshot("acme", idempotency_key_hash="k").idempotency_record == record
    assert (record.line_id, record.fingerprint, record.response_body) == (line.id, "print", "{}")


def test_payable_line_is_inserted_with_the_lock_and_without_a_response(world: World) -> None:
    """[16][23]"""
    workspace = world.workspace(email=Allowance(0, add_on=EMAIL))
    line = new_line(Kind.EMAIL, Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert world.insert(workspace, line) is None
    now = world.now()
    assert (now.lock, now.lock_kind) == (line.id, Kind.EMAIL)
    assert world.counts() == (counts(email=1), counts(email=1))
    assert world.line(line) == line
    assert world.record("k").response_body is None


def test_insert_conflicts_when_the_last_included_place_is_taken(world: World) -> None:
    """[19]"""
    workspace = world.workspace()
    world.added()
    before = world.everything()
    lost = assert_lost(world, world.insert(workspace, new_line(idempotency_key_hash="k"), answer="{}"), before)
    assert lost.workspace == world.now()
    assert lost.idempotency_record is None


def test_insert_conflicts_while_another_line_awaits_payment(world: World) -> None:
    """[23]"""
    workspace = world.workspace(email=Allowance(0, add_on=EMAIL), purchased_phone=Allowance(1))
    holder = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    before = world.everything()
    for line in (new_line(), new_line(Kind.EMAIL, Status.AWAITING_PAYMENT)):
        lost = assert_lost(world, world.insert(workspace, line), before)
        assert lost.workspace.lock == holder.id


def test_insert_of_a_payable_line_conflicts_at_the_cap(world: World) -> None:
    """[18][19]"""
    workspace = world.workspace(email=Allowance(0, cap=1, add_on=EMAIL))
    world.paid(Kind.EMAIL)
    seen_before = replace(workspace, lock=None)
    before = world.everything()
    assert_lost(world, world.insert(seen_before, new_line(Kind.EMAIL, Status.AWAITING_PAYMENT)), before)


def test_insert_of_an_included_line_conflicts_at_the_cap(world: World) -> None:
    """[18][19]"""
    workspace = world.workspace(email=Allowance(2, cap=1))
    world.added(Kind.EMAIL)
    assert_lost(world, world.insert(workspace, new_line(Kind.EMAIL)), world.everything())


def test_insert_conflicts_when_the_subscription_changed(world: World) -> None:
    """[17][46]"""
    workspace = world.workspace()
    assert world.workspaces.save_subscription(workspace, None, NOW_MS) is not None
    lost = assert_lost(world, world.insert(workspace, new_line()), world.everything())
    assert lost.workspace.subscription is None


def test_insert_of_a_payable_line_conflicts_when_an_included_place_is_free(world: World) -> None:
    """[19]"""
    workspace = world.workspace()
    included = world.added()
    workspace = world.now()
    world.lines.mark_failed(included, "no numbers left", NOW_MS)
    lost = assert_lost(world, world.insert(workspace, new_line(status=Status.AWAITING_PAYMENT)), world.everything())
    assert Counter(lost.workspace.unpaid) == counts()


def test_insert_conflicts_with_the_record_of_a_known_key(world: World) -> None:
    """[29][31]"""
    workspace = world.workspace(purchased_phone=Allowance(5))
    first = world.added(idempotency_key_hash="k")
    before = world.everything()
    lost = assert_lost(world, world.insert(workspace, new_line(idempotency_key_hash="k"), answer="other"), before)
    assert lost.workspace == workspace
    assert lost.idempotency_record is not None
    assert (lost.idempotency_record.line_id, lost.idempotency_record.response_body) == (first.id, "{}")


def test_insert_conflict_shows_workspace_and_record(world: World) -> None:
    """[29][31]"""
    workspace = world.workspace()
    holder = world.added()
    holder = world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    same_key = new_line(status=Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    lost = assert_lost(world, world.insert(workspace, same_key), world.everything())
    assert lost.workspace.lock == holder.id
    assert lost.idempotency_record is not None
    assert lost.idempotency_record.line_id == holder.id


def test_insert_conflicts_when_the_line_id_exists(world: World) -> None:
    """[20]"""
    workspace = world.workspace(purchased_phone=Allowance(5))
    line = world.added()
    lost = assert_lost(world, world.insert(workspace, replace(line, idempotency_key_hash="k")), world.everything())
    assert (lost.workspace, lost.idempotency_record) == (workspace, None)


def test_included_line_beside_paid_ones_makes_quantities_due(world: World) -> None:
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


def test_insert_conflicts_when_a_line_was_paid_meanwhile(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=Allowance(2, add_on=EMAIL))
    unpaid = counts(email=0)
    world.table.write(Write(workspace_key("acme"), update="SET #held.#email = :one", values={"one": 1}))
    believed = replace(workspace, held=unpaid, unpaid=unpaid)
    lost = assert_lost(world, world.insert(believed, new_line(Kind.EMAIL)), world.everything())
    assert world.insert(lost.workspace, new_line(Kind.EMAIL)) is None


def test_included_line_without_paid_ones_makes_nothing_due(world: World) -> None:
    """[50]"""
    world.workspace()
    world.added()
    assert "due_at" not in world.raw(world.now())


# --- the rate window --------------------------------------------------------------------------------


def test_insert_moves_an_idle_and_a_busy_rate_window(world: World) -> None:
    """[35]"""
    workspace = world.workspace(purchased_phone=Allowance(9))
    for tat_ms in (NOW_MS + 500, NOW_MS + 1000):
        assert world.insert(workspace, new_line(), limit=LIMIT) is None
        workspace = world.now()
        assert workspace.tat_ms == tat_ms
    assert world.insert(workspace, new_line(), limit=LIMIT, now_ms=NOW_MS + 5000) is None
    workspace = world.now()
    assert workspace.tat_ms == NOW_MS + 5500
    assert world.insert(workspace, new_line(), limit=LIMIT, now_ms=NOW_MS + 5500) is None
    assert world.now().tat_ms == NOW_MS + 6000


def test_insert_does_not_count_a_counted_request_again(world: World) -> None:
    """[35]"""
    workspace = world.workspace()
    assert world.insert(workspace, new_line(), limit=None) is None
    assert world.now().tat_ms is None


def test_insert_conflicts_when_the_rate_window_is_used_up(world: World) -> None:
    """[35]"""
    once = RateLimit(60, 1)
    workspace = world.workspace(purchased_phone=Allowance(9))
    assert world.insert(workspace, new_line(), limit=once) is None
    before = world.everything()
    for seen in (workspace, world.now()):
        lost = assert_lost(world, world.insert(seen, new_line(), limit=once), before)
        assert lost.workspace.tat_ms == NOW_MS + 1000


def test_insert_conflicts_when_a_busy_rate_window_became_idle(world: World) -> None:
    """[35]"""
    workspace = world.workspace(purchased_phone=Allowance(9))
    seen = replace(workspace, tat_ms=NOW_MS + 100)
    lost = assert_lost(world, world.insert(seen, new_line(), limit=LIMIT), world.everything())
    assert lost.workspace == workspace
    assert world.insert(lost.workspace, new_line(), limit=LIMIT) is None


def test_consume_rate_moves_only_the_rate_window(world: World) -> None:
    """[22][35]"""
    workspace = world.workspace()
    world.wire.watch()
    world.workspaces.consume_rate(workspace, LIMIT, NOW_MS)
    assert world.wire.operations == {"UpdateItem": 1}
    assert world.now() == replace(workspace, tat_ms=NOW_MS + 500)


def test_consume_rate_over_the_limit_writes_nothing(world: World) -> None:
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


def test_consume_rate_counts_in_the_stored_window(world: World) -> None:
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


def test_first_frozen_response_wins(world: World) -> None:
    """[29][31]"""
    world.workspace(email=Allowance(0, add_on=EMAIL))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert world.lines.freeze_response(line, "first") == ("first", False)
    assert world.lines.freeze_response(line, "second") == ("first", True)
    assert world.record("k").response_body == "first"


def test_response_is_not_frozen_when_the_key_has_another_line(world: World) -> None:
    """[32]"""
    world.workspace(email=Allowance(0, add_on=EMAIL))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert world.lines.freeze_response(replace(line, id="0" * 24), "theirs") is None
    assert world.lines.freeze_response(replace(line, idempotency_key_hash="unknown"), "theirs") is None
    canceled = world.lines.cancel(line, "canceled", NOW_MS)
    assert canceled.payment_status is PaymentStatus.CANCELED
    assert world.lines.freeze_response(line, "late") is None
    assert world.lines.idempotency_record("acme", "k") is None


def test_response_without_a_key_is_not_stored(world: World) -> None:
    """[32]"""
    world.workspace()
    line = world.added()
    world.wire.watch()
    assert world.lines.freeze_response(line, "body") == ("body", False)
    assert world.wire.operations == {}
