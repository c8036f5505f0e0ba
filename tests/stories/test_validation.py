from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stories.world import BYON, EMAIL, LINES, PHONE, Workspace, World

Json = dict[str, Any]

REQUIRED = ("firstName", "lastName", "channelType")
STRINGS = ("lineType", "email", "phone", "zipcode", "state", "forwardCallsTo", "profileImageUrl")


def without(body: Json, name: str) -> Json:
    return {key: value for key, value in body.items() if key != name}


def refused(workspace: Workspace, body: Json | bytes, *names: str) -> bool:
    """Whether it is a 400 that names the field and changes nothing."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = workspace.send("POST", LINES, content=content)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}
    return all(name in answer.json()["error"] for name in names)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", ["missing", None, "", " ", " \t\n\u2003"])
def test_missing_required_field_is_named(spare: Workspace, name: str, value: str | None) -> None:
    """[6] Missing, null, empty, blank."""
    body = without(PHONE, name) if value == "missing" else PHONE | {name: value}
    assert refused(spare, body, name)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("  Ada \t\n", "Ada"),
        ("Zoë  Ångström", "Zoë  Ångström"),
        ("\u2003山田\u3000", "山田"),
        ("👩🏽‍💻", "👩🏽‍💻"),
        ("e\u0301", "e\u0301"),
        ("עדה", "עדה"),
        ('quote"back\\slash', 'quote"back\\slash'),
        ("\u0000nul", "\u0000nul"),
    ],
)
def test_names_are_trimmed_and_unicode_is_kept(workspace: Workspace, sent: str, kept: str) -> None:
    """[6] In the 201, in a poll and in the list."""
    line = workspace.included(PHONE | {"firstName": sent, "lastName": sent})["line"]
    polled = workspace.get(line["_id"]).json()["line"]
    for seen in (line, polled, workspace.line(line["_id"])):
        assert (seen["firstName"], seen["lastName"]) == (kept, kept)


@pytest.mark.parametrize("channel_type", ["Phone", "EMAIL", "sms", "phones", "phone,email"])
def test_channel_type_is_exactly_phone_or_email(spare: Workspace, channel_type: str) -> None:
    """[7]"""
    assert refused(spare, PHONE | {"channelType": channel_type}, "channelType")


@pytest.mark.parametrize("line_type", ["omitted", None, "", "purchased"])
def test_phone_line_type_defaults_to_purchased(workspace: Workspace, line_type: str | None) -> None:
    """[8]"""
    body = PHONE if line_type == "omitted" else PHONE | {"lineType": line_type}
    assert workspace.included(body)["line"]["lineType"] == "purchased"


@pytest.mark.parametrize("line_type", ["BYON", "Purchased", "leased", "email"])
def test_phone_line_of_other_type_is_400(spare: Workspace, line_type: str) -> None:
    """[8]"""
    assert refused(spare, BYON | {"lineType": line_type}, "lineType")


@pytest.mark.parametrize("line_type", ["byon", "whatever", "PURCHASED"])
def test_email_line_tolerates_any_line_type(workspace: Workspace, line_type: str) -> None:
    """[8]"""
    assert workspace.included(EMAIL | {"lineType": line_type})["line"]["lineType"] == "purchased"


@pytest.mark.parametrize(
    ("body", "name"), [(EMAIL, "email"), (BYON, "email"), (BYON, "phone")], ids=["email", "byon email", "byon phone"]
)
@pytest.mark.parametrize("value", ["missing", None, "", "  "])
def test_fields_that_a_kind_requires_are_named(spare: Workspace, body: Json, name: str, value: str | None) -> None:
    """[9] E-mail and BYON lines need email, BYON needs phone."""
    changed = without(body, name) if value == "missing" else body | {name: value}
    assert refused(spare, changed, name)


@pytest.mark.parametrize("field", ["email", "phone"])
def test_purchased_phone_line_requires_no_email_or_phone(workspace: Workspace, field: str) -> None:
    """[9] [10] What is not required is not checked either."""
    assert workspace.create(PHONE | {field: "not one"}).status_code == 201


@pytest.mark.parametrize(
    ("email", "valid"),
    [
        ("ada@example.com", True),
        (" ada@example.com ", True),
        ("a.b+c@mail.example.co.uk", True),
        ("ünï@exämple.org", True),
        ("a" * 242 + "@example.com", True),
        ("a" * 243 + "@example.com", False),
        ("ada", False),
        ("ada@example", False),
        ("@example.com", False),
        ("ada@", False),
        ("ada@@example.com", False),
        ("ada@home@example.com", False),
        ("ada lovelace@example.com", False),
        ("ada@exam ple.com", False),
        ("ada@.com", False),
        ("ada@example.", False),
        ("ada@example.test", True),
        ("Ada <ada@example.com>", False),
        ("mailto:ada@example.com", False),
        ("ada@example.com, bob@example.com", False),
        ("ada\u200b@example.com", False),
    ],
)
def test_required_email_is_one_bare_address(world: World, email: str, valid: bool) -> None:  # noqa: FBT001 - a column
    """[10] No display name, scheme, list or invisible character; at most 254 characters."""
    workspace = world.workspace("scale")
    for body in (EMAIL, BYON):
        if valid:
            workspace.included(body | {"email": email})
        else:
            assert refused(workspace, body | {"email": email}, "email")


@pytest.mark.parametrize(
    ("phone", "valid"),
    [
        ("1234567", True),
        ("123456789012345", True),
        ("+1 (415) 555-01.00", True),
        (" +4915112345678 ", True),
        ("123456", False),
        ("1234567890123456", False),
        ("1+234567", False),
        ("++1234567", False),
        ("1234567x", False),
        ("1234/567", True),
        ("+49\u00a030\u2011123\u20134567", True),
        ("1234\u200b567", False),
        ("call me", False),
        ("()-. +", False),
        ("١٢٣٤٥٦٧", False),
    ],
)
def test_byon_phone_has_7_to_15_digits_and_separators(world: World, phone: str, valid: bool) -> None:  # noqa: FBT001 - a column
    """[10] An optional leading plus; typographic separators too."""
    workspace = world.workspace("scale")
    if valid:
        workspace.included(BYON | {"phone": phone})
    else:
        assert refused(workspace, BYON | {"phone": phone}, "phone")


@pytest.mark.parametrize("value", ["some", "", None])
def test_optional_fields_are_not_echoed(workspace: Workspace, value: str | None) -> None:
    """[11] Null or empty means absent."""
    optional = dict.fromkeys(("zipcode", "state", "forwardCallsTo", "profileImageUrl", "email", "phone"), value)
    line = workspace.included(PHONE | optional)["line"]
    assert not set(optional) & set(line)
    assert not set(optional) & set(workspace.line(line["_id"]))


@pytest.mark.parametrize("value", [7, 1.5, True, ["Ada"], {"is": "Ada"}], ids=str)
@pytest.mark.parametrize("name", [*REQUIRED, *STRINGS])
def test_field_of_wrong_type_is_named(spare: Workspace, name: str, value: object) -> None:
    """[12]"""
    assert refused(spare, PHONE | {name: value}, name)


def test_unknown_fields_are_ignored(workspace: Workspace) -> None:
    """[12] Also those that only answers have."""
    strange = {
        "_id": "f" * 24,
        "status": "active",
        "provisioningStatus": "active",
        "paymentStatus": "paid",
        "paymentRequired": False,
        "stripeInvoiceId": "in_1",
        "paymentLinkUrl": "https://example.com",
        "first_name": "Eve",
        "FirstName": "Eve",
        "plan": {"included": [99]},
        "": None,
        "__proto__": {"a": 1},
    }
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
    "blank": b"  \n",
    "not JSON": b"firstName=Ada",
    "cut off": json.dumps(PHONE).encode()[:-1],
    "two documents": json.dumps(PHONE).encode() * 2,
    "trailing comma": b'{"firstName": "Ada",}',
    "array": b"[]",
    "array of one": json.dumps([PHONE]).encode(),
    "string": b'"Ada"',
    "number": b"7",
    "null": b"null",
    "true": b"true",
    "Latin-1": '{"firstName": "Zoë"}'.encode("latin-1"),
    "UTF-16": json.dumps(PHONE).encode("utf-16"),
    "broken UTF-8": b'{"firstName": "\xff\xfe", "lastName": "L", "channelType": "phone"}',
    "encoded surrogate": b'{"firstName": "\xed\xa0\x80", "lastName": "L", "channelType": "phone"}',
    "byte order mark alone": b"\xef\xbb\xbf",
    "NaN": json.dumps(PHONE).encode()[:-1] + b', "extra": NaN}',
    "Infinity": json.dumps(PHONE).encode()[:-1] + b', "extra": [-Infinity]}',
    "lone surrogate": b'{"firstName": "\\ud800", "lastName": "L", "channelType": "phone"}',
    "lone surrogate in an unknown field": json.dumps(PHONE).encode()[:-1] + b', "extra": ["\\udfff"]}',
    "lone surrogate in a name": json.dumps(PHONE).encode()[:-1] + b', "\\ud800": 1}',
    "surrogates in the wrong order": json.dumps(PHONE).encode()[:-1] + b', "extra": "\\udc00\\ud800"}',
    "nested": b'{"extra":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "nested a little too deep": json.dumps(PHONE).encode()[:-1] + b', "extra": ' + b"[" * 100 + b"]" * 100 + b"}",
    "never closed": b"[" * 60_000,
    "control character": b'{"firstName": "a\x01b", "lastName": "L", "channelType": "phone"}',
    "huge number": json.dumps(PHONE).encode()[:-1] + b', "extra": ' + b"9" * 5000 + b"}",
    "over 64 KiB": json.dumps(PHONE | {"extra": "x" * 65_536}).encode(),
    "far over 64 KiB": json.dumps(PHONE | {"extra": "x" * 2_000_000}).encode(),
}


@pytest.mark.parametrize("name", [name for name in BAD_BODIES if name != "huge number"])
def test_unreadable_body_is_400(spare: Workspace, name: str) -> None:
    """[13] Never 5xx."""
    assert refused(spare, BAD_BODIES[name])


def test_huge_number_in_unknown_field_is_no_server_error(workspace: Workspace) -> None:
    """[13] An integer of 5,000 digits."""
    answer = workspace.send("POST", LINES, content=BAD_BODIES["huge number"])
    assert answer.status_code in {201, 400}


@pytest.mark.parametrize(
    ("name", "longest"), [("firstName", 256), ("lastName", 256), *[(name, 2048) for name in STRINGS[1:]]]
)
def test_strings_over_their_limit_are_400(world: World, name: str, longest: int) -> None:
    """[13] Counted in characters, not in bytes."""
    workspace = world.workspace("scale")
    workspace.included(PHONE | {name: "é" * longest})
    assert refused(workspace, PHONE | {name: "é" * (longest + 1)}, name)


def test_email_line_type_over_its_limit_is_400(workspace: Workspace) -> None:
    """[13]"""
    workspace.included(EMAIL | {"lineType": "x" * 2048})
    assert refused(workspace, EMAIL | {"lineType": "x" * 2049}, "lineType")


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


def test_byte_order_mark_is_skipped(workspace: Workspace) -> None:
    """[13]"""
    answer = workspace.send("POST", LINES, content=b"\xef\xbb\xbf" + json.dumps(PHONE).encode())
    assert answer.status_code == 201


def test_bad_body_creates_nothing_and_leaves_the_key_free(world: World, workspace: Workspace) -> None:
    """[13] [30] No line, no Stripe call."""
    workspace.included()
    calls = world.calls()
    assert workspace.create(PHONE | {"firstName": ""}, key="k").status_code == 400
    assert workspace.create(PHONE | {"lineType": "x", "idempotencyKey": "k"}, key="k").status_code == 400
    assert calls() == []
    assert len(workspace.lines()) == 1
    afresh = workspace.create(EMAIL, key="k")
    assert (afresh.status_code, "Idempotency-Replayed" in afresh.headers) == (201, False)


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
