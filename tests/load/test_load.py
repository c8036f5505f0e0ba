"""A few seconds of `make load`, which runs for minutes."""

from __future__ import annotations

import pytest

from tests.load.memory import LARGEST_WORKER
from tests.load.run import run
from tests.local.stack import LocalStack
from tests.trace.check import checked_at_rest


@pytest.mark.timeout(240)
def test_mixed_load_gets_no_5xx_and_leaves_consistent_workspaces() -> None:
    """[13][19][24][26][29][31][47][50] On a stack of its own: others leave what fails in a run on purpose."""
    with LocalStack(record=True) as stack:
        result = run(stack, seconds=3, clients=3, seed=1)
        checked = checked_at_rest(stack)
    print(result.table(), checked, sep="\n")
    assert checked is None or not checked.violations, "\n".join(checked.violations)
    assert result.seen["wrong"] == []
    assert result.broken == []
    assert result.reconciled["failed"] == 0
    assert len(result.seen["lines"]) >= 3, "hardly a load"
    assert max(result.memory.workers) >= 4, "workers whose memory is not watched"
    assert max(result.memory.samples[LARGEST_WORKER]) > 10
