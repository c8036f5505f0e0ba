"""Events on the deployment's bus: stable ids, personal data only to provision, and no refusal unseen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from line_requests.bus import events as bus
from line_requests.bus.events import Bus, Result, state_changed
from line_requests.domain.errors import Invalid
from line_requests.domain.model import Change, Status
from line_requests.domain.submission import Kind
from tests.decision.examples import LINE_ID, NOW_MS, line, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_events.client import EventBridgeClient

    from line_requests.domain.model import Line

PROVISIONING = line(Kind.EMAIL, Status.PROVISIONING)


@pytest.fixture
def client() -> EventBridgeClient:
    return boto3.client("events", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture
def eventbridge(client: EventBridgeClient) -> Iterator[Stubber]:
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def accepted(number: int) -> dict[str, Any]:
    return {"FailedEntryCount": 0, "Entries": [{"EventId": str(n)} for n in range(number)]}


def test_a_line_to_provision_is_told_with_all_that_a_provisioner_needs() -> None:
    """[48]"""
    told = replace(
        PROVISIONING,
        history=(Change(NOW_MS, Status.AWAITING_PAYMENT, "requested"), Change(NOW_MS + 5, Status.PROVISIONING, "paid")),
    )
    assert state_changed(told) == {
        "eventId": f"{LINE_ID}:2",
        "workspaceId": "acme",
        "lineId": LINE_ID,
        "kind": "email",
        "status": "provisioning",
        "previousStatus": "awaiting_payment",
        "paymentStatus": "not_required",
        "cause": "paid",
        "occurredAt": "2026-11-22T00:00:00.005Z",
        "line": {
            "firstName": "Ada",
            "lastName": "Lovelace",
            "channelType": "email",
            "lineType": "purchased",
            "email": "ada@example.com",
            "phone": None,
            "zipcode": None,
            "state": None,
            "forwardCallsTo": None,
            "profileImageUrl": None,
        },
    }


def test_a_first_state_has_none_before_it() -> None:
    """[48]"""
    assert state_changed(PROVISIONING)["previousStatus"] is None


@given(lines)
def test_an_event_s_id_names_the_line_s_state_and_nothing_else_changes_it(told: Line) -> None:
    """[48]"""
    looked_at = replace(told, look_after_ms=1, due_at_ms=2, payment_url="https://pay", stripe_key_version=9)
    assert state_changed(told)["eventId"] == state_changed(looked_at)["eventId"] == f"{told.id}:{len(told.history)}"
    moved = replace(told, history=(*told.history, Change(1, Status.FAILED, "late")))
    assert state_changed(moved)["eventId"] != state_changed(told)["eventId"]


@given(lines)
def test_personal_data_is_told_only_to_provision(told: Line) -> None:
    """[5][48]"""
    detail = state_changed(told)
    assert ("line" in detail) is (told.status is Status.PROVISIONING)
    json.dumps(detail).encode()


def test_large_events_are_told_in_requests_that_the_bus_takes(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48] Of 256 KB: ten of the largest lines are more."""
    texts = {"email": "\U0001f600" * 2048, "state": "\U0001f600" * 2048, "zipcode": "\U0001f600" * 2048}
    large = replace(PROVISIONING, submission=replace(PROVISIONING.submission, **texts))
    told = [replace(large, id=f"{number:024x}") for number in range(10)]
    size = len(json.dumps(state_changed(large), ensure_ascii=False).encode())
    assert 10 * size > 200_000 > 7 * size
    for answer in (accepted(7), accepted(3)):
        eventbridge.add_response("put_events", answer)
    assert Bus(client, "lines").publish(told) == []
    eventbridge.assert_no_pending_responses()


def test_lines_are_told_ten_at_a_time_and_those_refused_come_back(
    client: EventBridgeClient, eventbridge: Stubber
) -> None:
    """[48]"""
    told = [replace(PROVISIONING, id=f"{number:024x}") for number in range(23)]
    throttled = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    second = accepted(10)
    second["FailedEntryCount"] = 2
    second["Entries"][0] = second["Entries"][9] = throttled
    third = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, throttled, {"EventId": "3"}]}
    for answer in (accepted(10), second, third):
        eventbridge.add_response("put_events", answer, {"Entries": ANY})
    assert Bus(client, "lines").publish(told) == [told[10], told[19], told[21]]


def test_an_entry_names_bus_source_and_detail(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48]"""
    entry = {
        "EventBusName": "lines",
        "Source": "line-requests",
        "DetailType": "Line State Changed",
        "Detail": json.dumps(state_changed(PROVISIONING)),
    }
    eventbridge.add_response("put_events", accepted(1), {"Entries": [entry]})
    assert Bus(client, "lines").publish([PROVISIONING]) == []


def test_nothing_to_tell_is_no_call(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48]"""
    assert eventbridge is not None
    assert Bus(client, "lines").publish([]) == []


def test_an_operator_answers_for_a_provisioner(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48]"""
    detail = {"eventId": f"{LINE_ID}:1", "outcome": "succeeded"}
    entry = {
        "EventBusName": "lines",
        "Source": "line-provisioner",
        "DetailType": "Line Provisioning Result",
        "Detail": json.dumps(detail),
    }
    eventbridge.add_response("put_events", accepted(1), {"Entries": [entry]})
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
    eventbridge.add_response("put_events", refused, {"Entries": [entry]})
    assert Bus(client, "lines").answer(detail) is True
    assert Bus(client, "lines").answer(detail) is False


# --- a provisioner's answer ---------------------------------------------------------------------------------

ANSWER = {"eventId": f"{LINE_ID}:1", "workspaceId": "acme", "lineId": LINE_ID, "outcome": "failed"}


def test_an_answer_is_read_with_its_reason() -> None:
    """[48]"""
    assert Result.of(ANSWER | {"reason": "no numbers left"}) == Result(
        bus.event_id(PROVISIONING), "acme", LINE_ID, succeeded=False, reason="no numbers left"
    )
    assert Result.of(ANSWER | {"outcome": "succeeded"}).succeeded
    assert Result.of(ANSWER | {"reason": ""}).reason == Result.of(ANSWER).reason == "provisioning_failed"
    assert len(Result.of(ANSWER | {"reason": "x" * 5000}).reason) == 256


@pytest.mark.parametrize("field", ANSWER)
@pytest.mark.parametrize("value", [None, 7, [], ...])
def test_an_answer_without_one_of_its_fields_is_refused(field: str, value: object) -> None:
    """[48]"""
    given_fields: dict[str, object] = {name: text for name, text in ANSWER.items() if name != field}
    with pytest.raises(Invalid):
        Result.of(given_fields if value is ... else given_fields | {field: value})


@given(st.text().filter(lambda outcome: outcome not in {"succeeded", "failed"}))
def test_an_outcome_is_one_of_two(outcome: str) -> None:
    """[48]"""
    with pytest.raises(Invalid):
        Result.of(ANSWER | {"outcome": outcome})
