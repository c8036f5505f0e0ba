"""The function behind the queue of provisioning results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.bus.events import event_id
from line_requests.domain.model import PaymentStatus, Status
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


@pytest.mark.parametrize("paid", [True, False])
def test_failed_line_alarms_and_its_release_leaves_a_refund_due_if_it_was_paid(
    world: World,
    function: Callable[[str], ModuleType],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    *,
    paid: bool,
) -> None:
    """[55] Once, however often the result is delivered."""
    world.workspace()
    payment = PaymentStatus.PAID if paid else PaymentStatus.NOT_REQUIRED
    line = world.added(due_at_ms=NOW_MS, payment_status=payment, invoice_id="in_1" if paid else None)
    records = [message("first", line, outcome="failed"), message("repeated", line, outcome="failed")]
    assert function("provisioning_result").handler({"Records": records}, Context()) == {"batchItemFailures": []}
    assert capsys.readouterr().out.count('"ProvisioningFailed":[1.0]') == 1
    assert [record.__dict__["paid"] for record in caplog.records if record.levelname == "ERROR"] == [paid]
    failed = world.line(line)
    assert (failed.status, failed.refund_due) == (Status.FAILED, False)
    released = world.lines.release(failed, "released", NOW_MS)
    assert released == world.line(line)
    assert (released.status, released.payment_status, released.refund_due) == (Status.CANCELED, payment, paid)
