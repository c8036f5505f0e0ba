from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stories.world import BYON, EMAIL, LINES, PHONE, Workspace, World

Json = dict[str, Any]


def refused(workspace: Workspace, body: Json | bytes, *names: str) -> bool:
    """Whether it is a 400 that names the field and changes nothing."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = workspace.send("POST", LINES, content=content)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}
    return all(name in answer.json()["error"] for name in names)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (PHONE | {"firstName": None}, "firstName"),
        (PHONE | {"lastName": " \t\n\u2003"}, "lastName"),
        ({"firstName": "Ada", "lastName": "Lovelace"}, "channelType"),
        (PHONE | {"channelType": "Phone"}, "channelType"),
        (BYON | {"lineType": "BYON"}, "lineType"),
        (EMAIL | {"email": ""}, "email"),
        (EMAIL | {"email": "Ada <ada@example.com>"}, "email"),
        (BYON | {"email": None}, "email"),
        (BYON | {"phone": "  "}, "phone"),
        (BYON | {"phone": "1234\u200b567"}, "phone"),
        (PHONE | {"zipcode": 7}, "zipcode"),
        (PHONE | {"firstName": "é" * 257}, "firstName"),
        (PHONE | {"state": "é" * 2049}, "state"),
    ],
)
def test_field_at_fault_is_named(spare: Workspace, body: Json, name: str) -> None:
    """[6] [7] [8] [9] [10] [12] [13] Missing, blank, not one of the choices, malformed, of a wrong type, too long."""
    assert refused(spare, body, name)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("\u2003山田 \t\n", "山田"), ("👩🏽‍💻e\u0301עדה", "👩🏽‍💻e\u0301עדה"), ('\u0000"\\', '\u0000"\\')],
)
def test_names_are_trimmed_and_unicode_is_kept(workspace: Workspace, sent: str, kept: str) -> None:
    """[6] In the 201, in a poll and in the list."""
    line = workspace.included(PHONE | {"firstName": sent, "lastName": sent})["line"]
    polled = workspace.get(line["_id"]).json()["line"]
    for seen in (line, polled, workspace.line(line["_id"])):
        assert (seen["firstName"], seen["lastName"]) == (kept, kept)


@pytest.mark.parametrize("value", ["some", "", None])
def test_optional_fields_are_not_echoed(workspace: Workspace, value: str | None) -> None:
    """[11] Null or empty means absent."""
    optional = dict.fromkeys(("zipcode", "state", "forwardCallsTo", "profileImageUrl", "email", "phone"), value)
    line = workspace.included(PHONE | optional)["line"]
    assert not set(optional) & set(line)
    assert not set(optional) & set(workspace.line(line["_id"]))


def test_unknown_fields_are_ignored(workspace: Workspace) -> None:
    """[12] Also those that only answers have."""
    answered = {"_id": "f" * 24, "status": "active", "paymentStatus": "paid", "paymentLinkUrl": "https://example.com"}
    strange = answered | {"first_name": "Eve", "FirstName": "Eve", "plan": {"included": [99]}, "": None}
    line = workspace.included(PHONE | strange)["line"]
    assert line["_id"] != strange["_id"]
    assert line == PHONE | {
        "_id": line["_id"],
        "lineType": "purchased",
        "provisioningStatus": "provisioning",
        "paymentStatus": "not_required",
    }


BAD_BODIES = {
    "empty": b"",
    "cut off": json.dumps(PHONE).encode()[:-1],
    "array of one": json.dumps([PHONE]).encode(),
    "Latin-1": '{"firstName": "Zoë"}'.encode("latin-1"),
    "UTF-16": json.dumps(PHONE).encode("utf-16"),
    "encoded surrogate": b'{"firstName": "\xed\xa0\x80", "lastName": "L", "channelType": "phone"}',
    "lone surrogate in an unknown field": json.dumps(PHONE).encode()[:-1] + b', "extra": ["\\udfff"]}',
    "nested a little too deep": json.dumps(PHONE).encode()[:-1] + b', "extra": ' + b"[" * 100 + b"]" * 100 + b"}",
    "over 64 KiB": json.dumps(PHONE | {"extra": "x" * 65_536}).encode(),
    "far over 64 KiB": json.dumps(PHONE | {"extra": "x" * 2_000_000}).encode(),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_unreadable_body_is_400(spare: Workspace, name: str) -> None:
    """[13] Never 5xx."""
    assert refused(spare, BAD_BODIES[name])


def test_body_of_64_kib_and_100_levels_is_accepted(world: World) -> None:
    """[13] The limits themselves are allowed."""
    workspace = world.workspace("scale")
    body = json.dumps(PHONE | {"extra": ""}).encode()
    full = body.replace(b'"extra": ""', b'"extra": "' + b"x" * (65_536 - len(body)) + b'"')
    deep = json.dumps(PHONE).encode()[:-1] + b', "extra": ' + b"[" * 99 + b"]" * 99 + b"}"
    assert len(full) == 65_536
    for content in (full, deep):
        assert workspace.send("POST", LINES, content=content).status_code == 201


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "a/b; charset=x"])
def test_content_type_is_not_checked(workspace: Workspace, content_type: str | None) -> None:
    """[13]"""
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = workspace.send("POST", LINES, content=json.dumps(PHONE).encode(), headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/png"])
def test_base64_encoded_body_is_decoded(workspace: Workspace, content_type: str) -> None:
    """[13] API Gateway encodes bodies of binary content types."""
    content = json.dumps(PHONE | {"firstName": "Zoë"}, ensure_ascii=False).encode()
    answer = workspace.send("POST", LINES, content=content, headers={"Content-Type": content_type})
    assert answer.json()["line"]["firstName"] == "Zoë"


@pytest.mark.parametrize("status", [None, "canceled"])
def test_validation_comes_before_the_plan(world: World, status: str | None) -> None:
    """[14] In an unsubscribed workspace a bad body is 400, a good one 403."""
    workspace = world.workspace(subscriptionStatus=status)
    assert refused(workspace, PHONE | {"firstName": ""}, "firstName")
    assert workspace.create().status_code == 403


def test_validation_comes_before_the_lock_and_the_cap(world: World, workspace: Workspace) -> None:
    """[14]"""
    workspace.awaiting()
    assert refused(workspace, PHONE | {"firstName": ""}, "firstName")
    assert refused(world.workspace("capped"), BYON | {"phone": "x"}, "phone")
