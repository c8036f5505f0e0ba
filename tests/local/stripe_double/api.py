"""One API call: authentication, faults, idempotency, parameters, then the endpoint."""

from __future__ import annotations

import asyncio
import pickle
import re
import secrets
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import stripe
from starlette.responses import Response

from .acts import Acts
from .errors import ApiError, ApiResponse, Json, bad_request, json_response, rate_limited, server_error
from .idempotency import Fault, FaultKind, Faults, IdempotencyKeys, RateLimiter
from .params import check, parse_form
from .routes import Route, find_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from .account import Account
    from .acts import OnAct

_KEY = re.compile(r"(sk|rk)_test_\w+")
_HANG_POLL_S = 0.02


@dataclass
class LoggedRequest:
    """One API call as it was received; no status while it is in progress."""

    method: str
    path: str
    params: Json
    idempotency_key: str | None
    api_key: str
    version: str | None = None
    status: int | None = None
    replayed: bool = False
    fault: FaultKind | None = None


class Api:
    """Stripe's HTTP interface to one account; `product_api_key` is whose calls the faults hit."""

    def __init__(self, account: Account, keys: IdempotencyKeys, hang_s: float) -> None:
        self.product_api_key: str | None = None
        self.latency_ms = 0.0
        self.request_log: list[LoggedRequest] = []
        self.revoked_api_keys: set[str] = set()  # 401
        self.forbidden_api_keys: set[str] = set()  # 403, a restricted key without the scope
        self.on_answer: Callable[[LoggedRequest, bytes], None] | None = None
        self._account = account
        self._lock = Acts(account)
        self._hang_s = hang_s
        self._faults = Faults()
        self._keys = keys
        self._limiter = RateLimiter()

    def state(self) -> bytes:
        """Everything that the account holds and remembers, for another double to go on from."""
        with self._lock:
            return pickle.dumps((self._account, self._keys))

    def set_faults(self, kind: FaultKind, count: int, path: str = "") -> None:
        """Make the product's next `count` calls under this path fail; 0 clears and releases."""
        self._faults.set(kind, count, path)

    @property
    def calls_per_second_per_endpoint(self) -> float | None:
        """The limit beyond which an endpoint answers 429; none: no limit."""
        return self._limiter.calls_per_second

    @calls_per_second_per_endpoint.setter
    def calls_per_second_per_endpoint(self, limit: float | None) -> None:
        self._limiter.calls_per_second = limit

    @property
    def on_act(self) -> OnAct | None:
        """Is told of every act that changed something, before the next one begins."""
        return self._lock.on_act

    @on_act.setter
    def on_act(self, on_act: OnAct | None) -> None:
        self._lock.on_act = on_act

    def reset_request_log(self) -> None:
        with self._lock:
            self.request_log.clear()

    async def respond(self, request: Request) -> Response:
        """Answer one HTTP request."""
        request_id = f"req_{secrets.token_hex(8)}"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        is_post = request.method == "POST"
        call = LoggedRequest(
            request.method,
            request.url.path,
            {},
            request.headers.get("Idempotency-Key") if is_post else None,
            token if scheme.lower() == "bearer" else "",
            request.headers.get("Stripe-Version"),
        )
        encoded = (await request.body()).decode("utf-8", "replace") if is_post else request.url.query
        response = await self._respond(call, encoded, request_id)
        headers = dict(response.headers) | {
            "Request-Id": request_id,
            "Stripe-Version": call.version or stripe.api_version,
        }
        return Response(response.body, response.status, headers, "application/json")

    async def _respond(self, call: LoggedRequest, encoded: str, request_id: str) -> ApiResponse:
        with self._lock:
            self.request_log.append(call)
        fault = None
        try:
            call.params = parse_form(encoded)
            self._authenticate(call)
            route, ids = find_route(call.method, call.path)
            fault = self._take_fault(call)
            if call.fault == "error_before":
                response = server_error().response()
            elif call.fault == "rate_limit" or self._limiter.refuses(route.name):
                response = rate_limited()
            else:
                response = await self._execute_once(call, route, ids, request_id)
        except ApiError as error:
            response = error.response()
        except Exception:  # noqa: BLE001 - a bug of the double must reach the caller as a 500
            traceback.print_exc(file=sys.stderr)
            response = server_error().response()
        call.status = response.status
        call.replayed = ("Idempotent-Replayed", "true") in response.headers
        if self.on_answer is not None:
            self.on_answer(call, response.body)
        if fault and fault.kind == "timeout_after":
            deadline = time.monotonic() + self._hang_s
            while not fault.released.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110 - set by other threads
                await asyncio.sleep(_HANG_POLL_S)
        return response

    def _take_fault(self, call: LoggedRequest) -> Fault | None:
        fault = self._faults.take(call.path) if call.api_key == self.product_api_key else None
        call.fault = fault.kind if fault else None
        return fault

    def _authenticate(self, call: LoggedRequest) -> None:
        if not _KEY.fullmatch(call.api_key) or call.api_key in self.revoked_api_keys:
            shown = f"{call.api_key[:8]}{'*' * max(0, len(call.api_key) - 8)}"
            message = f"Invalid API Key provided: {shown}" if shown else "You did not provide an API key."
            raise ApiError(401, message)
        if call.api_key in self.forbidden_api_keys:
            message = (
                f"The provided key '{call.api_key[:8]}***' does not have the required permissions for this endpoint."
            )
            raise ApiError(403, message)
        if call.version not in (None, stripe.api_version):
            # The double speaks one version only: the one the SDK's types describe.
            raise bad_request(f"Invalid Stripe API version: {call.version}")

    async def _execute_once(
        self, call: LoggedRequest, route: Route, ids: tuple[str, ...], request_id: str
    ) -> ApiResponse:
        """Replay what the key saved, or execute and save; validation failures are not saved."""
        key = call.idempotency_key
        with self._lock:
            if key and (saved := self._keys.begin(key, call.path, call.params, self._account.now())):
                lost = call.fault == "error_after" and saved.status < 500
                return server_error().response() if lost else saved
        try:
            call.params = check(route.params_type, call.params)
            if self.latency_ms:
                await asyncio.sleep(self.latency_ms / 1000)
            with self._lock:
                response = self._execute(call, route, ids, request_id)
                if key:
                    self._keys.save(key, response)
        except BaseException:
            if key:
                self._keys.release(key)
            raise
        return response

    def _execute(self, call: LoggedRequest, route: Route, ids: tuple[str, ...], request_id: str) -> ApiResponse:
        self._account.catch_up()
        self._account.request = {"id": request_id, "idempotency_key": call.idempotency_key}
        try:
            shown = route.act(self._account, call.params, *ids)
            if paths := call.params.get("expand"):
                shown = self._account.expand(shown, paths)
            response = json_response(shown)
        except ApiError as error:
            response = error.response()
        finally:
            self._account.request = {"id": None, "idempotency_key": None}
        return server_error().response() if call.fault == "error_after" else response
