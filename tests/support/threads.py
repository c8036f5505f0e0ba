"""Several callers at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def together(number: int, act: Callable[[int], T]) -> list[T]:
    """Runs `act` in this many threads at the same moment."""
    start = threading.Barrier(number)

    def run(index: int) -> T:
        start.wait()
        return act(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))
