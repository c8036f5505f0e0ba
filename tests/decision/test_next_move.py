"""The next move of a line that awaits payment, given its invoice as just fetched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain.decision import (
    AwaitPayment,
    BuildInvoice,
    Cancel,
    MarkPaid,
    Move,
    RecordVoidReason,
    ReportMissing,
    VoidInvoice,
    Waive,
    expiry_ms,
    next_move,
    reason_to_void,
)
from line_requests.domain.model import Invoice, Line, PaymentStatus, Status, VoidReason, Workspace
from line_requests.domain.prices import Allowance
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
    payable,
    subscription,
    workspace,
    workspaces,
)

# One line included, one more awaiting payment.
FULL = workspace(held=counts(purchased_phone=2), unpaid=counts(purchased_phone=2))
ROOMY = workspace(held=counts(purchased_phone=1), unpaid=counts(purchased_phone=1))
HALF_MADE = line()
PAYABLE = payable()

void_reasons = st.none() | st.sampled_from(VoidReason)
stripe_statuses = st.sampled_from(["draft", "open", "paid", "void", "uncollectible", "gone"])


def move(
    asked: Line, seen: Invoice | None, there: Workspace = FULL, *, now_ms: int = NOW_MS, window_ms: int = 0
) -> Move:
    return next_move(asked, there, seen, now_ms, window_ms)


def test_next_move_builds_missing_or_draft_invoice() -> None:
    """[16][33]"""
    assert move(HALF_MADE, None) == BuildInvoice()
    assert move(replace(HALF_MADE, invoice_id="in_1"), invoice("draft")) == BuildInvoice()


def test_next_move_awaits_payment_of_open_invoice_even_before_its_url_is_stored() -> None:
    """[33][39]"""
    assert move(PAYABLE, invoice("open")) == AwaitPayment()
    assert move(HALF_MADE, invoice("open")) == AwaitPayment()


def test_next_move_awaits_payment_of_uncollectible_invoice() -> None:
    """[39]"""
    assert move(PAYABLE, invoice("uncollectible")) == AwaitPayment()
    assert move(HALF_MADE, invoice("uncollectible")) == AwaitPayment()


@given(void_reasons, moments_ms, st.sampled_from([0, HOUR_MS]), workspaces())
def test_next_move_marks_paid_despite_any_void_reason(
    void_reason: VoidReason | None, now_ms: int, window_ms: int, there: Workspace
) -> None:
    """[39][44]"""
    for asked in (PAYABLE, HALF_MADE):
        line_to_void = replace(asked, void_reason=void_reason)
        assert move(line_to_void, invoice("paid"), there, now_ms=now_ms, window_ms=window_ms) == MarkPaid()


@pytest.mark.parametrize("asked", [PAYABLE, HALF_MADE])
def test_next_move_settles_void_invoice_by_stored_reason(asked: Line) -> None:
    """[39]"""
    void = invoice("void")
    assert move(asked, void) == Cancel("invoice_voided")
    for void_reason in set(VoidReason) - {VoidReason.INCLUDED}:
        assert move(replace(asked, void_reason=void_reason), void) == Cancel(void_reason)
    assert move(replace(asked, void_reason=VoidReason.INCLUDED), void) == Waive()


def test_next_move_cancels_void_invoice_even_if_plan_now_includes_line() -> None:
    """[39]"""
    assert move(PAYABLE, invoice("void"), ROOMY) == Cancel("invoice_voided")


def test_next_move_settles_deleted_draft_by_stored_reason() -> None:
    """[39][41]"""
    assert move(replace(HALF_MADE, void_reason=VoidReason.CANCELED), invoice("gone")) == Cancel(VoidReason.CANCELED)
    assert move(replace(HALF_MADE, void_reason=VoidReason.INCLUDED), invoice("gone")) == Waive()


@given(void_reasons)
def test_next_move_reports_finalized_invoice_missing_at_stripe(void_reason: VoidReason | None) -> None:
    """[39]"""
    assert move(replace(PAYABLE, void_reason=void_reason), invoice("gone"), ROOMY, window_ms=1) == ReportMissing()


def test_next_move_rebuilds_draft_deleted_by_hand() -> None:
    """[23][39]"""
    assert move(replace(HALF_MADE, invoice_id="in_1"), invoice("gone")) == BuildInvoice()


def test_next_move_does_not_rebuild_draft_when_nothing_is_to_pay() -> None:
    """[27][39] Its customer may have been deleted with it."""
    assert move(HALF_MADE, invoice("gone"), replace(FULL, subscription=None)) == RecordVoidReason(
        VoidReason.SUBSCRIPTION_ENDED
    )
    assert move(HALF_MADE, invoice("gone"), ROOMY) == RecordVoidReason(VoidReason.INCLUDED)


@pytest.mark.parametrize("void_reason", VoidReason)
@pytest.mark.parametrize("status", ["draft", "open", "uncollectible"])
def test_next_move_voids_for_stored_reason_whatever_changed_since(void_reason: VoidReason, status: str) -> None:
    """[39][41]"""
    for there in (FULL, ROOMY, workspace(subscription=None)):
        assert move(replace(PAYABLE, void_reason=void_reason), invoice(status), there) == VoidInvoice()


def test_next_move_voids_for_stored_reason_without_known_invoice() -> None:
    """[34][41]"""
    assert move(replace(HALF_MADE, void_reason=VoidReason.CANCELED), None) == VoidInvoice()


@pytest.mark.parametrize("status", ["canceled", "incomplete_expired"])
def test_next_move_records_reason_when_subscription_ended(status: str) -> None:
    """[39]"""
    ended = replace(FULL, subscription=subscription(status))
    assert move(PAYABLE, invoice("open"), ended) == RecordVoidReason(VoidReason.SUBSCRIPTION_ENDED)


@pytest.mark.parametrize("status", ["past_due", "unpaid", "incomplete", "paused"])
def test_next_move_awaits_payment_while_subscription_may_recover(status: str) -> None:
    """[39]"""
    lapsed = replace(ROOMY, subscription=subscription(status))
    assert move(PAYABLE, invoice("open"), lapsed) == AwaitPayment()


def test_next_move_records_reason_when_subscription_was_deleted_with_customer() -> None:
    """[39]"""
    assert move(PAYABLE, invoice("open"), replace(ROOMY, subscription=None)) == RecordVoidReason(
        VoidReason.SUBSCRIPTION_ENDED
    )


def test_next_move_records_reason_when_plan_now_includes_line() -> None:
    """[39]"""
    assert move(PAYABLE, invoice("open"), ROOMY) == RecordVoidReason(VoidReason.INCLUDED)
    more = replace(FULL, subscription=subscription(purchased_phone=Allowance(2)))
    assert move(PAYABLE, invoice("open"), more) == RecordVoidReason(VoidReason.INCLUDED)
    unknown_plan = replace(subscription(purchased_phone=Allowance(2)), plan=None)
    assert move(PAYABLE, invoice("open"), replace(FULL, subscription=unknown_plan)) == AwaitPayment()


def test_next_move_ignores_room_for_another_kind() -> None:
    """[19][39]"""
    emails = subscription(email=Allowance(9, add_on=ADD_ONS[Kind.EMAIL]), purchased_phone=Allowance(1))
    assert move(PAYABLE, invoice("open"), replace(FULL, subscription=emails)) == AwaitPayment()


def test_next_move_records_reason_when_plan_lacks_the_kind() -> None:
    """[39] Only a known plan of an active subscription says so."""
    emails = subscription(email=Allowance(9))
    for status in ("active", "trialing"):
        there = replace(FULL, subscription=replace(emails, status=status))
        assert move(PAYABLE, invoice("open"), there) == RecordVoidReason(VoidReason.NOT_ON_PLAN)
        assert move(PAYABLE, invoice("paid"), there) == MarkPaid()
    for unclear in (replace(emails, plan=None), replace(emails, status="past_due"), replace(emails, status="paused")):
        assert move(PAYABLE, invoice("open"), replace(FULL, subscription=unclear)) == AwaitPayment()


def test_next_move_expires_line_at_end_of_payment_window() -> None:
    """[16][47]"""
    almost = NOW_MS + HOUR_MS - 1
    assert expiry_ms(PAYABLE, HOUR_MS) == NOW_MS + HOUR_MS
    assert move(PAYABLE, invoice("open"), now_ms=almost, window_ms=HOUR_MS) == AwaitPayment()
    assert move(PAYABLE, invoice("open"), now_ms=almost + 1, window_ms=HOUR_MS) == RecordVoidReason(VoidReason.EXPIRED)
    assert expiry_ms(PAYABLE, 0) is None
    assert move(PAYABLE, invoice("open"), now_ms=2**50) == AwaitPayment()


def test_void_reason_prefers_included_over_expired() -> None:
    """[39][47]"""
    assert reason_to_void(PAYABLE, ROOMY, NOW_MS + HOUR_MS, HOUR_MS) is VoidReason.INCLUDED


@given(lines, workspaces(), st.none() | stripe_statuses, moments_ms, st.sampled_from([0, HOUR_MS]))
def test_next_move_settles_only_by_settled_invoice(
    asked: Line, there: Workspace, status: str | None, now_ms: int, window_ms: int
) -> None:
    """[39][44]"""
    asked = replace(asked, status=Status.AWAITING_PAYMENT, payment_status=PaymentStatus.AWAITING_PAYMENT)
    decided = move(asked, None if status is None else invoice(status), there, now_ms=now_ms, window_ms=window_ms)
    if isinstance(decided, MarkPaid):
        assert status == "paid"
    if isinstance(decided, Waive | Cancel):
        assert status == "void" or (status == "gone" and asked.half_made and asked.void_reason)
    if isinstance(decided, VoidInvoice):
        assert asked.void_reason is not None, "the reason is stored before the void"
