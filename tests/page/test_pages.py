"""The pages of the local stack: what holds without a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from tests.local.pages import DESCRIPTION, FILES

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

SCRIPTS = {file.name: file.read_text() for file in FILES.glob("*.js")}


@pytest.mark.parametrize(("path", "name"), [("/", "console.html"), ("/docs", "docs.html")])
def test_page_is_served_and_takes_nothing_from_another_origin(stack: LocalStack, path: str, name: str) -> None:
    answer = httpx.get(f"{stack.origin}{path}", timeout=30)
    assert (answer.status_code, answer.text) == (200, (FILES / name).read_text())
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    for address in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert httpx.get(f"{stack.origin}{address}", timeout=30).status_code == 200, address


def test_description_is_the_same_in_json(stack: LocalStack) -> None:
    assert httpx.get(f"{stack.origin}/openapi.json", timeout=30).json() == yaml.safe_load(DESCRIPTION.read_text())


def test_every_element_that_the_console_looks_up_exists() -> None:
    page = (FILES / "console.html").read_text()
    wanted = set(re.findall(r'"#([\w-]+)', "".join(text for name, text in SCRIPTS.items() if name != "docs.js")))
    assert wanted
    assert wanted <= set(re.findall(r'id="([\w-]+)"', page))


def test_sources_of_the_pages_can_be_read() -> None:
    """None is minified, and none came from a build."""
    sources = [file for file in FILES.iterdir() if file.suffix in {".css", ".html", ".js"}]
    assert sources
    for file in sources:
        assert max(map(len, file.read_text().splitlines())) <= 120, file.name


def test_scripts_write_text_never_markup() -> None:
    for name, script in SCRIPTS.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script), name


def test_charges_of_an_unknown_workspace_are_not_found(stack: LocalStack) -> None:
    answer = httpx.get(f"{stack.origin}/_local/workspaces/nobody/charges", timeout=30)
    assert (answer.status_code, answer.json()) == (404, {"error": "Unknown workspace: nobody"})
