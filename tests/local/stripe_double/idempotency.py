"""Idempotency keys, faults and rate limits: what a repeated or failing call is answered."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import ApiError, ApiResponse, Json, bad_request

FaultKind = Literal["error_before", "error_after", "timeout_after", "rate_limit"]

# Stripe forgets a key a day after its first use.
_KEY_LIFE_S = 24 * 60 * 60
_MAX_KEY_CHARS = 255


@dataclass
class _Use:
    """The first use of a key; no response yet: still in progress."""

    path: str
    params: Json
    first_used_s: int
    response: ApiResponse | None = None


class IdempotencyKeys:
    """The account's keys; not thread-safe."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def begin(self, key: str, path: str, params: Json, now_s: int) -> ApiResponse | None:
        """Return the saved response to replay, or none and hold the key; another use is refused."""
        if len(key) > _MAX_KEY_CHARS:
            raise bad_request("Idempotency keys have at most 255 characters.")
        use = self._uses.get(key)
        if use is None or now_s - use.first_used_s >= _KEY_LIFE_S:
            self._uses[key] = _Use(path, params, now_s)
            return None
        if use.path != path:
            raise _mismatch(key, f"for the same endpoint they were first used for ('{use.path}')")
        if use.params != params:
            raise _mismatch(key, "with the same parameters they were first used with")
        if use.response is None:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going "
                f"through): {key}. Please try again later."
            )
            raise ApiError(409, message, code="idempotency_key_in_use")
        return use.response.with_header("Idempotent-Replayed", "true")

    def save(self, key: str, response: ApiResponse) -> None:
        """Keep the response of the call that holds the key."""
        self._uses[key].response = response

    def release(self, key: str) -> None:
        """Forget a key whose call did not begin to execute."""
        self._uses.pop(key, None)


@dataclass(frozen=True)
class Fault:
    """One call's fault; a call that hangs ends when `released` is set."""

    kind: FaultKind
    released: threading.Event


class Faults:
    """The faults that wait for the next calls of one API key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kind: FaultKind = "error_before"
        self._left = 0
        self._path = ""
        self._released = threading.Event()

    def set(self, kind: FaultKind, count: int, path: str) -> None:
        """Replace what waits; a count of 0 also releases the calls that hang."""
        if kind not in get_args(FaultKind):
            raise ValueError(f"unknown fault: {kind}")
        with self._lock:
            self._kind, self._left, self._path = kind, count, path
            if count == 0:
                self._released.set()
                self._released = threading.Event()

    def take(self, path: str) -> Fault | None:
        """Return the fault for a call to this path, if one waits, and use it up."""
        with self._lock:
            if self._left <= 0 or not path.startswith(self._path):
                return None
            self._left -= 1
            return Fault(self._kind, self._released)


class RateLimiter:
    """At most so many calls in any second per endpoint; none: no limit."""

    def __init__(self) -> None:
        self.calls_per_second: float | None = None
        self._lock = threading.Lock()
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)

    def refuses(self, endpoint: str) -> bool:
        """Count a call; tell whether it exceeds the limit."""
        if self.calls_per_second is None:
            return False
        with self._lock:
            now, recent = time.monotonic(), self._recent[endpoint]
            while recent and recent[0] <= now - 1:
                recent.popleft()
            if len(recent) >= self.calls_per_second:
                return True
            recent.append(now)
            return False


def _mismatch(key: str, rule: str) -> ApiError:
    message = (
        f"Keys for idempotent requests can only be used {rule}. Try using a key other than "
        f"'{key}' if you meant to execute a different request."
    )
    return ApiError(400, message, kind="idempotency_error")
