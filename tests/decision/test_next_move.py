"""What a line that awaits payment does next, by what Stripe was just seen to hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain.decision import (
    Cancel,
    Close,
    Include,
    Intend,
    Make,
    Missing,
    Move,
    Promote,
    Rest,
    expiry_ms,
    next_move,
    reason_to_close,
)
from line_requests.domain.model import Allowance, Invoice, Line, PaymentStatus, Status, VoidReason, Workspace
from line_requests.domain.submission import Kind
from tests.decision.examples import (
    ADD_ONS,
    HOUR_MS,
    NOW_MS,
    counts,
    invoice,
    line,
    lines,
    moments_ms,
    subscription,
    waiting,
    workspace,
    workspaces,
)

# One included, one more waiting for its payment.
FULL = workspace(held=counts(purchased_phone=2), unpaid=counts(purchased_phone=2))
ROOMY = workspace(held=counts(purchased_phone=1), unpaid=counts(purchased_phone=1))
UNFINISHED = line()
WAITING = waiting()

closings = st.none() | st.sampled_from(VoidReason)
stripe_statuses = st.sampled_from(["draft", "open", "paid", "void", "uncollectible", "gone"])


def move(
    asked: Line, seen: Invoice | None, there: Workspace = FULL, *, now_ms: int = NOW_MS, window_ms: int = 0
) -> Move:
    return next_move(asked, there, seen, now_ms, window_ms)


def test_a_line_without_an_invoice_or_with_a_draft_is_made() -> None:
    """[16][33]"""
    assert move(UNFINISHED, None) == Make()
    assert move(replace(UNFINISHED, invoice_id="in_1"), invoice("draft")) == Make()


def test_an_open_invoice_waits_also_when_its_link_is_not_stored_yet() -> None:
    """[33][39]"""
    assert move(WAITING, invoice("open")) == Rest()
    assert move(UNFINISHED, invoice("open")) == Rest()


def test_an_uncollectible_invoice_can_still_be_paid_so_it_stays() -> None:
    """[39]"""
    assert move(WAITING, invoice("uncollectible")) == Rest()
    assert move(UNFINISHED, invoice("uncollectible")) == Rest()


@given(closings, moments_ms, st.sampled_from([0, HOUR_MS]), workspaces())
def test_paid_beats_every_reason_to_close(
    void_reason: VoidReason | None, now_ms: int, window_ms: int, there: Workspace
) -> None:
    """[39][44]"""
    for asked in (WAITING, UNFINISHED):
        closing_line = replace(asked, void_reason=void_reason)
        assert move(closing_line, invoice("paid"), there, now_ms=now_ms, window_ms=window_ms) == Promote()


@pytest.mark.parametrize("asked", [WAITING, UNFINISHED])
def test_a_void_invoice_means_what_was_intended_with_it(asked: Line) -> None:
    """[39]"""
    void = invoice("void")
    assert move(asked, void) == Cancel("invoice_voided")
    for void_reason in set(VoidReason) - {VoidReason.INCLUDED}:
        assert move(replace(asked, void_reason=void_reason), void) == Cancel(void_reason)
    assert move(replace(asked, void_reason=VoidReason.INCLUDED), void) == Include()


def test_a_void_invoice_cancels_even_where_the_plan_now_includes_the_line() -> None:
    """[39]"""
    assert move(WAITING, invoice("void"), ROOMY) == Cancel("invoice_voided")


def test_a_draft_that_was_to_be_deleted_and_is_gone_is_closed() -> None:
    """[39][41]"""
    assert move(replace(UNFINISHED, void_reason=VoidReason.CANCELED), invoice("gone")) == Cancel(VoidReason.CANCELED)
    assert move(replace(UNFINISHED, void_reason=VoidReason.INCLUDED), invoice("gone")) == Include()


@given(closings)
def test_a_finished_invoice_that_stripe_does_not_know_changes_nothing(void_reason: VoidReason | None) -> None:
    """[39]"""
    assert move(replace(WAITING, void_reason=void_reason), invoice("gone"), ROOMY, window_ms=1) == Missing()


def test_a_draft_that_somebody_deleted_is_made_again() -> None:
    """[23][39]"""
    assert move(replace(UNFINISHED, invoice_id="in_1"), invoice("gone")) == Make()


def test_a_draft_that_went_is_not_made_again_when_there_is_nothing_to_pay_any_more() -> None:
    """[27][39] Its customer may have gone with it."""
    assert move(UNFINISHED, invoice("gone"), replace(FULL, subscription=None)) == Intend(VoidReason.SUBSCRIPTION_ENDED)
    assert move(UNFINISHED, invoice("gone"), ROOMY) == Intend(VoidReason.INCLUDED)


@pytest.mark.parametrize("void_reason", VoidReason)
@pytest.mark.parametrize("status", ["draft", "open", "uncollectible"])
def test_an_intent_once_stored_is_carried_out_whatever_happened_since(void_reason: VoidReason, status: str) -> None:
    """[39][41]"""
    for there in (FULL, ROOMY, workspace(subscription=None)):
        assert move(replace(WAITING, void_reason=void_reason), invoice(status), there) == Close()


def test_an_intent_on_a_line_without_an_invoice_still_closes_one_that_may_exist() -> None:
    """[34][41]"""
    assert move(replace(UNFINISHED, void_reason=VoidReason.CANCELED), None) == Close()


@pytest.mark.parametrize("status", ["canceled", "incomplete_expired"])
def test_a_subscription_that_ended_is_a_reason_to_close(status: str) -> None:
    """[39]"""
    ended = replace(FULL, subscription=subscription(status))
    assert move(WAITING, invoice("open"), ended) == Intend(VoidReason.SUBSCRIPTION_ENDED)


@pytest.mark.parametrize("status", ["past_due", "unpaid", "incomplete", "paused"])
def test_a_subscription_that_may_come_back_is_none(status: str) -> None:
    """[39]"""
    lapsed = replace(ROOMY, subscription=subscription(status))
    assert move(WAITING, invoice("open"), lapsed) == Rest()


def test_a_subscription_that_went_with_its_customer_has_ended() -> None:
    """[39]"""
    assert move(WAITING, invoice("open"), replace(ROOMY, subscription=None)) == Intend(VoidReason.SUBSCRIPTION_ENDED)


def test_a_plan_that_now_includes_the_line_is_a_reason_to_close() -> None:
    """[39]"""
    assert move(WAITING, invoice("open"), ROOMY) == Intend(VoidReason.INCLUDED)
    more = replace(FULL, subscription=subscription(purchased_phone=Allowance(2)))
    assert move(WAITING, invoice("open"), more) == Intend(VoidReason.INCLUDED)
    unknown_plan = replace(subscription(purchased_phone=Allowance(2)), plan=None)
    assert move(WAITING, invoice("open"), replace(FULL, subscription=unknown_plan)) == Rest()


def test_room_for_another_kind_includes_nothing() -> None:
    """[19][39]"""
    emails = replace(FULL, subscription=subscription(email=Allowance(9, add_on=ADD_ONS[Kind.EMAIL])))
    assert move(WAITING, invoice("open"), emails) == Rest()


def test_the_payment_window_ends_the_wait_at_its_very_end() -> None:
    """[16][47]"""
    almost = NOW_MS + HOUR_MS - 1
    assert expiry_ms(WAITING, HOUR_MS) == NOW_MS + HOUR_MS
    assert move(WAITING, invoice("open"), now_ms=almost, window_ms=HOUR_MS) == Rest()
    assert move(WAITING, invoice("open"), now_ms=almost + 1, window_ms=HOUR_MS) == Intend(VoidReason.EXPIRED)
    assert expiry_ms(WAITING, 0) is None
    assert move(WAITING, invoice("open"), now_ms=2**50) == Rest()


def test_an_included_line_is_included_rather_than_expired() -> None:
    """[39][47]"""
    assert reason_to_close(WAITING, ROOMY, NOW_MS + HOUR_MS, HOUR_MS) is VoidReason.INCLUDED


@given(lines, workspaces(), st.none() | stripe_statuses, moments_ms, st.sampled_from([0, HOUR_MS]))
def test_every_line_has_a_move_and_only_a_settled_invoice_settles_it(
    asked: Line, there: Workspace, status: str | None, now_ms: int, window_ms: int
) -> None:
    """[39][44]"""
    asked = replace(asked, status=Status.AWAITING_PAYMENT, payment_status=PaymentStatus.AWAITING_PAYMENT)
    decided = move(asked, None if status is None else invoice(status), there, now_ms=now_ms, window_ms=window_ms)
    if isinstance(decided, Promote):
        assert status == "paid"
    if isinstance(decided, Include | Cancel):
        assert status == "void" or (status == "gone" and asked.half_made and asked.void_reason)
    if isinstance(decided, Close):
        assert asked.void_reason is not None, "the intent is stored before the void"
