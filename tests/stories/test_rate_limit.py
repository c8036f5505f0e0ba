from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest

from tests.stories.world import LINES, PHONE, Workspace, World, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

BURST = 60
INTERVAL_MS = 500  # 120 a minute


def used_up(workspace: Workspace) -> list[httpx.Response]:
    """The answers to more requests at once than the burst allows."""
    answers = together(4, lambda _: list(until_refused(workspace)))
    return [answer for some in answers for answer in some]


def until_refused(workspace: Workspace, key: str | None = None) -> Iterator[httpx.Response]:
    """Ask, badly or for a replay, until it is too often."""
    for _ in range(200):
        answer = workspace.create({} if key is None else PHONE, key=key)
        yield answer
        if answer.status_code == 429:
            return
    pytest.fail("200 requests in a row were admitted")


def test_a_burst_then_429_with_the_exact_body(workspace: Workspace) -> None:
    """[35] 60 at once and 120 a minute; Retry-After is retryAfterMs, rounded up to seconds."""
    started = time.monotonic()
    answers = used_up(workspace)
    passed_ms = (time.monotonic() - started) * 1000
    admitted = [answer for answer in answers if answer.status_code == 400]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert BURST <= len(admitted) <= BURST + passed_ms / INTERVAL_MS + 1
    assert len(admitted) + len(refused) == len(answers)
    assert refused
    for answer in refused:
        body = answer.json()
        assert body == {"error": "Rate limit exceeded", "retryAfterMs": body["retryAfterMs"]}
        assert 0 < body["retryAfterMs"] <= INTERVAL_MS
        assert answer.headers["Retry-After"] == str(math.ceil(body["retryAfterMs"] / 1000))


def test_waiting_retry_after_ms_is_enough(workspace: Workspace) -> None:
    """[35] Three times in a row, so that it is no accident."""
    for _ in range(3):
        *_, refused = until_refused(workspace)
        time.sleep(refused.json()["retryAfterMs"] / 1000)
        assert workspace.create({}).status_code == 400


def test_only_creating_counts_and_only_in_its_own_workspace(world: World, workspace: Workspace) -> None:
    """[35] Polls, lists and actions go on; so do other workspaces; 401 still comes first."""
    line_id = workspace.awaiting()["line"]["_id"]
    other = world.workspace()
    *_, refused = until_refused(workspace)
    assert refused.status_code == 429
    assert workspace.send("POST", LINES, json=PHONE, headers={"Authorization": "Bearer no"}).status_code == 401
    assert workspace.get(line_id).status_code == 200
    assert workspace.page().status_code == 200
    assert workspace.manage(line_id, "payment_link").status_code == 200
    assert workspace.manage(line_id, "cancel").status_code == 200
    assert other.create().status_code == 201


def test_replays_count_and_a_429_changes_nothing(world: World, workspace: Workspace) -> None:
    """[35] Refused requests do not even push the waiting time further."""
    first = workspace.create(key="k")
    calls = world.calls()
    list(until_refused(workspace, key="k"))
    refused = [workspace.create(key="k") for _ in range(5)]
    assert all(answer.json().get("retryAfterMs", 0) <= INTERVAL_MS for answer in refused)
    assert (calls(), workspace.invoices(), len(workspace.lines())) == ([], [], 1)
    *_, last = until_refused(workspace, key="k")
    time.sleep(last.json()["retryAfterMs"] / 1000)
    assert workspace.create(key="k").content == first.content
