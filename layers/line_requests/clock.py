"""Time as one invocation sees it: it starts when the event says, so that a run can be replayed."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Clock:
    """Epoch milliseconds from the event, moving on with the process; and how long is left."""

    started_at_ms: int
    budget_s: float
    _started_s: float = field(default_factory=time.monotonic)

    def now_ms(self) -> int:
        """The event's time plus what has passed since."""
        return self.started_at_ms + int((time.monotonic() - self._started_s) * 1000)

    def remaining_s(self) -> float:
        """What is left of the budget."""
        return self.budget_s - (time.monotonic() - self._started_s)

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)
