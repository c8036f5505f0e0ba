"""Runs a swarm in all processors, prints how much of the space it saw, and tells a walk again."""

import gc
import multiprocessing
import os
from array import array
from collections import Counter
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

from tests.proof.product import warm

if TYPE_CHECKING:
    from tests.proof.swarm import Swarm, Walk

NAME = "swarm:"
WALKS_PER_TASK = 10
# A planted bug that so many walks do not show counts as not found.
WALKS_PER_MUTANT = 400

_swarm: "Swarm | None" = None


def main(walks: int, seed: int) -> bool:
    """So many walks; prints what they came to, and whether nothing is wrong."""
    tasks = [(seed, first, min(first + WALKS_PER_TASK, walks)) for first in range(0, walks, WALKS_PER_TASK)]
    warm()
    # Forked before the product is imported, as for planted bugs.
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        done = [walk for some in pool.imap(_walked, tasks) for walk in some]
    for walk in done:
        if walk.failure:
            print(f"{NAME}{seed}:{walk.number}: {walk.failure}")
            print(f"   {walk.setting}\n   again: python -m tests.proof --replay {NAME}{seed}:{walk.number}")
    _report(done)
    return not any(walk.failure for walk in done)


def tell(replay: str) -> str:
    """The walk that `swarm:SEED:NUMBER` stands for, step by step."""
    from tests.proof.laboratory import step_lines

    seed, _, number = replay.removeprefix(NAME).partition(":")
    walk, taken = _here().tell(int(seed), int(number))
    lines = [f"{walk.setting}, {walk.steps} steps"]
    for count, (move, before, after) in enumerate(taken, 1):
        lines += step_lines(count, move, before, after)
    return "\n".join([*lines, f"=> {walk.failure or 'nothing is wrong'}"])


def hunt(replay: str, *, story: bool) -> str:
    """The first walk of `swarm:SEED` that finds something wrong, and what; nothing if none does."""
    seed = int(replay.removeprefix(NAME))
    for number in range(WALKS_PER_MUTANT):
        walk = _here().walk(seed, number)
        if walk.failure:
            story_of_it = tell(f"{NAME}{seed}:{number}") + "\n" if story else ""
            return f"{story_of_it}{NAME}{seed}:{number}: {walk.failure}"
    return ""


def _walked(task: tuple[int, int, int]) -> "list[Walk]":
    gc.set_threshold(200_000, 50, 1_000)
    seed, first, end = task
    return [_here().walk(seed, number) for number in range(first, end)]


def _here() -> "Swarm":
    global _swarm  # noqa: PLW0603 - made once per process, for it replaces parts of the modules
    if _swarm is None:
        from tests.proof.swarm import Swarm

        _swarm = Swarm()
    return _swarm


def _report(done: "list[Walk]") -> None:
    from tests.proof.swarm import FAULTS_MAX, fault_kinds

    steps = sum(walk.steps for walk in done)
    by_number = Counter(len(walk.faults) for walk in done)
    met = ", ".join(f"{number}: {by_number[number]:,}" for number in range(FAULTS_MAX + 1))
    kinds = fault_kinds()
    pairs = set(combinations_with_replacement(kinds, 2))
    seen_pairs = {pair for walk in done for pair in _pairs(walk.faults)}
    print(f"{len(done):,} walks, {steps:,} steps; walks by number of faults: {met}")
    print(f"{len(seen_pairs & pairs):,} of {len(pairs):,} pairs of faults ({len(kinds)} faults)")
    print(_seen("states", array("q", (state for walk in done for state in walk.states))))
    print(_seen("situations (states without ids and times)", array("q", (s for walk in done for s in walk.situations))))
    print(f"{sum(walk.failure is not None for walk in done):,} walks found something wrong")


def _seen(what: str, states: "array[int]") -> str:
    """How many there were, and how many of the last tenth were new."""
    last = len(states) // 10
    known = set(states[: len(states) - last])
    new = len(set(states[len(states) - last :]) - known)
    share = f"{100 * new / max(1, last):.0f} %"
    return f"{len(known) + new:,} {what}; {new:,} of the last {last:,} steps led to one not seen before ({share})"


def _pairs(faults: list[str]) -> list[tuple[str, str]]:
    named = sorted(faults)
    return [(one, other) for index, one in enumerate(named) for other in named[index + 1 :]]
