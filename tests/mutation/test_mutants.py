from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.mutation.__main__ import equivalents
from tests.mutation.killers import TESTS
from tests.mutation.mutants import ROOT, all_mutants, of_module

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''
LEASE_MS = 3
ATTEMPTS = 3
def late(now_ms: int) -> bool:
    """Whether it is late."""
    logger.info("asked")
    if now_ms >= LEASE_MS and not paused:
        alarm("é", "Late")
    return now_ms + 1
'''


PLACES = """
class Late:
    grace_ms = 3
    def late(self, now_ms=4):
        if (now_ms
                > self.grace_ms):
            return [
                now_ms,
                "late",
            ]
"""


def test_each_mutant_changes_one_place(tmp_path: Path) -> None:
    path = tmp_path / "late.py"
    path.write_text(SOURCE)
    changes = [(mutant.place.where, mutant.before(), mutant.after) for mutant in of_module(path)]
    assert changes == [
        ("module", "3", "4"),
        ("late", "now_ms >= LEASE_MS and not paused", "False"),
        ("late", "now_ms >= LEASE_MS and not paused", "True"),
        ("late", "now_ms >= LEASE_MS and not paused", "(now_ms >= LEASE_MS or not paused)"),
        ("late", "now_ms >= LEASE_MS", "(now_ms > LEASE_MS)"),
        ("late", "not paused", "(paused)"),
        ("late", 'alarm("é", "Late")', "pass"),
        ("late", '"é"', "'éx'"),
        ("late", '"Late"', "'Latex'"),
        ("late", "now_ms + 1", "None"),
        ("late", "now_ms + 1", "(now_ms - 1)"),
        ("late", "1", "2"),
    ]
    assert next(of_module(path)).text() == SOURCE.replace("ATTEMPTS = 3", "ATTEMPTS = 4")


def test_place_says_which_function_runs_a_mutant_and_in_which_lines(tmp_path: Path) -> None:
    path = tmp_path / "places.py"
    path.write_text(PLACES)
    places = [(m.line, m.place.function, m.place.lines) for m in of_module(path)]
    assert set(places) == {
        (3, "", range(3, 4)),
        (4, "", range(4, 5)),
        (5, "Late.late", range(5, 7)),
        (7, "Late.late", range(7, 11)),
        (9, "Late.late", range(7, 11)),
    }


@pytest.mark.timeout(300)
def test_mutants_are_found_by_the_tests_that_run_them() -> None:
    """One in a function is put there in a fork, one at import in a process that has not imported the product yet."""
    only = ["pagination.py module:", "cursor_after: last_line_id"]
    command = [sys.executable, "-m", "tests.mutation", "--quick", "--processes", "1", "--only", *only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("killed 5 / made 5;"), done.stdout + done.stderr


def test_equivalents_are_mutants_and_have_reasons() -> None:
    names = {mutant.name for mutant in all_mutants()}
    assert len(names) > 4000
    for name, reason in equivalents().items():
        assert name in names, name
        assert reason.strip(), name


def test_tests_that_kill_exist() -> None:
    for source, files in TESTS.items():
        assert (ROOT / source).exists(), source
        assert all((ROOT / file).exists() for file in files), files
