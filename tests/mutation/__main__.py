"""`make mutants`: changes the product, one small change at a time, and counts the changes that no test finds."""

import argparse
import math
import os
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from tests.mutation.killers import slow_stages, tests_for, try_in_session, warm
from tests.mutation.mutants import ROOT, Mutant, all_mutants
from tests.mutation.session import OUT_OF_TIME, be_silent, limit_time, plant

# One line each: a mutant's name, then ` # ` and why nobody could see it.
EQUIVALENTS = ROOT / "tests" / "mutation" / "equivalents.txt"

Stages = Sequence[tuple[str, Callable[[], None]]]


class Trial:
    """Tries mutants until the time is over."""

    def __init__(self, seconds: float, processes: int) -> None:
        self.killed = 0
        self.survived = 0
        self.unsound = set[str]()
        """What finds something in the product as it is."""
        self._sound: dict[str, bool] = {}
        self._processes = processes
        self._end_s = time.monotonic() + seconds
        self._lock = Lock()

    def run(self, mutants: Sequence[Mutant], *, slowly: bool) -> None:
        """First the tests, then what takes longer, for what they have not found."""
        groups = defaultdict[tuple[str, ...], list[Mutant]](list)
        for mutant in mutants:
            groups[tests_for(mutant.path)].append(mutant)
        left: list[tuple[Mutant, Stages]] = []
        # What needs the fewest tests first, so that a short trial tries something.
        for files, group in sorted(groups.items(), key=lambda one: len(one[0])):
            for mutant, tested in self._with_tests(files, group):
                stages = list(slow_stages(mutant.path, tested=tested, explore=slowly))
                if stages:
                    left.append((mutant, stages))
                else:
                    self._survives(mutant)
        with ThreadPoolExecutor(self._processes) as pool:
            list(pool.map(lambda one: self._slowly(*one), left))

    def _with_tests(self, files: tuple[str, ...], group: Sequence[Mutant]) -> Iterator[tuple[Mutant, bool]]:
        """Those that are not found, each with whether the tests were tried on it."""
        if time.monotonic() > self._end_s:
            return
        named = {mutant.name: mutant for mutant in group}
        for how, name in try_in_session(files, group, self._processes, self._end_s):
            if how == "unsound":
                self.unsound.add(name)
            elif how == "killed":
                self.killed += 1
            else:
                yield named[name], how == "survived"

    def _slowly(self, mutant: Mutant, stages: Stages) -> None:
        for name, stage in stages:
            found = found_by(stage, mutant, self._end_s)
            if found is None:
                return
            if found and self._is_sound(name, stage):
                self.killed += 1
                return
        self._survives(mutant)

    def _survives(self, mutant: Mutant) -> None:
        self.survived += 1
        print(f"SURVIVED line {mutant.line}  {mutant.name}", flush=True)

    def _is_sound(self, name: str, stage: Callable[[], None]) -> bool:
        with self._lock:
            if name not in self._sound:
                self._sound[name] = not found_by(stage, None)
                self.unsound |= set() if self._sound[name] else {name}
            return self._sound[name]


def found_by(stage: Callable[[], None], mutant: Mutant | None, end_s: float = math.inf) -> bool | None:
    """Whether the stage finds something, in a process of its own; None when the time was over before.

    A stage that does not end has found something.
    """
    child = os.fork()
    if child == 0:
        try:
            limit_time(end_s)
            be_silent()
            if mutant is not None:
                plant(mutant)
            stage()
        except BaseException:  # noqa: BLE001 - a product that does not even start is found out, too
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return {0: False, OUT_OF_TIME: None}.get(os.waitstatus_to_exitcode(status), True)


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
    parser.add_argument("--only", nargs="+", default=[""], help="only mutants whose name contains one of these")
    parser.add_argument("--quick", action="store_true", help="the tests only, without the explorer and the books")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after so many")
    parser.add_argument("--seed", type=int, default=1, help="decides which come first")
    parser.add_argument("--sample", type=int, help="only so many, chosen by the seed from all of them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    made = [mutant for mutant in all_mutants() if any(part in mutant.name for part in options.only)]
    if options.base:
        changed = changed_lines(options.base)
        made = [mutant for mutant in made if (str(mutant.path.relative_to(ROOT)), mutant.line) in changed]
    wanted = [mutant for mutant in made if mutant.name not in equivalents()]
    random.Random(options.seed).shuffle(wanted)
    chosen = wanted[: options.sample]
    trial = Trial(options.seconds, options.processes)
    with warm():
        trial.run(chosen, slowly=not options.quick)
    for name in sorted(trial.unsound):
        print(f"FAILS WITHOUT A MUTANT: {name}")
    tried = trial.killed + trial.survived
    left = f"{len(made) - len(wanted)} equivalent, {len(wanted) - tried} not tried (seed {options.seed})"
    print(f"killed {trial.killed} / made {tried}; {left}")
    return 1 if trial.survived or trial.unsound else 0


if __name__ == "__main__":
    sys.exit(main())
