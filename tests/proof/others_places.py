"""What a suspended run can still go on from: where its functions stand, and the values that they still read.

Two prefixes that ended alike go on alike, whatever led there. So that results of the past that nothing reads any more
do not count, a variable counts only while it is live: read on some path before it is written again, or already read by
an expression that is not finished.
"""

import dataclasses
import dis
import json
import sys
from collections import deque
from concurrent.futures import Future
from functools import cache
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from tests.proof import runs
from tests.proof.actors import Place
from tests.proof.others_reads import read_of
from tests.proof.others_stack import waiting
from tests.proof.others_worlds import INCLUDED
from tests.proof.world import DynamoDb, Pause, Publish, Step, Stripe

# Of these the frames count; what is below the SDKs is decided by the step that waits, and by the proof's own frames.
_COUNTED = ("line_requests", "functions.", "tests.proof.product", "tests.proof.runs")
# From here on a line is moved; named, because the product may not be there yet when bugs are planted.
_MOVING = "line_requests.flows.lifecycle"
# A pause in here comes before another attempt.
_STARTS_OVER = "Creation._read_again"
_ENDS = {"RETURN_VALUE", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
# On another Python, whose bytecode differs, all variables count: fewer prefixes go on alike.
PYTHON = (3, 11)
# A loop that has gone round so often goes on as it does.
ROUNDS_COUNTED = 4
# Where no time passes and nothing fails, these say nothing: how long a pause is, and how often a loop has gone round.
_UNCOUNTED = {"pause_s", "attempt", "_"}


class Known(dict[int, tuple[object, object]]):
    """The values that were met, by their ids, with their images."""

    def __init__(self, *, counts: bool = True) -> None:
        self.counts = counts
        """Whether a workspace's counts tell runs apart; else only whether they leave a place in the plan."""


def continuation(place: Place, run: runs.Run, *, creates: bool, calm: bool) -> int:
    """The same for runs that go on alike.

    `calm`: no time passes and nothing fails, so that nothing is sent again.
    """
    known, known_moving = Known(counts=creates), Known(counts=False)
    frames = [_frames(strand.gr_frame, known, known_moving, calm=calm) for strand in run.strands if not strand.dead]
    waiting = tuple(
        (strand, "pause" if calm and isinstance(step, Pause) else text_of(step), 0 if calm else _rounds(place, step))
        for strand, step in sorted(place.pending.items())
    )
    last_ms = place.last.now_ms if place.last else place.began_ms
    return hash((repr(frames), waiting, frozenset(place.alarms), place.began_ms, last_ms))


def starts_over(run: runs.Run) -> bool:
    """Whether a request for a line waits before another attempt: what it has read and stored before is forgotten."""
    if not all(isinstance(step, Pause) for step in run.pending.values()):
        return False
    frame, names = run.strands[0].gr_frame, set[str]()
    while frame is not None:
        names.add(frame.f_code.co_qualname)
        frame = frame.f_back
    return _STARTS_OVER in names


def text_of(step: Step) -> str:
    """All of a step."""
    if isinstance(step, DynamoDb):
        return f"{step.operation} {json.dumps(step.request, sort_keys=True, default=str)} {step.of_batch}"
    if isinstance(step, Stripe):
        return f"{step} {sorted(step.params.items())}"
    return f"{step} {step.details}" if isinstance(step, Publish) else str(step)


def _rounds(place: Place, step: Step) -> int:
    """How often the call has done the same before, up to a few."""
    count, last, what = 0, place.last, str(step)
    while last is not None and count < ROUNDS_COUNTED:
        count += str(last.step) == what
        last = last.before
    return count


def _frames(frame: FrameType | None, known: Known, known_moving: Known, *, calm: bool) -> list[object]:
    """From the outermost; `known_moving` is for those that move a line: its own, or the one that holds the lock."""
    stack = list[FrameType]()
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    found = list[object]()
    for one in reversed(stack):
        module = one.f_globals.get("__name__", "")
        if module == _MOVING:
            known = known_moving
        if module.startswith(_COUNTED):
            values, live = one.f_locals, still_read(one.f_code, one.f_lasti)
            # What a strand was begun with is under way: the frames that it has called have it.
            live = [] if module == runs.__name__ else live
            counted = values.keys() - _UNCOUNTED if calm else values.keys()
            images = [(n, read, _part(values[n], read, known)) for n, read in live if n in counted]
            found.append((one.f_code.co_qualname, one.f_lasti, images))
    return found


def _part(value: Any, read: tuple[str, ...], known: Known) -> object:  # noqa: ANN401 - any value
    """What is still read of a variable's value: all, or these attributes of a value that never changes."""
    value = _asked(value, known)
    frozen = dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen  # type: ignore[union-attr] # as dataclasses itself does
    if read and (frozen or isinstance(value, BaseException)):
        return type(value).__qualname__, [image(getattr(value, name, None), known) for name in read]
    return image(value, known)


def _asked(value: Any, known: Known) -> Any:  # noqa: ANN401 - any value
    """A workspace with no more of its counts than `known` asks for; every other value as it is."""
    if known.counts or type(value).__name__ != "Workspace":
        return value
    return dataclasses.replace(value, held={}, unpaid={kind: count <= INCLUDED for kind, count in value.unpaid.items()})


@cache
def still_read(code: CodeType, lasti: int) -> list[tuple[str, tuple[str, ...]]]:
    """The variables that still count from here on; with attributes, if nothing else of their values is read."""
    if sys.version_info[:2] != PYTHON:
        return [(name, ()) for name in sorted({*code.co_varnames, *code.co_cellvars, *code.co_freevars})]
    by_offset = _analysed(code)
    # A frame may stand in the cache entries behind its instruction.
    live = by_offset[max(offset for offset in by_offset if offset <= lasti)] | waiting(code, lasti)
    whole = {name for name, attribute in live if not attribute}
    parts = {name: tuple(sorted(a for n, a in live if n == name)) for name, _ in live if name not in whole}
    return sorted([*((name, ()) for name in whole), *parts.items()])


@cache
def _analysed(code: CodeType) -> dict[int, frozenset[tuple[str, str]]]:
    """By instruction: the variables that are live after it, whole (with "") or one attribute."""
    instructions = [one for one in dis.get_instructions(code) if one.opname != "CACHE"]
    number_of = {one.offset: number for number, one in enumerate(instructions)}
    after = [_successors(number, one, instructions, number_of, code) for number, one in enumerate(instructions)]
    before: dict[int, list[int]] = {}
    for number, successors in enumerate(after):
        for successor in successors:
            before.setdefault(successor, []).append(number)
    # Closures and the variables of loops, whose place in their sequence nothing else shows, always count.
    always = {(name, "") for name in (*code.co_cellvars, *code.co_freevars, *_loops(instructions))}
    live_in: list[frozenset[tuple[str, str]]] = [frozenset()] * len(instructions)
    left = deque(range(len(instructions) - 1, -1, -1))
    while left:
        number = left.popleft()
        one, out = instructions[number], frozenset[tuple[str, str]]().union(*(live_in[s] for s in after[number]))
        if one.opname in {"STORE_FAST", "DELETE_FAST"}:
            out = frozenset(pair for pair in out if pair[0] != one.argval)
        elif one.opname == "LOAD_FAST":
            then = instructions[number + 1]
            attributes = {then.argval} if then.opname == "LOAD_ATTR" else read_of(code.co_filename, one)
            out |= {(one.argval, attribute) for attribute in ({""} if attributes is None else attributes)}
        if out != live_in[number]:
            live_in[number] = out
            left.extend(before.get(number, ()))
    return {
        one.offset: frozenset(always).union(*(live_in[s] for s in after[number]))
        for number, one in enumerate(instructions)
    }


def _successors(
    number: int, one: dis.Instruction, instructions: list[dis.Instruction], number_of: dict[int, int], code: CodeType
) -> list[int]:
    found = [] if one.opname in _ENDS or number + 1 == len(instructions) else [number + 1]
    if one.opcode in {*dis.hasjrel, *dis.hasjabs}:
        found.append(number_of[one.argval])
    found += [number_of[e.target] for e in dis.Bytecode(code).exception_entries if e.start <= one.offset < e.end]  # type: ignore[attr-defined] # since 3.11
    return found


def _loops(instructions: list[dis.Instruction]) -> set[str]:
    found = set[str]()
    for number, one in enumerate(instructions):
        if one.opname == "FOR_ITER":
            stores = number + 1
            if instructions[stores].opname == "UNPACK_SEQUENCE":
                stores += 1
            while instructions[stores].opname == "STORE_FAST":
                found.add(instructions[stores].argval)
                stores += 1
    return found


# --- values -----------------------------------------------------------------------------------------

_constant: dict[int, object] = {}
"""What every run of a process shares and none changes, by id."""


def share(value: object) -> None:
    """The deployment's parts: they are wired once and hold nothing of a run, so they tell no runs apart."""
    if type(value).__module__.startswith("line_requests") and id(value) not in _constant:
        _constant[id(value)] = value
        for part in getattr(value, "__dict__", {}).values():
            share(part)


def image(value: Any, known: Known) -> object:  # noqa: ANN401 - any value
    """A value that is equal for values that product code cannot tell apart; `known`: of what has been met."""
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    if id(value) in _constant:
        return type(value).__qualname__
    if id(value) not in known:
        known[id(value)] = value, "..."  # met inside of itself
        known[id(value)] = value, hash(repr(_image(value, known)))
    return known[id(value)][1]


def _image(value: Any, known: Known) -> object:  # noqa: ANN401 - any value
    if isinstance(value, list | tuple | deque):
        return [image(one, known) for one in value]
    if isinstance(value, dict):
        return sorted((str(name), repr(image(one, known))) for name, one in value.items())
    if isinstance(value, set | frozenset):
        return sorted(repr(image(one, known)) for one in value)
    return type(value).__qualname__, _inner(value, known)


def _inner(value: Any, known: Known) -> object:  # noqa: ANN401, PLR0911 - any object
    """What an object holds; of one that is not the product's own, nothing counts but its type."""
    if isinstance(value, Future):
        return value.done() and (repr(value.exception()) if value.exception() else image(value.result(), known))
    if isinstance(value, BaseException):
        return str(value), image(vars(value), known)
    if isinstance(value, MethodType):
        return value.__qualname__, image(value.__self__, known)
    if isinstance(value, FunctionType):
        return value.__qualname__, [image(cell.cell_contents, known) for cell in value.__closure__ or ()]
    value = _asked(value, known)
    if dataclasses.is_dataclass(value):
        return [image(getattr(value, one.name), known) for one in dataclasses.fields(value)]
    if type(value).__module__.startswith("line_requests"):
        return image(getattr(value, "__dict__", None) or repr(value), known)
    return None
