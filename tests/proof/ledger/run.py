"""Runs histories in all processors, and the ledger's planted bugs."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from tests.proof.ledger.mutants import MUTANTS
from tests.proof.mutants import plant
from tests.proof.product import warm

if TYPE_CHECKING:
    from tests.proof.ledger.histories import Report
    from tests.proof.product import Product

T = TypeVar("T")
U = TypeVar("U")

# A planted bug that so many histories do not show counts as not found.
SEEDS_PER_MUTANT = 100

_product: "Product | None" = None


def lived(seed: int) -> "Report":
    """One history, in this process."""
    from tests.proof.ledger import histories
    from tests.proof.product import Product

    gc.set_threshold(200_000, 50, 1_000)
    global _product  # noqa: PLW0603 - made once per process, for it replaces parts of the modules
    _product = _product or Product()
    try:
        return histories.lived(_product, seed)
    except Exception as error:
        error.add_note(f"in the history of seed {seed}")
        raise


def hunted(name: str) -> tuple[str, str]:
    """Plants one bug in this process; what gave it away, or nothing."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    plant(mutant)
    first = [int(seed) for seed in mutant.scenarios]
    for seed in [*first, *(seed for seed in range(SEEDS_PER_MUTANT) if seed not in first)]:
        report = lived(seed)
        if report.wrong.where:
            return name, f"seed {seed}: {report.wrong.where[0]}"
    return name, ""


def main(histories: int, first_seed: int) -> bool:
    """So many histories; prints what came of them, and whether nothing is wrong."""
    reports = list(_in_processes(lived, range(first_seed, first_seed + histories), None))
    for report in reports:
        for where in report.wrong.where:
            print(f"seed {report.seed}: {where}")
    twice_s, free_s = (sum(getattr(report.wrong, name) for report in reports) for name in ("twice_s", "free_s"))
    months, invoices, faults = (
        sum(getattr(report, name) for report in reports) for name in ("months", "invoices", "faults")
    )
    print(f"{len(reports):,} histories, {months:,} months, {invoices:,} invoices, {faults:,} faults")
    print(f"{twice_s} seconds charged twice, {free_s} seconds free")
    return not any(report.wrong.where for report in reports)


def plant_all() -> bool:
    """Every planted bug has to be found."""
    survivors = []
    for name, where in _in_processes(hunted, [mutant.name for mutant in MUTANTS], 1):
        print(f"{name}: {where or 'NOT FOUND'}", flush=True)
        survivors += [] if where else [name]
    print(f"killed {len(MUTANTS) - len(survivors)} / planted {len(MUTANTS)}")
    return not survivors


def _in_processes(work: Callable[[U], T], subjects: Iterable[U], tasks_per_process: int | None) -> Iterator[T]:
    warm()
    # Forked before the product is imported: a planted bug has to be there first.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=tasks_per_process) as pool:
        yield from pool.imap_unordered(work, subjects)
