"""How much memory the parts of the local stack hold, sampled from /proc while a run goes on."""

from __future__ import annotations

import os
import statistics
import threading
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECONDS = 2.0
STACK, MINISTACK = "gateway, Stripe double", "MiniStack"
# The reconciler holds the events of one slice, six minutes of them in a steady run: it has a row of its own.
LARGEST_WORKER, RECONCILER = "largest other function", "reconciler"


@dataclass
class Memory:
    """A thread that samples until it is stopped; megabytes by part."""

    ministack: int
    """Its process id: this process may have another stack, too."""
    samples: dict[str, list[float]] = field(
        default_factory=lambda: {STACK: [], MINISTACK: [], LARGEST_WORKER: [], RECONCILER: []}
    )
    workers: list[int] = field(default_factory=list)
    """How many there were."""

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def thirds(self, part: str) -> tuple[float, float, float]:
        """The median of each third of the run."""
        samples = self.samples[part]
        size = max(1, len(samples) // 3)
        first, middle, last = samples[:size], samples[size : 2 * size] or samples, samples[-size:]
        return statistics.median(first), statistics.median(middle), statistics.median(last)

    def _watch(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            workers = [(_is_reconciler(pid), _megabytes(pid)) for pid in _workers(self.ministack)]
            self.samples[STACK].append(_megabytes(os.getpid()))
            self.samples[MINISTACK].append(_megabytes(self.ministack))
            self.samples[LARGEST_WORKER].append(max((size for other, size in workers if not other), default=0))
            self.samples[RECONCILER].append(max((size for reconciler, size in workers if reconciler), default=0))
            self.workers.append(len(workers))


def _workers(ministack: int) -> list[int]:
    """Children of MiniStack, and of the process among them that others are forked from."""
    processes = _processes()
    forkers = {pid for pid, parent in processes if parent == ministack and b"prefork.py" in _read(pid, "cmdline")}
    return [pid for pid, parent in processes if parent in {ministack, *forkers} and pid not in forkers]


def _processes() -> list[tuple[int, int]]:
    """(process id, its parent's) of all there are."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])))
        except OSError:
            continue  # it has just ended
    return found


def _is_reconciler(pid: int) -> bool:
    try:
        return "-Reconciler-" in str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:  # it has just ended
        return False


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has just ended
        return b""


def _megabytes(pid: int) -> float:
    _, pages, *_ = [*map(int, _read(pid, "statm").split()), 0, 0]
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
