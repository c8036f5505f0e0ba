"""The console page as a document: what holds without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from typing_extensions import override

from tests.local import control

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

PAGE = Path(control.__file__).with_name("console.html").read_text()
VOID = {"meta", "link", "input", "br"}


class Document(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.unnamed: list[str] = []
        self.open: list[str] = []
        self.mismatched: list[str] = []
        self.feed(PAGE)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        if tag in {"input", "select"} and "label" not in self.open and "aria-label" not in given:
            self.unnamed.append(str(attrs))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.mismatched.append(tag)


def test_it_needs_nothing_from_elsewhere() -> None:
    assert [address for address in Document().addresses if not address.startswith("data:")] == []
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org)", PAGE)


def test_it_is_well_formed_and_every_field_has_a_name() -> None:
    document = Document()
    assert (document.mismatched, document.open, document.unnamed) == ([], [], [])
    assert len(document.ids) == len(set(document.ids))


def test_every_element_that_the_script_asks_for_is_there() -> None:
    asked = set(re.findall(r'\$\("#([\w-]+)', PAGE))
    assert asked
    assert asked <= set(Document().ids)


def test_it_writes_text_never_markup() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", PAGE)


def test_it_is_served_at_the_root_of_the_origin(stack: LocalStack) -> None:
    answer = httpx.get(f"{stack.origin}/", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text == PAGE
