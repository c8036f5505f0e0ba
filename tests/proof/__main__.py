"""`make prove`: every scenario, then every planted bug."""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.proof import mutants, others_run, releases, restores, scenarios, swarm_run
from tests.proof.explorer import Outcome
from tests.proof.ledger import run as ledger
from tests.proof.product import warm
from tests.proof.releases_breaks import BREAKS
from tests.proof.releases_peer import Unusable
from tests.proof.swarm_mutants import PLANTED

if TYPE_CHECKING:
    from tests.proof.laboratory import Laboratory

T = TypeVar("T")

STATES_MAX = 1_500_000
# Without --full: nine scenarios in ten have fewer, and the shortest failure of any comes first.
STATES_BRIEF = 8_000
# A process that has seen so many places of actors is replaced by a fresh one.
TASKS_PER_PROCESS = 80
TASKS_PER_PROCESS_FULL = 40
# Scenarios that follow each other begin alike: a process that takes them together runs fewer handlers.
TOGETHER = 20
SLOWEST_SHOWN = 8
# Where no terminal shows a bar, a line tells how far it is after so many scenarios.
LINE_EVERY = 50


@dataclass
class Report:
    """One scenario, explored."""

    outcome: Outcome
    runs: int
    seconds: float
    story: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Explores, plants bugs, prints; 0 when everything holds and every bug was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--bounded", action="store_true", help="only what `make test` has time for")
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"exhaust scenarios of more than {STATES_BRIEF:,} states, take two faults in those of FAULTS_TWO, "
        "and pairs in every restore and mix of releases",
    )
    parser.add_argument("--swarm", type=int, metavar="N", help="N random walks with several faults")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the random walks, the samples of --others, the first history"
    )
    parser.add_argument("--replay", metavar="SEED", help="tell one run again, by the seed that a failure printed")
    parser.add_argument("--mutants", action="store_true", help="only the planted bugs")
    parser.add_argument("--mutant", metavar="NAME", help="only this planted bug, with its story")
    parser.add_argument(
        "--ledger", type=int, metavar="N", help="N histories of 24 months; with --mutants, its planted bugs"
    )
    parser.add_argument(
        "--previous", metavar="RELEASE", help="mix the functions of this commit, or directory, with the present ones"
    )
    parser.add_argument("--others", action="store_true", help="each handler against any number of others")
    parser.add_argument(
        "--settled", action="store_true", help="with --others: only the narrower scope, and settled lines change, too"
    )
    options, console = parser.parse_args(arguments), Console()
    modes: Sequence[tuple[object, Callable[[], bool]]] = (
        (options.others, lambda: _meet_others(options)),
        (options.ledger is not None, lambda: _keep_books(options)),
        (options.swarm is not None, lambda: swarm_run.main(options.swarm, options.seed)),
        (options.previous, lambda: _two_releases(console, options)),
        (options.replay, lambda: _tell(console, _replayed(options.replay))),
        (options.mutant, lambda: _tell(console, hunted(options.mutant, tell=True)[1])),
        (options.mutants, lambda: _plant(console)),
    )
    run = next((run for wanted, run in modes if wanted), lambda: _prove(console, options))
    return 0 if run() else 1


def _meet_others(options: argparse.Namespace) -> bool:
    return others_run.main(
        options.only,
        options.seed,
        bounded=options.bounded,
        full=options.full,
        settled=options.settled,
        planted=options.mutants,
    )


def _keep_books(options: argparse.Namespace) -> bool:
    return ledger.main(options.ledger, options.seed) and (not options.mutants or ledger.plant_all())


def _tell(console: Console, story: str) -> bool:
    console.print(story or "not found", highlight=False, markup=False)
    return bool(story)


def _replayed(seed: str) -> str:
    if seed.startswith(swarm_run.NAME):
        return swarm_run.tell(seed)
    from tests.proof.laboratory import Laboratory

    return Laboratory().replay(seed)


def _prove(console: Console, options: argparse.Namespace) -> bool:
    # The longest first, or one processor is left with them at the end.
    every = (*scenarios.names(full=options.full), *restores.names(full=options.full))
    names = sorted(
        (*scenarios.BOUNDED, *restores.BOUNDED) if options.bounded else every,
        key=lambda name: "reconcile" not in name,
    )
    good = _explore(
        console,
        [name for name in names if options.only in name],
        full=options.full or options.bounded or bool(options.only),
    )
    return good and (bool(options.only) or options.bounded or _plant(console))


def _two_releases(console: Console, options: argparse.Namespace) -> bool:
    """The previous release beside the present one."""
    try:
        with releases.release_of(options.previous) as release:
            if options.replay:
                return _tell(console, releases.TwoReleases(release).replay(options.replay))
            names = [name for name in releases.names(release.same, full=options.full) if options.only in name]
            return _explore(console, names, full=True, previous=release)
    except Unusable as refusal:
        _tell(console, str(refusal))
        raise SystemExit(2) from None


def _explore(console: Console, names: list[str], *, full: bool, previous: releases.Release | None = None) -> bool:
    """Explores scenarios in all processors; prints what they came to."""
    states_max = STATES_MAX if full else STATES_BRIEF
    began, reports = time.monotonic(), list[Report]()
    with _progress(console) as progress:
        task = progress.add_task("scenarios", total=len(names))
        explore = partial(explored, states_max=states_max, previous=previous)
        for report in _in_processes(explore, names, TASKS_PER_PROCESS_FULL if full else TASKS_PER_PROCESS):
            reports.append(report)
            progress.advance(task)
            if not console.is_terminal and len(reports) % LINE_EVERY == 0:
                print(f"{len(reports)} of {len(names)} scenarios, {time.monotonic() - began:.0f} s", flush=True)
            if report.outcome.excuse:
                progress.print(f"{report.outcome.scenario}: {report.outcome.excuse}: {report.outcome.failure}")
            elif report.outcome.failure:
                progress.print(report.story, highlight=False, markup=False)
            elif full and not report.outcome.exhausted:
                progress.print(f"{report.outcome.scenario}: not exhausted, {report.outcome.states:,} states")
    seconds = time.monotonic() - began
    outcomes = [report.outcome for report in reports]
    steps, runs = sum(o.steps for o in outcomes), sum(report.runs for report in reports)
    failed = [o for o in outcomes if o.failure and not o.excuse]
    excused = [o for o in outcomes if o.excuse]
    left = [o for o in outcomes if not o.exhausted and not o.failure]
    console.print(
        f"{len(outcomes)} scenarios, {len(outcomes) - len(left) - len(failed) - len(excused)} exhausted, "
        f"{len(left)} {'not' if full else f'to {states_max:,} states'}, {len(failed)} failed"
        f"{f', {len(excused)} not judged' if excused else ''}\n"
        f"{sum(o.schedules for o in outcomes):.3g} interleavings by {sum(o.states for o in outcomes):,} states and "
        f"{steps:,} steps; handlers were run {runs:,} times\n"
        f"{seconds:.0f} s: {steps / seconds:,.0f} steps and {runs / seconds:,.0f} runs of handlers per second",
        highlight=False,
    )
    slowest = sorted(reports, key=lambda report: report.seconds, reverse=True)[:SLOWEST_SHOWN]
    told = ", ".join(f"{r.outcome.scenario} {r.seconds:.0f} s" for r in slowest)
    console.print(f"longest: {told}", highlight=False)
    return not failed and not (full and left)


def _plant(console: Console) -> bool:
    """Every planted bug has to be found."""
    survivors = []
    names = [mutant.name for mutant in (*PLANTED, *restores.MUTANTS, *BREAKS)]
    with _progress(console) as progress:
        task = progress.add_task("planted bugs", total=len(names))
        for name, found in _in_processes(hunted, names, tasks_per_process=1):
            progress.advance(task)
            progress.print(f"{name}: {found or 'NOT FOUND'}", highlight=False, markup=False)
            if not found:
                survivors.append(name)
    console.print(f"killed {len(names) - len(survivors)} / planted {len(names)}", highlight=False)
    return not survivors


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _in_processes(work: Callable[[str], T], names: list[str], tasks_per_process: int) -> Iterator[T]:
    warm()
    # Forked before the product is imported: a planted bug has to be there first.
    context = multiprocessing.get_context("fork")
    processes = os.cpu_count() or 1
    together = max(1, min(TOGETHER, tasks_per_process, len(names) // (4 * processes)))
    with context.Pool(processes, maxtasksperchild=tasks_per_process // together) as pool:
        yield from pool.imap_unordered(work, names, together)


def explored(name: str, states_max: int = STATES_MAX, previous: releases.Release | None = None) -> Report:
    """Explores one scenario in this process; with a previous release, one of two releases."""
    from tests.proof.laboratory import Laboratory

    gc.set_threshold(200_000, 50, 1_000)  # what is kept is kept to the end: not to be looked through every moment
    global _laboratory  # noqa: PLW0603 - what one scenario has found out about an actor, the next one knows
    _laboratory = _laboratory or (releases.TwoReleases(previous) if previous else Laboratory())
    began, runs = time.monotonic(), _laboratory.cast.runs
    outcome = _laboratory.explore(name, states_max)
    story = _laboratory.story(outcome) if outcome.failure else ""
    return Report(outcome, _laboratory.cast.runs - runs, time.monotonic() - began, story)


_laboratory: "Laboratory | None" = None


def hunted(name: str, *, tell: bool = False) -> tuple[str, str]:
    """Plants one bug in this process; what gave it away, or nothing."""
    planted = next((mutant for mutant in BREAKS if mutant.name == name), None)
    if planted is not None:
        return name, releases.hunted(planted, STATES_MAX, tell=tell)
    mutant = next(mutant for mutant in (*PLANTED, *restores.MUTANTS) if mutant.name == name)
    mutants.plant(mutant)
    if mutant.scenarios[0].startswith(swarm_run.NAME):
        return name, swarm_run.hunt(mutant.scenarios[0], story=tell)
    from tests.proof.laboratory import Laboratory

    laboratory = Laboratory()
    for scenario in mutant.scenarios:
        outcome = laboratory.explore(scenario, STATES_MAX)
        if outcome.failure:
            return name, laboratory.story(outcome) if tell else f"{scenario}: {outcome.failure}"
    return name, ""


if __name__ == "__main__":
    sys.exit(main())
