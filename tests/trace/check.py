"""Checks a trace: is it complete, and do the explorer's invariants hold in every state and for every answer of it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from tests.local.stack import LocalStack
from tests.proof import invariants
from tests.proof.world import Violation
from tests.trace.answers import Answers, workspaces
from tests.trace.reader import NS_PER_MS, Trace, read
from tests.trace.recorder import KINDS
from tests.trace.timeline import timelines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from tests.trace.reader import Change, Invocation

WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"}
# Of the calls before a violation, in its report.
SHOWN = 12
# A stack that has written nothing for so long rests; a function may wait that long for a double that hangs.
REST_S, REST_WITHIN_S = 1.0, 60
_SHOWN_MS, _SHOWN_BYTES = 60_000, 2_000


@dataclass(frozen=True)
class Checked:
    """What was checked, and what was found."""

    calls: int
    invocations: int
    judged: int
    states: int
    violations: list[str]

    def __str__(self) -> str:
        return (
            f"trace: {self.calls} calls, {self.invocations} invocations ({self.judged} answers judged), "
            f"{self.states} table states checked, {len(self.violations)} violations"
        )


@contextmanager
def checked_stack(*, without: Collection[str] = ()) -> Iterator[LocalStack]:
    """A local stack; at its end what it has recorded is checked, whatever was done with it."""
    with LocalStack(record=True) as stack:
        yield stack
        checked = checked_at_rest(stack, without=without)
        print(checked)
        assert checked is None or not checked.violations, "\n".join(checked.violations)


def checked_at_rest(
    stack: LocalStack, *, without: Collection[str] = (), within_s: float = REST_WITHIN_S
) -> Checked | None:
    """Everything that this stack has recorded, once it rests; None: it has recorded nothing."""
    if stack.ministack.trace is None:
        return None
    stack.double.flush()
    size, deadline = -1, time.monotonic() + within_s
    checked = None
    # What is written while it is checked is in the table and not in what was read.
    while checked is None or _size(stack.ministack.trace) != size:
        while (now := _size(stack.ministack.trace)) != size:
            assert time.monotonic() < deadline, f"it does not come to rest:\n{_last_events(stack.ministack.trace)}"
            size = now
            time.sleep(REST_S)
        checked = check_stack(stack, stack.ministack.trace, without)
    return checked


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _last_events(folder: Path) -> str:
    """What functions were called with last, the newest below."""
    lines = chain.from_iterable(file.read_bytes().splitlines() for file in folder.glob("worker-*"))
    events = sorted(
        (line.split(b"\t") for line in lines if line.startswith(b"event")), key=lambda fields: int(fields[1])
    )
    return "\n".join(fields[2][:_SHOWN_BYTES].decode(errors="replace") for fields in events[-SHOWN:])


def check_stack(stack: LocalStack, folder: Path, without: Collection[str] = ()) -> Checked:
    """What was recorded in this directory; nothing may happen meanwhile."""
    trace = read(folder, stack.deployment.functions)
    dynamodb: Any = stack.ministack.session.client("dynamodb", endpoint_url=stack.ministack.endpoint)
    pages = dynamodb.get_paginator("scan").paginate(TableName=stack.deployment.table)
    table = {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}
    dynamodb.close()
    account = {(kind, one["id"]): one for kind in KINDS for one in stack.double.all_of(kind)}
    lost = [*differing("table", trace.commits, table), *differing("Stripe", trace.acts, account)]
    return check(trace, without=without, lost=lost)


def check(trace: Trace, *, without: Collection[str] = (), lost: Collection[str] = ()) -> Checked:
    """Every state and every answer; `without` these workspaces, which a test has put into the table by hand."""
    found = {name: one for name, one in timelines(trace).items() if name not in without}
    violations = [*lost, *_unrecorded(trace)]
    for name, timeline in found.items():
        if broken := timeline.violation():
            moment_ns, what = broken
            violations.append(f"{name}: {what}\n{_report(trace, name, moment_ns)}")
    answers = Answers(trace, found)
    judged = 0
    for invocation in trace.invocations:
        try:
            answers.judge_calls(invocation)
            judged += answers.judge(invocation)
        except Violation as violation:
            violations.append(f"{_told(invocation)}: {violation}")
    invariants.forget()
    calls = sum(len(one.calls) for one in trace.invocations)
    states = sum(timeline.states for timeline in found.values())
    return Checked(calls, len(trace.invocations), judged, states, violations)


# --- is the trace complete? -----------------------------------------------------------------------


def differing(what: str, changes: list[Change], held: dict[tuple[str, str], Any]) -> Iterator[str]:
    """The objects that are not what the recorded changes have made of them."""
    made = dict(chain.from_iterable(change.objects.items() for change in changes))
    for key in sorted(made.keys() | held.keys()):
        if made.get(key) != json.loads(json.dumps(held.get(key), default=str)):
            yield f"{what} holds another {' '.join(key)} than was recorded"


def _unrecorded(trace: Trace) -> Iterator[str]:
    """Writes that were answered, and whose effect was not recorded between request and answer."""
    commits, position = trace.commits, 0
    writes = [call for one in trace.invocations for call in one.calls if call.name in WRITES and call.status == 200]
    for call in sorted(writes, key=lambda call: call.began_ns):
        while position < len(commits) and commits[position].ended_ns < call.began_ns:
            position += 1
        during = range(position, len(commits))
        within = (commits[n] for n in during if commits[n].began_ns <= call.ended_ns)
        if not any(_keys(call.request) <= change.objects.keys() for change in within):
            yield f"{call.name} was answered, and has changed nothing: {sorted(_keys(call.request))}"


def _keys(request: bytes) -> set[tuple[str, str]]:
    asked = json.loads(request)
    writes = [one for entry in asked.get("TransactItems", [{"": asked}]) for kind, one in entry.items()]
    keys = [write.get("Key") or write["Item"] for write in writes if "UpdateExpression" in write or "Item" in write]
    return {(key["pk"]["S"], key["sk"]["S"]) for key in keys}


# --- reports, without anything personal or secret --------------------------------------------------


def _told(invocation: Invocation) -> str:
    event, answer = invocation.event, invocation.answer
    route = event.get("routeKey", "") if isinstance(event, dict) else ""
    status = answer.get("statusCode", "") if isinstance(answer, dict) else ""
    return f"{invocation.function} {route} {status} ({invocation.request_id}, {', '.join(workspaces(invocation))})"


def _report(trace: Trace, workspace_id: str, moment_ns: int) -> str:
    """The calls of a workspace until then: operations, keys, conditions and results, no values."""
    told = list[tuple[int, str]]()
    for invocation in trace.invocations:
        if abs(invocation.began_ns - moment_ns) > _SHOWN_MS * NS_PER_MS or workspace_id not in workspaces(invocation):
            continue
        for call in invocation.calls:
            if call.began_ns <= moment_ns:
                at_ms = (call.began_ns - moment_ns) / NS_PER_MS
                steps = [str(step) for step, _ in call.steps()]
                told.append((call.began_ns, f"  {at_ms:9.1f} ms  {_told(invocation)}  {steps} {call.status}"))
    return "\n".join(line for _, line in sorted(told)[-SHOWN:])
