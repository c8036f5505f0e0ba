"""API Gateway's events in, HTTP responses out.

By hand, for the reasons in docs/decisions/0006; responses.py has the table of answers.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Response = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are in lower case, as API Gateway sends them."""

    headers: Mapping[str, str]
    path_id: str
    query: Mapping[str, str]
    body: bytes
    at_ms: int
    """Epoch milliseconds at which API Gateway received it."""
    route: str = ""
    """Method and path template, as in `GET /api/line-requests/{id}`."""

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Request":
        """Reads an HTTP API event, payload format 2.0."""
        return cls(
            headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
            path_id=(event.get("pathParameters") or {}).get("id", ""),
            query=event.get("queryStringParameters") or {},
            body=_bytes(event.get("body") or "", encoded=bool(event.get("isBase64Encoded"))),
            at_ms=int(event["requestContext"]["timeEpoch"]),
            route=event.get("routeKey", ""),
        )


def _bytes(body: str, *, encoded: bool) -> bytes:
    """The body as sent; an impossible one becomes bytes that are not UTF-8, which validation refuses."""
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
