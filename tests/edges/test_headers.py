"""Headers for programs: each error's code and field, the request budget, where a line is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from line_requests.api import responses
from line_requests.api.http import Request
from line_requests.api.pagination import Page, cursor_after, read_cursor
from line_requests.api.requests import read_line_request
from line_requests.domain import errors
from line_requests.domain.bodies import created_body
from line_requests.domain.model import Status
from line_requests.domain.rate_limit import RateLimit
from line_requests.flows.create import Created
from tests.decision.examples import LINE_ID, NOW_MS, line, payable
from tests.edges.test_http import all_errors

ROOT = Path(__file__).parents[2]
# Raised inside the product or to operators; neither reaches a client.
INTERNAL = {errors.InvalidPlan}


def test_error_codes_are_those_in_openapi() -> None:
    """[64]"""
    described = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]["ErrorCode"]["enum"]
    codes = {error.code for error in all_errors() if error not in INTERNAL}
    assert codes | {errors.LineRequestError.code} == set(described)
    assert sorted(described) == described


def test_each_error_class_of_its_own_has_its_own_code() -> None:
    """[64] Only the kinds of one trouble share one."""
    own = [errors.LineRequestError.code, *(error.code for error in all_errors() if "code" in vars(error))]
    assert len(set(own)) == len(own)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CapReached("The plan's limit of 3 is reached."), "cap_reached"),
        (errors.NoneForSale("No more."), "none_for_sale"),
        (errors.ForbiddenLineType("Not offered."), "not_on_plan"),
    ],
)
def test_refusals_of_the_plan_share_a_body_and_differ_in_code(error: Exception, code: str) -> None:
    """[18][64]"""
    response = responses.failure(error)
    assert (response["statusCode"], response["headers"]["Error-Code"]) == (403, code)
    assert json.loads(response["body"]) == {"success": False, "status": "forbidden_line_type", "message": str(error)}


def test_401_names_the_scheme() -> None:
    """[64]"""
    assert responses.failure(errors.Unauthorized())["headers"]["WWW-Authenticate"] == "Bearer"


def test_503_names_the_kept_line_and_says_so_only_then() -> None:
    """[34][64]"""
    kept, lost = errors.BillingUnavailable("no"), errors.BillingUnavailable("no")
    kept.line_id = LINE_ID
    assert responses.failure(kept)["headers"]["Line-Request-Id"] == LINE_ID
    assert "was saved" in responses.failure(kept)["body"]
    assert "Line-Request-Id" not in responses.failure(lost)["headers"]
    assert "Nothing was saved" in responses.failure(lost)["body"]
    assert "Nothing was saved" in responses.failure(errors.Contended())["body"]
    overloaded = errors.TableUnavailable("ThrottlingException")
    assert "Line-Request-Id" not in responses.failure(overloaded)["headers"]
    overloaded.line_id = LINE_ID
    assert responses.failure(overloaded)["headers"]["Line-Request-Id"] == LINE_ID
    assert "was saved" in responses.failure(overloaded)["body"]


BYON = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "channelType": "phone",
    "lineType": "byon",
    "email": "ada@example.com",
    "phone": "+14155550100",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("firstName", None),
        ("lastName", 7),
        ("channelType", "fax"),
        ("lineType", "rented"),
        ("email", None),
        ("email", "ada"),
        ("phone", None),
        ("phone", "1"),
        ("zipcode", []),
        ("state", {}),
        ("forwardCallsTo", True),
        ("profileImageUrl", "x" * 2049),
        ("idempotencyKey", 7),
        ("idempotencyKey", "x" * 256),
    ],
)
def test_error_field_names_the_field_that_the_text_is_about(field: str, value: object) -> None:
    """[6][64]"""
    body = json.dumps(BYON | {field: value}).encode()
    with pytest.raises(errors.Invalid) as refused:
        read_line_request(Request({}, "", {}, body, NOW_MS))
    answer = responses.failure(refused.value)
    assert answer["headers"]["Error-Field"] == field
    assert json.loads(answer["body"])["error"].startswith((field, "The idempotency key"))


@pytest.mark.parametrize("header", ["x" * 256, "one, two", "\ud800"])
def test_error_field_names_the_header_that_the_text_is_about(header: str) -> None:
    """[28][64]"""
    with pytest.raises(errors.Invalid) as refused:
        read_line_request(Request({"idempotency-key": header}, "", {}, json.dumps(BYON).encode(), NOW_MS))
    assert responses.failure(refused.value)["headers"]["Error-Field"] == "Idempotency-Key"


def test_fields_have_only_their_documented_names() -> None:
    """[6]"""
    body = {name: value for name, value in BYON.items() if name != "firstName"} | {"first_name": "Ada"}
    with pytest.raises(errors.Invalid, match="firstName"):
        read_line_request(Request({}, "", {}, json.dumps(body).encode(), NOW_MS))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"{}" + b" " * 70_000])
def test_error_field_is_absent_when_the_body_is_no_object(body: bytes) -> None:
    """[13][64]"""
    with pytest.raises(errors.Invalid) as refused:
        read_line_request(Request({}, "", {}, body, NOW_MS))
    assert "Error-Field" not in responses.failure(refused.value)["headers"]


@pytest.mark.parametrize(("field", "value"), [("limit", "0"), ("status", "lost"), ("cursor", "?"), ("cursor", "")])
def test_error_field_names_the_query_parameter(field: str, value: str) -> None:
    """[42][64]"""
    with pytest.raises(errors.Invalid) as refused:
        Page.of({field: value}, "acme")
    assert refused.value.field == field


def test_201_has_location_and_retry_after() -> None:
    """[64]"""
    response = responses.created(Created(json.dumps(created_body(payable(), 0))))
    assert response["headers"]["Location"] == f"/api/line-requests/{LINE_ID}"
    assert response["headers"]["Retry-After"] == "2"


def test_link_names_the_next_page_of_lines_in_use_and_only_then() -> None:
    """[59]"""
    lines = [line(status=Status.ACTIVE)]
    assert "Link" not in responses.lines_in_use("acme", lines, None)["headers"]
    link = responses.lines_in_use("acme", lines, LINE_ID)["headers"]["Link"]
    cursor = link.removeprefix("</api/lines/by-user?cursor=").removesuffix('>; rel="next"')
    assert read_cursor(cursor, "acme") == LINE_ID
    with pytest.raises(errors.Invalid):
        read_cursor(cursor, "another")


def test_page_of_large_lines_is_below_lambdas_limit_and_has_a_next_one() -> None:
    """[59]"""
    large = {"first_name": "\U0001f600" * 256, "phone": "\U0001f600" * 2048}
    submission = replace(line().submission, **large)
    lines = [line(status=Status.ACTIVE, submission=submission, id=f"{number:024x}") for number in range(300)]
    response = responses.lines_in_use("acme", lines, None)
    shown = json.loads(response["body"])["lines"]
    assert len(response["body"]) < 6_000_000
    assert 100 < len(shown) < 300
    assert cursor_after("acme", shown[-1]["_id"]) in response["headers"]["Link"]


# --- the request budget -------------------------------------------------------------------------

LIMIT = RateLimit(per_minute=120, burst=60)


def budget(tat_ms: int | None, status: int = 201, **headers: str) -> Any:  # noqa: ANN401 - headers by name
    response = {"statusCode": status, "headers": {"Retry-After": "2", **headers}, "body": "{}"}
    return responses.with_rate_limit(response, LIMIT, tat_ms, NOW_MS)["headers"]


@pytest.mark.parametrize(
    ("tat_ms", "expected"),
    [
        (None, '"workspace";r=59;t=1'),
        (NOW_MS - 1, '"workspace";r=59;t=1'),
        (NOW_MS + 1, '"workspace";r=58;t=1'),
        (NOW_MS + 500, '"workspace";r=58;t=1'),
        (NOW_MS + 29_000, '"workspace";r=1;t=30'),
        (NOW_MS + 29_500, '"workspace";r=0;t=1'),
    ],
)
def test_rate_limit_counts_what_is_left_after_this_request(tat_ms: int | None, expected: str) -> None:
    """[35][64]"""
    headers = budget(tat_ms)
    assert (headers["RateLimit"], headers["RateLimit-Policy"]) == (expected, '"workspace";q=60;w=30')


def test_rate_limit_of_429_waits_as_long_as_retry_after() -> None:
    """[64]"""
    assert budget(NOW_MS + 40_000, 429)["RateLimit"] == '"workspace";r=0;t=2'


@given(st.integers(1, 600), st.integers(1, 200), st.integers(-1000, 200_000))
def test_remaining_requests_are_those_that_are_admitted(per_minute: int, burst: int, ahead_ms: int) -> None:
    """[35][64] As many as `remaining` says pass at this moment, and no more."""
    limit = RateLimit(per_minute, burst)
    tat_ms = NOW_MS + ahead_ms
    left, reset_s = limit.remaining(tat_ms, NOW_MS)
    for _ in range(left):
        limit.check(tat_ms, NOW_MS)
        tat_ms = limit.after_one(tat_ms, NOW_MS)
    with pytest.raises(errors.RateLimited):
        limit.check(tat_ms, NOW_MS)
    assert 0 <= left <= burst
    if left == 0:
        limit.check(NOW_MS + ahead_ms, NOW_MS + reset_s * 1000)
