"""Every numbered item of docs/contract.md is named by a test that checks it, as "[NN]" in the test's docstring."""

from __future__ import annotations

import ast
import re

from tests.local.ministack import ROOT

# Documented, and not built yet: an item leaves this list with its first test.
WITHOUT_TEST: set[int] = set()


def test_every_contract_item_is_named_by_a_test() -> None:
    contract = (ROOT / "docs/contract.md").read_text(encoding="utf-8")
    items = [int(number) for number in re.findall(r"^\*\*(\d+)\.\*\*", contract, re.MULTILINE)]
    assert items == list(range(1, len(items) + 1)), "items keep their numbers and their order"
    named = {
        int(number)
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for number in re.findall(r"\[(\d{1,2})\]", ast.get_docstring(node) or "")
    }
    assert named - set(items) == set(), "a test names an item that the contract lacks"
    assert set(items) - named == WITHOUT_TEST
