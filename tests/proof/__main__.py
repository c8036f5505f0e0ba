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

from tests.proof import mutants, others_run, scenarios, swarm_run
from tests.proof.explorer import Outcome
from tests.proof.ledger import run as ledger
from tests.proof.swarm_mutants import PLANTED

if TYPE_CHECKING:
    from tests.proof.laboratory import Laboratory

T = TypeVar("T")

STATES_MAX = 700_000
# Without --full: nine scenarios in ten have fewer, and the shortest failure of any comes first.
STATES_BRIEF = 8_000
# A process that has seen so many places of actors is replaced by a fresh one.
TASKS_PER_PROCESS = 40
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
        help=f"exhaust scenarios of more than {STATES_BRIEF:,} states, and two faults in those of FAULTS_TWO",
    )
    parser.add_argument("--swarm", type=int, metavar="N", help="N random walks with several faults")
    parser.add_argument("--seed", type=int, default=1, help="of the random walks")
    parser.add_argument("--replay", metavar="SEED", help="tell one run again, by the seed that a failure printed")
    parser.add_argument("--mutants", action="store_true", help="only the planted bugs")
    parser.add_argument("--mutant", metavar="NAME", help="only this planted bug, with its story")
    parser.add_argument(
        "--ledger", type=int, metavar="N", help="N histories of 24 months; with --mutants, its planted bugs"
    )
    parser.add_argument("--others", action="store_true", help="each handler against any number of others")
    options = parser.parse_args(arguments)
    if options.others:
        return 0 if others_run.main(options.only, bounded=options.bounded, planted=options.mutants) else 1
    if options.ledger is not None:
        good = ledger.main(options.ledger)
        return 0 if good and (not options.mutants or ledger.plant_all()) else 1
    if options.swarm is not None:
        return 0 if swarm_run.main(options.swarm, options.seed) else 1
    console = Console()
    if options.replay:
        console.print(_replayed(options.replay), highlight=False, markup=False)
        return 0
    if options.mutant:
        return _one_mutant(console, options.mutant)
    return 0 if (_plant(console) if options.mutants else _prove(console, options)) else 1


def _replayed(seed: str) -> str:
    if seed.startswith(swarm_run.NAME):
        return swarm_run.tell(seed)
    from tests.proof.laboratory import Laboratory

    return Laboratory().replay(seed)


def _prove(console: Console, options: argparse.Namespace) -> bool:
    # The longest first, or one processor is left with them at the end.
    names = sorted(
        scenarios.BOUNDED if options.bounded else scenarios.names(full=options.full),
        key=lambda name: "reconcile" not in name,
    )
    good = _explore(
        console,
        [name for name in names if options.only in name],
        full=options.full or options.bounded or bool(options.only),
    )
    return good and (bool(options.only) or options.bounded or _plant(console))


def _explore(console: Console, names: list[str], *, full: bool) -> bool:
    """Explores scenarios in all processors; prints what they came to."""
    states_max = STATES_MAX if full else STATES_BRIEF
    began, reports = time.monotonic(), list[Report]()
    with _progress(console) as progress:
        task = progress.add_task("scenarios", total=len(names))
        for report in _in_processes(partial(explored, states_max=states_max), names):
            reports.append(report)
            progress.advance(task)
            if not console.is_terminal and len(reports) % LINE_EVERY == 0:
                print(f"{len(reports)} of {len(names)} scenarios, {time.monotonic() - began:.0f} s", flush=True)
            if report.outcome.failure:
                progress.print(report.story, highlight=False, markup=False)
            elif full and not report.outcome.exhausted:
                progress.print(f"{report.outcome.scenario}: not exhausted, {report.outcome.states:,} states")
    seconds = time.monotonic() - began
    outcomes = [report.outcome for report in reports]
    steps, runs = sum(o.steps for o in outcomes), sum(report.runs for report in reports)
    failed = [o for o in outcomes if o.failure]
    left = [o for o in outcomes if not o.exhausted and not o.failure]
    console.print(
        f"{len(outcomes)} scenarios, {len(outcomes) - len(left) - len(failed)} exhausted, "
        f"{len(left)} {'not' if full else f'to {states_max:,} states'}, {len(failed)} failed\n"
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
    names = [mutant.name for mutant in PLANTED]
    with _progress(console) as progress:
        task = progress.add_task("planted bugs", total=len(names))
        for name, found in _in_processes(hunted, names, tasks_per_process=1):
            progress.advance(task)
            progress.print(f"{name}: {found or 'NOT FOUND'}", highlight=False, markup=False)
            if not found:
                survivors.append(name)
    console.print(f"killed {len(names) - len(survivors)} / planted {len(names)}", highlight=False)
    return not survivors


def _one_mutant(console: Console, name: str) -> int:
    found = hunted(name, tell=True)[1]
    console.print(found or "not found", highlight=False, markup=False)
    return 0 if found else 1


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _in_processes(
    work: Callable[[str], T], names: list[str], tasks_per_process: int = TASKS_PER_PROCESS
) -> Iterator[T]:
    # Forked before the product is imported: a planted bug has to be there first.
    context = multiprocessing.get_context("fork")
    with context.Pool(os.cpu_count(), maxtasksperchild=tasks_per_process) as pool:
        yield from pool.imap_unordered(work, names)


def explored(name: str, states_max: int = STATES_MAX) -> Report:
    """Explores one scenario in this process."""
    from tests.proof.laboratory import Laboratory

    gc.set_threshold(200_000, 50, 1_000)  # what is kept is kept to the end: not to be looked through every moment
    global _laboratory  # noqa: PLW0603 - what one scenario has found out about an actor, the next one knows
    _laboratory = _laboratory or Laboratory()
    began, runs = time.monotonic(), _laboratory.cast.runs
    outcome = _laboratory.explore(name, states_max)
    story = _laboratory.story(outcome) if outcome.failure else ""
    return Report(outcome, _laboratory.cast.runs - runs, time.monotonic() - began, story)


_laboratory: "Laboratory | None" = None


def hunted(name: str, *, tell: bool = False) -> tuple[str, str]:
    """Plants one bug in this process; what gave it away, or nothing."""
    mutant = next(mutant for mutant in PLANTED if mutant.name == name)
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
