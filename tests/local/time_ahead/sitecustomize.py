"""Lets this process's wall clock run ahead, by the seconds in the file that LOCAL_SECONDS_AHEAD names.

Python imports a module of this name at its start, from PYTHONPATH. So MiniStack, its Lambda workers and the operators'
console script follow the local stack's clock, and no module of the product knows. The file is mapped: all processes
move at once.
"""

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "LOCAL_SECONDS_AHEAD"


def follow(file: Path) -> Callable[[], None]:
    """Moves `time.time` and `time.time_ns` ahead from now on; returns what ends that."""
    with file.open("rb") as opened:
        ahead_s = memoryview(mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)).cast("q")
    wall_s, wall_ns = time.time, time.time_ns
    time.time = lambda: wall_s() + ahead_s[0]
    time.time_ns = lambda: wall_ns() + ahead_s[0] * 1_000_000_000

    def end() -> None:
        time.time, time.time_ns = wall_s, wall_ns

    return end


def write(file: Path, seconds: int) -> None:
    """Sets how far ahead every process that follows the file is; the file keeps its place, for it is mapped."""
    with file.open("r+b" if file.exists() else "wb") as opened:
        opened.write(seconds.to_bytes(8, "little", signed=True))


# A terminal may outlive its stack.
if (told := os.environ.get(VARIABLE)) and Path(told).exists():
    follow(Path(told))
