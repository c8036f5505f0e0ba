"""All that is outside of a handler, as a value; and the steps that handlers and people take in it.

A step is one DynamoDB call (of a batch: one item), one Stripe call, one publication, one pause, or
one act of somebody in the world. Applying a step gives its result and the next world. What can go
wrong with it is listed beside it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from tests.proof import workspace_events
from tests.proof.expressions import Typed
from tests.proof.memory_stripe import MemoryStripe, Params, Reply
from tests.proof.memory_table import Answer, Key, MemoryTable, Stored, canceled, key_of

START_MS = 1_795_339_800_000
# Stripe's events appear within five minutes.
VISIBLE_AFTER_S = 300
STALL_MS = 25_000  # longer than every lease on a line and than every door's budget


class Record(NamedTuple):
    """A change of an item, and what tells it apart."""

    new: Stored
    old: Stored | None

    def images(self) -> Typed:
        """As the stream shows them."""
        return {"NewImage": self.new.item} | ({"OldImage": self.old.item} if self.old else {})


@dataclass(frozen=True)
class World:
    """The table, Stripe, the bus and the time."""

    now_ms: int = START_MS
    table: MemoryTable = field(default_factory=MemoryTable)
    stripe: MemoryStripe = field(default_factory=MemoryStripe)
    stream: Mapping[Key, tuple[Record, ...]] = field(default_factory=dict)
    """What the table's stream has yet to deliver, per item, in order."""
    published: frozenset[str] = frozenset()
    """The ids of the events that the bus has taken."""
    indexed: MemoryTable | None = None
    """What a stale index still shows."""

    @cached_property
    def digest(self) -> int:
        """The same for the same world, however it came to be."""
        stream = frozenset(
            (record.new.digest, record.old and record.old.digest, number)
            for records in self.stream.values()
            for number, record in enumerate(records)
        )
        return hash((self.now_ms, self.table.digest, self.stripe.digest, stream, self.published))

    def after(self, ms: int) -> "World":
        """The world when so much time has passed."""
        return replace(self, now_ms=self.now_ms + ms)

    def with_table(self, table: MemoryTable) -> "World":
        """The world after a write; one that the stream's function has to publish leaves a stream record."""
        if table is self.table:
            return self
        stream = dict(self.stream)
        for key, stored in table.items.items():
            before = self.table.items.get(key)
            if before is stored:
                continue
            if key[1].startswith("LINE#") and _moved(before, stored):
                stream[key] = (*stream.get(key, ()), Record(stored, before))
            elif key[1] == "WORKSPACE" and workspace_events.events_of(before, stored):
                record = Record(workspace_events.part(stored), before and workspace_events.part(before))
                stream[key] = (*stream.get(key, ()), record)
        return replace(self, table=table, stream=stream)

    def workspace_events(self) -> Iterator[str]:
        """The ids of the events that the stream's records of workspaces come to."""
        for key, records in self.stream.items():
            for record in records if key[1] == "WORKSPACE" else ():
                yield from (facts["eventId"] for _, facts in workspace_events.events_of(record.old, record.new))


def _moved(before: Stored | None, after: Stored) -> bool:
    return before is None or len(before.item["history"]["L"]) != len(after.item["history"]["L"])


class Violation(Exception):
    """An invariant does not hold."""


class Crash(BaseException):
    """The environment of a handler dies; nothing of it runs any further."""


@dataclass(frozen=True)
class NoReply:
    """No answer comes; `again`: the SDK's own retry has a chance."""

    again: bool = False


@dataclass(frozen=True)
class Unprocessed:
    """DynamoDB leaves one key of a batch for later."""


Result = Any
Fault = tuple[str, Callable[[World], tuple[World, Result]]]


@dataclass(frozen=True)
class DynamoDb:
    """One call; of a batch, one of its items."""

    operation: str
    request: Mapping[str, Any]
    of_batch: bool = False
    _memo: dict[tuple[int, ...], tuple[tuple[tuple[Key, Stored | None], ...], Answer]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What it does to the items that it meets, by what these are."""

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The items that it names."""
        if self.operation == "TransactWriteItems":
            writes = [write for entry in self.request["TransactItems"] for write in entry.values()]
        else:
            writes = [self.request]
        return tuple(key_of(write.get("Key") or write["Item"]) for write in writes if "Key" in write or "Item" in write)

    @property
    def writes(self) -> bool:
        return self.operation not in {"GetItem", "Query", "Scan"}

    @property
    def quiet(self) -> bool:
        """Reads only what nobody writes in any scenario, so its place among others' steps is all one."""
        if self.operation == "Query":
            return "IndexName" not in self.request
        return not self.writes and (self.keys[0][1].startswith("APIKEY#") or self.keys[0][1] == "CUSTOMER")

    def apply(self, world: World) -> tuple[World, Result]:
        items = world.table.items
        # A query meets the whole table.
        met = tuple(stored.digest if (stored := items.get(key)) else 0 for key in self.keys) or (world.table.digest,)
        if met in self._memo:
            changes, answer = self._memo[met]
            return world.with_table(world.table.with_stored(changes)), answer
        table, answer = world.table.call(self.operation, self.request)
        answer = answer.told_apart()
        changes = tuple((key, table.items.get(key)) for key in self.keys if table.items.get(key) is not items.get(key))
        self._memo[met] = changes, answer
        return world.with_table(table), answer

    def faults(self) -> Iterator[Fault]:
        # A crash after a read is one after the write before it.
        if self.of_batch:
            yield "UnprocessedKeys", lambda world: (world, Unprocessed())
        if self.operation == "Query" and "IndexName" in self.request:
            yield "the index is stale", self._stale
        if not self.writes:
            yield "times out", lambda world: (world, NoReply())
            return
        yield "the function crashes after it", lambda world: (self.apply(world)[0], Crash)
        yield "times out before it has an effect", lambda world: (world, NoReply())
        yield "times out after it has an effect", lambda world: (self.apply(world)[0], NoReply())
        if self.operation == "TransactWriteItems":
            reasons = [{"Code": "None"} for _ in self.request["TransactItems"]]
            # With the item that most others write, too.
            most = next((number for number, (_, sk) in enumerate(self.keys) if sk == "WORKSPACE"), 0)
            reasons[most] = {"Code": "TransactionConflict"}
            yield "TransactionConflict", lambda world: (world, canceled(reasons))
        else:
            conflict = Answer(
                {"Error": {"Code": "TransactionConflictException", "Message": ""}}, "TransactionConflictException"
            )
            yield "TransactionConflictException", lambda world: (world, conflict)
            # botocore repeats a call whose answer got lost; a transaction carries a token, others run twice.
            yield "its answer is lost and the SDK repeats it", lambda world: self.apply(self.apply(world)[0])

    def _stale(self, world: World) -> tuple[World, Result]:
        _, answer = (world.indexed or MemoryTable()).call(self.operation, self.request)
        return world, answer

    def __str__(self) -> str:
        condition = self.request.get("ConditionExpression") or self.request.get("UpdateExpression") or ""
        names = ", ".join(sk for _, sk in self.keys) or self.request.get("IndexName", "plans")
        return f"{self.operation} {names}" + (f"  [{condition}]" if condition else "")


@dataclass(frozen=True)
class Stripe:
    """One HTTP request to Stripe."""

    method: str
    path: str
    params: Params
    key: str | None
    _memo: dict[tuple[int, int, str | None], tuple[MemoryStripe, Result]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What it does to an account, by what that is."""

    quiet = False

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    def apply(self, world: World, broken: str | None = None) -> tuple[World, Result]:
        now_s = world.now_ms // 1000
        met = (world.stripe.digest, now_s, broken)
        if met not in self._memo:
            self._memo[met] = world.stripe.call(self.method, self.path, self.params, self.key, now_s, broken=broken)
        stripe, reply = self._memo[met]
        return (world if stripe.digest == world.stripe.digest else replace(world, stripe=stripe)), reply

    def faults(self) -> Iterator[Fault]:
        if not self.writes:
            yield "times out", lambda world: (world, NoReply())
            if self.path == "/v1/events":
                yield "the newest event is not visible yet", self._late_event
            return
        yield "the function crashes after it", lambda world: (self.apply(world)[0], Crash)
        yield "429", lambda world: (world, Reply(429, _error("rate_limit")))
        yield "times out before it has an effect, and so does its retry", lambda world: (world, NoReply())
        yield "times out after it has an effect, and so does its retry", lambda world: (self.apply(world)[0], NoReply())
        yield (
            "times out after it has an effect, and the SDK retries",
            lambda world: (self.apply(world)[0], NoReply(again=True)),
        )
        unsaved = Reply(500, _error("api_error"), (("stripe-should-retry", "false"),))
        yield "500", lambda world: (world, unsaved)
        if self.key is not None:
            yield "500 before the effect, saved under its key", lambda world: self.apply(world, "before")
            yield "500 after the effect, saved under its key", lambda world: self.apply(world, "after")

    def _late_event(self, world: World) -> tuple[World, Result]:
        events = world.stripe.events
        recent = events and world.now_ms // 1000 - events[-1]["created"] <= VISIBLE_AFTER_S
        visible = replace(world.stripe, events=events[:-1] if recent else events)
        _, reply = self.apply(replace(world, stripe=visible))
        return world, reply

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f"  (key {self.key})" if self.key else "")


def _error(kind: str) -> str:
    return json.dumps({"error": {"type": kind, "message": "Try again."}})


@dataclass(frozen=True)
class Publish:
    """PutEvents: it delivers each event at least once."""

    details: tuple[Mapping[str, Any], ...]
    names: tuple[tuple[str, str], ...]
    """The source and the detail type of each."""

    quiet = False
    writes = True

    def apply(self, world: World) -> tuple[World, Result]:
        published = world.published | {detail["eventId"] for detail in self.details}
        return replace(world, published=published), {
            "FailedEntryCount": 0,
            "Entries": [{"EventId": "1"} for _ in self.details],
        }

    def faults(self) -> Iterator[Fault]:
        yield "the function crashes after it", lambda world: (self.apply(world)[0], Crash)
        yield "times out", lambda world: (world, NoReply())
        refused = {
            "FailedEntryCount": len(self.details),
            "Entries": [{"ErrorCode": "ThrottlingException"}] * len(self.details),
        }
        yield "the bus refuses it", lambda world: (world, refused)

    def __str__(self) -> str:
        return "PutEvents " + ", ".join(f"{detail['eventId']} {detail.get('status', '')}" for detail in self.details)


@dataclass(frozen=True)
class Pause:
    """A handler waits."""

    ms: int

    quiet = False
    writes = False

    def apply(self, world: World) -> tuple[World, Result]:
        return world, None

    def faults(self) -> Iterator[Fault]:
        return iter(())

    def __str__(self) -> str:
        return f"has waited {self.ms / 1000:g} s"


@dataclass(frozen=True)
class Act:
    """Somebody in the world does something, as soon as it can be done.

    `effect` gives the world after it and what it comes to; None: it cannot be done yet.
    """

    what: str
    effect: Callable[[World], tuple[World, Result] | None]

    quiet = False
    writes = True

    def apply(self, world: World) -> tuple[World, Result]:
        outcome = self.effect(world)
        assert outcome is not None, "only what can be done is chosen"
        return outcome

    def faults(self) -> Iterator[Fault]:
        return iter(())

    def __str__(self) -> str:
        return self.what


Step = DynamoDb | Stripe | Publish | Pause | Act
