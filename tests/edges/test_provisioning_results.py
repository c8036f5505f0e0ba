"""Provisioners' answers as they should be and as nobody should send them: odd ids, times, sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.bus.events import state_changed
from line_requests.bus.results import ProvisioningResult
from line_requests.domain.bodies import events_body, line_in_use_body
from line_requests.domain.errors import Invalid
from line_requests.domain.model import Change, Delivered, PaymentStatus, ReasonCode, Status
from line_requests.domain.submission import Kind
from tests.decision.examples import LINE_ID, NOW_MS, line, lines

RESULT = {"eventId": f"{LINE_ID}:1", "workspaceId": "acme", "lineId": LINE_ID, "outcome": "succeeded"}
FAILED = RESULT | {"outcome": "failed"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def delivered(value: object) -> Delivered | None:
    return ProvisioningResult.parse(RESULT | {"delivered": value}).what_was_delivered


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"phone": " +1 (415) 555\u20110100 "}, Delivered(phone="+1 (415) 555\u20110100")),
        ({"email": "ada@example.com", "reference": "ord_1"}, Delivered(email="ada@example.com", reference="ord_1")),
        ({"reference": "x" * 2048}, Delivered(reference="x" * 2048)),
        ({"phone": None, "email": "", "reference": "  "}, None),
        ({"sim": "1"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_delivered_is_read_by_the_rules_of_a_request(value: object, expected: Delivered | None) -> None:
    """[60]"""
    assert delivered(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"phone": "123456"},
        {"phone": "1" * 16},
        {"phone": "call me"},
        {"phone": 14155550100},
        {"phone": ["+14155550100"]},
        {"email": "ada"},
        {"email": "Ada <ada@example.com>"},
        {"email": "a@example.com, b@example.com"},
        {"email": "mailto:ada@example.com"},
        {"email": "ada@example.com\u200b"},
        {"email": "a" * 250 + "@example.com"},
        {"reference": "x" * 2049},
        {"reference": 7},
        {"reference": "\ud800"},
        "+14155550100",
        ["+14155550100"],
        7,
        True,
    ],
)
def test_malformed_delivered_is_refused_by_name_without_its_value(value: object) -> None:
    """[5][48][60]"""
    with pytest.raises(Invalid, match="malformed delivered") as refused:
        delivered(value)
    assert not {"415", "ada", "xxx"} & {part for part in ("415", "ada", "xxx") if part in str(refused.value)}


@pytest.mark.parametrize("detail", [None, [], "succeeded", 7])
def test_detail_that_is_no_object_is_refused_by_name(detail: object) -> None:
    """[48]"""
    with pytest.raises(Invalid, match=r"malformed detail$"):
        ProvisioningResult.parse(detail)


@given(json_values)
def test_delivered_on_a_failure_is_ignored_whatever_it_is(value: object) -> None:
    """[60]"""
    assert ProvisioningResult.parse(FAILED | {"delivered": value}).what_was_delivered is None


@pytest.mark.parametrize("code", ReasonCode)
def test_known_reason_code_is_kept(code: ReasonCode) -> None:
    """[60]"""
    assert ProvisioningResult.parse(FAILED | {"reasonCode": str(code)}).reason_code is code


@given(json_values.filter(lambda value: value not in list(ReasonCode)))
def test_other_reason_code_is_other(code: object) -> None:
    """[60]"""
    assert ProvisioningResult.parse(FAILED | {"reasonCode": code}).reason_code is ReasonCode.OTHER


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lineId", LINE_ID.upper()),
        ("lineId", f" {LINE_ID}"),
        ("lineId", f"{LINE_ID}\n"),
        ("lineId", f"{LINE_ID}\x00"),
        ("lineId", LINE_ID[:-1]),
        ("lineId", "\uff10" * 24),
        ("eventId", LINE_ID),
        ("eventId", f"{LINE_ID}:"),
        ("eventId", f"{LINE_ID}:-1"),
        ("eventId", f"{LINE_ID}:1\n"),
        ("eventId", f"{LINE_ID}:1234567"),
        ("eventId", f"{LINE_ID}:\u0661"),
        ("workspaceId", ""),
        ("workspaceId", "acme\n"),
        ("workspaceId", "ACME"),
        ("workspaceId", "W#acme"),
        ("workspaceId", "a" * 41),
    ],
)
def test_ids_that_cannot_be_ours_are_refused(field: str, value: str) -> None:
    """[48]"""
    with pytest.raises(Invalid):
        ProvisioningResult.parse(RESULT | {field: value})


@given(json_values)
def test_any_detail_is_read_or_refused(detail: object) -> None:
    """[48] Never anything but Invalid."""
    for value in (detail, RESULT | {"delivered": detail, "reason": detail, "reasonCode": detail}):
        try:
            result = ProvisioningResult.parse(value)
        except Invalid:
            continue
        reason = result.reason or "none given"
        assert len(reason.encode().decode()) <= 256


# --- what clients read of them ------------------------------------------------------------------


def test_line_in_use_prefers_what_was_delivered() -> None:
    """[59]"""
    asked = line(Kind.BYON_PHONE, Status.PROVISIONING)
    assert line_in_use_body(asked)["phone"] == asked.submission.phone
    active = line(Kind.BYON_PHONE, Status.ACTIVE, delivered=Delivered(phone="+14155550100"))
    body = line_in_use_body(active)
    assert (body["phone"], body["email"], body["isActive"]) == ("+14155550100", asked.submission.email, True)


def test_events_tell_the_payment_status_of_their_time() -> None:
    """[61]"""
    history = (
        Change(NOW_MS, Status.AWAITING_PAYMENT, "requested"),
        Change(NOW_MS + 1, Status.PROVISIONING, "invoice_paid"),
        Change(NOW_MS + 2, Status.FAILED, "provisioning_failed", ReasonCode.REJECTED, "no"),
    )
    failed = line(status=Status.FAILED, history=history, payment_status=PaymentStatus.PAID, payment_url="https://pay")
    events: Any = events_body(failed)["events"]
    assert [event["paymentStatus"] for event in events] == ["awaiting_payment", "paid", "paid"]
    assert [event["invoiceUrl"] for event in events] == ["https://pay", "https://pay", None]
    assert [(event["reasonCode"], event["reason"]) for event in events] == [
        (None, None),
        (None, None),
        ("rejected", "no"),
    ]


@given(lines)
def test_events_have_the_ids_of_the_bus_and_the_present_state_last(told: Any) -> None:  # noqa: ANN401 - a line
    """[61]"""
    body: Any = events_body(told)
    assert body["events"][-1]["id"] == state_changed(told)["eventId"]
    assert body["events"][-1]["at"] == state_changed(told)["occurredAt"]
    assert len(body["events"]) == told.sequence
    json.dumps(body).encode()
