"""Some histories of 24 months: the books balance. `make prove` runs many more, and plants bugs."""

import subprocess
import sys

import pytest

from tests.proof.ledger import mutants
from tests.proof.mutants import Mutant, path_of


def test_workspaces_are_charged_what_the_oracle_says() -> None:
    """[50] [51] [52] In a process of its own, because the simulated product replaces parts of its modules.

    In the first, add-on prices change; in the second, Stripe's list of invoices lags.
    """
    command = [sys.executable, "-m", "tests.proof", "--ledger", "2", "--seed", "5"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 histories, 48 months" in run.stdout
    assert "0 seconds charged twice, 0 seconds free" in run.stdout


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_of_the_ledger_still_has_its_place(mutant: Mutant) -> None:
    for module, before, after in mutant.changes:
        assert path_of(module).read_text().count(before) == 1, before
        assert before != after
