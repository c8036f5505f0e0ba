"""`make mutants`: changes the product, one small change at a time, and counts the changes that no test finds."""

import argparse
import os
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from tests.mutation.killers import plant, stages_for, warm
from tests.mutation.mutants import ROOT, Mutant, all_mutants

# One line each: a mutant's name, then ` # ` and why nobody could see it.
EQUIVALENTS = ROOT / "tests" / "mutation" / "equivalents.txt"
CPU_MAX_S = 120


class Trial:
    """Tries mutants until the time is over."""

    def __init__(self, seconds: float) -> None:
        self.killed = 0
        self.survivors: list[str] = []
        self.sound: dict[str, bool] = {}
        """Whether a stage that has found something finds nothing in the product as it is."""
        self._end_s = time.monotonic() + seconds
        self._lock = Lock()

    def attempt(self, mutant: Mutant) -> None:
        """Tries one mutant, unless the time is over."""
        for name, stage in stages_for(mutant.path):
            if time.monotonic() > self._end_s:
                return
            if found_by(stage, mutant) and self._is_sound(name, stage):
                self.killed += 1
                return
        self.survivors.append(f"line {mutant.line}  {mutant.name}")

    def _is_sound(self, name: str, stage: Callable[[], None]) -> bool:
        with self._lock:
            if name not in self.sound:
                self.sound[name] = not found_by(stage, None)
            return self.sound[name]


def found_by(stage: Callable[[], None], mutant: Mutant | None) -> bool:
    """Whether the stage finds something, in a process of its own; one that does not end has found it."""
    child = os.fork()
    if child == 0:
        # Time that the processor spends on it, so that a busy machine makes no difference.
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        try:
            if mutant is not None:
                plant(mutant)
            stage()
        except BaseException:  # noqa: BLE001 - a product that does not even start is found out, too
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status != 0


def equivalents() -> dict[str, str]:
    """The mutants that nobody could see, and why."""
    lines = EQUIVALENTS.read_text().splitlines()
    return {name: reason for name, _, reason in (line.partition(" # ") for line in lines if line)}


def changed_lines(base: str) -> set[tuple[str, int]]:
    """Path and number of each line that differs from a revision."""
    command = ["git", "diff", "--unified=0", base, "--", "layers", "functions", "template.yaml"]
    changed, path = set[tuple[str, int]](), ""
    for line in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            changed |= {(path, int(hunk[1]) + number) for number in range(int(hunk[2] or 1))}
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints killed / made; 0 when every mutant that was tried is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--base", help="only mutants of lines that differ from this revision")
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after so many")
    parser.add_argument("--seed", type=int, default=1, help="decides which come first")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    made = [mutant for mutant in all_mutants() if options.only in mutant.name]
    if options.base:
        changed = changed_lines(options.base)
        made = [mutant for mutant in made if (str(mutant.path.relative_to(ROOT)), mutant.line) in changed]
    wanted = [mutant for mutant in made if mutant.name not in equivalents()]
    random.Random(options.seed).shuffle(wanted)
    trial = Trial(options.seconds)
    with warm(), ThreadPoolExecutor(options.processes) as pool:
        list(pool.map(trial.attempt, wanted))
    for survivor in sorted(trial.survivors):
        print(f"SURVIVED {survivor}")
    broken = [name for name, sound in trial.sound.items() if not sound]
    for name in broken:
        print(f"FAILS WITHOUT A MUTANT: {name}")
    tried = trial.killed + len(trial.survivors)
    left = f"{len(made) - len(wanted)} equivalent, {len(wanted) - tried} not tried (seed {options.seed})"
    print(f"killed {trial.killed} / made {tried}; {left}")
    return 1 if trial.survivors or broken else 0


if __name__ == "__main__":
    sys.exit(main())
