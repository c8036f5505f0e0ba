"""API Gateway's events in, the contract's answers out; the only module that knows status codes."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from line_requests import responses
from line_requests.errors import (
    BillingRefused,
    BillingUnavailable,
    Contended,
    ForbiddenLineType,
    Invalid,
    InvalidSignature,
    LineNotFound,
    NotInThisStatus,
    RateLimited,
    RequestInProgress,
    SubscriptionRequired,
    Unauthorized,
)
from line_requests.model import Line
from line_requests.telemetry import about, logger

Response = dict[str, Any]

# Clients poll; a line that still changes is worth another look after this many seconds.
POLL_AFTER_S = 2
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are in lower case, as API Gateway sends them."""

    headers: Mapping[str, str]
    path_id: str
    query: Mapping[str, str]
    body: bytes
    at_ms: int
    """Epoch milliseconds at which API Gateway received it."""

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Request":
        """Reads an HTTP API event, payload format 2.0."""
        return cls(
            headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
            path_id=(event.get("pathParameters") or {}).get("id", ""),
            query=event.get("queryStringParameters") or {},
            body=_bytes(event.get("body") or "", encoded=bool(event.get("isBase64Encoded"))),
            at_ms=int(event["requestContext"]["timeEpoch"]),
        )


def receive(event: Mapping[str, Any]) -> Request:
    """Reads an event; what is logged from now on names its request."""
    about(request_id=str(event["requestContext"].get("requestId")))
    return Request.of(event)


def _bytes(body: str, *, encoded: bool) -> bytes:
    """What was sent; what cannot have been sent becomes bytes that are no UTF-8, which validation refuses."""
    try:
        return base64.b64decode(body) if encoded else body.encode("utf-8", "surrogatepass")
    except ValueError:
        return b"\xff"


def respond(status: int, body: Mapping[str, object] | str, **headers: str) -> Response:
    """A JSON answer; `Retry_After="2"` becomes the header Retry-After."""
    return {
        "statusCode": status,
        "headers": {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "body": body if isinstance(body, str) else json.dumps(body),
    }


def respond_line(line: Line, window_ms: int) -> Response:
    """GET's answer; a line that still changes says when to ask again (contract 40)."""
    settled = line.status in {"active", "failed", "canceled"}
    again = {} if settled else {"Retry_After": str(POLL_AFTER_S)}
    return respond(200, responses.status_body(line, window_ms), **again)


def _in_progress(error: RequestInProgress) -> Response:
    body = {
        "success": False,
        "status": "request_in_progress",
        "message": str(error),
        "existingLine": responses.line_body(error.holder),
    }
    return respond(409, body)


def _rate_limited(error: RateLimited) -> Response:
    body = {"error": "Rate limit exceeded", "retryAfterMs": error.retry_after_ms}
    return respond(429, body, Retry_After=str(math.ceil(error.retry_after_ms / 1000)))


def _subscription_required(error: SubscriptionRequired) -> Response:
    body = {
        "success": False,
        "status": "subscription_required",
        "message": str(error),
        "redirect": "/billing",
    }
    return respond(403, body)


def _unavailable(_: BillingUnavailable) -> Response:
    # Its own text may name what only operators should see.
    body = {"error": "Billing is unavailable for the moment; what was asked is kept and done later. Ask again."}
    return respond(503, body, Retry_After=str(RETRY_AFTER_S))


def _contended(_: Contended) -> Response:
    body = {"error": "Too many requests of this workspace at once; nothing was kept, ask again."}
    return respond(503, body, Retry_After=str(RETRY_AFTER_S))


def _unsuccessful(http_status: int, status: str, error: Exception) -> Response:
    return respond(http_status, {"success": False, "status": status, "message": str(error)})


# Every error that a client can meet has its row, the more special one first; a test checks it.
REPLIES: dict[type[Exception], Callable[[Any], Response]] = {
    Unauthorized: lambda _: respond(401, {"error": "Unauthorized"}),
    RateLimited: _rate_limited,
    Invalid: lambda error: respond(400, {"error": str(error)}),
    InvalidSignature: lambda error: respond(400, {"error": str(error)}),
    LineNotFound: lambda _: respond(404, {"error": "Line request not found"}),
    SubscriptionRequired: _subscription_required,
    ForbiddenLineType: lambda error: _unsuccessful(403, "forbidden_line_type", error),
    RequestInProgress: _in_progress,
    Contended: _contended,
    NotInThisStatus: lambda error: _unsuccessful(409, str(error.line.status), error),
    BillingRefused: lambda error: respond(502, {"error": str(error)}),
    BillingUnavailable: _unavailable,
}


def failure(error: Exception) -> Response:
    """The answer to any error; one that is nobody's fault but ours is logged, and a plain 500."""
    for kind, reply in REPLIES.items():
        if isinstance(error, kind):
            return reply(error)
    logger.exception("unexpected error")
    return respond(500, {"error": "Internal server error"})
