"""`make mutants`: changes the product by machine, one small change at a time, and counts which changes no test finds."""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.mutation.killers import Killed, plant, stages_for, warm_up
from tests.mutation.mutants import ROOT, Mutant, all_mutants

# One line each: a mutant's name, then ` # ` and why it changes nothing that anybody could see.
EQUIVALENTS = ROOT / "tests" / "mutation" / "equivalents.txt"
STAGE_MAX_S = 60
SURVIVED, FOUND = 0, 1


@dataclass
class Count:
    """What became of the mutants."""

    killed: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Stages that fail without a mutant."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints killed / made; 0 when no mutant survives that is not listed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--base", help="only mutants of lines that are changed against this revision")
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--seconds", type=int, help="stop after so many; what was not tried is said")
    parser.add_argument("--seed", type=int, default=1, help="which sample comes first")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    equivalents = _equivalents()
    made = [mutant for mutant in all_mutants() if options.only in mutant.name]
    if options.base:
        changed = _changed_lines(options.base)
        made = [mutant for mutant in made if mutant.line in changed.get(str(mutant.path.relative_to(ROOT)), ())]
    wanted = [mutant for mutant in made if mutant.name not in equivalents]
    random.Random(options.seed).shuffle(wanted)
    warm_up()
    count, tried = _try_all(wanted, options.seconds, options.processes)
    for mutant in sorted(count.survivors, key=lambda mutant: mutant.name):
        print(f"SURVIVED line {mutant.line}  {mutant.name}")
    for stage in count.broken:
        print(f"FAILS WITHOUT A MUTANT: {stage}")
    listed = len(made) - len(wanted)
    print(
        f"killed {count.killed} / made {tried}; {listed} equivalent, {len(wanted) - tried} not tried (seed {options.seed})"
    )
    return 1 if count.survivors or count.broken else 0


def _equivalents() -> dict[str, str]:
    listed = [line.partition(" # ") for line in EQUIVALENTS.read_text().splitlines() if line]
    return {name.strip(): reason for name, _, reason in listed}


def _changed_lines(base: str) -> dict[str, set[int]]:
    command = ["git", "diff", "--unified=0", base, "--", "layers", "functions", "template.yaml"]
    changed: dict[str, set[int]] = {}
    path = ""
    for line in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            start, length = int(hunk[1]), int(hunk[2] or 1)
            changed.setdefault(path, set()).update(range(start, start + length))
    return changed


def _try_all(mutants: list[Mutant], seconds: int | None, processes: int) -> tuple[Count, int]:
    from tests.mutation.engine import shared_engine

    count, tried = Count(), 0
    limits: dict[str, float] = {}
    end_s = time.monotonic() + (seconds or 1e9)
    with shared_engine(), ThreadPoolExecutor(processes) as pool:

        def attempt(mutant: Mutant) -> None:
            nonlocal tried
            if time.monotonic() > end_s:
                return
            found = False
            for name, stage in stages_for(mutant.path):
                if name not in limits:
                    began_s = time.monotonic()
                    if _forked(stage, None, STAGE_MAX_S * 4):
                        count.broken.append(name)
                    limits[name] = 10 + 4 * (time.monotonic() - began_s)
                found = name not in count.broken and _forked(stage, mutant, limits[name])
                if found:
                    break
            tried += 1
            count.killed += found
            if not found:
                count.survivors.append(mutant)

        list(pool.map(attempt, mutants))
    return count, tried


def _forked(stage: Callable[[], None], mutant: Mutant | None, limit_s: float) -> bool:
    """Whether the stage finds something, in a process of its own; one that never ends has found it."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        os._exit(_outcome(stage, mutant))
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) != SURVIVED
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _outcome(stage: Callable[[], None], mutant: Mutant | None) -> int:
    try:
        if mutant is not None:
            plant(mutant)
        stage()
    except Killed:
        return FOUND
    except BaseException:  # noqa: BLE001 - a product that does not even start was found out, too
        return FOUND
    return SURVIVED


if __name__ == "__main__":
    sys.exit(main())
