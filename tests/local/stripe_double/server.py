"""The double itself: an HTTP server over the account, and its controls."""

from __future__ import annotations

import copy
import re
import secrets
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import stripe

from . import hosted_page, invoices, subscriptions
from .account import Account
from .idempotency import FaultKind, Faults, IdempotencyKeys, RateLimiter
from .listener import Listener
from .params import Form, check, parse_form
from .refusals import Answer, Json, RefusalError, bad_request, json_answer, rate_limited, server_error
from .routes import Route, find_route
from .webhooks import Delivery, WebhookMode, WebhookSender

if TYPE_CHECKING:
    from email.message import Message

_KEY = re.compile(r"(sk|rk)_test_\w+")
_HANG_S = 60.0


@dataclass
class LoggedRequest:
    """One API call as it was received; no status while it is being worked on."""

    method: str
    path: str
    params: Json
    idempotency_key: str | None
    api_key: str
    status: int | None = None
    replayed: bool = False
    fault: FaultKind | None = None


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    form: Form
    api_key: str
    idempotency_key: str | None
    version: str | None


class StripeDouble:
    """A stateful Stripe on 127.0.0.1, usable as a context manager; every method is thread-safe."""

    def __init__(  # noqa: PLR0913 - its knobs are independent, and named at every call
        self,
        port: int = 0,
        *,
        product_api_key: str | None = None,
        webhook_endpoint: str | None = None,
        webhook_secrets: list[str] | None = None,
        latency_ms: float = 0,
        calls_per_second_per_endpoint: float | None = None,
        hang_s: float = _HANG_S,
    ) -> None:
        """Bind the port (0: any free one); `product_api_key` is whose calls faults hit."""
        self.product_api_key = product_api_key
        self.latency_ms = latency_ms
        self.request_log: list[LoggedRequest] = []
        self.revoked_api_keys: set[str] = set()  # 401
        self.forbidden_api_keys: set[str] = set()  # 403, a restricted key without the scope
        self._lock = threading.RLock()
        self._webhooks = WebhookSender(webhook_endpoint, webhook_secrets or [])
        self._account = Account(self._webhooks.send, lambda token: f"{self.url}/i/{token}")
        self._keys = IdempotencyKeys()
        self._faults = Faults(hang_s)
        self._limiter = RateLimiter(calls_per_second_per_endpoint)
        self._listener = Listener(port, self._answer)
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=partial(self._listener.serve_forever, poll_interval=0.05), daemon=True)

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._webhooks.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Release hanging calls, close every connection and give up pending webhooks."""
        self._faults.set("error_before", 0, "")
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
        self._listener.server_close()
        self._listener.close_connections()
        self._webhooks.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    # Webhooks

    @property
    def webhook_endpoint(self) -> str | None:
        """Where events go; none: nowhere."""
        return self._webhooks.endpoint

    @webhook_endpoint.setter
    def webhook_endpoint(self, url: str | None) -> None:
        self._webhooks.endpoint = url

    @property
    def webhook_secrets(self) -> list[str]:
        """The active signing secrets: one `v1` signature each."""
        return self._webhooks.secrets

    @webhook_secrets.setter
    def webhook_secrets(self, secrets_now: list[str]) -> None:
        self._webhooks.secrets = list(secrets_now)

    @property
    def webhook_event_types(self) -> frozenset[str] | None:
        """Which types the endpoint is sent; none: all."""
        return self._webhooks.event_types

    @webhook_event_types.setter
    def webhook_event_types(self, types: frozenset[str] | None) -> None:
        self._webhooks.event_types = types

    @property
    def webhook_deliveries(self) -> list[Delivery]:
        """Every delivery attempt so far."""
        return list(self._webhooks.deliveries)

    def set_webhook_mode(self, mode: WebhookMode) -> None:
        """Choose how events arrive from now on; `drop` also drops what is still pending."""
        self._webhooks.set_mode(mode)

    def resend_event(self, event_id: str) -> None:
        """Deliver a recorded event once more, as the mode says."""
        with self._lock:
            self._webhooks.send(self._account.get("event", event_id))

    def wait_idle(self, timeout_s: float = 10) -> bool:
        """Wait until every webhook is delivered or given up; false when time ran out."""
        return self._webhooks.wait_idle(timeout_s)

    def flush(self, timeout_s: float = 10) -> bool:
        """Like `wait_idle`, but without waiting for reverse windows and retry delays."""
        return self._webhooks.wait_idle(timeout_s, hurry=True)

    # Faults, limits, time

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

    def advance_seconds(self, seconds: int) -> None:
        """Move Stripe's clock: keys expire, new objects and events are later."""
        with self._lock:
            self._account.clock_offset_s += seconds

    def reset_request_log(self) -> None:
        """Forget the calls received so far."""
        with self._lock:
            self.request_log.clear()

    # What customers, banks and time do

    def invoice(self, invoice_id: str) -> Json:
        """Return an invoice without an API call."""
        with self._lock:
            return copy.deepcopy(self._account.get("invoice", invoice_id))

    def all_of(self, kind: str) -> list[Json]:
        """Return every object of a kind ("invoice", "event", "subscription", …), newest first."""
        with self._lock:
            return copy.deepcopy(list(self._account.newest(kind)))

    def pay_invoice(self, invoice_id: str) -> None:
        """Pay an invoice as its customer would."""
        with self._lock:
            invoices.pay(self._account, {}, invoice_id)

    def forget_invoice(self, invoice_id: str) -> None:
        """Make an invoice unknown from now on, as a key of another account would find it."""
        with self._lock:
            del self._account.tables["invoice"][invoice_id]

    def forget_events(self) -> None:
        """Empty the feed, as a month does."""
        with self._lock:
            self._account.tables["event"].clear()

    def age_events(self, seconds: int) -> None:
        """Make every event so much older."""
        with self._lock:
            for event in self._account.tables["event"].values():
                event["created"] -= seconds

    def start_bank_debit(self, invoice_id: str) -> None:
        """Put a payment on its way: the invoice stays open and void fails."""
        with self._lock:
            invoices.start_bank_debit(self._account, invoice_id)

    def settle_bank_debit(self, invoice_id: str, *, succeeded: bool) -> None:
        """End a payment on its way: paid, or still open."""
        with self._lock:
            invoices.settle_bank_debit(self._account, invoice_id, succeeded=succeeded)

    def set_subscription_status(
        self,
        subscription_id: str,
        status: str | None = None,
        *,
        cancel_at_period_end: bool | None = None,
        pause_collection: Json | str | None = None,
    ) -> Json:
        """Force a subscription into any of Stripe's states; `""` ends `pause_collection`."""
        with self._lock:
            forced = subscriptions.set_status(
                self._account,
                subscription_id,
                status,
                cancel_at_period_end=cancel_at_period_end,
                pause_collection=pause_collection,
            )
            return copy.deepcopy(forced)

    # Answering

    def _answer(self, method: str, target: str, headers: Message, body: bytes) -> Answer:
        """Answer one HTTP request."""
        url = urlsplit(target)
        if match := re.fullmatch(r"/i/([\w-]+)(/pay)?", url.path):
            return self._answer_page(method, *match.groups())
        request_id = f"req_{secrets.token_hex(8)}"
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        call = _Call(
            method=method,
            path=url.path,
            form={},
            api_key=token if scheme.lower() == "bearer" else "",
            idempotency_key=headers.get("Idempotency-Key") if method == "POST" else None,
            version=headers.get("Stripe-Version"),
        )
        encoded = body.decode("utf-8", "replace") if method == "POST" else url.query
        answer = self._answer_call(call, encoded, request_id)
        return answer.with_header("Request-Id", request_id).with_header(
            "Stripe-Version", call.version or stripe.api_version
        )

    def _answer_page(self, method: str, token: str, pay: str | None) -> Answer:
        with self._lock:
            if method == "GET" and not pay:
                return hosted_page.show(self._account, token)
            if method == "POST" and pay:
                return hosted_page.pay(self._account, token)
        return Answer(405, b"", (("Allow", "POST" if pay else "GET"),))

    def _answer_call(self, call: _Call, encoded: str, request_id: str) -> Answer:
        entry = LoggedRequest(call.method, call.path, {}, call.idempotency_key, call.api_key)
        with self._lock:
            self.request_log.append(entry)
        try:
            entry.params = parse_form(encoded)
            self._authenticate(call)
            route, ids = find_route(call.method, call.path)
            if call.api_key == self.product_api_key:
                entry.fault = self._faults.take(call.path)
            if entry.fault == "error_before":
                answer = server_error().answer()
            elif entry.fault == "rate_limit" or self._limiter.refuses(route.name):
                answer = rate_limited()
            else:
                answer = self._execute_once(call, route, ids, entry, request_id)
        except RefusalError as refusal:
            answer = refusal.answer()
        except Exception:  # noqa: BLE001 - a bug of the double must reach the caller as a 500
            traceback.print_exc(file=sys.stderr)
            answer = server_error().answer()
        entry.status = answer.status
        entry.replayed = ("Idempotent-Replayed", "true") in answer.headers
        if entry.fault == "timeout_after":
            self._faults.hang()
        return answer

    def _authenticate(self, call: _Call) -> None:
        if not _KEY.fullmatch(call.api_key) or call.api_key in self.revoked_api_keys:
            shown = f"{call.api_key[:8]}{'*' * max(0, len(call.api_key) - 8)}"
            message = f"Invalid API Key provided: {shown}" if shown else "You did not provide an API key."
            raise RefusalError(401, message)
        if call.api_key in self.forbidden_api_keys:
            message = (
                f"The provided key '{call.api_key[:8]}***' does not have the required permissions for this endpoint."
            )
            raise RefusalError(403, message)
        if call.version not in (None, stripe.api_version):
            # The double speaks one version only: the one the SDK's types describe.
            raise bad_request(f"Invalid Stripe API version: {call.version}")

    def _execute_once(
        self, call: _Call, route: Route, ids: tuple[str, ...], entry: LoggedRequest, request_id: str
    ) -> Answer:
        """Replay what the key saved, or execute and save; validation failures are not saved."""
        key = call.idempotency_key
        with self._lock:
            if key:
                saved = self._keys.begin(key, call.path, entry.params, self._account.now())
                if saved:
                    lost = entry.fault == "error_after" and saved.status < 500
                    return server_error().answer() if lost else saved
            try:
                params = check(route.params_type, entry.params)
            except RefusalError:
                if key:
                    self._keys.release(key)
                raise
        entry.params = params
        time.sleep(self.latency_ms / 1000)
        with self._lock:
            self._account.request = {"id": request_id, "idempotency_key": key}
            try:
                answer = self._execute(route, params, ids)
                if entry.fault == "error_after":
                    answer = server_error().answer()
                if key:
                    self._keys.save(key, answer)
            except Exception:
                if key:
                    self._keys.release(key)
                raise
            finally:
                self._account.request = {"id": None, "idempotency_key": None}
            return answer

    def _execute(self, route: Route, params: Json, ids: tuple[str, ...]) -> Answer:
        try:
            shown = route.act(self._account, params, *ids)
            if paths := params.get("expand"):
                shown = self._account.expand(shown, paths)
            return json_answer(shown)
        except RefusalError as refusal:
            return refusal.answer()
