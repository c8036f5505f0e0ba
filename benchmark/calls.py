"""Every DynamoDB call of a process, seen and slowed below the SDK by botocore's own event hooks."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.handlers import BUILTIN_HANDLERS
from botocore.session import Session

READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})


@dataclass
class Call:
    """One request as it left the SDK; times are of one monotonic clock."""

    operation: str
    started_s: float
    ended_s: float = 0.0
    units: float = 0.0

    @property
    def write_units(self) -> float:
        """What a write consumed; a read has none."""
        return 0.0 if self.operation in READS else self.units


def round_trips(calls: Iterable[Call]) -> int:
    """How many of them had to wait for one another: the longest chain without an overlap."""
    chain, free_s = 0, 0.0
    for call in sorted(calls, key=lambda call: call.ended_s):
        if call.started_s >= free_s:
            chain, free_s = chain + 1, call.ended_s
    return chain


@dataclass
class Calls:
    """Hooks of one botocore session; its clients must be made afterwards."""

    plain_ms: float = 0.0
    """Added to every call but transactions."""
    transaction_ms: float = 0.0
    conflicts: bool = False
    """Whether writes that overlap on an item conflict, as on DynamoDB and on no local engine."""
    count_units: bool = False
    seen: list[Call] = field(default_factory=list)
    _mine: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _busy: set[str] = field(default_factory=set)

    def watch(self, session: Session) -> None:
        """Sees every DynamoDB client that the session makes from now on."""
        for event, hook in self._hooks():
            session.register(event, hook)

    def watch_every_session(self) -> None:
        """Sees the clients of every session that this process makes from now on."""
        BUILTIN_HANDLERS.extend(self._hooks())

    def _hooks(self) -> list[tuple[str, Callable[..., Any]]]:
        return [
            ("before-parameter-build.dynamodb", self._ask_for_units),
            ("before-send.dynamodb", self._send),
            ("response-received.dynamodb", self._received),
            ("after-call.dynamodb", self._count),
        ]

    @contextmanager
    def during(self) -> Iterator[list[Call]]:
        """The calls made in this block."""
        first = len(self.seen)
        made: list[Call] = []
        yield made
        made += self.seen[first:]

    def _ask_for_units(self, params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        if self.count_units and "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, parsed: dict[str, Any], **_: object) -> None:
        capacity = parsed.get("ConsumedCapacity", [])
        entries = capacity if isinstance(capacity, list) else [capacity]
        call: Call = self._mine.call
        # MiniStack rounds a batch as a whole; DynamoDB rounds each of its items, up to a unit for these small ones.
        call.units = max(call.units, sum(entry["CapacityUnits"] for entry in entries))

    def _send(self, request: Any, **_: object) -> AWSResponse | None:  # noqa: ANN401 - botocore's
        operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
        self._mine.call = call = Call(operation, time.monotonic())
        if self.count_units and operation == "BatchGetItem":
            call.units = sum(len(asked["Keys"]) for asked in json.loads(request.body)["RequestItems"].values())
        with self._lock:
            self.seen.append(call)
        transaction = operation == "TransactWriteItems"
        self._mine.held = held = _written_keys(operation, request.body) if self.conflicts else set()
        with self._lock:
            conflict = bool(held & self._busy)
            if not conflict:
                self._busy |= held
        if conflict:
            self._mine.held = set()
        time.sleep((self.transaction_ms if transaction else self.plain_ms) / 1000)
        return _conflict(request, transaction=transaction) if conflict else None

    def _received(self, **_: object) -> None:
        self._mine.call.ended_s = time.monotonic()
        with self._lock:
            self._busy -= self._mine.held


def _written_keys(operation: str, body: bytes) -> set[str]:
    document = json.loads(body)
    if operation == "TransactWriteItems":
        writes = [write for entry in document["TransactItems"] for write in entry.values()]
    elif operation in READS or operation == "BatchWriteItem":
        return set()
    else:
        writes = [document]
    keys = [write.get("Key") or write["Item"] for write in writes]
    return {f"{key['pk']['S']} {key['sk']['S']}" for key in keys}


def _conflict(request: Any, *, transaction: bool) -> AWSResponse:  # noqa: ANN401 - botocore's
    if transaction:
        error: dict[str, Any] = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"}
        error["Message"] = "Transaction cancelled, please refer cancellation reasons for specific reasons"
        error["CancellationReasons"] = [{"Code": "TransactionConflict", "Message": "Transaction is ongoing"}]
    else:
        error = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException"}
        error["message"] = "Transaction is ongoing for the item"
    headers: Any = {"Content-Type": "application/x-amz-json-1.0"}
    return AWSResponse(request.url, 400, headers, _Raw(json.dumps(error)))


class _Raw(BytesIO):
    """A body as urllib3 would stream it."""

    def __init__(self, text: str) -> None:
        super().__init__(text.encode())

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()
