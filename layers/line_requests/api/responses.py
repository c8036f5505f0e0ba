"""The contract's answers: one for each outcome, one row for each error. The only module that knows status codes."""

import json
import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from line_requests.api.http import Response, respond
from line_requests.api.pagination import cursor_after
from line_requests.domain.bodies import (
    Body,
    allowance_body,
    events_body,
    line_body,
    line_in_use_body,
    payment_body,
)
from line_requests.domain.errors import (
    BillingRefused,
    BillingUnavailable,
    Contended,
    ForbiddenLineType,
    Invalid,
    InvalidSignature,
    LineNotFound,
    LineRequestError,
    NotInThisStatus,
    RateLimited,
    RequestInProgress,
    SubscriptionRequired,
    TableUnavailable,
    Unauthorized,
    UnreadableRecord,
)
from line_requests.domain.model import Line, PaymentStatus, Status, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.flows.create import Created
from line_requests.telemetry import alarm, logger

# A line that still changes is worth another poll after this many seconds.
POLL_AFTER_S = 2
RETRY_AFTER_S = 5
TOO_MANY_REQUESTS = 429
# Lambda returns at most 6 MB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAGE_MAX_BYTES = 5_000_000


# --- outcomes -----------------------------------------------------------------------------------


def created(answer: Created) -> Response:
    """POST 201; a replayed one says so (contract 29)."""
    flags = {"Idempotency_Replayed": answer.replayed, "Idempotency_Mismatch": answer.mismatch}
    line_id = json.loads(answer.body)["line"]["_id"]
    return respond(
        201,
        answer.body,
        Location=f"/api/line-requests/{line_id}",
        Retry_After=str(POLL_AFTER_S),
        **{name: "true" for name, flag in flags.items() if flag},
    )


def with_rate_limit(response: Response, limit: RateLimit, tat_ms: int | None, now_ms: int) -> Response:
    """POST's answer with the workspace's request budget after this request, which was read just before.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
    """
    requests, reset_s = limit.remaining(limit.after_one(tat_ms, now_ms), now_ms)
    if response["statusCode"] == TOO_MANY_REQUESTS:
        requests, reset_s = 0, int(response["headers"]["Retry-After"])
    response["headers"] |= {
        "RateLimit-Policy": f'"workspace";q={limit.burst};w={limit.window_s}',
        "RateLimit": f'"workspace";r={requests};t={reset_s}',
    }
    return response


def status_body(line: Line, window_ms: int) -> Body:
    """GET 200."""
    return {
        "success": True,
        "status": str(line.status),
        "paymentStatus": str(line.payment_status),
        "paymentRequired": line.payment_status is PaymentStatus.AWAITING_PAYMENT,
        **(payment_body(line, window_ms) if line.awaiting else {}),
        "line": line_body(line),
    }


def line_status(line: Line, window_ms: int) -> Response:
    """GET 200; a line that still changes says when to poll again (contract 40)."""
    settled = line.status in {Status.ACTIVE, Status.FAILED, Status.CANCELED}
    again = {} if settled else {"Retry_After": str(POLL_AFTER_S)}
    return respond(200, status_body(line, window_ms), **again)


def payment_link(line: Line) -> Response:
    """The answer to payment_link while the line awaits payment (contract 40)."""
    body: Body = {
        "success": True,
        "status": str(line.status),
        "paymentUrl": line.payment_url,
        "invoiceId": line.invoice_id,
        "reused": True,
    }
    return respond(200, body, Retry_After=str(POLL_AFTER_S))


def page(lines: list[Line], cursor: str | None) -> Response:
    """One page of the list."""
    return respond(200, {"success": True, "lines": [line_body(line) for line in lines], "nextCursor": cursor})


def lines_in_use(workspace_id: str, lines: list[Line], last: str | None) -> Response:
    """One page of the lines in use; a header names the next one, which starts after line `last` (contract 59)."""
    bodies = [line_in_use_body(line) for line in lines]
    fitting = sum(size <= PAGE_MAX_BYTES for size in accumulate(len(json.dumps(body)) for body in bodies))
    cursor = cursor_after(workspace_id, lines[fitting - 1].id if fitting < len(lines) else last)
    following = {"Link": f'</api/lines/by-user?cursor={cursor}>; rel="next"'} if cursor else {}
    return respond(200, {"lines": bodies[:fitting]}, **following)


def events(line: Line) -> Response:
    """The line's history."""
    return respond(200, events_body(line))


def allowance(workspace: Workspace, now_ms: int) -> Response:
    """What the workspace may request, and at which price."""
    return respond(200, allowance_body(workspace, now_ms))


# --- errors -------------------------------------------------------------------------------------


def _in_progress(error: RequestInProgress) -> Response:
    return _unsuccessful(409, "request_in_progress", error, existingLine=line_body(error.holder))


def _rate_limited(error: RateLimited) -> Response:
    body = {"error": str(error), "retryAfterMs": error.retry_after_ms}
    return respond(429, body, Retry_After=str(math.ceil(error.retry_after_ms / 1000)))


def _invalid(error: Invalid) -> Response:
    return respond(400, {"error": str(error)}, **({"Error_Field": error.field} if error.field else {}))


def _unavailable(text: str, **headers: str) -> Response:
    return respond(503, {"error": text}, Retry_After=str(RETRY_AFTER_S), **headers)


def _billing_unavailable(error: BillingUnavailable) -> Response:
    """Its own text may name what only operators should see."""
    if error.line_id is None:
        return _unavailable(STRIPE_UNAVAILABLE)
    return _unavailable(KEPT[error.during], Line_Request_Id=error.line_id)


def _table_unavailable(error: TableUnavailable) -> Response:
    logger.warning("DynamoDB is unavailable", extra={"reason": str(error), "line_id": error.line_id})
    if error.line_id is None:
        return _unavailable(OVERLOADED)
    return _unavailable(KEPT_OVERLOADED, Line_Request_Id=error.line_id)


def _unreadable(error: UnreadableRecord) -> Response:
    alarm("UnreadableRecord", f"asked for a record of a newer release: {error}")
    return _unavailable("This line was written by a newer release that is being deployed. Nothing changed; retry.")


def _unsuccessful(http_status: int, status: str, error: Exception, **more: object) -> Response:
    return respond(http_status, {"success": False, "status": status, "message": str(error), **more})


_COMPLETED = (
    "Your request was saved and will be completed; retry with the same Idempotency-Key,"
    " or read the line that Line-Request-Id names."
)
KEPT = {
    "create": f"Stripe is unavailable. {_COMPLETED}",
    "cancel": (
        "Stripe is unavailable. The cancel was saved and will be carried out; read the line again or repeat the cancel."
    ),
    "payment_link": "Stripe is unavailable; nothing changed. Retry, or read the line again.",
}
STRIPE_UNAVAILABLE = "Stripe is unavailable. Nothing was saved; retry."
OVERLOADED = "The service is overloaded. Retry; for a new request with the same Idempotency-Key."
KEPT_OVERLOADED = f"The service is overloaded. {_COMPLETED}"
FAILED = "Internal server error. Retry; for a new request with the same Idempotency-Key."
CONTENDED = "Too many concurrent requests in this workspace. Nothing was saved; retry."

# Every error that a client can meet has its row, the more special one first; a test checks it.
REPLIES: dict[type[Exception], Callable[[Any], Response]] = {
    Unauthorized: lambda _: respond(401, {"error": "Unauthorized"}, WWW_Authenticate="Bearer"),
    RateLimited: _rate_limited,
    Invalid: _invalid,
    InvalidSignature: lambda error: respond(400, {"error": str(error)}),
    LineNotFound: lambda _: respond(404, {"error": "Line request not found"}),
    SubscriptionRequired: lambda error: _unsuccessful(403, "subscription_required", error, redirect="/billing"),
    ForbiddenLineType: lambda error: _unsuccessful(403, "forbidden_line_type", error),
    RequestInProgress: _in_progress,
    Contended: lambda _: _unavailable(CONTENDED),
    NotInThisStatus: lambda error: _unsuccessful(409, str(error.line.status), error),
    BillingRefused: lambda error: respond(502, {"error": str(error)}),
    BillingUnavailable: _billing_unavailable,
    TableUnavailable: _table_unavailable,
    UnreadableRecord: _unreadable,
}


def failure(error: Exception) -> Response:
    """The answer to any error, with its code; an unexpected one is logged and becomes a plain 500 (contract 64)."""
    reply = next((reply for kind, reply in REPLIES.items() if isinstance(error, kind)), None)
    if reply is None:
        logger.exception("unexpected error")
    response = reply(error) if reply else respond(500, {"error": FAILED})
    response["headers"]["Error-Code"] = error.code if isinstance(error, LineRequestError) else LineRequestError.code
    return response
