"""What a write of a workspace has to make the stream's function publish (contract 54), and what the stream keeps."""

from __future__ import annotations

import json
from typing import Any

from tests.proof.expressions import Typed, plain
from tests.proof.memory_table import Stored

Json = dict[str, Any]
Event = tuple[tuple[str, str], Json]

# What the events depend on. No more is kept of a record: the rate window, say, would make more states.
_COUNTS = ("held", "unpaid", "lock_kind", "quantities_revision")
READ = frozenset(("pk", "sk", "customer", "livemode", "revision", "subscription", "excess_basis", *_COUNTS))
KNOWN_MAX = 50_000


def attributes(item: Typed) -> Json:
    """A stored item as plain values."""

    def bare(value: Any) -> Any:  # noqa: ANN401 - a DynamoDB value is any of JSON's types
        kind, content = value
        if kind == "M":
            return {name: bare(inner) for name, inner in content.items()}
        return [bare(inner) for inner in content] if kind == "L" else content

    return {name: bare(plain(value)) for name, value in item.items()}


def attributes_of(stored: Stored) -> Json:
    """The same for a stored item, read once."""
    if stored.digest not in _read:
        if len(_read) > KNOWN_MAX:
            _read.clear()
        _read[stored.digest] = attributes(stored.item)
    return _read[stored.digest]


_read: dict[int, Json] = {}


def events_of(before: Stored | None, after: Stored) -> tuple[Event, ...]:
    """The same for stored items, found out once."""
    digests = (before.digest if before else 0, after.digest)
    if digests not in _judged:
        if len(_judged) > KNOWN_MAX:
            _judged.clear()
        _judged[digests] = tuple(events(before and attributes(before.item), attributes(after.item)))
    return _judged[digests]


_judged: dict[tuple[int, int], tuple[Event, ...]] = {}


def part(stored: Stored) -> Stored:
    """What the events about a workspace are made from."""
    item = {name: value for name, value in stored.item.items() if name in READ}
    return Stored(item, hash(json.dumps(item, sort_keys=True)))


def events(before: Json | None, after: Json) -> list[Event]:
    """By source and detail type, what has to be in each event."""
    was, now = _plan_and_status(before), _plan_and_status(after)
    workspace_id = after["pk"].removeprefix("W#")
    found = list[Event]()
    if was != now:
        facts = {"eventId": f"{workspace_id}:subscription:{after['revision']}", "workspaceId": workspace_id}
        facts |= {"plan": now[0], "status": now[1], "previousPlan": was[0], "previousStatus": was[1]}
        found.append((("line-requests", "Workspace Subscription Changed"), facts))
    earlier = _excess(before) if before else {}
    for kind, excess in _excess(after).items():
        if bool(excess) != bool(earlier.get(kind)):
            event_id = f"{workspace_id}:over_plan:{kind}:{after.get('quantities_revision', 0)}"
            facts = {"eventId": event_id, "workspaceId": workspace_id, "kind": kind, "excess": excess}
            found.append((("line-requests", "Workspace Over Plan"), facts))
    return found


def _plan_and_status(workspace: Json | None) -> tuple[str | None, str | None]:
    subscription = (workspace or {}).get("subscription") or {}
    return subscription.get("plan"), subscription.get("status")


def _excess(workspace: Json) -> dict[str, int]:
    """By kind: how many lines too many (contract 54). No scenario knows any other status than these."""
    subscription = workspace.get("subscription")
    if not subscription:
        return {}
    found: dict[str, int] = {}
    for kind in ("purchased_phone", "byon_phone", "email"):
        locked = workspace.get("lock_kind") == kind
        settled = workspace["held"].get(kind, 0) - locked
        unpaid = workspace["unpaid"].get(kind, 0) - locked
        allowance = subscription.get("allowances", {}).get(kind)
        if subscription["status"] == "canceled" or allowance is None:
            found[kind] = settled
        else:
            cap = allowance.get("cap")
            over_cap = settled - cap if cap is not None else 0
            found[kind] = max(unpaid - allowance["included"], over_cap, 0)
    return found
