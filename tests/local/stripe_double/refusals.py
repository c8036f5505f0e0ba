"""Answers and refusals in Stripe's JSON shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What goes back over the wire."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)

    def with_header(self, name: str, value: str) -> Answer:
        """Return the same answer with one more header."""
        return Answer(self.status, self.body, (*self.headers, (name, value)))


def json_answer(body: Json, status: int = 200) -> Answer:
    """Return a JSON answer."""
    return Answer(status, json.dumps(body, default=str).encode())


class RefusalError(Exception):
    """A request that Stripe refuses; carries the status and the error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        """Build the error object; keys without a value are absent, as in Stripe's own."""
        super().__init__(message)
        self.status = status
        self.error: Json = {"message": message, "type": kind}
        if code:
            doc_url = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
            self.error |= {"code": code, "doc_url": doc_url}
        if param:
            self.error["param"] = param

    def answer(self) -> Answer:
        """Return the refusal as it goes over the wire."""
        return json_answer({"error": self.error}, self.status)


def no_such(kind: str, object_id: str, param: str = "id", status: int = 400) -> RefusalError:
    """Return `resource_missing`: 404 for the object in the path, 400 for one named by a parameter."""
    return RefusalError(status, f"No such {kind}: '{object_id}'", code="resource_missing", param=param)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> RefusalError:
    """Return a plain 400."""
    return RefusalError(400, message, code=code, param=param)


def server_error() -> RefusalError:
    """Return Stripe's 500."""
    message = "An unknown error occurred. Please contact support@stripe.com if this persists."
    return RefusalError(500, message, kind="api_error")


def rate_limited() -> Answer:
    """Return Stripe's 429."""
    message = "Request rate limit exceeded. Learn more: https://stripe.com/docs/rate-limits"
    refusal = RefusalError(429, message, code="rate_limit")
    return refusal.answer().with_header("Stripe-Rate-Limited-Reason", "endpoint-rate")
