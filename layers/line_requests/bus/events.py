"""State changes out: what the deployment's EventBridge bus carries to provisioners and others."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from line_requests.domain.bodies import submission_body
from line_requests.domain.ids import iso_utc
from line_requests.domain.model import Line, Status, Workspace
from line_requests.domain.over_plan import Standing
from line_requests.domain.submission import Kind

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

SOURCE, PROVISIONER_SOURCE = "line-requests", "line-provisioner"
STATE_CHANGED = "Line State Changed"
SUBSCRIPTION_CHANGED, OVER_PLAN = "Workspace Subscription Changed", "Workspace Over Plan"
PROVISIONING_RESULT = "Line Provisioning Result"
PUT_EVENTS_MAX = 10
# PutEvents takes 256 KiB a request, all entries together with their names.
PUT_EVENTS_BYTES = 200_000


def event_id(line: Line) -> str:
    """Stable for one state of one line, however often it is published."""
    return f"{line.id}:{line.sequence}"


def state_changed(line: Line) -> dict[str, Any]:
    """The detail of the event about a line's present state; personal data only where a provisioner needs it."""
    change = line.history[-1]
    detail: dict[str, Any] = {
        "eventId": event_id(line),
        "workspaceId": line.workspace_id,
        "lineId": line.id,
        "kind": str(line.submission.kind),
        "status": str(line.status),
        "previousStatus": str(line.history[-2].status) if line.sequence > 1 else None,
        "paymentStatus": str(line.payment_status),
        "cause": change.cause,
        "occurredAt": iso_utc(change.at_ms),
    }
    if change.reason_code is not None:
        detail |= {"reasonCode": str(change.reason_code), "reason": change.reason}
    if line.status is Status.PROVISIONING:
        detail["line"] = submission_body(line.submission)
    return detail


@dataclass(frozen=True, slots=True)
class Event:
    """What the bus carries: its detail type and its detail."""

    detail_type: str
    detail: dict[str, Any]


def subscription_changed(before: Workspace | None, after: Workspace, at_ms: int) -> Event:
    """The event about another plan or subscription status of a workspace (contract 54)."""
    was, now = before.subscription if before else None, after.subscription
    detail = {
        "eventId": f"{after.id}:subscription:{after.revision}",
        "workspaceId": after.id,
        "plan": now.plan if now else None,
        "previousPlan": was.plan if was else None,
        "status": now.status if now else None,
        "previousStatus": was.status if was else None,
        "occurredAt": iso_utc(at_ms),
    }
    return Event(SUBSCRIPTION_CHANGED, detail)


def over_plan(workspace: Workspace, kind: Kind, standing: Standing, at_ms: int) -> Event:
    """The event that an excess has started, or, with an excess of 0, that it has ended (contract 54)."""
    detail = {
        # Every write that may start or end an excess increments this revision.
        "eventId": f"{workspace.id}:over_plan:{kind}:{workspace.quantities_revision}",
        "workspaceId": workspace.id,
        "kind": str(kind),
        "held": standing.held,
        "allowed": standing.allowed,
        "excess": standing.excess,
        "since": iso_utc(at_ms),
        "reason": standing.reason,
    }
    return Event(OVER_PLAN, detail)


class Bus:
    """One EventBridge bus."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, lines: Sequence[Line]) -> list[Line]:
        """Publishes the present state of each line; returns those that the bus refused."""
        return self._put(lines, [(SOURCE, STATE_CHANGED, state_changed(line)) for line in lines])

    def publish_events(self, events: Sequence[Event]) -> list[Event]:
        """Publishes events; returns those that the bus refused."""
        return self._put(events, [(SOURCE, event.detail_type, event.detail) for event in events])

    def publish_result(self, detail: dict[str, Any]) -> bool:
        """Publishes a provisioning result in a provisioner's place; False when the bus refused it."""
        return not self._put([detail], [(PROVISIONER_SOURCE, PROVISIONING_RESULT, detail)])

    def _put(self, subjects: Sequence[Any], events: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Any]:
        entries = [
            {
                "EventBusName": self._name,
                "Source": source,
                "DetailType": detail_type,
                "Detail": json.dumps(detail, ensure_ascii=False),
            }
            for source, detail_type, detail in events
        ]
        refused: list[Any] = []
        for start, end in _batches([len(entry["Detail"].encode()) for entry in entries]):
            answer = self._client.put_events(Entries=entries[start:end])  # type: ignore[arg-type] # plain dictionaries of the entry's shape
            refused += [
                subjects[start + position] for position, entry in enumerate(answer["Entries"]) if entry.get("ErrorCode")
            ]
        return refused


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """What fits into one request each, as (start, end)."""
    start = 0
    while start < len(sizes):
        end = start + 1
        while end < min(len(sizes), start + PUT_EVENTS_MAX) and sum(sizes[start : end + 1]) <= PUT_EVENTS_BYTES:
            end += 1
        yield start, end
        start = end
