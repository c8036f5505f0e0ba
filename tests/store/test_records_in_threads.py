"""Records are first read by many threads at once, as in a run of the reconciler."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("attempt", range(3))
def test_records_are_first_read_by_many_threads_at_once(attempt: int) -> None:
    """In a new process, because what is worked out at the first read is kept."""
    command = [sys.executable, "-m", "tests.store.read_in_threads"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, f"attempt {attempt}: {run.stderr}"
