"""What the recorder has written, read back: commits of the table, acts at Stripe, invocations with their calls."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from tests.proof.actors import Taken
from tests.proof.memory_stripe import Reply
from tests.proof.memory_table import Answer
from tests.proof.product import PAUSE_MIN_MS
from tests.proof.world import DynamoDb, NoReply, Publish, Result, Step, Stripe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Json = dict[str, Any]
NS_PER_MS = 1_000_000
LEASE = b"#lease_until_ms <= :now"
"""The condition of the write that takes a lease."""


class Change(NamedTuple):
    """What one request has changed in the table, or one act at Stripe, and between which two moments."""

    began_ns: int
    ended_ns: int
    objects: dict[tuple[str, str], Json | None]
    """By (pk, sk), or by kind and id; None: it is gone."""


class Recorded(NamedTuple):
    """One call of a function's: its operation, or its method and path; status 0: no answer came."""

    began_ns: int
    ended_ns: int
    name: str
    request: bytes
    status: int
    response: bytes
    key: str | None = None
    replayed: str = ""

    @property
    def of_stripe(self) -> bool:
        return " " in self.name

    def steps(self) -> Iterator[tuple[Step, Result]]:
        """The call as the explorer takes it: a batch is one step for each of its items."""
        if self.of_stripe:
            yield self._stripe()
            return
        request = json.loads(self.request)
        response = json.loads(self.response or b"{}") if self.status else None
        if self.name == "PutEvents":
            entries = request["Entries"]
            names = tuple((entry["Source"], entry["DetailType"]) for entry in entries)
            step = Publish(tuple(json.loads(entry["Detail"]) for entry in entries), names)
            refused = {"FailedEntryCount": len(entries)}
            yield step, NoReply() if response is None else refused if self.status >= 400 else response
        elif response is None:
            yield DynamoDb(self.name, request), NoReply()
        elif self.name == "BatchGetItem" and self.status < 400:
            [items] = response["Responses"].values()
            for item in items:
                yield DynamoDb("GetItem", {"Key": {name: item[name] for name in ("pk", "sk")}}), Answer({"Item": item})
        else:
            error = response["__type"].rpartition("#")[2] if self.status >= 400 else None
            yield DynamoDb(self.name, request), Answer(response, error)

    def _stripe(self) -> tuple[Step, Result]:
        method, _, path = self.name.partition(" ")
        step = Stripe(method, path.partition("?")[0], dict(parse_qsl(self.request.decode())), self.key)
        if not self.status:
            return step, NoReply()
        headers = (("Idempotent-Replayed", "true"),) if self.replayed else ()
        return step, Reply(self.status, self.response.decode(), headers)


@dataclass
class Invocation:
    """One event that a function was given, the calls that it made, and its answer."""

    function: str
    request_id: str
    began_ns: int
    event: Any
    calls: list[Recorded] = field(default_factory=list)
    ended_ns: int | None = None
    """None: it crashed, or took too long."""
    answer: Any = None

    @property
    def last(self) -> Taken | None:
        """Its calls as the explorer chains them; a wait for another caller's lease takes as long as it does there."""
        taken, waited_ms = None, 0
        for call in sorted(self.calls, key=lambda call: call.ended_ns):
            for step, result in call.steps():
                taken = Taken(taken, step, result, call.ended_ns // NS_PER_MS + waited_ms)
            waited_ms += PAUSE_MIN_MS * (call.status == 400 and LEASE in call.request)
        return taken


@dataclass
class Trace:
    """Everything that happened on one local stack, in order."""

    commits: list[Change]
    acts: list[Change]
    invocations: list[Invocation]


def read(folder: Path, functions: Mapping[str, str]) -> Trace:
    """The trace in this directory so far; `functions` are the deployed ones' ARNs by folder."""
    names = {arn.rpartition(":function:")[2].partition(":")[0]: name for name, arn in functions.items()}
    commits = [Change(int(t), int(u), _keyed(body)) for _, t, u, body in _lines(folder / "commits")]
    acts = [Change(int(t), int(u), _keyed(body)) for _, t, u, body in _lines(folder / "acts")]
    invocations = [one for file in sorted(folder.glob("worker-*")) for one in _invocations(file, names)]
    return Trace(commits, acts, sorted(invocations, key=lambda one: one.began_ns))


def _lines(file: Path) -> Iterator[list[bytes]]:
    if file.exists():
        with file.open("rb") as lines:
            yield from (line.rstrip(b"\n").split(b"\t") for line in lines if line.endswith(b"\n"))


def _keyed(body: bytes) -> dict[tuple[str, str], Json | None]:
    return {(first, second): value for first, second, value in json.loads(body)}


def _invocations(file: Path, names: Mapping[str, str]) -> Iterator[Invocation]:
    """Those of one worker, one after the other; its first line is its start, and not every one has an answer."""
    function, running = None, None
    for kind, began, *fields in _lines(file):
        if kind == b"event" and fields[0].strip():
            told = json.loads(fields[0])
            if function is None:
                deployed = str(told["function_name"])
                # Copies: tests/stories/functions.py. Others are not the product's.
                function = names.get(deployed) or deployed.rpartition("-")[0]
                if function not in names.values():
                    return
                continue
            if running:
                yield running
            running = Invocation(function, told["ctx"]["request_id"], int(began), told["event"])
        elif kind == b"answer" and running:
            told = json.loads(fields[0])
            running.ended_ns = int(began)
            running.answer = told.get("result", {"raised": told.get("error", "")})
        elif kind in {b"aws", b"stripe"} and running:
            running.calls.append(_recorded(int(began), *fields))
    if running:
        yield running


def _recorded(began_ns: int, ended_ns: bytes, name: bytes, *fields: bytes) -> Recorded:
    if len(fields) == 3:
        request, status, response = fields
        return Recorded(began_ns, int(ended_ns), name.decode(), request, int(status), response)
    path, request, key, status, replayed, response = fields
    call = f"{name.decode()} {path.decode()}"
    return Recorded(
        began_ns, int(ended_ns), call, request, int(status), response, key.decode() or None, replayed.decode()
    )
