"""What is stored of money that has to go back, and of money that went back: conditions, and nothing of the state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.model import PaymentStatus, Status
from line_requests.domain.reversals import Reversal
from tests.decision.examples import NOW_MS
from tests.store.test_operator_index import entry
from tests.store.test_transitions import FOR_SALE, LATER_MS, awaiting

if TYPE_CHECKING:
    from tests.support.world import World


def test_refund_is_flagged_once_on_a_canceled_line(world: World) -> None:
    """[44]"""
    line = awaiting(world)
    assert world.lines.flag_refund(line, "in_1") is False
    assert world.line(line).refund_due is False, "not while it waits"
    canceled = world.lines.cancel(line, "canceled", NOW_MS)
    assert world.lines.flag_refund(canceled, "in_1") is True
    assert world.lines.flag_refund(canceled, "in_2") is False
    flagged = world.line(line)
    assert (flagged.status, flagged.refund_due, flagged.invoice_id) == (Status.CANCELED, True, "in_1")


def test_late_payment_of_the_own_invoice_of_a_canceled_line_is_flagged(world: World) -> None:
    """[44]"""
    line = world.lines.save_invoice(awaiting(world), "in_1")
    assert line is not None
    canceled = world.lines.cancel(line, "canceled", NOW_MS)
    world.lines.flag_refund(canceled, "in_1")
    assert world.line(line) == replace(canceled, refund_due=True)


def test_refund_of_a_second_payment_is_flagged_and_keeps_the_paid_lines_invoice(world: World) -> None:
    """[56] Never of its own invoice."""
    paid = world.lines.mark_paid(awaiting(world), LATER_MS, invoice_id="in_2", url=None)
    assert world.lines.flag_refund(paid, "in_2") is False
    assert world.line(paid) == paid
    world.lines.flag_refund(paid, "in_1")
    flagged = world.line(paid)
    assert (flagged.refund_due, flagged.invoice_id, flagged.invoice_to_refund) == (True, "in_2", "in_1")


def test_refund_is_not_flagged_on_a_released_paid_line(world: World) -> None:
    """[44][49]"""
    world.workspace(purchased_phone=FOR_SALE)
    released = world.lines.release(world.lines.mark_active(world.paid(), NOW_MS), "operator", LATER_MS)
    assert (released.status, released.payment_status) == (Status.CANCELED, PaymentStatus.PAID)
    assert not released.refundable
    world.lines.flag_refund(released, "in_1")
    assert world.line(released).refund_due is False


def test_refund_is_not_flagged_once_something_went_back(world: World) -> None:
    """[55]"""
    canceled = world.lines.cancel(awaiting(world), "canceled", NOW_MS)
    gone = Reversal(LATER_MS, "re_1", "refund_succeeded", 900, "usd")
    saved = world.lines.save_reversals(canceled, [gone], refund_due=False)
    assert world.lines.flag_refund(canceled, "in_1") is False
    assert world.line(canceled) == saved


@pytest.mark.parametrize("flagged", [True, False])
def test_line_moves_on_whatever_its_refund_flag_has_become(world: World, *, flagged: bool) -> None:
    """[49][55] Its entry in the operators' index follows the flag as it is stored."""
    world.workspace(purchased_phone=FOR_SALE)
    line = world.paid()
    world.put_lines([now := replace(line, refund_due=flagged)])
    failed = world.lines.mark_failed(replace(line, refund_due=not flagged), "no number", LATER_MS)
    assert failed == world.line(line)
    assert (failed.status, failed.refund_due, failed.sequence) == (Status.FAILED, flagged, now.sequence + 1)
    assert entry(world, line) == ("refund_due" if flagged else "failed", LATER_MS)


def test_reversal_that_changes_no_flag_makes_no_entry(world: World) -> None:
    """[55]"""
    world.workspace(purchased_phone=FOR_SALE)
    line = world.paid()
    heard = Reversal(LATER_MS, "re_1", "refund_pending", 900, "usd")
    assert world.lines.save_reversals(line, [heard], refund_due=False) is not None
    assert entry(world, line) is None


@pytest.mark.parametrize("invoice_id", [None, "in_1"])
def test_reversals_are_saved_on_the_line_as_it_was_read_only(world: World, invoice_id: str | None) -> None:
    """[55]"""
    world.workspace()
    line = world.added(invoice_id=invoice_id)
    first = Reversal(LATER_MS, "re_1", "refund_pending", 900, "usd")
    saved = world.lines.save_reversals(line, [first], refund_due=True, refund_invoice_id="in_9")
    assert saved is not None
    assert saved == replace(line, reversals=(first,), refund_due=True, refund_invoice_id="in_9") == world.line(line)
    stale = [
        line,
        *(replace(saved, reversals=other) for other in ((), (first, first))),
        replace(saved, refund_due=False),
        replace(saved, invoice_id="in_2"),
        replace(saved, invoice_id=None if invoice_id else "in_1"),
        replace(saved, history=saved.history * 2),
    ]
    assert [world.lines.save_reversals(one, [], refund_due=False) for one in stale] == [None] * len(stale)
    assert world.line(line) == saved
    second = replace(first, cause="refund_succeeded")
    settled = world.lines.save_reversals(saved, [second], refund_due=False)
    assert settled == replace(saved, reversals=(first, second), refund_due=False) == world.line(line)
