"""API Gateway events in, HTTP responses out: a row for every error that a client can meet."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.api import http, responses
from line_requests.domain import errors
from line_requests.domain.bodies import created_body
from line_requests.domain.model import Status
from line_requests.domain.submission import Kind
from line_requests.storage.table import IndexMissing
from line_requests.telemetry import logger
from tests.decision.examples import line, payable

if TYPE_CHECKING:
    from collections.abc import Iterator

Error = type[errors.LineRequestError]

# Raised inside the product or to operators; neither reaches a client.
# InvalidPlan and what specializes it are for the console script, IndexMissing too.
INTERNAL = (errors.InvalidPlan, errors.ReplayedFailure, IndexMissing)

CASES: list[tuple[Exception, int, dict[str, Any]]] = [
    (errors.Unauthorized(), 401, {"error": "Unauthorized"}),
    (errors.Invalid("firstName is required"), 400, {"error": "firstName is required"}),
    (errors.RateLimited(1234), 429, {"error": "Rate limit exceeded", "retryAfterMs": 1234}),
    (errors.LineNotFound(), 404, {"error": "Line request not found"}),
    (
        errors.SubscriptionRequired("Subscribe first."),
        403,
        {"success": False, "status": "subscription_required", "message": "Subscribe first.", "redirect": "/billing"},
    ),
    (
        errors.ForbiddenLineType("Not on the plan."),
        403,
        {"success": False, "status": "forbidden_line_type", "message": "Not on the plan."},
    ),
    (
        errors.RequestInProgress(payable()),
        409,
        {
            "success": False,
            "status": "request_in_progress",
            "message": "Another line request of this workspace awaits payment. Pay or cancel it, then retry.",
            "existingLine": created_body(payable(), 0)["line"],
        },
    ),
    (
        errors.NotInThisStatus(line(Kind.EMAIL, Status.ACTIVE), "Too late."),
        409,
        {"success": False, "status": "active", "message": "Too late."},
    ),
    (
        errors.Contended(),
        503,
        {"error": "Too many concurrent requests in this workspace. Nothing was saved; retry."},
    ),
    (
        errors.TableUnavailable("ThrottlingException"),
        503,
        {"error": "The service is overloaded. Retry; for a new request with the same Idempotency-Key."},
    ),
    (errors.BillingRefused("Fix the customer."), 502, {"error": "Fix the customer."}),
    (
        errors.UnreadableRecord("W#acme LINE#1: status"),
        503,
        {"error": "This line was written by a newer release that is being deployed. Nothing changed; retry."},
    ),
    (errors.InvalidSignature("No signature matches"), 400, {"error": "No signature matches"}),
]


def body_of(response: dict[str, Any]) -> dict[str, Any]:
    read = json.loads(response["body"])
    assert isinstance(read, dict)
    return read


def all_errors(kind: Error = errors.LineRequestError) -> Iterator[Error]:
    for special in kind.__subclasses__():
        yield special
        yield from all_errors(special)


def test_replies_have_a_reachable_row_for_every_error() -> None:
    """[34]"""
    rows = list(responses.REPLIES)
    for error in set(all_errors()):
        assert issubclass(error, INTERNAL) or any(issubclass(error, row) for row in rows), error
    for position, row in enumerate(rows):
        assert not any(issubclass(row, earlier) for earlier in rows[:position]), f"{row} is never reached"
    assert {type(case[0]) for case in CASES} | {errors.BillingUnavailable} == set(rows)


@pytest.mark.parametrize(("error", "status", "body"), CASES, ids=lambda value: type(value).__name__)
def test_failure_answers_each_error_as_the_contract_says(error: Exception, status: int, body: dict[str, Any]) -> None:
    """[1][17][18][23][34][35][37][41][43]"""
    response = responses.failure(error)
    assert response["statusCode"] == status
    assert body_of(response) == body
    assert response["headers"]["Content-Type"] == "application/json"


def test_record_of_a_newer_release_alarms(capsys: pytest.CaptureFixture[str]) -> None:
    """[34]"""
    responses.failure(errors.UnreadableRecord("W#acme LINE#1: status"))
    assert '"UnreadableRecord":[1.0]' in capsys.readouterr().out


TROUBLE = [errors.BillingUnavailable, errors.BillingMisconfigured, errors.InvoiceMissing, errors.ReplayedFailure]


@pytest.mark.parametrize("trouble", TROUBLE)
def test_failure_answers_503_with_retry_after_and_no_detail_when_stripe_is_unavailable(
    trouble: type[errors.BillingUnavailable],
) -> None:
    """[34]"""
    error = trouble("No such customer: ada@example.com")
    error.line_id = payable().id
    response = responses.failure(error)
    assert response["statusCode"] == 503
    assert body_of(response) == {
        "error": "Stripe is unavailable. Your request was saved and will be completed;"
        " retry with the same Idempotency-Key, or read the line that Line-Request-Id names."
    }
    assert "ada" not in response["body"]
    assert int(response["headers"]["Retry-After"]) > 0


@pytest.mark.parametrize("error", [KeyError("secret"), RuntimeError("ada@example.com")])
def test_failure_logs_an_unexpected_error_and_answers_plain_500(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[45][64]"""
    logged: list[str] = []
    monkeypatch.setattr(logger, "exception", logged.append)
    responses.failure(errors.Unauthorized())
    assert logged == []
    response = responses.failure(error)
    assert logged == ["unexpected error"]
    assert (response["statusCode"], response["headers"]["Error-Code"]) == (500, "internal_error")
    assert body_of(response) == {
        "error": "Internal server error. Retry; for a new request with the same Idempotency-Key."
    }


@pytest.mark.parametrize(
    ("retry_after_ms", "seconds"), [(1, "1"), (999, "1"), (1000, "1"), (1001, "2"), (30_000, "30")]
)
def test_failure_rounds_retry_after_of_rate_limit_up_to_seconds(retry_after_ms: int, seconds: str) -> None:
    """[35]"""
    assert responses.failure(errors.RateLimited(retry_after_ms))["headers"]["Retry-After"] == seconds


@pytest.mark.parametrize("status", Status)
def test_line_status_has_retry_after_while_line_still_changes(status: Status) -> None:
    """[36][40]"""
    response = responses.line_status(line(status=status), 0)
    assert response["statusCode"] == 200
    assert (body_of(response)["success"], body_of(response)["status"]) == (True, status)
    changing = status in {Status.AWAITING_PAYMENT, Status.PROVISIONING}
    assert ("Retry-After" in response["headers"]) is changing


def test_payment_link_and_page_have_exactly_these_keys() -> None:
    """[41][42]"""
    link = responses.payment_link(payable())
    assert (link["statusCode"], body_of(link)) == (
        200,
        {
            "success": True,
            "status": "awaiting_payment",
            "paymentUrl": "https://invoice.stripe.com/i/1",
            "invoiceId": "in_1",
            "reused": True,
        },
    )
    page = responses.page([payable()], "next")
    shown = created_body(payable(), 0)["line"]
    assert (page["statusCode"], body_of(page)) == (200, {"success": True, "lines": [shown], "nextCursor": "next"})


def test_respond_sends_a_frozen_body_unchanged() -> None:
    """[29]"""
    response = http.respond(201, '{"b": 1,  "a": 2}', Idempotency_Replayed="true")
    assert response["body"] == '{"b": 1,  "a": 2}'
    assert response["headers"] == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Idempotency-Replayed": "true",
    }


def event(**changes: object) -> dict[str, Any]:
    return {"requestContext": {"timeEpoch": 1_795_305_600_123}} | changes


def test_request_is_read_from_http_api_event() -> None:
    """[28]"""
    full = event(
        headers={"Idempotency-KEY": "k"},
        pathParameters={"id": "1"},
        queryStringParameters={"limit": "5"},
        body="é",
        routeKey="GET /",
    )
    assert http.Request.of(full) == http.Request(
        {"idempotency-key": "k"}, "1", {"limit": "5"}, b"\xc3\xa9", 1_795_305_600_123, "GET /"
    )


@pytest.mark.parametrize(
    "nothing", [{}, {"headers": None, "body": None, "pathParameters": None, "queryStringParameters": None}]
)
def test_request_has_empty_values_for_what_the_event_lacks(nothing: dict[str, None]) -> None:
    """[13]"""
    assert http.Request.of(event(**nothing)) == http.Request({}, "", {}, b"", 1_795_305_600_123)


def test_request_decodes_base64_body() -> None:
    """[13]"""
    body = base64.b64encode(b"\xff\x00").decode()
    assert http.Request.of(event(body=body, isBase64Encoded=True)).body == b"\xff\x00"


@pytest.mark.parametrize(
    ("body", "encoded"), [("\ud800", False), ("!!!not base64", True), ("YQ=", True), ("é", True), ("\ud800", True)]
)
def test_request_keeps_undecodable_body_for_validation_to_refuse(body: str, *, encoded: bool) -> None:
    """[13]"""
    with pytest.raises(UnicodeDecodeError):
        http.Request.of(event(body=body, isBase64Encoded=encoded)).body.decode()
    assert http.Request.of(event(body="\ud800")).body == b"\xed\xa0\x80"
