"""Names and words that this project gave up stay gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CODE = ("layers", "functions", "tests", "benchmark", "examples")

# What is used instead.
RETIRED = {
    "Intake": "create",
    "Opening": "Snapshot",
    "admit": "insert_line, RateLimit.check",
    "charge_rate": "consume_rate",
    "Lost": "Conflict",
    "TransactionLost": "TransactionCanceled",
    "key_hash": "idempotency_key_hash",
    "key_version": "stripe_key_version",
    "keyed_at": "stripe_keyed_at_ms",
    "closing": "void_reason",
    "intend": "record_void_reason",
    "Closing": "VoidReason",
    "Promote": "MarkPaid",
    "Include": "Waive",
    "Make": "BuildInvoice",
    "Rest": "AwaitPayment",
    "Close": "VoidInvoice",
    "_fill": "add_item_or_finalize",
    "_adopt": "save_invoice_id",
    "_believed": "refetch_if_replayed",
    "_replaced": "replace_draft",
    "_fresh_keys": "rotate_stripe_keys",
    "_went_with": "require_deleted_customer",
    "_known": "or_none",
    "_translated": "stripe_errors",
    "retell": "republish",
    "UnheardResults": "ProvisioningResultDeadLetters",
    "UnpublishedChanges": "StateChangeDeadLetters",
    "look_after": "lease_until_ms, next_poll_at_ms",
    "peek": "advance",
    "renew": "advance",
    "observe": "apply",
    "reconsider": "advance",
    "look_back": "check_late_payment",
    "_begin": "create",
    "_join": "_replay",
}
# Ordinary words: a variable may have them, a function, a class or a field may not.
LOCAL_ONLY = {"opening": "load_snapshot", "about": "append_log_keys", "look": "advance", "told": "published, alarmed"}
# Terms of the API and of the plan: only the product may not define functions of that name.
NO_FUNCTION = {"places": "capacity", "poll": "advance"}

WORDS = {
    r"mend(?:s|ed|ing)?": "fix",
    r"nobody's": "no lease, no owner",
    r"whoever": "name the actor",
    r"what\b[^.\n]* is nothing to": "ignores",
    r"ask(?:s|ed|ing)? again": "retry, is called again",
    r"(?:told|tells?) again|retold|retells?": "republish",
    r"for ever|ever more|for ever so": "without limit, ever less often",
    r"as late again": "say how long",
    r"all the same": "still, anyway",
    r"dearer": "costs more",
    r"other hands": "name the actor",
}
TEXT = {".py", ".md", ".yaml", ".toml", ".txt", ".js", ".ts", ".html", ".css", ".sh", ""}
PAGES = ("layers", "functions", "tests", "benchmark", "examples", "docs", "events", ".ci", ".github")
TOP_LEVEL = ("README.md", "CHANGELOG.md", "llms.txt", "openapi.yaml", "template.yaml", "pyproject.toml", "Makefile")
NOT_OURS = {"layers/requirements.txt"}


def files(folders: tuple[str, ...], suffixes: set[str]) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in found if path.suffix in suffixes and path.is_file() and path != Path(__file__))


def syntax(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def functions(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """Functions and classes, with their lines."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def definitions(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """Functions, classes and fields of classes."""
    yield from functions(nodes)
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.target.id, field.lineno


def names(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """All that a file gives a name to; what it only uses is named where it is defined."""
    yield from definitions(nodes)
    for node in nodes:
        match node:
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno


def test_no_name_is_retired() -> None:
    product = {*files(("layers", "functions"), {".py"})}
    found = set[str]()
    for path in files(CODE, {".py"}):
        nodes = syntax(path)
        bad = [(name, line, RETIRED[name]) for name, line in names(nodes) if name in RETIRED]
        bad += [(name, line, LOCAL_ONLY[name]) for name, line in definitions(nodes) if name in LOCAL_ONLY]
        if path in product:
            bad += [(name, line, NO_FUNCTION[name]) for name, line in functions(nodes) if name in NO_FUNCTION]
        found |= {f"{path.relative_to(ROOT)}:{line}: {name}, now {instead}" for name, line, instead in bad}
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("mannered", WORDS)
def test_no_text_uses_mannered_words(mannered: str) -> None:
    pattern = re.compile(rf"\b(?:{mannered})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}, rather: {WORDS[mannered]}"
        for path in [*files(PAGES, TEXT), *(ROOT / name for name in TOP_LEVEL)]
        if str(path.relative_to(ROOT)) not in NOT_OURS
        for text in [path.read_text()]
        for match in pattern.finditer(text)
    ]
    assert not found, "\n".join(found)
