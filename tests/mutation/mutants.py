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
# In the template: what decides what is allowed, retried, kept, filtered or told.
DROPPED = (
    r"(FilterCriteria|RetryPolicy|EventInvokeConfig|DeadLetterConfig|RedrivePolicy|OnFailure|FunctionResponseTypes"
    r"|AlarmActions|TreatMissingData|BisectBatchOnFunctionError|PointInTimeRecoverySpecification|StreamSpecification"
    r"|\w+: {Means|\w+Alarm:$|- \w*Policy|- (Action|Effect|\*))"
)


@dataclass(frozen=True)
class Mutant:
    """One change: other text between two places of a file."""

    path: Path
    line: int
    where: str
    """The function, class or resource that it is in."""
    start: int
    end: int
    after: str
    name: str = ""
    """The same as long as the code is: without line numbers."""

    def text(self) -> str:
        """The whole file with it."""
        whole = self.path.read_bytes()
        return (whole[: self.start] + self.after.encode() + whole[self.end :]).decode()

    def before(self) -> str:
        return self.path.read_bytes()[self.start : self.end].decode()


def all_mutants() -> Iterator[Mutant]:
    """Every mutant of the product."""
    files = [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py"))]
    seen = Counter[str]()
    for mutant in chain(*map(of_module, files), of_template()):
        change = [re.sub(r"\s+", " ", text.strip())[:90] for text in (mutant.before(), mutant.after)]
        name = f"{mutant.path.relative_to(ROOT)} {mutant.where}: {change[0]} -> {change[1] or 'nothing'}"
        seen[name] += 1
        yield replace(mutant, name=name if seen[name] == 1 else f"{name} ({seen[name]})")


def of_module(path: Path) -> Iterator[Mutant]:
    """Mutants of one module."""
    starts = [0, *accumulate(map(len, path.read_bytes().splitlines(keepends=True)))]
    for node, where in _nodes(ast.parse(path.read_bytes()), "module"):
        for target, after in _changes(node):
            assert target.end_lineno is not None
            assert target.end_col_offset is not None
            start = starts[target.lineno - 1] + target.col_offset
            end = starts[target.end_lineno - 1] + target.end_col_offset
            yield Mutant(path, target.lineno, where, start, end, after)


def _nodes(node: ast.AST, where: str) -> Iterator[tuple[ast.AST, str]]:
    """The nodes that may be changed, outermost first, each with the function or class that it is in."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = node.name
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            annotates = name in {"annotation", "returns", "decorator_list", "bases"}
            if isinstance(child, ast.AST) and not annotates and not _decides_nothing(child):
                yield child, where
                yield from _nodes(child, where)


def _decides_nothing(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Assert() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
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
    where = ""
    for number, line in enumerate(map(bytes.decode, lines)):
        where = line.strip(" :\n") if re.match(r"  \w", line) else where
        if re.match(rf"\s*{DROPPED}", line):
            indent = len(line) - len(line.lstrip())
            block = re.compile(rb"\s*\n| {%d,}\S" % (indent + 1))
            end = next((n for n in range(number + 1, len(lines)) if not block.match(lines[n])), len(lines))
            yield Mutant(TEMPLATE, number + 1, where, starts[number], starts[end], "")
        if re.search(r"(Statement|Action): \[", line):
            for item in re.finditer(r"(?<=[\[ ])[*\w][\w:]*(, |(?=\]))", line):
                if item[0].endswith(", ") or item.end() < len(line):
                    yield Mutant(
                        TEMPLATE, number + 1, where, starts[number] + item.start(), starts[number] + item.end(), ""
                    )
