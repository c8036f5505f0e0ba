"""What every test run has time for of two releases and of restores; in processes of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.growth.trees import copy
from tests.proof import restores, scenarios
from tests.proof.mutants import path_of
from tests.proof.releases import FAULTY, plain
from tests.proof.releases_breaks import BREAKS
from tests.proof.test_explorer import prove

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proof.mutants import Mutant

# And with its webhook doubled or lost, and with a look for the payment link.
PAIR = "previous:waiting/previous:create-A+pay"


def test_functions_of_two_equal_releases_break_no_invariant(tmp_path: Path) -> None:
    proof = prove("tests.proof", "--previous", str(copy(tmp_path).path), "--only", PAIR)
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    assert "4 scenarios, 4 exhausted, 0 not, 0 failed" in proof.stdout


def test_a_break_of_the_stored_format_is_found_beside_the_release_before() -> None:
    proof = prove("tests.proof", "--mutant", "an attribute has another type")
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    assert "previous create with key A (phone)" in proof.stdout
    assert "=> a 503 though nothing went wrong" in proof.stdout


def test_a_release_that_the_proof_cannot_run_is_named_too_old(tmp_path: Path) -> None:
    tree = copy(tmp_path)
    tree.edit({"layers/line_requests/storage/records.py": [("DUE_SHARDS", "SHARDS")]})
    proof = prove("tests.proof", "--previous", str(tree.path))
    assert proof.returncode == 2, proof.stdout
    told = " ".join(proof.stdout.split())
    assert "is too old for this proof: line_requests.storage.records has no DUE_SHARDS" in told


def test_an_unknown_commit_is_refused() -> None:
    proof = prove("tests.proof", "--previous", "no-such-commit")
    assert proof.returncode == 2, proof.stdout
    assert "no-such-commit is neither a commit nor a directory with a release" in proof.stdout


def test_the_payment_of_a_line_that_a_restore_has_lost_is_alarmed() -> None:
    """[56]"""
    moment = "restored-hour-unpaid-0/pay-lost"
    proof = prove("tests.proof", "--only", moment)
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    assert "2 scenarios, 2 exhausted, 0 not, 0 failed" in proof.stdout


def test_pairs_with_a_fault_are_scenarios() -> None:
    assert set(FAULTY) <= set(scenarios.names())


@pytest.mark.parametrize("mutant", [*BREAKS, *restores.MUTANTS], ids=lambda mutant: mutant.name)
def test_every_planted_break_still_has_its_place(mutant: Mutant) -> None:
    for module, before, after in mutant.changes:
        assert path_of(module).read_text().count(before) == 1, before
        assert before != after
    [name] = mutant.scenarios
    beginning, _, actors = plain(name).partition("/")
    assert beginning in scenarios.PAIRS or name in restores.names(full=False)
    assert set(actors.split("+")) <= scenarios.ACTORS.keys()
