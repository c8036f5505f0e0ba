"""docs/add-a-kind.md, done on a copy: a throw-away kind `fax`."""

from __future__ import annotations

from typing import Any

import yaml

from tests.growth.test_add_a_field import OPTIONAL_TEXT, accepts, files_of
from tests.growth.trees import ROOT, Edits, Tree
from tests.support.markdown import blocks, missing_links

PAGE = "docs/add-a-kind.md"
ENTRY = '    EMAIL = "email", "email", "purchased", ("email",)\n'
FAX = '    FAX = "fax", "fax", "purchased", ("phone",)\n'
CHOICE = '        - $ref: "#/components/schemas/EmailRequest"\n'
ALLOWANCE = '        email: {$ref: "#/components/schemas/KindAllowance"}\n'
NAMES = "    Name:\n"
SCHEMA = f"""\
    FaxRequest:
      description: A fax line.
      type: object
      required: [firstName, lastName, channelType, phone]
      properties:
        firstName: {{$ref: "#/components/schemas/Name"}}
        lastName: {{$ref: "#/components/schemas/Name"}}
        channelType: {{const: fax}}
        lineType: {OPTIONAL_TEXT}
        email: {OPTIONAL_TEXT}
        phone: {{type: string, minLength: 7, maxLength: 2048}}
        zipcode: {OPTIONAL_TEXT}
        state: {OPTIONAL_TEXT}
        forwardCallsTo: {OPTIONAL_TEXT}
        profileImageUrl: {OPTIONAL_TEXT}
"""
EDITS: Edits = {
    "layers/line_requests/domain/submission.py": [(ENTRY, ENTRY + FAX)],
    "openapi.yaml": [
        (CHOICE, CHOICE + CHOICE.replace("Email", "Fax")),
        (NAMES, SCHEMA + NAMES),
        ("required: [purchased_phone, byon_phone, email]", "required: [purchased_phone, byon_phone, email, fax]"),
        (ALLOWANCE, ALLOWANCE + ALLOWANCE.replace("email", "fax")),
        ("enum: [phone, email]", "enum: [phone, email, fax]"),
    ],
    "llms.txt": [("`channelType` (`phone` or `email`", "`channelType` (`phone`, `email` or `fax`")],
    "docs/contract.md": [
        ("`channelType` is exactly `phone` or `email`.", "`channelType` is exactly `phone`, `email` or `fax`."),
        ("Capacity is counted per kind: `purchased_phone`, `byon_phone`, `email`.", "Capacity is counted per kind."),
        ("(bring your own number) or `email`.", "(bring your own number), `email` or `fax`."),
    ],
    "docs/provisioner.md": [
        ("(port in the number in `line.phone`) or `email`", "(port in the number in `line.phone`), `email` or `fax`")
    ],
}
REQUEST = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "fax", "phone": "+1 415 555 0100"}


def test_page_names_exactly_the_files_that_are_edited() -> None:
    assert files_of(PAGE) == list(EDITS)
    assert f"{len(EDITS)} files" in (ROOT / PAGE).read_text()
    assert len(EDITS) <= 5
    assert missing_links(PAGE) == []


def test_page_shows_the_edits_that_are_made(tree: Tree) -> None:
    for kind, name in (("python", "layers/line_requests/domain/submission.py"), ("yaml", "openapi.yaml")):
        [shown] = blocks(PAGE, kind)
        assert shown in (tree.path / name).read_text()


def test_new_kind_is_validated(tree: Tree, used: dict[str, Any]) -> None:
    """[7][8][9][10]"""
    assert (used["kind"], used["stored"]["line_type"]) == ("fax", "purchased")
    for change, error in (
        ({"phone": ""}, "phone is required"),
        ({"phone": "123"}, "phone must have 7 to 15 digits; this has 3"),
        ({"channelType": "telex"}, "channelType must be 'phone' or 'email' or 'fax'"),
    ):
        assert tree.run("tests.growth.use_line", REQUEST | change) == {"error": error}


def test_new_kind_reaches_table_bus_and_console(used: dict[str, Any]) -> None:
    """[19][48]"""
    assert used["held"] == {"fax": 1}
    assert used["published"]["kind"] == "fax"
    assert used["shown"]["kind"] == "fax"
    [fax] = (row for row in used["capacity"] if row["kind"] == "fax")
    assert (fax["included"], fax["used"]) == (2, 1)


def test_new_kind_is_documented(tree: Tree, used: dict[str, Any]) -> None:
    """[65]"""
    kinds = yaml.safe_load((tree.path / "openapi.yaml").read_text())["components"]["schemas"]["AllowanceByKind"]
    assert list(kinds["properties"]) == kinds["required"] == list(used["allowance"]["kinds"])
    assert accepts(tree.path, REQUEST)
    assert not accepts(tree.path, {name: value for name, value in REQUEST.items() if name != "phone"})
