"""Time as one invocation sees it. The only module that reads the wall clock."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace


def wall_time_ms() -> int:
    """Epoch milliseconds now."""
    return time.time_ns() // 1_000_000


def _monotonic_s() -> float:
    return time.monotonic()


# Until when this invocation may start calls to AWS, on the monotonic clock; operators' commands have no end.
_calls_end_s: ContextVar[float] = ContextVar("calls_end_s", default=math.inf)
# For the writes that follow a budget's end, such as giving back a lease.
CALLS_GRACE_S = 1.0


@contextmanager
def limit_calls(budget_s: float) -> Iterator[None]:
    """Decorates a handler, or surrounds its work: no call to AWS starts after the budget's end and a short grace."""
    before = _calls_end_s.set(_monotonic_s() + budget_s + CALLS_GRACE_S)
    try:
        yield
    finally:
        _calls_end_s.reset(before)


def calls_left_s() -> float:
    """For how long calls to AWS may still start."""
    return _calls_end_s.get() - _monotonic_s()


@dataclass(frozen=True, slots=True)
class Clock:
    """Epoch milliseconds since the event, moving on with the process; and the time that is left."""

    started_at_ms: int
    budget_s: float
    _started_s: float = field(default_factory=_monotonic_s)

    @classmethod
    def at_event(cls, event_ms: int, budget_s: float) -> "Clock":
        """A clock that starts at the event's time; a time in the future counts as now (contract 58)."""
        return cls(min(event_ms, wall_time_ms()), budget_s)

    @classmethod
    def start(cls, budget_s: float) -> "Clock":
        """A clock that starts now: for the console script."""
        return cls(wall_time_ms(), budget_s)

    def now_ms(self) -> int:
        """The start plus what has passed since."""
        return self.started_at_ms + int((_monotonic_s() - self._started_s) * 1000)

    def remaining_s(self) -> float:
        """What is left of the budget."""
        return self.budget_s - (_monotonic_s() - self._started_s)

    def limited(self, seconds: float) -> "Clock":
        """The same clock, with at most this much time left."""
        return replace(self, budget_s=self.budget_s - max(0.0, self.remaining_s() - seconds))

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)
