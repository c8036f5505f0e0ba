"""The part of `--others` that every test run has time for; in a process of its own, for it moves the ground."""

import subprocess
import sys

import pytest

from tests.proof import mutants, others_handlers, others_mutants


def test_steps_keep_the_invariants_whatever_others_did_before() -> None:
    proof = subprocess.run(
        [sys.executable, "-m", "tests.proof", "--others", "--bounded"], check=False, capture_output=True, text=True
    )
    assert proof.returncode == 0, proof.stdout[-8000:] + proof.stderr[-2000:]
    for handler in others_handlers.HANDLERS:
        assert f"\n{handler:17} " in proof.stdout


@pytest.mark.parametrize("mutant", others_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_planted_bugs_of_others_still_have_their_places(mutant: mutants.Mutant) -> None:
    for module, before, after in mutant.changes:
        assert mutants.path_of(module).read_text().count(before) == 1, before
        assert before != after
    assert set(mutant.scenarios) <= others_handlers.HANDLERS.keys()
