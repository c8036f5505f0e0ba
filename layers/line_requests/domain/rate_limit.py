"""A request budget per workspace: GCRA, one number per workspace, no counters to reset."""

import math
from dataclasses import dataclass

from line_requests.domain.errors import RateLimited


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Requests a minute, of which `burst` may come at once (contract 35)."""

    per_minute: int
    burst: int

    @property
    def interval_ms(self) -> int:
        """The time that one request uses up, rounded up so that the rate stays at or below `per_minute`."""
        return -(-60_000 // self.per_minute)

    @property
    def tolerance_ms(self) -> int:
        """How far the theoretical arrival time may run ahead of now."""
        return (self.burst - 1) * self.interval_ms

    @property
    def window_s(self) -> int:
        """How long an unused budget of `burst` requests takes to build up."""
        return math.ceil(self.burst * self.interval_ms / 1000)

    def after_one(self, tat_ms: int | None, now_ms: int) -> int:
        """The theoretical arrival time after one more request."""
        return max(tat_ms or 0, now_ms) + self.interval_ms

    def remaining(self, tat_ms: int | None, now_ms: int) -> tuple[int, int]:
        """How many requests may come now, and the seconds until that number grows from 0, else until it is `burst`."""
        ahead_ms = max(0, (tat_ms or 0) - now_ms)
        requests = max(0, (self.tolerance_ms - ahead_ms) // self.interval_ms + 1)
        wait_ms = ahead_ms if requests else ahead_ms - self.tolerance_ms
        return requests, math.ceil(wait_ms / 1000)

    def check(self, tat_ms: int | None, now_ms: int) -> None:
        """Raises RateLimited, with the wait that is enough, when the window is used up."""
        ahead_ms = (tat_ms or 0) - now_ms - self.tolerance_ms
        if ahead_ms > 0:
            raise RateLimited(ahead_ms)
