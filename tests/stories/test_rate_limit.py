from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tests.stories.world import LINES, PHONE, eventually, together

if TYPE_CHECKING:
    from tests.stories.world import Workspace, World

BURST = 60
INTERVAL_MS = 500  # 120 a minute


def test_requests_over_the_burst_are_429_with_exact_body(workspace: Workspace) -> None:
    """[35] 60 at once and 120 a minute; Retry-After is retryAfterMs, rounded up to seconds."""
    started = time.monotonic()
    answers = workspace.use_up()
    passed_ms = (time.monotonic() - started) * 1000
    admitted = [answer for answer in answers if answer.status_code == 400]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert BURST <= len(admitted) <= BURST + passed_ms / INTERVAL_MS + 1
    assert len(admitted) + len(refused) == len(answers)
    assert refused
    for answer in refused:
        body = answer.json()
        assert body == {"error": "Rate limit exceeded", "retryAfterMs": body["retryAfterMs"]}
        # A concurrent request's clock may be ahead by at most the time that this one took.
        assert 0 < body["retryAfterMs"] <= INTERVAL_MS + answer.elapsed.total_seconds() * 1000 + 1
        assert answer.headers["Retry-After"] == str(math.ceil(body["retryAfterMs"] / 1000))


def test_only_create_counts_and_only_in_its_workspace(world: World, workspace: Workspace) -> None:
    """[35] Polls, lists and actions go on, and so do other workspaces; 401 still comes first."""
    line_id = workspace.awaiting()["line"]["_id"]
    other = world.workspace()
    workspace.use_up()
    assert workspace.send("POST", LINES, json=PHONE, headers={"Authorization": "Bearer no"}).status_code == 401
    assert workspace.get(line_id).status_code == 200
    assert workspace.page().status_code == 200
    assert workspace.manage(line_id, "payment_link").status_code == 200
    assert workspace.manage(line_id, "cancel").status_code == 200
    assert other.create().status_code == 201


def test_replays_count_and_429_changes_nothing(workspace: Workspace) -> None:
    """[35] A refused request does not extend the wait."""
    first = workspace.create(key="k")
    calls = workspace.calls()
    workspace.use_up()
    answers = together(8, lambda _: workspace.create(key="k"))
    assert 429 in {answer.status_code for answer in answers}
    for answer in answers:
        assert answer.json().get("retryAfterMs", 0) <= INTERVAL_MS + answer.elapsed.total_seconds() * 1000 + 1
    assert (calls(), workspace.invoices(), len(workspace.lines())) == ([], [], 1)
    eventually(lambda: workspace.create(key="k").content == first.content, within_s=3)
