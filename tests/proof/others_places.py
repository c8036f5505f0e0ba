"""What a suspended run can still go on from: where its functions stand, and the values that they still read.

Two prefixes that ended alike go on alike, whatever led there. So that results of the past that nothing reads any more
do not count, a variable counts only while it is live: read on some path before it is written again, or already read by
an expression that is not finished.
"""

import dataclasses
import dis
import json
import sys
from collections import Counter, deque
from collections.abc import Hashable
from concurrent.futures import Future
from functools import cache
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from tests.proof import runs
from tests.proof.actors import Place
from tests.proof.others_reads import read_of
from tests.proof.others_stack import REST, waiting
from tests.proof.others_weights import INCLUDED
from tests.proof.world import DynamoDb, Pause, Publish, Step, Stripe

# Of these the frames count; what is below the SDKs is decided by the step that waits, and by the proof's own frames.
_COUNTED = ("line_requests", "functions.", "tests.proof.product", "tests.proof.runs")
# From here on a line is moved; named, because the product may not be there yet when bugs are planted.
_MOVING = "line_requests.flows.lifecycle"
# A pause in here comes before another attempt.
_STARTS_OVER = "Creation._read_again"
# Reads a line that the product knows already.
REREADS = "_reread"
_ENDS = {"RETURN_VALUE", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
# On another Python, whose bytecode differs, all variables count: fewer prefixes go on alike.
PYTHON = (3, 11)
# What a run has counted goes into its answer, and decides nothing.
TOLD_ALONE = {"_done"}
_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>"}
# A loop that has gone round so often goes on as it does.
ROUNDS_COUNTED = 4
# Where no time passes and nothing fails, these say nothing: how long a pause is, and how often a loop has gone round.
_UNCOUNTED = {"pause_s", "attempt", "_"}


class Known(dict[int, tuple[object, Hashable]]):
    """The values that were met, by their ids, with their images."""

    def __init__(self, *, counts: bool = True) -> None:
        self.counts = counts
        """Whether a workspace's counts tell runs apart; else only whether they leave a place in the plan."""


def continuation(place: Place, run: runs.Run, *, creates: bool, calm: bool) -> int:
    """The same for runs that go on alike.

    `calm`: no time passes and nothing fails, so that nothing is sent again.
    """
    known, known_moving = Known(counts=creates), Known(counts=False)
    strands = [strand.gr_frame for strand in run.strands if not strand.dead]
    frames = tuple([_frames(frame, known, known_moving, calm=calm) for frame in strands])
    waiting = tuple(
        (strand, "pause" if calm and isinstance(step, Pause) else text_of(step), 0 if calm else _rounds(place, step))
        for strand, step in sorted(place.pending.items())
    )
    last_ms = place.last.now_ms if place.last else place.began_ms
    return hash((frames, waiting, frozenset(place.alarms), place.began_ms, last_ms))


def starts_over(run: runs.Run) -> bool:
    """Whether a request for a line waits before another attempt: what it has read and stored before is forgotten."""
    if not all(isinstance(step, Pause) for step in run.pending.values()):
        return False
    frame, names = run.strands[0].gr_frame, set[str]()
    while frame is not None:
        names.add(frame.f_code.co_qualname)
        frame = frame.f_back
    return _STARTS_OVER in names


def moves_a_line(run: runs.Run, strand: int) -> bool:
    """Whether what a strand waits for is asked by the part of a request that moves a line."""
    frame = run.strands[strand].gr_frame
    while frame is not None and frame.f_globals.get("__name__") != _MOVING:
        frame = frame.f_back
    return frame is not None


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


def _frames(frame: FrameType | None, known: Known, known_moving: Known, *, calm: bool) -> Hashable:
    """From the outermost; `known_moving` is for those that move a line: its own, or the one that holds the lock."""
    stack = list[FrameType]()
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    found = list[Hashable]()
    for one in reversed(stack):
        module = one.f_globals.get("__name__", "")
        if module == _MOVING:
            known = known_moving
        if module.startswith(_COUNTED):
            values, live = one.f_locals, still_read(one.f_code, one.f_lasti)
            # What a strand was begun with is under way: the frames that it has called have it. A line that is read
            # again is there, for lines are never deleted: what would be taken instead says nothing.
            live = [] if module == runs.__name__ or one.f_code.co_name == REREADS else live
            counted = values.keys() - _UNCOUNTED if calm else values.keys()
            parts = [
                (name, read, left(one.f_code, values, name) if read == (REST,) else values[name])
                for name, read in live
                if name in counted
            ]
            images = tuple([(name, read, _part(value, read, known)) for name, read, value in parts])
            found.append((one.f_code.co_qualname, one.f_lasti, images))
    return tuple(found)


def left(code: CodeType, values: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - any value
    """Of a sequence that a loop goes through, what is left of it; of any other, all of it and the present part."""
    value, through = values[name], _gone_through(code)
    part = values.get(through[name]) if name in through else None
    at = [number for number, one in enumerate(value) if one is part] if isinstance(value, list | tuple) else []
    return value[at[0] + 1 :] if name in through and len(at) == 1 else (value, part)


def _part(value: Any, read: tuple[str, ...], known: Known) -> Hashable:  # noqa: ANN401 - any value
    """What is still read of a variable's value: all, or these attributes of a value that never changes."""
    value = _asked(value, known)
    frozen = dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen  # type: ignore[union-attr] # as dataclasses itself does
    if read and (frozen or isinstance(value, BaseException)):
        return type(value), tuple([image(getattr(value, name, None), known) for name in read])
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
    rest = {name for name, attribute in live if attribute == REST}
    whole = {name for name, attribute in live if not attribute or (attribute != REST and name in rest)}
    # Where all of the sequence is read again, its loop's variable tells how far it has come.
    whole |= {part for name, part in _gone_through(code).items() if name in rest & whole}
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
    brief = _comprehended(code)
    cells = {*code.co_cellvars, *code.co_freevars} - brief
    always = {(name, "") for name in (*cells, *_loops(instructions) - set(_gone_through(code).values()))}
    live_in: list[frozenset[tuple[str, str]]] = [frozenset()] * len(instructions)
    left = deque(range(len(instructions) - 1, -1, -1))
    while left:
        number = left.popleft()
        one, out = instructions[number], frozenset[tuple[str, str]]().union(*(live_in[s] for s in after[number]))
        if one.opname in {"STORE_FAST", "DELETE_FAST"} or (one.opname == "STORE_DEREF" and one.argval in brief):
            out = frozenset(pair for pair in out if pair[0] != one.argval)
        elif one.opname in {"LOAD_CLOSURE", "LOAD_DEREF"} and one.argval in brief:
            out |= {(one.argval, "")}
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


def _comprehended(code: CodeType) -> set[str]:
    """Variables that only comprehensions share, which are over before the next instruction."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    lasting = {name for one in inner for name in one.co_freevars if one.co_name not in _COMPREHENSIONS}
    return set(code.co_cellvars) - lasting


@cache
def _gone_through(code: CodeType) -> dict[str, str]:
    """Variables whose sequence one loop goes through, with the variable that has its present part."""
    instructions = [one for one in dis.get_instructions(code) if one.opname not in {"CACHE", "EXTENDED_ARG"}]
    found, loops, stored = dict[str, str](), Counter[str](), Counter[str]()
    for number, one in enumerate(instructions):
        if one.opname == "FOR_ITER":
            iterated, _, after = instructions[number - 2], instructions[number - 1], instructions[number + 1]
            if iterated.opname == "LOAD_FAST" and after.opname == "STORE_FAST":
                found[iterated.argval] = after.argval
                loops[iterated.argval] += 1
        if one.opname == "STORE_FAST":
            stored[one.argval] += 1
    return {name: part for name, part in found.items() if loops[name] == 1 and stored[name] < 2 and stored[part] == 1}


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


@cache
def _fields(of: Any) -> tuple[str, ...]:  # noqa: ANN401 - a dataclass
    return tuple(one.name for one in dataclasses.fields(of))


# --- values -----------------------------------------------------------------------------------------

_constant: dict[int, object] = {}
"""What every run of a process shares and none changes, by id."""


def share(value: object) -> None:
    """The deployment's parts: they are wired once and hold nothing of a run, so they tell no runs apart."""
    if type(value).__module__.startswith("line_requests") and id(value) not in _constant:
        _constant[id(value)] = value
        for part in getattr(value, "__dict__", {}).values():
            share(part)


def image(value: Any, known: Known) -> Hashable:  # noqa: ANN401 - any value
    """A value that is equal for values that product code cannot tell apart; `known`: of what has been met."""
    if value is None or isinstance(value, str | bytes):
        return value
    # True and 1 are equal, and told apart.
    if isinstance(value, int | float):
        return type(value), value
    number = id(value)
    if number in _constant:
        return id(type(value))
    if number not in known:
        known[number] = value, "..."  # met inside of itself
        known[number] = value, hash(_image(value, known))
    return known[number][1]


def _image(value: Any, known: Known) -> Hashable:  # noqa: ANN401 - any value
    if isinstance(value, list | tuple | deque):
        return tuple([image(one, known) for one in value])
    if isinstance(value, dict):
        return frozenset([(image(name, known), image(one, known)) for name, one in value.items()])
    if isinstance(value, set | frozenset):
        return frozenset([image(one, known) for one in value])
    return type(value), _inner(value, known)


def _inner(value: Any, known: Known) -> Hashable:  # noqa: ANN401, PLR0911 - any object
    """What an object holds; of one that is not the product's own, nothing counts but its type."""
    if isinstance(value, Future):
        return value.done() and (repr(value.exception()) if value.exception() else image(value.result(), known))
    if isinstance(value, BaseException):
        return str(value), image(vars(value), known)
    if isinstance(value, MethodType):
        return value.__qualname__, image(value.__self__, known)
    if isinstance(value, FunctionType):
        return value.__qualname__, tuple([image(cell.cell_contents, known) for cell in value.__closure__ or ()])
    value = _asked(value, known)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple([image(getattr(value, name), known) for name in _fields(type(value))])
    if type(value).__module__.startswith("line_requests"):
        held = getattr(value, "__dict__", None)
        return image({n: one for n, one in held.items() if n not in TOLD_ALONE} if held else repr(value), known)
    return None
