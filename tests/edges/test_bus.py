"""Events on the deployment's bus: stable ids, personal data only for provisioners, refused events returned."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from line_requests.bus import events as bus
from line_requests.bus.events import Bus, state_changed
from line_requests.bus.results import ProvisioningResult
from line_requests.domain.errors import Invalid
from line_requests.domain.model import Change, ReasonCode, Status
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


def test_state_changed_of_provisioning_line_has_the_whole_submission() -> None:
    """[48]"""
    published = replace(
        PROVISIONING,
        history=(Change(NOW_MS, Status.AWAITING_PAYMENT, "requested"), Change(NOW_MS + 5, Status.PROVISIONING, "paid")),
    )
    assert state_changed(published) == {
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


def test_state_changed_of_first_state_has_no_previous_status() -> None:
    """[48]"""
    assert state_changed(PROVISIONING)["previousStatus"] is None


def test_state_changed_has_a_reason_when_there_is_one() -> None:
    """[48][60]"""
    failed = Change(NOW_MS, Status.FAILED, "provisioning_failed", ReasonCode.ADDRESS_REQUIRED, "no such street")
    detail = state_changed(replace(PROVISIONING, status=Status.FAILED, history=(*PROVISIONING.history, failed)))
    assert (detail["reasonCode"], detail["reason"]) == ("address_required", "no such street")
    assert not {"reasonCode", "reason"} & state_changed(PROVISIONING).keys()


@given(lines)
def test_event_id_names_state_and_ignores_other_attributes(published: Line) -> None:
    """[48]"""
    checked = replace(
        published, lease_until_ms=1, next_poll_at_ms=3, due_at_ms=2, payment_url="https://pay", stripe_key_version=9
    )
    assert (
        state_changed(published)["eventId"]
        == state_changed(checked)["eventId"]
        == f"{published.id}:{len(published.history)}"
    )
    moved = replace(published, history=(*published.history, Change(1, Status.FAILED, "late")))
    assert state_changed(moved)["eventId"] != state_changed(published)["eventId"]


@given(lines)
def test_state_changed_has_personal_data_only_in_provisioning(published: Line) -> None:
    """[5][48]"""
    detail = state_changed(published)
    assert ("line" in detail) is (published.status is Status.PROVISIONING)
    json.dumps(detail).encode()


def test_publish_splits_large_events_below_put_events_limit(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48] PutEvents takes 256 KiB; ten of the largest lines are more."""
    texts = {"email": "\U0001f600" * 2048, "state": "\U0001f600" * 2048, "zipcode": "\U0001f600" * 2048}
    large = replace(PROVISIONING, submission=replace(PROVISIONING.submission, **texts))
    published = [replace(large, id=f"{number:024x}") for number in range(10)]
    size = len(json.dumps(state_changed(large), ensure_ascii=False).encode())
    assert 10 * size > 200_000 > 7 * size
    for answer in (accepted(7), accepted(3)):
        eventbridge.add_response("put_events", answer)
    assert Bus(client, "lines").publish(published) == []
    eventbridge.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("sizes", "requests"),
    [
        ([], []),
        ([250_000], [(0, 1)]),
        ([100_000, 100_000], [(0, 2)]),
        ([100_000, 100_001], [(0, 1), (1, 2)]),
        ([150_000, 150_000, 50_000], [(0, 1), (1, 3)]),
        ([150_000, 50_000, 50_000], [(0, 2), (2, 3)]),
        ([1] * 11, [(0, 10), (10, 11)]),
    ],
)
def test_events_are_split_by_number_and_size(sizes: list[int], requests: list[tuple[int, int]]) -> None:
    """[48]"""
    assert list(islice(bus._batches(sizes), 9)) == requests  # noqa: SLF001 - the limits are exact here only


def test_publish_sends_ten_events_a_request_and_returns_refused_lines(
    client: EventBridgeClient, eventbridge: Stubber
) -> None:
    """[48]"""
    published = [replace(PROVISIONING, id=f"{number:024x}") for number in range(23)]
    throttled = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    second = accepted(10)
    second["FailedEntryCount"] = 2
    second["Entries"][0] = second["Entries"][9] = throttled
    third = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, throttled, {"EventId": "3"}]}
    for answer in (accepted(10), second, third):
        eventbridge.add_response("put_events", answer, {"Entries": ANY})
    assert Bus(client, "lines").publish(published) == [published[10], published[19], published[21]]


def test_publish_entry_names_bus_source_and_detail(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48]"""
    entry = {
        "EventBusName": "lines",
        "Source": "line-requests",
        "DetailType": "Line State Changed",
        "Detail": json.dumps(state_changed(PROVISIONING)),
    }
    eventbridge.add_response("put_events", accepted(1), {"Entries": [entry]})
    assert Bus(client, "lines").publish([PROVISIONING]) == []


def test_publish_of_nothing_makes_no_call(client: EventBridgeClient, eventbridge: Stubber) -> None:
    """[48]"""
    assert eventbridge is not None
    assert Bus(client, "lines").publish([]) == []


def test_publish_result_sends_provisioner_event_and_reports_refusal(
    client: EventBridgeClient, eventbridge: Stubber
) -> None:
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
    assert Bus(client, "lines").publish_result(detail) is True
    assert Bus(client, "lines").publish_result(detail) is False


# --- a provisioning result ---------------------------------------------------------------------------------

RESULT = {"eventId": f"{LINE_ID}:1", "workspaceId": "acme", "lineId": LINE_ID, "outcome": "failed"}


def test_provisioning_result_is_read_with_its_reason() -> None:
    """[48]"""
    assert ProvisioningResult.parse(RESULT | {"reason": "no numbers left"}) == ProvisioningResult(
        event_id=bus.event_id(PROVISIONING),
        workspace_id="acme",
        line_id=LINE_ID,
        outcome="failed",
        reason="no numbers left",
    )
    assert ProvisioningResult.parse(RESULT | {"outcome": "succeeded"}).outcome == "succeeded"
    for nothing in ({"reason": ""}, {"reason": None}, {}):
        assert ProvisioningResult.parse(RESULT | nothing).reason is None
    assert ProvisioningResult.parse(RESULT | {"reason": "x" * 5000}).reason == "x" * 256
    assert ProvisioningResult.parse(RESULT | {"reason": "no \ud800"}).reason == "no ?"


@pytest.mark.parametrize("field", RESULT)
@pytest.mark.parametrize("value", [None, 7, [], ...])
def test_provisioning_result_without_a_required_field_is_refused(field: str, value: object) -> None:
    """[48]"""
    given_fields: dict[str, object] = {name: text for name, text in RESULT.items() if name != field}
    with pytest.raises(Invalid):
        ProvisioningResult.parse(given_fields if value is ... else given_fields | {field: value})


@pytest.mark.parametrize(
    ("detail", "wrong"),
    [
        ([], "detail"),
        (RESULT | {"eventId": "1", "lineId": "1"}, "eventId, lineId"),
        (RESULT | {"outcome": "succeeded", "delivered": {"phone": "1"}}, "delivered.phone"),
    ],
)
def test_refused_provisioning_result_names_what_is_wrong(detail: object, wrong: str) -> None:
    """[48]"""
    with pytest.raises(Invalid) as refusal:
        ProvisioningResult.parse(detail)
    assert str(refusal.value) == f"a provisioning result has a missing or malformed {wrong}"


@given(st.text().filter(lambda outcome: outcome not in {"succeeded", "failed"}))
def test_provisioning_result_refuses_unknown_outcome(outcome: str) -> None:
    """[48]"""
    with pytest.raises(Invalid):
        ProvisioningResult.parse(RESULT | {"outcome": outcome})
