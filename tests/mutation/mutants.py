"""Small changes of the product's source and of its template, one at a time.

Not mutmut: since version 3 it changes only what is inside of functions (https://pypi.org/project/mutmut/), so it misses
every lease, every table of answers and the template. Not cosmic-ray: it edits the files in place and runs a command
for each change (https://cosmic-ray.readthedocs.io), which imports every SDK again.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
LAYER = "layers/line_requests"
SOURCES = (*(f"{LAYER}/{name}" for name in ("domain", "flows", "storage", "billing", "bus", "api")), "functions")
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
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
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}
# What these take decides nothing.
SILENT = {"logger", "cast", "overload", "TypeVar", "ParamSpec"}
# A constant that says how long something takes: a unit more is as good.
DURATION = r"_?[A-Z_]+_M?S"
# In the template: what decides what is allowed, retried, kept, filtered or told.
DROPPED = (
    r"(FilterCriteria|RetryPolicy|EventInvokeConfig|DeadLetterConfig|RedrivePolicy|OnFailure|FunctionResponseTypes"
    r"|AlarmActions|TreatMissingData|BisectBatchOnFunctionError|PointInTimeRecoverySpecification|StreamSpecification"
    r"|\w+: {Means|\w+Alarm:$|- \w*Policy|- (Action|Effect|\*))"
)


@dataclass(frozen=True)
class Place:
    """Where in a module something stands."""

    where: str = "module"
    """The function, class or resource that it is in."""
    prefix: str = ""
    function: str = ""
    """The qualified name of the outermost function that runs it; empty for what runs at import."""
    lines: range = range(0)
    """Those of its statement, without the statements inside."""

    def inside(self, node: ast.FunctionDef | ast.ClassDef) -> "Place":
        name = f"{self.prefix}{node.name}"
        if self.function:
            return replace(self, where=node.name)
        if isinstance(node, ast.ClassDef):
            return replace(self, where=node.name, prefix=f"{name}.")
        return replace(self, where=node.name, function=name)

    def at(self, node: ast.AST) -> "Place":
        if isinstance(node, ast.match_case):
            node = node.pattern
        elif not isinstance(node, ast.stmt):
            return self
        assert isinstance(node, ast.stmt | ast.pattern)
        body = getattr(node, "body", None)
        last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
        return replace(self, lines=range(node.lineno, (last or node.lineno) + 1))


@dataclass(frozen=True)
class Mutant:
    """One change: other text between two places of a file."""

    path: Path
    line: int
    place: Place
    start: int
    end: int
    after: str
    name: str = ""
    """The same as long as the code is: without line numbers."""

    def text(self) -> str:
        """The whole file with it."""
        whole = _source(self.path)
        return (whole[: self.start] + self.after.encode() + whole[self.end :]).decode()

    def before(self) -> str:
        return _source(self.path)[self.start : self.end].decode()


@cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


def all_mutants() -> Iterator[Mutant]:
    """Every mutant of the product."""
    files = [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]
    seen = Counter[str]()
    for mutant in chain(*map(of_module, files), of_template()):
        change = [re.sub(r"\s+", " ", text.strip())[:90] for text in (mutant.before(), mutant.after)]
        name = f"{mutant.path.relative_to(ROOT)} {mutant.place.where}: {change[0]} -> {change[1] or 'nothing'}"
        seen[name] += 1
        yield replace(mutant, name=name if seen[name] == 1 else f"{name} ({seen[name]})")


def of_module(path: Path) -> Iterator[Mutant]:
    """Mutants of one module."""
    starts = [0, *accumulate(map(len, path.read_bytes().splitlines(keepends=True)))]
    for node, place in _nodes(ast.parse(path.read_bytes()), Place()):
        for target, after in _changes(node):
            assert target.end_lineno is not None
            assert target.end_col_offset is not None
            start = starts[target.lineno - 1] + target.col_offset
            end = starts[target.end_lineno - 1] + target.end_col_offset
            yield Mutant(path, target.lineno, place, start, end, after)


def _nodes(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    """The nodes that may be changed, outermost first, each with where it is."""
    inside = place.inside(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else place
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            annotates = name in {"annotation", "returns", "decorator_list", "bases"}
            if isinstance(child, ast.AST) and not annotates and not _decides_nothing(child):
                # A function's defaults are made when it is defined.
                at = (inside if name == "body" else replace(inside, function=place.function)).at(child)
                yield child, at
                yield from _nodes(child, at)


def _decides_nothing(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Assert() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return re.fullmatch(DURATION, name) is not None
        case ast.Call(func=called) | ast.Expr(value=ast.Call(func=called)):
            return ast.unparse(called).partition(".")[0] in SILENT
    return False


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:  # noqa: C901 - one branch for each kind
    """What can be done to a node: the part that is replaced, and the text in its place."""
    match node:
        case ast.Compare(left, [op], others) if type(op) in COMPARISONS:
            yield node, f"({ast.unparse(ast.Compare(left, [COMPARISONS[type(op)]()], others))})"
        case ast.BoolOp(op, values):
            other = ast.And() if isinstance(op, ast.Or) else ast.Or()
            yield node, f"({ast.unparse(ast.BoolOp(other, values))})"
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield node, f"({ast.unparse(ast.BinOp(left, ARITHMETIC[type(op)](), right))})"
        case ast.UnaryOp(ast.Not(), operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.If(test=test) | ast.IfExp(test=test):
            yield test, "False"
            yield test, "True"
        case ast.While(test=test):
            yield test, "False"
        case ast.Constant(bool(value)):
            yield node, str(not value)
        case ast.Constant(int(value)):
            yield node, str(value + 1)
        case ast.Constant(str(text)) if text and " " not in text:
            yield node, repr(f"{text}x")
        case ast.Constant(str(text)) if " AND " in text:
            yield node, repr(text.rpartition(" AND ")[0])
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Break() | ast.Continue():
            yield node, "pass"
        case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"


def of_template() -> Iterator[Mutant]:
    """A permission, a filter, a retry, a dead-letter queue or an alarm less."""
    lines = TEMPLATE.read_bytes().splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    place = Place("")
    for number, line in enumerate(map(bytes.decode, lines)):
        place = Place(line.strip(" :\n")) if re.match(r"  \w", line) else place
        if re.match(rf"\s*{DROPPED}", line):
            indent = len(line) - len(line.lstrip())
            block = re.compile(rb"\s*\n| {%d,}\S" % (indent + 1))
            end = next((n for n in range(number + 1, len(lines)) if not block.match(lines[n])), len(lines))
            yield Mutant(TEMPLATE, number + 1, place, starts[number], starts[end], "")
        if re.search(r"(Statement|Action): \[", line):
            for item in re.finditer(r"(?<=[\[ ])[*\w][\w:]*(, |(?=\]))", line):
                if item[0].endswith(", ") or item.end() < len(line):
                    yield Mutant(
                        TEMPLATE, number + 1, place, starts[number] + item.start(), starts[number] + item.end(), ""
                    )
