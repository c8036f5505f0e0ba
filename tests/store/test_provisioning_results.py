"""The function behind the queue of provisioning results."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.bus.events import event_id
from line_requests.domain.model import Status
from tests.decision.examples import NOW_MS
from tests.local.ministack import ROOT
from tests.support.lambda_context import Context

if TYPE_CHECKING:
    from types import ModuleType

    from line_requests.domain.model import Line
    from tests.support.world import World


@pytest.fixture
def provisioning_result(world: World, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in {"TABLE_NAME": "t", "BUS_NAME": "lines", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("heard", ROOT / "functions/provisioning_result/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.DEPLOYMENT, "stores", world.stores)
    return module


def message(message_id: str, line: Line, **changes: object) -> dict[str, Any]:
    """A result on the bus as SQS delivers it."""
    result = {"eventId": event_id(line), "workspaceId": line.workspace_id, "lineId": line.id, "outcome": "succeeded"}
    event = {"id": "7bf73129", "time": "2026-11-22T09:32:00Z", "detail": result | changes}
    return {"messageId": message_id, "body": json.dumps(event)}


def test_malformed_results_fail_alone_and_delay_no_other(world: World, provisioning_result: ModuleType) -> None:
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
    answer = provisioning_result.handler({"Records": records}, Context())
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    assert failed == ["not JSON", "no event", "unknown outcome", "no id of ours"]
    assert world.line(line).status is Status.ACTIVE
