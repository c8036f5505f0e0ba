"""Every numbered item of the contract is named by a test that holds it, as "[NN]" in its docstring."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ITEMS = range(1, 51)


def test_every_item_of_the_contract_is_held_by_a_test() -> None:
    held = {
        int(number)
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for number in re.findall(r"\[(\d{1,2})\]", ast.get_docstring(node) or "")
    }
    assert sorted(set(ITEMS) - held) == []
    assert sorted(held - set(ITEMS)) == []
