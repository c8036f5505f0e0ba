"""The table's stream: what each write changed, as events on the bus (contract 48, 54)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from line_requests.bus.events import (
    OVER_PLAN,
    STATE_CHANGED,
    Bus,
    Event,
    over_plan,
    state_changed,
    subscription_changed,
)
from line_requests.domain.errors import UnreadableRecord
from line_requests.domain.model import Line, Workspace
from line_requests.domain.over_plan import standings
from line_requests.storage import records
from line_requests.storage.attributes import unmarshal
from line_requests.telemetry import alarm

T = TypeVar("T")

Json = Mapping[str, Any]

_WORKSPACE = records.workspace_key("")["sk"]
# What the events about a workspace depend on; its excess basis changes only with the subscription. Most of its writes
# change something else, such as the rate window.
_WATCHED = ("subscription", "held", "unpaid", "lock_kind")


def publish_changes(bus: Bus, stream_records: Sequence[Json]) -> list[str]:
    """Publishes what a batch of stream records changed; returns the sequence numbers of those that the bus refused."""
    changes = {record["dynamodb"]["SequenceNumber"]: list(_events(record["dynamodb"])) for record in stream_records}
    refused = bus.publish_events([event for events in changes.values() for event in events])
    failed = [number for number, events in changes.items() if any(event in refused for event in events)]
    for number, events in changes.items():
        for event in events if number not in failed else ():
            if event.detail_type == OVER_PLAN and event.detail["excess"]:
                alarm("OverPlan", "a workspace holds more lines than its plan allows", **event.detail)
    return failed


def _events(record: Json) -> Iterator[Event]:
    """What one record says, if anything; an item that only a newer release reads is set aside."""
    new, old = record.get("NewImage"), record.get("OldImage")
    if new is None:
        return
    if new["sk"]["S"] != _WORKSPACE:
        line = _read(records.line, new)
        if line is not None and entered_by(_read(records.line, old), line):
            yield Event(STATE_CHANGED, state_changed(line))
    elif any(new.get(name) != (old or {}).get(name) for name in _WATCHED):
        workspace, before = _read(records.workspace, new), _read(records.workspace, old)
        if workspace is not None and (before is not None or old is None):
            yield from workspace_events(before, workspace, int(float(record["ApproximateCreationDateTime"]) * 1000))


def _read(reader: Callable[[Json], T], image: Json | None) -> T | None:
    try:
        return reader(unmarshal(image)) if image else None
    except UnreadableRecord as error:
        alarm("UnreadableRecord", f"a newer release wrote this state: {error}")
        return None


def entered_by(before: Line | None, after: Line) -> bool:
    """Whether a write moved the line to another state."""
    return before is None or before.sequence != after.sequence


def workspace_events(before: Workspace | None, after: Workspace, at_ms: int) -> Iterator[Event]:
    """The change of plan or status that a write made, and each excess that it started or ended."""
    was, now = (workspace.subscription if workspace else None for workspace in (before, after))
    if (was and (was.plan, was.status)) != (now and (now.plan, now.status)):
        yield subscription_changed(before, after, at_ms)
    earlier = standings(before) if before else {}
    for kind, standing in standings(after).items():
        if bool(standing.excess) != (kind in earlier and bool(earlier[kind].excess)):
            yield over_plan(after, kind, standing, at_ms)
