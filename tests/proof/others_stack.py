"""Which variables the values on the stack of the interpreter come from, where a function waits inside of an expression.

`return line, self.void(invoice)` has read `line` before it calls: the variable is read no more, its value still counts.
"""

import dis
from collections import deque
from collections.abc import Iterator
from functools import cache
from types import CodeType

Sources = frozenset[tuple[str, str]]
"""Variables that a value comes from, each whole (with "") or by one attribute."""
Values = tuple[Sources, ...]
"""The stack from its bottom: what each value comes from."""

# Instead of an attribute: of a sequence that a loop goes through, what is left of it.
REST = "*"
_NOTHING = Sources()
_ENDS = {"RETURN_VALUE", "RAISE_VARARGS", "RERAISE"}
_ALWAYS_JUMP = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
# What takes values from the stack and leaves none; all else that takes some leaves one that is made of them.
_TAKES = ("POP_", "STORE_", "DELETE_", "RETURN_VALUE", "RAISE_VARARGS", "RERAISE")


@cache
def waiting(code: CodeType, lasti: int) -> Sources:
    """What the values come from that wait on the stack while the instruction is carried out."""
    stacks = _stacks(code)
    offset = max(offset for offset in stacks if offset <= lasti)
    one, stack = stacks[offset]
    return _NOTHING.union(*stack[: len(stack) - _taken(one)])


@cache
def _stacks(code: CodeType) -> dict[int, tuple[dis.Instruction, Values]]:
    """By offset: each instruction, and the stack that it meets."""
    instructions = [one for one in dis.get_instructions(code) if one.opname != "CACHE"]
    number_of = {one.offset: number for number, one in enumerate(instructions)}
    caught = [
        (number_of[entry.target], entry.start, entry.end, entry.depth, entry.lasti)
        for entry in dis.Bytecode(code).exception_entries  # type: ignore[attr-defined] # since 3.11
    ]
    found: dict[int, Values] = {}
    left: deque[tuple[int, Values]] = deque([(0, ())])
    while left:
        number, stack = left.popleft()
        known = found.get(number)
        if known is not None:
            stack = tuple(a | b for a, b in zip(known, stack, strict=True))
            if stack == known:
                continue
        found[number] = stack
        one = instructions[number]
        if one.opname == "FOR_ITER":
            stack = (*stack[:-1], Sources({(name, attribute or REST) for name, attribute in stack[-1]}))
        for target, start, end, depth, lasti in caught:
            if start <= one.offset < end:
                left.append((target, (*stack[:depth], *[_NOTHING] * (1 + lasti))))
        left += [(after, met) for after, met in _followed(number, one, stack, number_of)]
    return {instructions[number].offset: (instructions[number], stack) for number, stack in found.items()}


def _followed(
    number: int, one: dis.Instruction, stack: Values, number_of: dict[int, int]
) -> Iterator[tuple[int, Values]]:
    """The instructions that can come next, with what they meet."""
    if one.opname not in _ENDS | _ALWAYS_JUMP:
        yield number + 1, _after(one, stack, jump=False)
    if one.opcode in {*dis.hasjrel, *dis.hasjabs}:
        yield number_of[one.argval], _after(one, stack, jump=True)


def _effect(one: dis.Instruction, *, jump: bool) -> int:
    # A generator that goes on finds what it was sent.
    if one.opname == "RETURN_GENERATOR":
        return 1
    return dis.stack_effect(one.opcode, one.arg if one.opcode >= dis.HAVE_ARGUMENT else None, jump=jump)


def _taken(one: dis.Instruction, *, jump: bool = False) -> int:
    effect = _effect(one, jump=jump)
    if effect > 0:
        return int(one.opname in {"LOAD_METHOD", "UNPACK_SEQUENCE", "BEFORE_WITH", "PUSH_EXC_INFO"})
    return -effect if one.opname.startswith(_TAKES) or (jump and effect < 0) else 1 - effect


def _after(one: dis.Instruction, stack: Values, *, jump: bool) -> Values:
    effect, arg = _effect(one, jump=jump), one.arg or 0
    match one.opname:
        case "LOAD_FAST":
            return (*stack, Sources({(one.argval, "")}))
        case "LOAD_ATTR" if len(stack[-1]) == 1:
            [(name, attribute)] = stack[-1]
            return (*stack[:-1], Sources({(name, attribute or one.argval)}))
        case "COPY":
            return (*stack, stack[-arg])
        case "SWAP":
            return (*stack[:-arg], stack[-1], *stack[1 - arg : -1], stack[-arg])
        case "FOR_ITER" if not jump:
            return (*stack, Sources({(name, "") for name, _ in stack[-1]}))
    taken = min(_taken(one, jump=jump), len(stack))
    kept, made = stack[: len(stack) - taken], _NOTHING.union(*stack[len(stack) - taken :])
    return (*kept, *[made] * (taken + effect))
