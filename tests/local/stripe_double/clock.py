"""The clock of the account: wall time, moved forward on command."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Another clock's time, plus what `advance` has added."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self.offset_s = 0

    def now(self) -> int:
        """Return the time in whole epoch seconds, as Stripe shows it."""
        return int(self._source()) + self.offset_s

    def shifted_wall_time(self) -> int:
        """Return the wall time, moved as far; receivers of webhooks compare signatures with their own moved clock."""
        return int(time.time()) + self.offset_s

    def advance(self, seconds: int) -> None:
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        self.offset_s += seconds
