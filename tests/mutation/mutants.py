"""Small changes of the product's source and of its template, one at a time.

Not mutmut, which changes only what stands inside of functions (https://mutmut.readthedocs.io) and so misses every lease,
table and constant; not cosmic-ray, which edits the files in place and starts the tests anew for each change.
"""

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
SOURCES = (
    *(f"layers/line_requests/{name}" for name in ("domain", "flows", "storage", "billing", "bus", "api")),
    "functions",
)
COMPARISONS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult}
# Words for people, and what types and loggers take, decide nothing.
SILENT = {"logger", "cast", "overload", "dataclass"}


@dataclass(frozen=True)
class Mutant:
    """One change."""

    path: Path
    line: int
    where: str
    """The function or class that it is in."""
    before: str
    after: str
    text: Callable[[], str]
    """The whole file with it."""

    @property
    def name(self) -> str:
        """The same as long as the code is: without line numbers."""
        return f"{self.path.relative_to(ROOT)} {self.where}: {self.before} -> {self.after}"


def all_mutants() -> list[Mutant]:
    """Every mutant of the product."""
    files = [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]
    return [mutant for path in files for mutant in of_module(path)] + list(of_template())


def of_module(path: Path) -> Iterator[Mutant]:
    """Mutants of one module."""
    tree = ast.parse(path.read_text())
    places = list(_places(tree, "module"))
    for number, (node, where) in enumerate(places):
        for change in _changes(node):
            copy = deepcopy(node)
            after = change(copy) or copy
            yield Mutant(path, node.lineno, where, _short(node), _short(after), partial(_changed, tree, number, change))


def _changed(tree: ast.Module, number: int, change: "Change") -> str:
    copy = deepcopy(tree)
    target = list(_places(copy, "module"))[number][0]
    after = change(target)
    whole = copy if after is None else _Replace(target, after).visit(copy)
    return ast.unparse(ast.fix_missing_locations(whole))


def _places(node: ast.AST, where: str) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """The nodes that may be changed, outermost first, each with the function or class that it is in."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = node.name
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _decides_nothing(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child, where
            yield from _places(child, where)


def _decides_nothing(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    called = node.value if isinstance(node, ast.Expr) else node
    return isinstance(called, ast.Call) and ast.unparse(called.func).partition(".")[0] in SILENT


Change = Callable[[ast.AST], ast.AST | None]


def _changes(node: ast.AST) -> Iterator[Change]:  # noqa: C901 - one branch for each kind of node
    """What can be done to a node: each returns what stands in its place, or None when it has changed the node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield lambda n: _set(n, ops=[COMPARISONS[type(op)]()])
        case ast.BoolOp(op=op):
            yield lambda n: _set(n, op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            yield lambda n: _set(n, op=ARITHMETIC[type(op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield lambda n: n.operand  # type: ignore[attr-defined] # it is a UnaryOp
        case ast.If() | ast.IfExp() | ast.While():
            yield lambda n: _set(n, test=ast.Constant(value=False))
            yield lambda n: _set(n, test=ast.Constant(value=True)) if not isinstance(n, ast.While) else _set(n)
        case ast.Constant(value=bool(value)):
            yield lambda n: _set(n, value=not value)
        case ast.Constant(value=int(value)):
            yield lambda n: _set(n, value=value + 1)
        case ast.Constant(value=str(value)) if value and " " not in value:
            yield lambda n: _set(n, value=f"{value}x")
        case ast.Constant(value=str(value)) if " AND " in value:
            yield lambda n: _set(n, value=value.rpartition(" AND ")[0] or value.partition(" AND ")[2])
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Break() | ast.Continue():
            yield lambda _: ast.Pass()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield lambda n: _set(n, value=ast.Constant(value=None))


def _set(node: ast.AST, **fields: object) -> None:
    for name, value in fields.items():
        setattr(node, name, value)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, after: ast.AST) -> None:
        self._target, self._after = target, after

    def visit(self, node: ast.AST) -> ast.AST:
        return self._after if node is self._target else self.generic_visit(node)


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return re.sub(r"\s+", " ", text.partition("\n")[0])[:90]


# --- the template -------------------------------------------------------------------------------------

# Keys whose value decides what is retried, kept, filtered or told.
DROPPED = (
    "FilterCriteria|RetryPolicy|EventInvokeConfig|DeadLetterConfig|RedrivePolicy|OnFailure|FunctionResponseTypes"
    "|AlarmActions|TreatMissingData|MaximumRetryAttempts|BisectBatchOnFunctionError|PointInTimeRecoverySpecification"
    "|StreamSpecification|DeletionPolicy|SSESpecification"
)


def of_template() -> Iterator[Mutant]:
    """A permission, a filter, a retry, a dead-letter queue or an alarm less."""
    lines = TEMPLATE.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        key = re.match(rf"\s*({DROPPED}|\w+: {{Means|- (AWS|EventBridge)?\w*Policy|- Action|- Effect|- \*)\b", line)
        alarm = re.match(r"    Type: AWS::CloudWatch::Alarm$", line)
        if key or alarm:
            start = number - 1 if alarm else number
            end = _end_of_block(lines, start)
            yield _template_mutant(lines, start, end, "")
        for item in re.finditer(r"(?<=[\[ ])(\*\w+|dynamodb:\w+|\w+:\w+)(, |(?=\]))", line) if "[" in line else ():
            if "Statement" in line or "Action" in line:
                yield _template_mutant(lines, number, number + 1, line[: item.start()] + line[item.end() :])


def _end_of_block(lines: list[str], start: int) -> int:
    indent = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    return end


def _template_mutant(lines: list[str], start: int, end: int, after: str) -> Mutant:
    resource = next((line.strip() for line in reversed(lines[: start + 1]) if re.match(r"  \w", line)), "")
    text = "".join([*lines[:start], after, *lines[end:]])
    before = " ".join(line.strip() for line in lines[start:end])[:90]
    return Mutant(TEMPLATE, start + 1, resource, before, after.strip()[:90] or "nothing", lambda: text)
