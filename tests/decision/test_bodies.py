"""Every body has exactly the contract's keys."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.api import responses
from line_requests.domain.bodies import created_body, events_body, line_body, line_in_use_body, submission_body
from line_requests.domain.ids import iso_utc
from line_requests.domain.model import Change, Delivered, Line, PaymentStatus, ReasonCode, Status
from line_requests.domain.submission import Kind
from tests.decision.examples import HOUR_MS, NOW_MS, SUBMISSIONS, line, lines, payable

LINE = {"_id", "firstName", "lastName", "channelType", "lineType", "provisioningStatus", "paymentStatus"}
PAYABLE_LINE = LINE | {"stripeInvoiceId", "paymentLinkUrl"}
windows_ms = st.sampled_from([0, HOUR_MS])


def test_created_body_of_included_line_is_as_documented() -> None:
    """[15]"""
    included = line(Kind.EMAIL, Status.PROVISIONING)
    assert created_body(included, 0) == {
        "success": True,
        "status": "provisioning",
        "paymentRequired": False,
        "line": {
            "_id": included.id,
            "firstName": "Ada",
            "lastName": "Lovelace",
            "channelType": "email",
            "lineType": "purchased",
            "provisioningStatus": "provisioning",
            "paymentStatus": "not_required",
        },
    }


def test_created_body_of_paid_add_on_is_as_documented() -> None:
    """[16]"""
    awaiting = payable()
    assert created_body(awaiting, 0) == {
        "success": True,
        "status": "awaiting_payment",
        "paymentRequired": True,
        "paymentReason": "over_plan_limit",
        "paymentUrl": "https://invoice.stripe.com/i/1",
        "expiresAt": None,
        "line": {
            "_id": awaiting.id,
            "firstName": "Ada",
            "lastName": "Lovelace",
            "channelType": "phone",
            "lineType": "purchased",
            "provisioningStatus": "awaiting_payment",
            "paymentStatus": "awaiting_payment",
            "stripeInvoiceId": "in_1",
            "paymentLinkUrl": "https://invoice.stripe.com/i/1",
        },
    }


def test_bodies_state_end_of_payment_window_in_utc() -> None:
    """[16]"""
    for body in (created_body(payable(), HOUR_MS), responses.status_body(payable(), HOUR_MS)):
        assert body["expiresAt"] == iso_utc(NOW_MS + HOUR_MS)
    assert iso_utc(1_795_305_600_007) == "2026-11-22T00:00:00.007Z"


@pytest.mark.parametrize("status", [Status.PROVISIONING, Status.ACTIVE, Status.FAILED])
def test_created_body_of_line_paid_before_201_has_shape_of_included(status: Status) -> None:
    """[21]"""
    settled = replace(payable(), status=status, payment_status=PaymentStatus.PAID)
    body = created_body(settled, 0)
    assert set(body) == {"success", "status", "paymentRequired", "line"}
    assert (body["status"], body["paymentRequired"]) == ("provisioning", False)
    inner = body["line"]
    assert isinstance(inner, dict)
    assert set(inner) == LINE
    assert (inner["provisioningStatus"], inner["paymentStatus"]) == ("provisioning", "paid")


@given(lines, windows_ms)
def test_status_body_repeats_both_statuses_of_line(given_line: Line, window_ms: int) -> None:
    """[36]"""
    body = responses.status_body(given_line, window_ms)
    always = {"success", "status", "paymentStatus", "paymentRequired", "line"}
    assert set(body) == always | ({"paymentReason", "paymentUrl", "expiresAt"} if given_line.awaiting else set())
    inner = body["line"]
    assert isinstance(inner, dict)
    assert set(inner) == (PAYABLE_LINE if given_line.awaiting else LINE)
    assert body["status"] == inner["provisioningStatus"] == given_line.status
    assert body["paymentStatus"] == inner["paymentStatus"] == given_line.payment_status
    assert body["paymentRequired"] is (given_line.payment_status == "awaiting_payment")


def test_line_in_use_body_has_what_was_delivered_else_what_was_asked_for() -> None:
    """[59]"""
    history = (Change(NOW_MS, Status.PROVISIONING, "requested"), Change(NOW_MS + 7, Status.ACTIVE, "provisioned"))
    active = line(Kind.BYON_PHONE, Status.ACTIVE, history=history)
    body = {
        "_id": active.id,
        "workspaceId": "acme",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "phone": "+15550100200",
        "email": "ada@example.com",
        "isActive": True,
        "provisioningStatus": "active",
        "channelType": "phone",
        "lineType": "byon",
        "createdAt": "2026-11-22T00:00:00.000Z",
        "updatedAt": "2026-11-22T00:00:00.007Z",
    }
    assert line_in_use_body(active) == body
    delivered = replace(active, delivered=Delivered(phone="+15550100999", email="line@example.com"))
    assert line_in_use_body(delivered) == body | {"phone": "+15550100999", "email": "line@example.com"}
    assert line_in_use_body(line(Kind.EMAIL, Status.PROVISIONING))["isActive"] is False


def test_events_body_tells_the_history_with_a_receipt_where_it_was_paid() -> None:
    """[61]"""
    url = "https://invoice.stripe.com/i/1"
    failed = Change(NOW_MS + 2, Status.FAILED, "provisioning_failed", ReasonCode.REJECTED, "no such number")
    settled = replace(
        payable(),
        status=Status.FAILED,
        payment_status=PaymentStatus.PAID,
        history=(
            Change(NOW_MS, Status.AWAITING_PAYMENT, "requested"),
            Change(NOW_MS + 1, Status.PROVISIONING, "invoice_paid"),
            failed,
        ),
    )
    usual = {"paymentStatus": "paid", "reasonCode": None, "reason": None, "invoiceUrl": url}
    assert events_body(settled) == {
        "success": True,
        "events": [
            usual
            | {
                "id": f"{settled.id}:1",
                "at": "2026-11-22T00:00:00.000Z",
                "status": "awaiting_payment",
                "paymentStatus": "awaiting_payment",
                "cause": "requested",
            },
            usual
            | {
                "id": f"{settled.id}:2",
                "at": "2026-11-22T00:00:00.001Z",
                "status": "provisioning",
                "cause": "invoice_paid",
            },
            {
                "id": f"{settled.id}:3",
                "at": "2026-11-22T00:00:00.002Z",
                "status": "failed",
                "paymentStatus": "paid",
                "cause": "provisioning_failed",
                "reasonCode": "rejected",
                "reason": "no such number",
                "invoiceUrl": None,
            },
        ],
    }


def test_submission_body_has_all_that_was_asked_for() -> None:
    """[48]"""
    assert submission_body(SUBMISSIONS[Kind.BYON_PHONE]) == {
        "firstName": "Ada",
        "lastName": "Lovelace",
        "channelType": "phone",
        "lineType": "byon",
        "email": "ada@example.com",
        "phone": "+15550100200",
        "zipcode": None,
        "state": None,
        "forwardCallsTo": None,
        "profileImageUrl": None,
    }


def test_invoice_to_refund_is_the_second_payments_if_there_was_one() -> None:
    """[56]"""
    assert payable().invoice_to_refund == "in_1"
    assert payable(refund_invoice_id="in_2").invoice_to_refund == "in_2"


def test_bodies_have_null_payment_keys_while_invoice_is_not_finalized() -> None:
    """[23]"""
    half_made = line()
    assert set(line_body(half_made)) == PAYABLE_LINE
    assert responses.status_body(half_made, 0)["paymentUrl"] is None
    assert line_body(half_made)["stripeInvoiceId"] is None
    assert line_body(half_made)["paymentLinkUrl"] is None


def test_payment_link_body_names_invoice() -> None:
    """[41]"""
    assert json.loads(responses.payment_link(payable())["body"]) == {
        "success": True,
        "status": "awaiting_payment",
        "paymentUrl": "https://invoice.stripe.com/i/1",
        "invoiceId": "in_1",
        "reused": True,
    }


def test_page_body_has_lines_and_next_cursor() -> None:
    """[42]"""
    for cursor in (None, "next"):
        body = json.loads(responses.page([payable()], cursor)["body"])
        assert body == {"success": True, "lines": [line_body(payable())], "nextCursor": cursor}
