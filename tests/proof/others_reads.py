"""What a function reads of a value that it is given: attributes, if it does nothing else with it."""

import ast
import dis
from functools import cache
from pathlib import Path

from tests.proof.product import ROOT

# Each has one definition in the product; to any other function the whole value counts.
READERS = (
    *("_release_lease", "release_lease", "_update_awaiting", "due_values"),
    *("_next_move", "next_move", "reason_to_void"),
)

Attributes = frozenset[str] | None
"""None: all of the value."""


def read_of(filename: str, instruction: dis.Instruction) -> Attributes:
    """What is read of the variable that an instruction loads, if one of READERS is called with it."""
    at = instruction.positions
    call = _arguments(filename).get((at.lineno or 0, at.col_offset or 0)) if at else None
    return _read_by(*call) if call else None


@cache
def _definitions() -> dict[str, ast.FunctionDef]:
    """The functions of READERS."""
    found: dict[str, ast.FunctionDef] = {}
    for path in (ROOT / "layers" / "line_requests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in READERS:
                assert node.name not in found, f"{node.name} is defined twice"
                found[node.name] = node
    return found


@cache
def _arguments(filename: str) -> dict[tuple[int, int], tuple[str, int | str]]:
    """By line and column: variables that are given to one of READERS, as which argument."""
    return _given(ast.parse(Path(filename).read_text()))


def _given(tree: ast.AST) -> dict[tuple[int, int], tuple[str, int | str]]:
    found: dict[tuple[int, int], tuple[str, int | str]] = {}
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute | ast.Name):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
        if name in READERS:
            arguments: list[tuple[int | str, ast.expr]] = [*enumerate(call.args)]
            arguments += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
            found |= {(one.lineno, one.col_offset): (name, at) for at, one in arguments if isinstance(one, ast.Name)}
    return found


@cache
def _read_by(name: str, at: int | str) -> Attributes:
    function = _definitions()[name]
    parameters = [one.arg for one in function.args.args if one.arg != "self"]
    parameter = parameters[at] if isinstance(at, int) else at
    given, found = _given(function), set[str]()
    attributes = {
        (node.value.lineno, node.value.col_offset): node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == parameter:
            place = node.lineno, node.col_offset
            passed = _read_by(*given[place]) if place in given else None
            if passed is None and place not in attributes:
                return None
            found |= passed if passed is not None else {attributes[place]}
    return frozenset(found)
