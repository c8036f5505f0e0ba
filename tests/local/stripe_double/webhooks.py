"""Webhook delivery: signed, in order for one customer, retried; or dropped, doubled, reversed."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Literal, get_args

import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import Json

WebhookMode = Literal["deliver", "drop", "duplicate", "reverse"]

# Grows from half a second, so that the first retry comes within one.
_RETRY_DELAYS_S = (0.5, 1, 2, 4, 8, 15, 30, 30, 30, 30)
_REVERSE_WINDOW_S = 0.3
_LANES = 4
# API Gateway answers within 30 s.
_TIMEOUT = urllib3.Timeout(connect=2, read=30)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver an event; no status: no response."""

    event_id: str
    event_type: str
    attempt: int
    status: int | None


@dataclass(order=True)
class _Pending:
    due_s: float
    order: int
    event: Json = field(compare=False)
    payload: bytes = field(compare=False)
    attempt: int = field(default=0, compare=False)


class WebhookSender:
    """Delivers events in its own threads; events of one customer never overtake each other."""

    def __init__(self, endpoint: str | None, secrets: list[str], now: Callable[[], int]) -> None:
        """Start in mode `deliver`; `now` dates the signatures."""
        self._now = now
        self.endpoint = endpoint
        self.secrets = secrets
        self.event_types: frozenset[str] | None = None
        self.deliveries: list[Delivery] = []
        self._mode: WebhookMode = "deliver"
        self._changed = threading.Condition()
        self._lanes: list[list[_Pending]] = [[] for _ in range(_LANES)]
        self._in_flight = 0
        self._hurrying = False
        self._stopping = False
        self._order = count()
        self._window_end_s = 0.0
        self._http = urllib3.PoolManager(maxsize=_LANES, retries=False, timeout=_TIMEOUT)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(lane,), daemon=True) for lane in self._lanes]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Drop what is pending and end the lanes."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)
        self._http.clear()

    def set_mode(self, mode: WebhookMode) -> None:
        """Choose how events arrive from now on; `drop` also drops what is still pending."""
        if mode not in get_args(WebhookMode):
            message = f"unknown webhook mode: {mode}"
            raise ValueError(message)
        with self._changed:
            self._mode = mode
            if mode == "drop":
                for lane in self._lanes:
                    lane.clear()
            self._changed.notify_all()

    def send(self, event: Json) -> None:
        """Queue an event as the mode says; without an endpoint or in mode `drop` do nothing."""
        wanted = self.event_types is None or event["type"] in self.event_types
        if self._mode == "drop" or self.endpoint is None or not wanted:
            return
        payload = json.dumps(event, default=str).encode()
        with self._changed:
            lane = self._lanes[hash(_customer_of(event)) % _LANES]
            now = time.monotonic()
            due, sign = now, 1
            if self._mode == "reverse":
                if now >= self._window_end_s:
                    self._window_end_s = now + _REVERSE_WINDOW_S
                due, sign = self._window_end_s, -1
            for _ in range(2 if self._mode == "duplicate" else 1):
                heapq.heappush(lane, _Pending(due, sign * next(self._order), event, payload))
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float, *, hurry: bool = False) -> bool:
        """Wait until nothing is pending or in flight; `hurry` skips windows and retry delays."""
        with self._changed:
            self._hurrying = hurry
            self._changed.notify_all()
            idle = self._changed.wait_for(lambda: not self._in_flight and not any(self._lanes), timeout_s)
            self._hurrying = False
            return idle

    def _run(self, lane: list[_Pending]) -> None:
        while (pending := self._next(lane)) is not None:
            status = self._post(pending)
            with self._changed:
                event = pending.event
                self.deliveries.append(Delivery(event["id"], event["type"], pending.attempt + 1, status))
                failed = status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR
                if failed and self._mode != "drop" and pending.attempt < len(_RETRY_DELAYS_S):
                    pending.due_s = time.monotonic() + _RETRY_DELAYS_S[pending.attempt]
                    pending.attempt += 1
                    heapq.heappush(lane, pending)
                self._in_flight -= 1
                self._changed.notify_all()

    def _next(self, lane: list[_Pending]) -> _Pending | None:
        """Wait for the next due delivery; none when stopping."""
        with self._changed:
            while not self._stopping:
                wait_s = lane[0].due_s - time.monotonic() if lane else None
                if wait_s is not None and (wait_s <= 0 or self._hurrying):
                    self._in_flight += 1
                    return heapq.heappop(lane)
                self._changed.wait(wait_s)
            return None

    def _post(self, pending: _Pending) -> int | None:
        if self.endpoint is None:
            return None
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature_header(pending.payload, self.secrets, self._now()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            answer = self._http.request("POST", self.endpoint, body=pending.payload, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            _log.info("webhook %s not delivered: %s", pending.event["id"], error)
            return None
        return answer.status


def signature_header(payload: bytes, secrets: list[str], at_s: int | None = None) -> str:
    """Return `Stripe-Signature`, one `v1` per secret; without a time, by the wall clock."""
    at_s = int(time.time()) if at_s is None else at_s
    signed = f"{at_s}.".encode() + payload
    signatures = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    return ",".join([f"t={at_s}", *(f"v1={signature}" for signature in signatures)])


def _customer_of(event: Json) -> str:
    about = event["data"]["object"]
    return str(about.get("customer") or about["id"])
