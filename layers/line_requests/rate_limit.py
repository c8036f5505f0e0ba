"""A request budget per workspace: GCRA, one number per workspace, no counters to reset."""

from dataclasses import dataclass

from line_requests.errors import RateLimited


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Requests a minute, of which `burst` may come at once (contract 35)."""

    per_minute: int
    burst: int

    @property
    def interval_ms(self) -> int:
        """What one request costs of the window, rounded up: never more than `per_minute` in the long run."""
        return -(-60_000 // self.per_minute)

    @property
    def tolerance_ms(self) -> int:
        """How far the theoretical arrival time may run ahead of now."""
        return (self.burst - 1) * self.interval_ms

    def admit(self, tat_ms: int | None, now_ms: int) -> None:
        """Raises RateLimited when the window is used up; waiting that long is enough."""
        ahead_ms = (tat_ms or 0) - now_ms - self.tolerance_ms
        if ahead_ms > 0:
            raise RateLimited(ahead_ms)
