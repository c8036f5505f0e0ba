"""What a person waits for `make demo` on an installed machine, from the command to its end."""

import subprocess
import sys
import time
from pathlib import Path

from tests.local.deployment import layer_packages

ROOT = Path(__file__).parents[1]


def seconds() -> float:
    """The wall time of one run, which tells its whole story or fails."""
    layer_packages()
    started_s = time.monotonic()
    subprocess.run([sys.executable, "-m", "tests.local.story"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started_s
