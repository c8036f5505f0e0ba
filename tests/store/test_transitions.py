"""Each transition of a line, its effect on the workspace, and every condition that can fail it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.errors import ForbiddenLineType
from line_requests.domain.model import Change, Line, PaymentStatus, Status, Subscription, VoidReason
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from line_requests.storage.records import workspace_key
from line_requests.storage.table import TransactionCanceled, Write
from tests.decision.examples import ADD_ONS, NOW_MS, subscription
from tests.support.world import counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World

LATER_MS = NOW_MS + 60_000
EXTRA = ADD_ONS[Kind.PURCHASED_PHONE]
FOR_SALE = Allowance(0, add_on=EXTRA)


def awaiting(world: World, idempotency_key_hash: str | None = None) -> Line:
    """The one line of a new workspace, waiting for its payment."""
    world.workspace(purchased_phone=FOR_SALE)
    return world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash=idempotency_key_hash)


def assert_moved(world: World, before: Line, after: Line, into: tuple[Status, PaymentStatus], cause: str) -> None:
    assert (after.status, after.payment_status) == into
    assert after.history[:-1] == before.history, "[49]"
    assert replace(after.history[-1], reason_code=None, reason=None) == Change(LATER_MS, into[0], cause)
    assert after == world.line(before), "what is returned is what is stored"


def assert_unmoved(world: World, act: Callable[[], Line]) -> None:
    before = world.everything()
    current = act()
    assert world.everything() == before
    assert current == world.line(current)


# --- from awaiting payment ----------------------------------------------------------------------------


def test_mark_paid_frees_the_lock_and_keeps_the_place(world: World) -> None:
    """[24][39][49][50]"""
    line = awaiting(world)
    paid = world.lines.mark_paid(line, LATER_MS, invoice_id="in_9", url="https://pay")
    assert_moved(world, line, paid, (Status.PROVISIONING, PaymentStatus.PAID), "invoice_paid")
    assert (paid.invoice_id, paid.payment_url) == ("in_9", "https://pay")
    assert paid.due_at_ms == LATER_MS + REPUBLISH_AFTER_MS
    now = world.now()
    assert (now.lock, now.lock_kind) == (None, None)
    assert world.counts() == (counts(purchased_phone=1), counts())
    assert world.raw(now)["due_at"] == LATER_MS, "the quantity follows"


def test_mark_paid_by_a_copy_keeps_the_line_due_until_the_original_is_settled(world: World) -> None:
    """[56] Whatever the line becomes meanwhile."""
    line = awaiting(world)
    paid = world.lines.mark_paid(line, LATER_MS, invoice_id="in_2", url=None, replaced="in_1")
    assert (paid.invoice_id, paid.replaced_invoice_id, paid.due_at_ms) == ("in_2", "in_1", LATER_MS)
    active = world.lines.mark_active(paid, LATER_MS + 1)
    assert (active, active.due_at_ms) == (world.line(line), LATER_MS + 1)
    world.lines.forget_replaced(paid)
    assert world.line(line) == active, "the line has moved on: its next look forgets it"
    world.lines.forget_replaced(active)
    assert world.line(line) == replace(active, replaced_invoice_id=None, due_at_ms=None)


def test_forgotten_original_leaves_a_provisioning_line_due_for_its_provisioner(world: World) -> None:
    """[48] [56]"""
    paid = world.lines.mark_paid(awaiting(world), LATER_MS, invoice_id="in_2", url=None, replaced="in_1")
    world.lines.forget_replaced(paid)
    forgotten = world.line(paid)
    assert (forgotten.replaced_invoice_id, forgotten.due_at_ms) == (None, LATER_MS + REPUBLISH_AFTER_MS)
    waiting = world.added(status=Status.AWAITING_PAYMENT)
    again = world.lines.mark_paid(waiting, LATER_MS, invoice_id="in_4", url=None, replaced="in_3")
    world.lines.forget_replaced(replace(again, replaced_invoice_id="in_1"))
    assert world.line(again) == again, "another one is to be settled"


def test_revision_takes_the_place_of_the_invoice_that_was_read_only(world: World) -> None:
    """[56]"""
    world.workspace(purchased_phone=FOR_SALE)
    line = world.added(status=Status.AWAITING_PAYMENT, invoice_id="in_1", payment_url="https://pay/1")
    revised = world.lines.follow_revision(line, "in_2", "https://pay/2")
    assert revised == replace(line, invoice_id="in_2", payment_url="https://pay/2") == world.line(line)
    assert world.lines.follow_revision(line, "in_3", "https://pay/3") is None
    assert world.line(line) == revised


@pytest.mark.parametrize("void_reason", VoidReason)
def test_mark_paid_beats_a_void_reason(world: World, void_reason: VoidReason) -> None:
    """[39][41][44]"""
    line = awaiting(world)
    assert world.lines.record_void_reason(line, void_reason, NOW_MS) is not None
    paid = world.lines.mark_paid(line, LATER_MS, invoice_id="in_1", url=None)
    assert (paid.status, paid.void_reason) == (Status.PROVISIONING, None)


def test_mark_paid_twice_changes_nothing(world: World) -> None:
    """[44]"""
    line = awaiting(world)
    world.lines.mark_paid(line, LATER_MS, invoice_id="in_1", url=None)
    assert_unmoved(world, lambda: world.lines.mark_paid(line, LATER_MS + 1, invoice_id="in_2", url=None))


def test_canceled_line_is_never_provisioned(world: World) -> None:
    """[44]"""
    line = awaiting(world)
    world.lines.cancel(line, "canceled", LATER_MS)
    assert_unmoved(world, lambda: world.lines.mark_paid(line, LATER_MS + 1, invoice_id="in_1", url=None))
    assert_unmoved(world, lambda: world.lines.waive(line, LATER_MS + 1))


def test_waive_frees_the_lock_and_keeps_the_unpaid_place(world: World) -> None:
    """[24][39][49]"""
    line = awaiting(world)
    intended = world.lines.record_void_reason(line, VoidReason.INCLUDED, NOW_MS)
    assert intended is not None
    included = world.lines.waive(intended, LATER_MS)
    assert_moved(world, line, included, (Status.PROVISIONING, PaymentStatus.NOT_REQUIRED), "plan_includes_line")
    now = world.now()
    assert now.lock is None
    assert world.counts() == (counts(purchased_phone=1), counts(purchased_phone=1))


def test_cancel_frees_the_lock_and_the_place(world: World) -> None:
    """[19][24][41][49]"""
    line = awaiting(world)
    world.wire.watch()
    canceled = world.lines.cancel(line, "invoice_voided", LATER_MS)
    assert world.wire.operations == {"TransactWriteItems": 1}
    assert_moved(world, line, canceled, (Status.CANCELED, PaymentStatus.CANCELED), "invoice_voided")
    assert canceled.due_at_ms is None
    now = world.now()
    assert now.lock is None
    assert world.counts() == (counts(), counts())


def test_settling_changes_nothing_when_the_void_reason_changed(world: World) -> None:
    """[39]"""
    line = awaiting(world)
    assert world.lines.record_void_reason(line, VoidReason.INCLUDED, NOW_MS) is not None
    assert_unmoved(world, lambda: world.lines.cancel(line, "invoice_voided", LATER_MS))
    other = replace(line, void_reason=VoidReason.CANCELED)
    assert_unmoved(world, lambda: world.lines.cancel(other, "canceled", LATER_MS))
    assert_unmoved(world, lambda: world.lines.waive(other, LATER_MS))


def test_settling_raises_when_the_lock_is_another_line_s(world: World) -> None:
    """[24]"""
    line = awaiting(world)
    key = workspace_key("acme")
    world.table.write(Write(key, update="SET #lock = :other", values={"other": "f" * 24}))
    before = world.everything()
    moves: list[Callable[[], Line]] = [
        lambda: world.lines.cancel(line, "canceled", LATER_MS),
        lambda: world.lines.waive(line, LATER_MS),
        lambda: world.lines.mark_paid(line, LATER_MS, invoice_id="in_1", url=None),
    ]
    for move in moves:
        with pytest.raises(TransactionCanceled):
            move()
    assert world.everything() == before


@pytest.mark.parametrize("move", ["mark_paid", "cancel", "waive"])
def test_line_whose_invoice_changed_is_not_settled_by_another(world: World, move: str) -> None:
    """[56] It was read before."""
    line = awaiting(world)
    saved = world.lines.save_invoice(line, "in_1")
    moves = {
        "mark_paid": lambda one: world.lines.mark_paid(one, LATER_MS, invoice_id="in_2", url=None),
        "cancel": lambda one: world.lines.cancel(one, "canceled", LATER_MS),
        "waive": lambda one: world.lines.waive(one, LATER_MS),
    }
    assert moves[move](line) == saved == world.line(line)
    assert saved is not None
    assert moves[move](saved).sequence == line.sequence + 1


# --- the key of a canceled line -----------------------------------------------------------------------


def test_cancel_deletes_an_unanswered_idempotency_record(world: World) -> None:
    """[32][34]"""
    line = awaiting(world, idempotency_key_hash="k")
    world.lines.cancel(line, "billing_refused", LATER_MS)
    assert world.lines.idempotency_record("acme", "k") is None


def test_cancel_keeps_an_answered_idempotency_record(world: World) -> None:
    """[29][32]"""
    line = awaiting(world, idempotency_key_hash="k")
    world.lines.freeze_response(line, "{}")
    canceled = world.lines.cancel(line, "canceled", LATER_MS)
    assert canceled.status is Status.CANCELED
    assert world.record("k").response_body == "{}"


def test_cancel_keeps_an_idempotency_record_answered_meanwhile(world: World) -> None:
    """[29][32]"""
    line = awaiting(world, idempotency_key_hash="k")
    world.wire.before("TransactWriteItems", lambda: world.lines.freeze_response(line, "{}"))
    canceled = world.lines.cancel(line, "canceled", LATER_MS)
    assert_moved(world, line, canceled, (Status.CANCELED, PaymentStatus.CANCELED), "canceled")
    assert world.record("k").response_body == "{}"
    assert world.counts()[0] == counts()


def test_cancel_changes_nothing_when_its_key_is_answered_and_the_void_reason_changes_meanwhile(world: World) -> None:
    """[29][39]"""
    line = awaiting(world, idempotency_key_hash="k")
    world.wire.before("TransactWriteItems", lambda: world.lines.freeze_response(line, "{}"))
    world.wire.before("GetItem", lambda: None)
    world.wire.before("GetItem", lambda: world.lines.record_void_reason(line, VoidReason.INCLUDED, NOW_MS))
    kept = world.lines.cancel(line, "canceled", LATER_MS)
    assert (kept, kept.awaiting, kept.void_reason) == (world.line(line), True, VoidReason.INCLUDED)


def test_cancel_keeps_another_line_s_idempotency_record(world: World) -> None:
    """[32]"""
    first = awaiting(world, idempotency_key_hash="k")
    world.lines.cancel(first, "canceled", LATER_MS)
    second = world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    assert_unmoved(world, lambda: world.lines.cancel(first, "canceled", LATER_MS))
    assert world.record("k").line_id == second.id


# --- provisioning ---------------------------------------------------------------------------------------


def test_mark_active_ends_the_reconciler_s_checks(world: World) -> None:
    """[48][49]"""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS)
    active = world.lines.mark_active(line, LATER_MS)
    assert_moved(world, line, active, (Status.ACTIVE, PaymentStatus.NOT_REQUIRED), "provisioned")
    assert not {"due_at", "due_shard"} & world.raw(active).keys()
    assert world.counts()[0] == counts(purchased_phone=1)


@pytest.mark.parametrize("paid", [True, False])
def test_mark_failed_frees_the_place_and_keeps_the_payment_status(world: World, *, paid: bool) -> None:
    """[19][36][49][50]"""
    world.workspace(purchased_phone=Allowance(0 if paid else 1, add_on=EXTRA))
    line = world.paid() if paid else world.added()
    world.workspaces.finish_quantities(world.now(), asked_at_ms=NOW_MS)
    failed = world.lines.mark_failed(line, "no numbers left", LATER_MS)
    assert_moved(world, line, failed, (Status.FAILED, line.payment_status), "provisioning_failed")
    now = world.now()
    assert world.counts() == (counts(), counts())
    assert world.raw(now)["due_at"] == LATER_MS


def test_second_provisioning_result_changes_nothing(world: World) -> None:
    """[48]"""
    world.workspace()
    line = world.added()
    world.lines.mark_active(line, LATER_MS)
    assert_unmoved(world, lambda: world.lines.mark_active(line, LATER_MS))
    assert_unmoved(world, lambda: world.lines.mark_failed(line, "late", LATER_MS))


@pytest.mark.parametrize("paid", [True, False])
def test_retry_takes_a_place_of_the_same_sort(world: World, *, paid: bool) -> None:
    """[49]"""
    world.workspace(purchased_phone=Allowance(0 if paid else 1, add_on=EXTRA))
    line = world.paid() if paid else world.added()
    before = world.counts()
    failed = world.lines.mark_failed(line, "no numbers left", NOW_MS)
    again = world.lines.retry(world.now(), failed, "operator", LATER_MS)
    assert_moved(world, failed, again, (Status.PROVISIONING, line.payment_status), "operator")
    assert again.due_at_ms == LATER_MS + REPUBLISH_AFTER_MS
    assert world.counts() == before
    assert_unmoved(world, lambda: world.lines.retry(world.now(), failed, "operator", LATER_MS))


def test_retry_raises_without_an_included_place(world: World) -> None:
    """[18][49]"""
    world.workspace()
    failed = world.lines.mark_failed(world.added(), "no numbers left", NOW_MS)
    world.added()
    before = world.everything()
    with pytest.raises(ForbiddenLineType):
        world.lines.retry(world.now(), failed, "operator", LATER_MS)
    assert world.everything() == before


def test_retry_of_a_paid_line_raises_at_the_cap(world: World) -> None:
    """[18][49]"""
    world.workspace(purchased_phone=Allowance(0, cap=1, add_on=EXTRA))
    failed = world.lines.mark_failed(world.paid(), "no numbers left", NOW_MS)
    world.paid()
    with pytest.raises(ForbiddenLineType):
        world.lines.retry(world.now(), failed, "operator", LATER_MS)


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("lost", [None, subscription("past_due")])
def test_retry_raises_without_the_current_active_subscription(
    world: World, lost: Subscription | None, *, paid: bool
) -> None:
    """[17][49]"""
    seen = world.workspace(purchased_phone=Allowance(0 if paid else 1, add_on=EXTRA))
    failed = world.lines.mark_failed(world.paid() if paid else world.added(), "no numbers left", NOW_MS)
    assert world.workspaces.save_subscription(world.now(), lost, NOW_MS) is not None
    for workspace in (seen, world.now()):
        with pytest.raises(ForbiddenLineType):
            world.lines.retry(workspace, failed, "operator", LATER_MS)
    assert world.counts()[0] == counts()


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.FAILED])
def test_release_frees_the_place_of_an_active_line_once(world: World, status: Status) -> None:
    """[19][49]"""
    world.workspace()
    line = world.added()
    fail = world.lines.mark_failed
    line = world.lines.mark_active(line, NOW_MS) if status is Status.ACTIVE else fail(line, "failed", NOW_MS)
    released = world.lines.release(line, "operator", LATER_MS)
    assert_moved(world, line, released, (Status.CANCELED, PaymentStatus.NOT_REQUIRED), "operator")
    assert (released.due_at_ms, released.refund_due) == (None, False)
    assert world.counts() == (counts(), counts())
    assert_unmoved(world, lambda: world.lines.release(line, "operator", LATER_MS))
    assert world.counts()[0] == counts(), "a place is given back once"


def test_set_due_changes_nothing_once_the_line_moved_on(world: World) -> None:
    """[48]"""
    world.workspace()
    line = world.added()
    world.lines.set_due(line, LATER_MS)
    assert world.line(line).due_at_ms == LATER_MS
    world.lines.mark_active(line, LATER_MS)
    world.lines.set_due(line, LATER_MS)
    assert world.line(line).due_at_ms is None
