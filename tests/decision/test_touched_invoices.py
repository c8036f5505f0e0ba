"""Invoices that people touch at Stripe: which one counts for a line, and what has to be refunded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.decision import (
    AwaitPayment,
    Cancel,
    FollowRevision,
    MarkPaid,
    ReportMissing,
    concerns,
    next_move,
    refund_owed,
    replaced_by,
    standing,
)
from line_requests.domain.model import Change, PaymentStatus, Status, VoidReason
from tests.decision.examples import HOUR_MS, NOW_MS, counts, invoice, line, payable, subscription, workspace

if TYPE_CHECKING:
    from line_requests.domain.decision import Move
    from line_requests.domain.model import Invoice, Line

FULL = workspace(held=counts(purchased_phone=2), unpaid=counts(purchased_phone=2))
INCLUDED = workspace(held=counts(purchased_phone=1), unpaid=counts(purchased_phone=1))
AWAITING = payable()
PAID = line(status=Status.PROVISIONING, payment_status=PaymentStatus.PAID, invoice_id="in_1")
FREE = line(status=Status.ACTIVE, invoice_id="in_1")
CANCELED = line(status=Status.CANCELED, payment_status=PaymentStatus.CANCELED, invoice_id="in_1")


def revision(status: str) -> Invoice:
    return replace(invoice(status), id="in_2", revises="in_1")


def copied(status: str) -> Invoice:
    return replace(invoice(status), id="in_2")


def move(asked: Line, seen: Invoice) -> Move:
    return next_move(asked, FULL, seen, NOW_MS, 0)


@pytest.mark.parametrize("status", ["open", "uncollectible", "paid", "void", "draft"])
def test_invoice_is_partly_paid_from_the_first_minor_unit(status: str) -> None:
    """[56]"""
    assert invoice(status) == invoice(status, amount_paid=0, replayed=False)
    assert [invoice(status, amount_paid=paid).partly_paid for paid in (0, 1)] == [
        False,
        status in {"open", "uncollectible"},
    ]


@pytest.mark.parametrize(
    ("status", "decided"),
    [
        ("open", FollowRevision()),
        ("uncollectible", FollowRevision()),
        ("void", FollowRevision()),
        ("paid", MarkPaid()),
        ("draft", AwaitPayment()),
        ("gone", ReportMissing()),
    ],
)
@pytest.mark.parametrize("void_reason", [None, VoidReason.CANCELED])
def test_revision_becomes_the_lines_invoice(status: str, decided: Move, void_reason: VoidReason | None) -> None:
    """[56] Before anything is decided by it: a cancel voids the revision, not the original."""
    assert move(replace(AWAITING, void_reason=void_reason), revision(status)) == decided
    assert concerns(AWAITING, revision(status))


def test_void_revision_cancels_once_it_is_the_lines_invoice() -> None:
    """[56]"""
    followed = replace(AWAITING, invoice_id="in_2")
    assert move(followed, revision("void")) == Cancel("invoice_voided")
    assert move(followed, revision("open")) == AwaitPayment()


def test_only_a_paid_copy_concerns_a_line() -> None:
    """[56]"""
    assert [status for status in ("draft", "open", "void", "paid") if concerns(AWAITING, copied(status))] == ["paid"]
    assert move(AWAITING, copied("paid")) == MarkPaid()
    assert concerns(line(), copied("open")), "an invoice whose id is not stored yet is found by its metadata"


def test_original_of_a_paid_copy_is_replaced_and_that_of_a_revision_is_void_already() -> None:
    """[56]"""
    assert replaced_by(AWAITING, copied("paid")) == "in_1"
    assert replaced_by(AWAITING, revision("paid")) is None
    assert replaced_by(AWAITING, invoice("paid")) is None
    assert replaced_by(line(), copied("paid")) is None


@pytest.mark.parametrize(
    ("settled", "paid", "owed"),
    [
        (PAID, invoice("paid"), False),
        (PAID, copied("paid"), True),
        (PAID, copied("void"), False),
        (FREE, copied("paid"), True),
        (CANCELED, invoice("paid"), True),
        (CANCELED, invoice("void"), False),
        (AWAITING, copied("paid"), False),
    ],
)
def test_payment_is_refunded_unless_it_is_the_one_payment_of_a_paid_line(
    settled: Line,
    paid: Invoice,
    owed: bool,  # noqa: FBT001 - a column
) -> None:
    """[44] [56]"""
    assert refund_owed(settled, paid) is owed


@pytest.mark.parametrize(
    ("payment_status", "statuses", "owes"),
    [
        (PaymentStatus.CANCELED, [Status.CANCELED], True),
        (PaymentStatus.PAID, [Status.FAILED, Status.CANCELED], True),
        (PaymentStatus.PAID, [Status.ACTIVE, Status.CANCELED], False),
        (PaymentStatus.PAID, [Status.FAILED, Status.PROVISIONING], False),
        (PaymentStatus.NOT_REQUIRED, [Status.FAILED, Status.CANCELED], False),
    ],
)
def test_refund_is_owed_for_what_was_canceled_before_its_payment_or_released_because_it_failed(
    payment_status: PaymentStatus,
    statuses: list[Status],
    owes: bool,  # noqa: FBT001 - a column
) -> None:
    """[55] Not for a line that an operator retried."""
    history = tuple(Change(NOW_MS, status, "") for status in (Status.AWAITING_PAYMENT, *statuses))
    assert line(status=statuses[-1], payment_status=payment_status, history=history).owes_refund is owes


@pytest.mark.parametrize(
    ("status", "total", "credited", "counts_as"),
    [
        ("paid", 1500, 1500, "void"),
        ("uncollectible", 1500, 1500, "void"),
        ("paid", 1500, 1499, "paid"),
        ("open", 1500, 400, "open"),
        ("paid", 1, 1, "void"),
        ("paid", 0, 0, "paid"),
    ],
)
def test_invoice_that_is_credited_in_full_counts_as_void(
    status: str, total: int, credited: int, counts_as: str
) -> None:
    """[56] One of nothing is paid by nothing."""
    assert standing(status, total, credited) == counts_as


@pytest.mark.parametrize("status", ["open", "uncollectible"])
@pytest.mark.parametrize("void_reason", [None, *VoidReason])
def test_partly_paid_invoice_is_neither_voided_nor_given_a_reason(status: str, void_reason: VoidReason | None) -> None:
    """[56] Not for an ended subscription, a plan that includes the line or lacks its kind, nor the payment window."""
    part = replace(invoice(status), amount_paid=500)
    for there in (FULL, INCLUDED, workspace(subscription=None), replace(FULL, subscription=subscription("canceled"))):
        asked = replace(AWAITING, void_reason=void_reason)
        assert next_move(asked, there, part, NOW_MS + HOUR_MS, HOUR_MS) == AwaitPayment()
    assert move(AWAITING, replace(part, status="paid")) == MarkPaid()
