"""README.md: its commands run, and what it says of the tree is so."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import httpx

from tests.examples.conftest import ROOT, Workspace, eventually
from tests.local.__main__ import LINE
from tests.support.markdown import assert_console, blocks, kinds, missing_links

if TYPE_CHECKING:
    from collections.abc import Callable

README = "README.md"
PRODUCT = ROOT / "layers/line_requests"
MAX_LINES = 150


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len((ROOT / README).read_text().splitlines()) < MAX_LINES
    assert missing_links(README) == []
    assert missing_links("docs/deploy.md") == []


def test_readme_has_only_blocks_that_are_tested() -> None:
    """What `make run` prints is compared in tests/local/test_process.py."""
    assert set(kinds(README)) == {"console", "console run", "console after payment", "console test", "mermaid", "tree"}


def test_commands_of_readme_print_what_it_shows(workspace: Callable[..., Workspace]) -> None:
    """In one workspace, in the order of the page."""
    starter = workspace()
    environment = {"API": starter.origin, "AUTH": starter.auth, "LINE": LINE}
    for text in blocks(README, "console"):
        assert_console(text, **environment)
    [line, _] = starter.http.get("/api/line-requests").json()["lines"]
    httpx.post(f"{line['paymentLinkUrl']}/pay")
    eventually(lambda: starter.get(line["_id"])["status"] == "active")
    [after_payment] = blocks(README, "console after payment")
    assert_console(after_payment, **environment)


def test_commands_named_in_readme_are_targets_of_make() -> None:
    text = (ROOT / README).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text)) <= targets


def test_tree_of_readme_names_every_package_and_module() -> None:
    [tree] = blocks(README, "tree")
    named = re.findall(r"^(\w+(?:/|\.py))|(?<=, )(\w+\.py)", tree, re.MULTILINE)
    there = {path.name + "/" * path.is_dir() for path in PRODUCT.iterdir()} - {"__init__.py", "__pycache__/"}
    assert sorted(first or other for first, other in named) == sorted(there)


def test_order_of_the_tree_is_that_of_the_import_contract() -> None:
    """A module stands below everything that may import it."""
    [tree] = blocks(README, "tree")
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    enforced = [set(re.findall(r"\w+", layer)) for layer in layers]
    ranks = [
        next(rank for rank, layer in enumerate(enforced) if module in layer)
        for module in re.findall(r"(\w+)(?:/|\.py)", tree)
    ]
    assert ranks == sorted(ranks)


def test_readme_shows_the_keys_of_the_table() -> None:
    source = (PRODUCT / "storage/records.py").read_text()
    rows = re.findall(r"^\| .+ \| (`.+`) \| (`.+`) \|$", (ROOT / README).read_text(), re.MULTILINE)
    shown = {key for row in rows for cell in row for key in re.findall(r"`([^`<]+)[^`]*`", cell)} - {"pk", "sk"}
    written = set(re.findall(r'"(?:pk|sk)": f?"([^"{]+)', source))
    assert shown == written
