"""The function behind the queue of provisioning results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.bus.events import event_id
from line_requests.clock import wall_time_ms
from line_requests.domain.model import PaymentStatus, ReasonCode, Status
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


def at(message: dict[str, Any], time: object) -> dict[str, Any]:
    """The same message with another time of the event; `...` leaves it out."""
    event = json.loads(message["body"])
    del event["time"]
    return message | {"body": json.dumps(event if time is ... else event | {"time": time})}


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00",
        "1969-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999-14:00",
        "9999-12-31T23:59:59",
        "2026-11-22T09:32:00",
        "2026-11-22",
        "2026-11-22T09:32:00,5+00:00",
    ],
)
def test_no_time_of_a_result_makes_the_history_run_backwards_or_ahead(
    world: World, function: Callable[[str], ModuleType], time: str
) -> None:
    """[48] [58] Years 1 and 9999, with any zone or none."""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS)
    records = [at(message("odd time", line), time)]
    assert function("provisioning_result").handler({"Records": records}, Context()) == {"batchItemFailures": []}
    changed = world.line(line)
    assert changed.status is Status.ACTIVE
    assert line.history[-1].at_ms <= changed.history[-1].at_ms <= max(line.history[-1].at_ms, wall_time_ms())


@pytest.mark.parametrize("time", [..., None, 7, "", "soon", "2026-13-01T00:00:00Z", "10000-01-01T00:00:00Z", ["2026"]])
def test_result_whose_time_is_none_is_set_aside(
    world: World, function: Callable[[str], ModuleType], time: object
) -> None:
    """[48]"""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS)
    records = [at(message("no time", line), time)]
    answer = function("provisioning_result").handler({"Records": records}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "no time"}]}
    assert world.line(line) == line


def test_ids_that_could_be_ours_but_are_of_another_line_change_nothing(
    world: World, function: Callable[[str], ModuleType]
) -> None:
    """[48] They are read and done with: repeating them would not help."""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS)
    records = [
        message("unknown line", line, lineId="f" * 24),
        message("another workspace", line, workspaceId="another"),
        message("event of another line", line, eventId=f"{'f' * 24}:1"),
        message("state to come", line, eventId=f"{line.id}:2"),
        message("state of long ago", line, eventId=f"{line.id}:000000"),
    ]
    assert function("provisioning_result").handler({"Records": records}, Context()) == {"batchItemFailures": []}
    assert world.line(line) == line


def test_result_of_any_size_is_read(world: World, function: Callable[[str], ModuleType]) -> None:
    """[48] [60] The bus takes 256 KB; what is stored of it is short."""
    world.workspace()
    line = world.added(due_at_ms=NOW_MS)
    more = {f"field{number}": [number] for number in range(5_000)}
    records = [
        message("large", line, outcome="failed", reason="\N{GRINNING FACE}" * 40_000, reasonCode="x" * 50_000, **more)
    ]
    assert function("provisioning_result").handler({"Records": records}, Context()) == {"batchItemFailures": []}
    changed = world.line(line)
    assert (changed.status, changed.history[-1].reason) == (Status.FAILED, "\N{GRINNING FACE}" * 256)
    assert changed.history[-1].reason_code is ReasonCode.OTHER


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
