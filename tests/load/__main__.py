"""`make load`, or python -m tests.load [MINUTES [CLIENTS]]: a sustained mixed load on the local stack, judged."""

from __future__ import annotations

import os
import sys

from tests.load.memory import LARGEST_WORKER
from tests.load.run import Result, run
from tests.local.stack import LocalStack
from tests.local.terminal import forget_deployment
from tests.trace.check import checked_at_rest

# A worker may still load what it needs first in the run's first third; after that it has seen everything.
GROWTH_MAX = 1.15
SEED = 4711


def main(minutes: float, clients: int) -> int:
    print(f"{minutes:g} minutes of {clients} clients on {os.cpu_count()} cores …", flush=True)
    forget_deployment()
    with LocalStack(record=True) as stack:
        result = run(stack, seconds=minutes * 60, clients=clients, seed=SEED)
        print("checking what was recorded …", flush=True)
        checked = checked_at_rest(stack)
    print(f"\n{result.table()}\n\n{_memory(result)}\n")
    print(f"reconciled once more: {result.reconciled}")
    print(checked or "trace: nothing is recorded on this system, which has no pidfd")
    wrong = result.seen["wrong"] + result.broken + (checked.violations if checked else [])
    _, middle, last = result.memory.thirds(LARGEST_WORKER)
    if last > middle * GROWTH_MAX:
        wrong.append(f"{LARGEST_WORKER}: from {middle:.0f} to {last:.0f} MB")
    for what in wrong[:50]:
        print(f"WRONG  {what}")
    print(f"{len(result.seen['workspaces'])} workspaces, {len(result.seen['lines'])} lines, {len(wrong)} wrong")
    return 1 if wrong else 0


def _memory(result: Result) -> str:
    rows = [f"{'memory, MB (medians)':24}{'first third':>12}{'second':>9}{'last':>9}"]
    for part in result.memory.samples:
        first, middle, last = result.memory.thirds(part)
        rows.append(f"{part:24}{first:12.0f}{middle:9.0f}{last:9.0f}")
    rows.append(f"Lambda workers: up to {max(result.memory.workers, default=0)}")
    return "\n".join(rows)


if __name__ == "__main__":
    given = dict(zip(["minutes", "clients"], sys.argv[1:], strict=False))
    sys.exit(main(float(given.get("minutes", 3)), int(given.get("clients", 8))))
