"""Processes restored from a snapshot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from snapshot_restore_py import get_after_restore

from line_requests import snapstart

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _kept_random_state() -> Iterator[None]:
    state = random.getstate()
    yield
    random.setstate(state)


@pytest.mark.usefixtures("_kept_random_state")
def test_processes_restored_from_one_snapshot_draw_different_numbers() -> None:
    """[34] Their retries must not fall on the same moments."""
    snapstart.prepare()
    snapshot = random.getstate()
    drawn = []
    for _ in range(3):
        random.setstate(snapshot)
        for hook, arguments, keywords in get_after_restore():
            hook(*arguments, **keywords)
        drawn.append(random.random())
    assert len(set(drawn)) == 3
