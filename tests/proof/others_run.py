"""`python -m tests.proof --others`: each handler against any number of others, as a table; then what is planted."""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from tests.proof import mutants, others, others_contained, others_handlers, others_mutants
from tests.proof.others_places import PYTHON
from tests.proof.product import warm

T = TypeVar("T")
W = TypeVar("W")

HEADER = (
    f"{'handler':24} {'prefixes':>8} {'next steps':>10} {'writes':>12} {'permitted':>12} {'time':>8}  within the scope"
)

# So many prefixes of each handler, in 200 s of processor time; `make test` has time for few.
PREFIXES_MAX, PREFIXES_FULL, PREFIXES_BOUNDED = 250, 1_000, 2
PREFIXES_NARROW = 500_000
# These are exhausted quickly, so always; the others begin first, or one processor is left with them at the end.
BRIEF = ("release", "webhook refunded", "provisioned", "not provisioned", "publish_changes")
# A planted bug has to show within these.
PREFIXES_PLANTED = 250


def main(  # noqa: PLR0913 - the command's options
    only: str, seed: int, *, bounded: bool, full: bool, settled: bool, planted: bool
) -> bool:
    """Prints the table; whether all holds and, if asked for, every planted bug was found."""
    if planted:
        return _plant(only)
    names = [name for name in sorted(others_handlers.HANDLERS, key=BRIEF.__contains__) if only in name]
    print(HEADER)
    failed = False
    if bounded:
        outcomes = iter(list(map(_bounded, names)))
    else:
        narrow = [(name, True) for name in others_handlers.NARROW if (full or settled) and only in name]
        if narrow and sys.version_info[:2] != PYTHON:
            print(f"NOT RUN: the narrower scope, because only Python {'.'.join(map(str, PYTHON))} exhausts it")
            narrow, failed = [], settled
        parts = [*narrow, *((name, False) for name in names if not settled)]
        outcomes = _in_processes(partial(_checked, seed=seed, full=full, stays=not settled), parts)
    for outcome in outcomes:
        print(outcome.line, flush=True)
        if outcome.failure:
            failed = True
            print(f"\n{outcome.handler}:", *outcome.story, f"=> {outcome.failure}\n", sep="\n")
    if only or bounded or settled:
        return not failed
    outside = 0
    for found in _in_processes(_contained, list(others_contained.SCENARIOS)):
        outside += len(found.outside)
        print(f"{found.scenario}: {found.worlds:,} worlds, {found.lines} sorts of lines, {len(found.outside)} outside")
        print(*(f"  {one}" for one in found.outside), sep="\n", end="\n" if found.outside else "")
    return not failed and not outside


def _plant(only: str) -> bool:
    names = [mutant.name for mutant in others_mutants.MUTANTS if only in mutant.name]
    survivors = 0
    for name, found in _in_processes(_hunted, names):
        survivors += not found
        print(f"{name}: {found or 'NOT FOUND'}", flush=True)
    print(f"killed {len(names) - survivors} / planted {len(names)}")
    return not survivors


def _in_processes(work: Callable[[W], T], parts: Sequence[W]) -> Iterator[T]:
    warm()
    context = multiprocessing.get_context("fork")
    with context.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(work, parts)


def _checked(which: tuple[str, bool], *, seed: int, full: bool, stays: bool) -> others.Outcome:
    gc.set_threshold(200_000, 50, 1_000)
    name, narrow = which
    prefixes_max = PREFIXES_NARROW if narrow else PREFIXES_FULL if full or name in BRIEF else PREFIXES_MAX
    return others.check(others_handlers.Bench(), name, prefixes_max, seed, narrow=narrow, stays=narrow and stays)


_bench: others_handlers.Bench | None = None


def _bounded(name: str) -> others.Outcome:
    global _bench  # noqa: PLW0603 - one product for each process
    _bench = _bench or others_handlers.Bench()
    return others.check(_bench, name, PREFIXES_BOUNDED)


def _contained(name: str) -> others_contained.Contained:
    return others_contained.contained(others_handlers.Bench(), name)


def _hunted(name: str) -> tuple[str, str]:
    """Plants one bug in this process; what gave it away, or nothing."""
    mutant = next(mutant for mutant in others_mutants.MUTANTS if mutant.name == name)
    mutants.plant(mutant)
    bench = others_handlers.Bench()
    for handler in mutant.scenarios:
        outcome = others.check(bench, handler, PREFIXES_PLANTED)
        if outcome.failure:
            return name, f"{handler}, after {outcome.prefixes} prefixes: {outcome.failure}"
    return name, ""
