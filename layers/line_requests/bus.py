"""What the deployment's event bus carries: state changes out, provisioners' answers in."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from line_requests.errors import Invalid
from line_requests.model import Line, Status
from line_requests.responses import iso_utc, request_body

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

SOURCE = "line-requests"
STATE_CHANGED = "Line State Changed"
PROVISIONING_RESULT = "Line Provisioning Result"
PUT_EVENTS_MAX = 10
# Of one request, all entries together; some is left for their names.
PUT_EVENTS_BYTES = 200_000


def event_id(line: Line) -> str:
    """Stable for one state of one line, however often it is told."""
    return f"{line.id}:{line.sequence}"


def state_changed(line: Line) -> dict[str, Any]:
    """The detail of the event that tells a line's present state; personal data only to provision."""
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
    if line.status is Status.PROVISIONING:
        detail["line"] = request_body(line.submission)
    return detail


class Bus:
    """One EventBridge bus."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, lines: Sequence[Line]) -> list[Line]:
        """Tells the present state of each line; returns those that were not accepted."""
        return self._put(lines, [(SOURCE, STATE_CHANGED, state_changed(line)) for line in lines])

    def answer(self, detail: dict[str, Any]) -> bool:
        """Answers for a provisioner; True when the bus took it."""
        return not self._put([detail], [("line-provisioner", PROVISIONING_RESULT, detail)])

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
        rejected: list[Any] = []
        for start, end in _chunks([len(entry["Detail"].encode()) for entry in entries]):
            answer = self._client.put_events(Entries=entries[start:end])  # type: ignore[arg-type] # plain dictionaries of the entry's shape
            if answer["FailedEntryCount"]:
                rejected += [
                    subjects[start + position]
                    for position, entry in enumerate(answer["Entries"])
                    if entry.get("ErrorCode")
                ]
        return rejected


def _chunks(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """What goes into one request each, as (start, end): so many entries, so many bytes."""
    start = 0
    while start < len(sizes):
        end = start + 1
        while end < min(len(sizes), start + PUT_EVENTS_MAX) and sum(sizes[start : end + 1]) <= PUT_EVENTS_BYTES:
            end += 1
        yield start, end
        start = end


@dataclass(frozen=True, slots=True)
class Result:
    """A provisioner's answer to one event about one line."""

    event_id: str
    workspace_id: str
    line_id: str
    succeeded: bool
    reason: str

    @classmethod
    def of(cls, detail: dict[str, Any]) -> "Result":
        """Reads a `Line Provisioning Result`; raises Invalid."""
        names = ("eventId", "workspaceId", "lineId", "outcome")
        if not all(isinstance(detail.get(name), str) for name in names):
            raise Invalid(f"a provisioning result needs the strings {', '.join(names)}")
        if detail["outcome"] not in {"succeeded", "failed"}:
            raise Invalid("outcome must be succeeded or failed")
        return cls(
            event_id=detail["eventId"],
            workspace_id=detail["workspaceId"],
            line_id=detail["lineId"],
            succeeded=detail["outcome"] == "succeeded",
            reason=str(detail.get("reason") or "provisioning_failed")[:256].encode(errors="replace").decode(),
        )
