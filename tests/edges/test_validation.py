"""What a client may send: good bodies, and bad bodies each with the field at fault."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import email_validator
import pytest
import yaml

from line_requests.domain.form import VISIBLE_IN_OPENAPI
from tests.edges.bodies import BYON, EMAIL, FIELDS, PHONE, line_of, read, refusal
from tests.local.ministack import ROOT

# --- accepted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line_type", [{}, {"lineType": None}, {"lineType": ""}, {"lineType": " "}, {"lineType": "purchased"}]
)
def test_phone_line_type_defaults_to_purchased(line_type: dict[str, Any]) -> None:
    """[8][9]"""
    submission, key = read(PHONE | line_type)
    assert submission == line_of("phone", "purchased")
    assert key is None


def test_byon_line_keeps_phone_and_email() -> None:
    """[8][9] Frozen, so that it has a hash."""
    assert hash(read(BYON)[0]) == hash(read(BYON)[0])
    assert read(BYON)[0] == line_of("phone", "byon", email="ada@example.com", phone="+1 (555) 010-0200")


@pytest.mark.parametrize("line_type", [None, "", "purchased", "byon", "anything"])
def test_email_line_is_purchased_whatever_line_type_is_sent(line_type: str | None) -> None:
    """[8][20]"""
    submission = read(EMAIL | {"lineType": line_type})[0]
    assert (submission.channel_type, submission.line_type, submission.phone) == ("email", "purchased", None)


def test_outer_white_space_is_trimmed_and_unicode_kept() -> None:
    """[6]"""
    submission = read(EMAIL | {"firstName": "  Žofie \t", "lastName": "\u00a0李 小龍\n", "email": " a@b.cz "})[0]
    assert (submission.first_name, submission.last_name, submission.email) == ("Žofie", "李 小龍", "a@b.cz")
    assert (
        read(PHONE | {"firstName": "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"})[0].first_name
        == "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"
    )


def test_optional_texts_are_kept_and_null_or_blank_means_absent() -> None:
    """[11]"""
    optional = {"zipcode": "94107", "state": "CA", "forwardCallsTo": "+1555", "profileImageUrl": "not even a URL"}
    kept = asdict(read(PHONE | optional | {"email": "no address", "phone": "no number"})[0])
    assert [kept[name] for name in ("zipcode", "state", "forward_calls_to", "profile_image_url")] == list(
        optional.values()
    )
    assert (kept["email"], kept["phone"]) == ("no address", "no number")
    for nothing in (None, "", "  "):
        body = PHONE | dict.fromkeys([*optional, "email", "phone"], nothing)
        assert read(body)[0] == line_of("phone", "purchased")


def test_unknown_fields_are_ignored() -> None:
    """[4][12]"""
    ours = {"_id": "f" * 24, "status": "active", "provisioningStatus": 7, "workspaceId": "other", "x": [{"y": [None]}]}
    assert read(PHONE | ours)[0] == read(PHONE)[0]


@pytest.mark.parametrize(
    "email",
    [
        "a@b.co",
        "a.b+c@x-y.example.com",
        "é@exämple.cz",
        "a'b@c.d.ee",
        "Ada@EXAMPLE.com",
        "ada@example.test",
        "ada@mail.local",
        "ada@host.invalid",
        "a.b+c@mail.example.co.uk",
        "a" * 248 + "@b.com",
    ],
)
def test_email_accepts_valid_addresses_as_spelled(email: str) -> None:
    """[10]"""
    email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = ["invalid", "local", "test"]
    assert read(EMAIL | {"email": email})[0].email == email


@pytest.mark.parametrize(
    "phone",
    [
        "5550100",
        "+123456789012345",
        "(555) 010-0200",
        "555.010.0200",
        "+1-555-010-0200",
        "030/5550100",
        "+49\u00a030\u202f555\u20090100",
        "555\u2010010\u20110200",
        "555\u2012010\u20130200",
        "555\u2014010\u22120200",
        "+1 (415) 555-01.00",
    ],
)
def test_byon_phone_accepts_digits_with_separators(phone: str) -> None:
    """[10]"""
    assert read(BYON | {"phone": phone})[0].phone == phone


def test_texts_and_body_may_have_maximum_length() -> None:
    """[13]"""
    assert read(PHONE | {"firstName": "x" * 256, "lastName": f" {'é' * 256} ", "zipcode": "x" * 2048})
    padded = json.dumps(PHONE | {"unknown": "x" * (65_536 - len(json.dumps(PHONE | {"unknown": ""})))}).encode()
    assert len(padded) == 65_536
    assert read(padded)[0].first_name == "Ada"
    assert refusal(padded + b" ") == "The body has 65,537 bytes; send at most 65,536"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_body_may_be_nested_a_hundred_levels_and_no_deeper() -> None:
    """[13]"""
    assert read(PHONE | {"unknown": nested(99), "flat": []})
    for depth in (100, 500, 20_000):
        body = json.dumps(PHONE)[:-1] + ', "unknown": ' + "[" * depth + "]" * depth + "}"
        assert refusal(body.encode()) == "The body is nested deeper than 100 levels; send one flat JSON object"
        twice = json.dumps(PHONE)[:-1] + ', "unknown": ' + "[" * depth + "]" * depth + ', "unknown": 1}'
        assert refusal(twice.encode()) == "The body is nested deeper than 100 levels; send one flat JSON object"
    assert "nested" in refusal(b"[" * 60_000)
    assert "nested" in refusal(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)


def test_number_in_unknown_field_may_have_any_length() -> None:
    """[12]"""
    for number in ("1" * 40_000, "-" + "1" * 5_000, "1e400", "1" * 5_000 + ".5"):
        assert read((json.dumps(PHONE)[:-1] + f', "unknown": {number}}}').encode())


def test_repeated_names_are_checked_too() -> None:
    """[13]"""
    body = json.dumps(PHONE)[:-1] + ', "unknown": "\\ud800", "unknown": 1}'
    assert refusal(body.encode()) == "The body is not valid JSON in UTF-8; send one JSON object"
    assert read((json.dumps(PHONE)[:-1] + ', "unknown": "\\ud83d\\ude00", "unknown": 1}').encode())


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["firstName", "lastName", "channelType"])
@pytest.mark.parametrize("value", [None, "", "  ", "\u00a0\t\n", ...])
def test_required_field_missing_null_or_blank_is_named(field: str, value: object) -> None:
    """[6]"""
    body = {name: text for name, text in PHONE.items() if name != field}
    assert refusal(body if value is ... else body | {field: value}) == f"{field} is required"


@pytest.mark.parametrize(
    "name",
    [
        *("\u200b\u2060", "\ufeff", "\x00\x7f", "\xad \u202e", "\u034f", "\u115f\u1160", "\u180b\u180f", "\u2800"),
        *("\u3164", "\ufe00\ufe0f", "\uffa0", "\U000e0000\U000e0041\U000e0fff"),
    ],
)
def test_name_of_invisible_characters_is_blank(name: str) -> None:
    """[6]"""
    assert refusal(PHONE | {"lastName": name}) == "lastName is required"
    assert read(PHONE | {"lastName": f"{name}Ö"})[0].last_name.endswith("Ö")


def test_name_pattern_is_the_one_in_openapi() -> None:
    """[6]"""
    described = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]["Name"]
    assert described["pattern"] == VISIBLE_IN_OPENAPI
    submission, _ = read(PHONE | {"firstName": "\u200d\U0001f469\u200d\U0001f52c", "lastName": "\u2801"})
    assert submission.first_name == "\u200d\U0001f469\u200d\U0001f52c"


@pytest.mark.parametrize("channel", ["Phone", "EMAIL", " phone", "phone ", "sms", "phone\x00"])
def test_channel_type_is_exactly_phone_or_email(channel: str) -> None:
    """[7]"""
    assert refusal(PHONE | {"channelType": channel}) == "channelType must be 'phone' or 'email'"


@pytest.mark.parametrize("line_type", ["BYON", "byoc", "email", " byon ", "purchased ", "x" * 2048])
def test_phone_line_type_is_exactly_purchased_or_byon(line_type: str) -> None:
    """[8]"""
    assert refusal(PHONE | {"lineType": line_type}) == 'lineType must be "purchased" or "byon"'


@pytest.mark.parametrize("nothing", [None, "", "  ", ...])
def test_email_and_byon_require_email_and_byon_requires_phone(nothing: object) -> None:
    """[9]"""

    def without(body: dict[str, str], field: str) -> dict[str, object]:
        left: dict[str, object] = {name: value for name, value in body.items() if name != field}
        return left if nothing is ... else left | {field: nothing}

    assert refusal(without(EMAIL, "email")) == "email is required"
    assert refusal(without(BYON, "email")) == "email is required"
    assert refusal(without(BYON, "phone")) == "phone is required"


@pytest.mark.parametrize(
    "email",
    [
        "ada",
        "ada@example",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "a@b@example.com",
        "ada lovelace@example.com",
        "ada@exam ple.com",
        "ada@.com",
        "ada@example.",
        "ada@example..com",
        "ada@example.com\u2003x",
        "Ada Lovelace <ada@example.com>",
        "<ada@example.com>",
        "ada@example.com, bob@example.com",
        "ada@example.com;bob@example.com",
        "mailto:ada@example.com",
        "ada@example.com\u200b",
        "a\u200bda@example.com",
        "ada@exam\u00adple.com",
        "\ufeffada@example.com",
        "ada@example.com\u202e",
        "ada@[127.0.0.1]",
        '"ada lovelace"@example.com',
    ],
)
def test_required_email_refuses_other_than_one_bare_address(email: str) -> None:
    """[10]"""
    error = "email must be one address such as ada@example.com, without a name or a list"
    assert refusal(EMAIL | {"email": email}) == error
    assert refusal(BYON | {"email": email}) == error


TOO_FEW_OR_MANY = "phone must have 7 to 15 digits; this has {}"
WRONG_CHARACTERS = "phone may have the digits 0 to 9, one leading +, spaces and - . ( ) / only"


@pytest.mark.parametrize(
    ("phone", "error"),
    [
        ("555010", TOO_FEW_OR_MANY.format(6)),
        ("1234567890123456", TOO_FEW_OR_MANY.format(16)),
        ("+", TOO_FEW_OR_MANY.format(0)),
        ("-------", TOO_FEW_OR_MANY.format(0)),
        ("no number", TOO_FEW_OR_MANY.format(0)),
        ("555-0100 ext 2", WRONG_CHARACTERS),
        ("555+0100", WRONG_CHARACTERS),
        ("1234567x", WRONG_CHARACTERS),
        ("++5550100", WRONG_CHARACTERS),
        ("\N{ARABIC-INDIC DIGIT FIVE}" * 7, WRONG_CHARACTERS),
        ("5550100\n1/2", WRONG_CHARACTERS),
        ("555\u200b0100", WRONG_CHARACTERS),
        ("555\u20280100", WRONG_CHARACTERS),
    ],
)
def test_byon_phone_error_says_what_is_wrong(phone: str, error: str) -> None:
    """[10]"""
    assert refusal(BYON | {"phone": phone}) == error


def test_byte_order_mark_before_the_body_is_skipped() -> None:
    """[13]"""
    assert read(b"\xef\xbb\xbf" + json.dumps(PHONE).encode()) == read(PHONE)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [7, 1.5, True, False, 0, [], {}, ["Ada"], {"a": "b"}])
def test_documented_field_of_wrong_type_is_named(field: str, value: object) -> None:
    """[12][28]"""
    for body in (PHONE, EMAIL, BYON):
        assert refusal(body | {field: value}) == f"{field} must be a string"


@pytest.mark.parametrize(
    ("field", "longest"), [*[(name, 2048) for name in FIELDS[3:10]], *[(name, 256) for name in FIELDS[:2]]]
)
def test_too_long_text_is_named_with_its_limit(field: str, longest: int) -> None:
    """[13]"""
    assert refusal(PHONE | {field: "x" * (longest + 1)}) == f"{field} is longer than {longest} characters"
    assert refusal(EMAIL | {"email": "a" * 249 + "@b.com"}) == "email is longer than 254 characters"
    if field != "lineType":
        assert read(PHONE | {field: "é" * longest})
    if field != "email":
        assert refusal(EMAIL | {field: "x" * (longest + 1)}) == f"{field} is longer than {longest} characters"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"firstName=Ada",
        b"{'firstName': 'Ada'}",
        b'{"firstName": "\xff"}',
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": [["\\ud83d"]]}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\x01"}',
        b'{"a": 1}garbage',
        b'{"a": 1}{"a": 1}',
        b'{"a": 1,}',
        b'{"a": "\\udc00\\ud800"}',
    ],
)
def test_body_that_is_not_json_is_refused(body: bytes) -> None:
    """[13]"""
    assert refusal(body) == "The body is not valid JSON in UTF-8; send one JSON object"


@pytest.mark.parametrize("body", [[], [PHONE], "text", 7, True, None])
def test_body_that_is_no_json_object_is_refused(body: object) -> None:
    """[13]"""
    assert refusal(json.dumps(body).encode()) == 'The body must be a JSON object, such as {"firstName": "Ada"}'
