"""docs/add-a-field.md, done on a copy: a throw-away field `nickname`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

from tests.growth.trees import ROOT, Edits, Tree
from tests.support.markdown import blocks, missing_links

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/add-a-field.md"
OPTIONAL_TEXT = '{$ref: "#/components/schemas/OptionalText"}'
DECLARATION = "    profile_image_url: str | None = None\n"
EDITS: Edits = {
    "layers/line_requests/domain/submission.py": [(DECLARATION, f"{DECLARATION}    nickname: str | None = None\n")],
    "openapi.yaml": [
        (
            f"        profileImageUrl: {OPTIONAL_TEXT}\n",
            f"        profileImageUrl: {OPTIONAL_TEXT}\n        nickname: {OPTIONAL_TEXT}\n",
        )
    ],
    "docs/contract.md": [
        ("`forwardCallsTo` and `profileImageUrl` are", "`forwardCallsTo`, `profileImageUrl` and `nickname` are")
    ],
    "docs/provisioner.md": [('"profileImageUrl": null}', '"profileImageUrl": null, "nickname": null}')],
}
REQUEST = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone", "nickname": " Countess "}


def files_of(page: str) -> list[str]:
    """The files that a page's table names."""
    return re.findall(r"^\| `([\w./-]+)` \|", (ROOT / page).read_text(), re.MULTILINE)


def test_page_names_exactly_the_files_that_are_edited() -> None:
    assert files_of(PAGE) == list(EDITS)
    assert f"{len(EDITS)} files" in (ROOT / PAGE).read_text()
    assert len(EDITS) <= 5
    assert missing_links(PAGE) == []


def test_page_shows_the_edits_that_are_made(tree: Tree) -> None:
    for kind, name in (("python", "layers/line_requests/domain/submission.py"), ("yaml", "openapi.yaml")):
        [shown] = blocks(PAGE, kind)
        assert shown in (tree.path / name).read_text()


def test_new_field_is_validated(tree: Tree, used: dict[str, Any]) -> None:
    """[11][12][13]"""
    assert used["stored"]["nickname"] == "Countess"
    for value, error in ((7, "nickname must be a string"), ("x" * 2049, "nickname is longer than 2048 characters")):
        assert tree.run("tests.growth.use_line", REQUEST | {"nickname": value}) == {"error": error}


def test_new_field_reaches_table_bus_and_console(used: dict[str, Any]) -> None:
    """[11][48]"""
    assert used["published"]["line"]["nickname"] == "Countess"
    assert used["shown"]["nickname"] == "Countess"


def test_new_field_is_documented(tree: Tree, used: dict[str, Any]) -> None:
    """Every request's schema has it, and the provisioner's page shows the event as it is."""
    assert accepts(tree.path, REQUEST)
    assert not accepts(tree.path, REQUEST | {"nickname": 7})
    [event, *_] = map(json.loads, blocks(str(tree.path / "docs/provisioner.md"), "json"))
    assert event["line"].keys() == used["published"]["line"].keys()


def accepts(tree: Path, request: dict[str, Any]) -> bool:
    """Whether a tree's description of the API takes the request."""
    components = yaml.safe_load((tree / "openapi.yaml").read_text())["components"]
    schema = {"$ref": "#/components/schemas/LineRequest", "components": components}
    return Draft202012Validator(schema).is_valid(request)
