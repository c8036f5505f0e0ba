"""The function behind the queue of provisioning results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from line_requests.bus.events import event_id
from line_requests.domain.model import Status
from tests.decision.examples import NOW_MS
from tests.support.lambda_context import Context

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from line_requests.domain.model import Line
    from tests.support.world import World


def message(message_id: str, line: Line, **changes: object) -> dict[str, Any]:
    """A result on the bus as SQS delivers it."""
    result = {"eventId": event_id(line), "workspaceId": line.workspace_id, "lineId": line.id, "outcome": "succeeded"}
    event = {"id": "7bf73129", "time": "2026-11-22T09:32:00Z", "detail": result | changes}
    return {"messageId": message_id, "body": json.dumps(event)}


def test_malformed_results_fail_alone_and_delay_no_other(world: World, function: Callable[[str], ModuleType]) -> None:
    """[48] SQS delivers only those again that are named, and then moves them to the dead-letter queue."""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS)
    records = [
        {"messageId": "not JSON", "body": "{"},
        {"messageId": "no event", "body": "{}"},
        message("unknown outcome", line, outcome="perhaps"),
        message("no id of ours", line, lineId=7),
        message("sound", line),
        message("repeated", line),
    ]
    answer = function("provisioning_result").handler({"Records": records}, Context())
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    assert failed == ["not JSON", "no event", "unknown outcome", "no id of ours"]
    assert world.line(line).status is Status.ACTIVE
