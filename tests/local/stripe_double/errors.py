"""What Stripe answers instead of the object: its error shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class ApiResponse:
    """A finished response, as it is saved under an idempotency key."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def with_header(self, name: str, value: str) -> ApiResponse:
        return replace(self, headers=(*self.headers, (name, value)))


def json_response(body: Json, status: int = 200) -> ApiResponse:
    return ApiResponse(status, json.dumps(body, default=str).encode())


class ApiError(Exception):
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
        """Leave out the keys without a value, as Stripe does."""
        super().__init__(message)
        self.status = status
        self.error: Json = {"message": message, "type": kind}
        if code:
            doc_url = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
            self.error |= {"code": code, "doc_url": doc_url}
        if param:
            self.error["param"] = param

    def response(self) -> ApiResponse:
        return json_response({"error": self.error}, self.status)


def no_such(kind: str, object_id: str, param: str = "id", status: int = 400) -> ApiError:
    """`resource_missing`: 404 for the object in the path, 400 for one named by a parameter."""
    return ApiError(status, f"No such {kind}: '{object_id}'", code="resource_missing", param=param)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, code=code, param=param)


def missing(param: str) -> ApiError:
    return bad_request(f"Missing required param: {param}.", param, "parameter_missing")


def server_error() -> ApiError:
    message = "An unknown error occurred. Please contact support@stripe.com if this persists."
    return ApiError(500, message, kind="api_error")


def rate_limited() -> ApiResponse:
    message = "Request rate limit exceeded. Learn more: https://stripe.com/docs/rate-limits"
    error = ApiError(429, message, code="rate_limit")
    return error.response().with_header("Stripe-Rate-Limited-Reason", "endpoint-rate")
