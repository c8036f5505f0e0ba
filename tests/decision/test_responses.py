"""Every body has exactly the contract's keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.api import responses
from line_requests.domain.model import Line, PaymentStatus, Status
from line_requests.domain.submission import Kind
from tests.decision.examples import HOUR_MS, NOW_MS, line, lines, waiting

LINE = {"_id", "firstName", "lastName", "channelType", "lineType", "provisioningStatus", "paymentStatus"}
WAITING_LINE = LINE | {"stripeInvoiceId", "paymentLinkUrl"}
windows_ms = st.sampled_from([0, HOUR_MS])


def test_an_included_line_is_answered_as_documented() -> None:
    """[15]"""
    included = line(Kind.EMAIL, Status.PROVISIONING)
    assert responses.created_body(included, 0) == {
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


def test_a_paid_add_on_is_answered_as_documented() -> None:
    """[16]"""
    paid_for = waiting()
    assert responses.created_body(paid_for, 0) == {
        "success": True,
        "status": "awaiting_payment",
        "paymentRequired": True,
        "paymentReason": "over_plan_limit",
        "paymentUrl": "https://invoice.stripe.com/i/1",
        "expiresAt": None,
        "line": {
            "_id": paid_for.id,
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


def test_a_payment_window_is_told_as_its_end_in_utc() -> None:
    """[16]"""
    for body in (responses.created_body(waiting(), HOUR_MS), responses.status_body(waiting(), HOUR_MS)):
        assert body["expiresAt"] == responses.iso_utc(NOW_MS + HOUR_MS)
    assert responses.iso_utc(1_795_305_600_007) == "2026-11-22T00:00:00.007Z"


@pytest.mark.parametrize("status", [Status.PROVISIONING, Status.ACTIVE, Status.FAILED])
def test_a_request_that_was_paid_before_its_201_has_the_shape_of_an_included_one(status: Status) -> None:
    """[21]"""
    settled = replace(waiting(), status=status, payment_status=PaymentStatus.PAID)
    body = responses.created_body(settled, 0)
    assert set(body) == {"success", "status", "paymentRequired", "line"}
    assert (body["status"], body["paymentRequired"]) == ("provisioning", False)
    shown = body["line"]
    assert isinstance(shown, dict)
    assert set(shown) == LINE
    assert (shown["provisioningStatus"], shown["paymentStatus"]) == ("provisioning", "paid")


@given(lines, windows_ms)
def test_get_has_the_same_two_statuses_outside_and_inside_the_line(asked: Line, window_ms: int) -> None:
    """[36]"""
    body = responses.status_body(asked, window_ms)
    always = {"success", "status", "paymentStatus", "paymentRequired", "line"}
    assert set(body) == always | ({"paymentReason", "paymentUrl", "expiresAt"} if asked.awaiting else set())
    shown = body["line"]
    assert isinstance(shown, dict)
    assert set(shown) == (WAITING_LINE if asked.awaiting else LINE)
    assert body["status"] == shown["provisioningStatus"] == asked.status
    assert body["paymentStatus"] == shown["paymentStatus"] == asked.payment_status
    assert body["paymentRequired"] is (asked.payment_status == "awaiting_payment")


def test_while_an_invoice_is_not_finished_its_keys_stay_and_are_null() -> None:
    """[23]"""
    unfinished = line()
    assert set(responses.line_body(unfinished)) == WAITING_LINE
    assert responses.status_body(unfinished, 0)["paymentUrl"] is None
    assert responses.line_body(unfinished)["stripeInvoiceId"] is None
    assert responses.line_body(unfinished)["paymentLinkUrl"] is None


def test_a_payment_link_is_answered_with_its_invoice() -> None:
    """[41]"""
    assert responses.link_body(waiting()) == {
        "success": True,
        "status": "awaiting_payment",
        "paymentUrl": "https://invoice.stripe.com/i/1",
        "invoiceId": "in_1",
        "reused": True,
    }


def test_a_page_carries_lines_and_where_to_go_on() -> None:
    """[42]"""
    body = responses.page_body([waiting()], None)
    assert body == {"success": True, "lines": [responses.line_body(waiting())], "nextCursor": None}
