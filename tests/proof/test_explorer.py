"""The part of `make prove` that every test run has time for; in processes of its own, for it moves the ground."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.proof import mutants, restores, scenarios, swarm_run
from tests.proof.swarm_mutants import PLANTED


def prove(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], check=False, capture_output=True, text=True)


def test_no_interleaving_and_no_fault_breaks_an_invariant() -> None:
    proof = prove("tests.proof", "--bounded")
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    explored = len(scenarios.BOUNDED) + len(restores.BOUNDED)
    assert f"{explored} scenarios, {explored} exhausted, 0 not, 0 failed" in proof.stdout


def test_a_planted_bug_is_found_and_told_as_a_story() -> None:
    proof = prove("tests.proof", "--mutant", "the lock is freed in another write than the payment")
    assert "the customer pays" in proof.stdout
    assert "=> the lock names" in proof.stdout
    assert "again: python -m tests.proof --replay 'waiting/" in proof.stdout


def test_random_walks_with_several_faults_and_two_workspaces_break_no_invariant() -> None:
    proof = prove("tests.proof", "--swarm", "50", "--seed", "1")
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    assert "50 walks, " in proof.stdout
    assert "0 walks found something wrong" in proof.stdout


def test_bug_that_one_workspace_does_not_show_is_found_by_a_walk_that_replays() -> None:
    proof = prove("tests.proof", "--mutant", "workspaces share the name space of idempotency keys")
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    assert "swarm:1:" in proof.stdout
    walk = proof.stdout[proof.stdout.index("swarm:1:") :].split(": ")[0]
    assert "=> nothing is wrong" in prove("tests.proof", "--replay", walk).stdout


def test_long_histories_are_as_the_model_says() -> None:
    proof = prove("tests.proof.long_run", "--histories", "12", "--steps", "30", "--seed", "1")
    assert proof.returncode == 0, proof.stdout[-4000:] + proof.stderr[-8000:]


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.name)
def test_every_planted_bug_still_has_its_place(mutant: mutants.Mutant) -> None:
    for module, before, after in mutant.changes:
        assert mutants.path_of(module).read_text().count(before) == 1, before
        assert before != after
    for name in mutant.scenarios:
        if name.startswith(swarm_run.NAME):
            continue
        beginning, _, actors = name.removesuffix(scenarios.TWO_FAULTS).partition("/")
        assert beginning in scenarios.PAIRS
        assert set(actors.split("+")) <= scenarios.ACTORS.keys()
