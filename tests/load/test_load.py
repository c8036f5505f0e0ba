"""A few seconds of `make load`, which runs for minutes."""

from __future__ import annotations

import pytest

from tests.load.run import run
from tests.local.stack import LocalStack


@pytest.mark.timeout(240)
def test_mixed_load_gets_no_5xx_and_leaves_consistent_workspaces() -> None:
    """[13][19][24][26][29][31][47][50] On a stack of its own: others leave what fails in a run on purpose."""
    with LocalStack() as stack:
        result = run(stack, seconds=3, clients=3, seed=1)
    print(result.table())
    assert result.seen["wrong"] == []
    assert result.broken == []
    assert result.reconciled["failed"] == 0
    assert len(result.seen["lines"]) >= 3, "hardly a load"
