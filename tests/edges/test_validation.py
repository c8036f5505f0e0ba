"""What a client may send: a table of bad bodies, each with its field, and anything at all."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from line_requests.api import requests as validation
from line_requests.api.http import Request
from line_requests.domain.errors import Invalid
from line_requests.domain.submission import Submission
from tests.local.ministack import ROOT

PHONE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
EMAIL = PHONE | {"channelType": "email", "email": "ada@example.com"}
BYON = PHONE | {"lineType": "byon", "email": "ada@example.com", "phone": "+1 (555) 010-0200"}


def request(body: bytes, key: str | None = None) -> Request:
    return Request({"idempotency-key": key} if key is not None else {}, "", {}, body, 0)


def read(body: object, key: str | None = None) -> tuple[Submission, str | None]:
    return validation.read(request(body if isinstance(body, bytes) else json.dumps(body).encode(), key))


def refusal(body: object, key: str | None = None) -> str:
    with pytest.raises(Invalid) as refused:
        read(body, key)
    return str(refused.value)


# --- what is accepted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line_type", [{}, {"lineType": None}, {"lineType": ""}, {"lineType": " "}, {"lineType": "purchased"}]
)
def test_a_phone_line_is_purchased_unless_it_says_otherwise(line_type: dict[str, Any]) -> None:
    """[8][9]"""
    submission, key = read(PHONE | line_type)
    assert submission == Submission("Ada", "Lovelace", "phone", "purchased")
    assert key is None


def test_a_byon_line_keeps_its_number_and_address() -> None:
    """[8][9]"""
    assert read(BYON)[0] == Submission(
        "Ada", "Lovelace", "phone", "byon", email="ada@example.com", phone="+1 (555) 010-0200"
    )


@pytest.mark.parametrize("line_type", [None, "", "purchased", "byon", "anything"])
def test_an_email_line_answers_purchased_whatever_line_type_it_names(line_type: str | None) -> None:
    """[8][20]"""
    submission = read(EMAIL | {"lineType": line_type})[0]
    assert (submission.channel_type, submission.line_type, submission.phone) == ("email", "purchased", None)


def test_outer_white_space_goes_and_unicode_stays() -> None:
    """[6]"""
    submission = read(EMAIL | {"firstName": "  Žofie \t", "lastName": "\u00a0李 小龍\n", "email": " a@b.cz "})[0]
    assert (submission.first_name, submission.last_name, submission.email) == ("Žofie", "李 小龍", "a@b.cz")
    assert (
        read(PHONE | {"firstName": "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"})[0].first_name
        == "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"
    )


def test_optional_texts_are_kept_and_null_or_empty_means_absent() -> None:
    """[11]"""
    optional = {"zipcode": "94107", "state": "CA", "forwardCallsTo": "+1555", "profileImageUrl": "not even a URL"}
    kept = asdict(read(PHONE | optional | {"email": "no address", "phone": "no number"})[0])
    assert [kept[name] for name in ("zipcode", "state", "forward_calls_to", "profile_image_url")] == list(
        optional.values()
    )
    assert (kept["email"], kept["phone"]) == ("no address", "no number")
    for nothing in (None, "", "  "):
        body = PHONE | dict.fromkeys([*optional, "email", "phone"], nothing)
        assert read(body)[0] == Submission("Ada", "Lovelace", "phone", "purchased")


def test_unknown_fields_are_ignored_whatever_they_hold() -> None:
    """[4][12]"""
    ours = {"_id": "f" * 24, "status": "active", "provisioningStatus": 7, "workspaceId": "other", "x": [{"y": [None]}]}
    assert read(PHONE | ours)[0] == read(PHONE)[0]


@pytest.mark.parametrize(
    "email", ["a@b.co", "a.b+c@x-y.example.com", "é@exämple.cz", "a" * 248 + "@b.com", "a'b@c.d.e"]
)
def test_what_looks_like_an_address_is_one(email: str) -> None:
    """[10]"""
    assert read(EMAIL | {"email": email})[0].email == email


@pytest.mark.parametrize("phone", ["5550100", "+123456789012345", "(555) 010-0200", "555.010.0200", "+1-555-010-0200"])
def test_what_looks_like_a_number_is_one(phone: str) -> None:
    """[10]"""
    assert read(BYON | {"phone": phone})[0].phone == phone


def test_texts_may_be_as_long_as_promised() -> None:
    """[13]"""
    assert read(PHONE | {"firstName": "x" * 256, "lastName": f" {'é' * 256} ", "zipcode": "x" * 2048})
    padded = json.dumps(PHONE | {"unknown": "x" * (65_536 - len(json.dumps(PHONE | {"unknown": ""})))}).encode()
    assert len(padded) == 65_536
    assert read(padded)[0].first_name == "Ada"
    assert refusal(padded + b" ") == "The body is over 64 KiB"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_may_be_a_hundred_deep_and_no_deeper() -> None:
    """[13]"""
    assert read(PHONE | {"unknown": nested(99)})
    for depth in (100, 500, 20_000):
        body = json.dumps(PHONE)[:-1] + ', "unknown": ' + "[" * depth + "]" * depth + "}"
        assert refusal(body.encode()) == "The body is nested deeper than 100 levels"
        twice = json.dumps(PHONE)[:-1] + ', "unknown": ' + "[" * depth + "]" * depth + ', "unknown": 1}'
        assert refusal(twice.encode()) == "The body is nested deeper than 100 levels"
    assert "nested" in refusal(b"[" * 60_000)
    assert "nested" in refusal(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)


def test_an_unknown_number_may_have_any_number_of_digits() -> None:
    """[12]"""
    for number in ("1" * 40_000, "-" + "1" * 5_000, "1e400", "1" * 5_000 + ".5"):
        assert read((json.dumps(PHONE)[:-1] + f', "unknown": {number}}}').encode())


def test_nothing_hides_behind_a_repeated_name() -> None:
    """[13]"""
    body = json.dumps(PHONE)[:-1] + ', "unknown": "\\ud800", "unknown": 1}'
    assert refusal(body.encode()) == "The body is not valid JSON"
    assert read((json.dumps(PHONE)[:-1] + ', "unknown": "\\ud83d\\ude00", "unknown": 1}').encode())


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["firstName", "lastName", "channelType"])
@pytest.mark.parametrize("value", [None, "", "  ", "\u00a0\t\n", ...])
def test_a_required_field_that_is_missing_null_empty_or_blank_is_named(field: str, value: object) -> None:
    """[6]"""
    body = {name: text for name, text in PHONE.items() if name != field}
    assert refusal(body if value is ... else body | {field: value}) == f"{field} is required"


@pytest.mark.parametrize("name", ["\u200b\u2060", "\ufeff", "\x00\x7f", "\xad \u202e"])
def test_a_name_of_which_nothing_shows_is_blank(name: str) -> None:
    """[6]"""
    assert refusal(PHONE | {"lastName": name}) == "lastName is required"
    assert read(PHONE | {"lastName": f"{name}Ö"})[0].last_name.endswith("Ö")


def test_a_name_is_what_the_description_says_it_is() -> None:
    """[6]"""
    described = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]["Name"]
    assert described["pattern"] == validation.VISIBLE.pattern
    submission, _ = read(PHONE | {"firstName": "\u200d\U0001f469\u200d\U0001f52c", "lastName": "\u2800"})
    assert submission.first_name == "\u200d\U0001f469\u200d\U0001f52c"


@pytest.mark.parametrize("channel", ["Phone", "EMAIL", " phone", "phone ", "sms", "phone\x00"])
def test_a_channel_is_exactly_phone_or_email(channel: str) -> None:
    """[7]"""
    assert refusal(PHONE | {"channelType": channel}) == "channelType must be 'phone' or 'email'"


@pytest.mark.parametrize("line_type", ["BYON", "byoc", "email", " byon ", "purchased ", "x" * 2048])
def test_a_phone_line_s_type_is_purchased_or_byon(line_type: str) -> None:
    """[8]"""
    assert refusal(PHONE | {"lineType": line_type}) == 'lineType must be "purchased" or "byon"'


@pytest.mark.parametrize("nothing", [None, "", "  ", ...])
def test_email_and_byon_lines_need_an_address_and_byon_lines_a_number(nothing: object) -> None:
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
        "a" * 249 + "@b.com",
    ],
)
def test_an_address_that_is_needed_must_look_like_one(email: str) -> None:
    """[10]"""
    assert refusal(EMAIL | {"email": email}) == "email must be an e-mail address"
    assert refusal(BYON | {"email": email}) == "email must be an e-mail address"


@pytest.mark.parametrize(
    "phone",
    [
        "555010",
        "1234567890123456",
        "+",
        "-------",
        "555-0100 ext 2",
        "555+0100",
        "++5550100",
        "\N{ARABIC-INDIC DIGIT FIVE}" * 7,
        "5550100\n1/2",
    ],
)
def test_a_number_that_is_needed_must_look_like_one(phone: str) -> None:
    """[10]"""
    assert refusal(BYON | {"phone": phone}) == "phone must have 7 to 15 digits"


FIELDS = (
    "firstName",
    "lastName",
    "channelType",
    "lineType",
    "email",
    "phone",
    "zipcode",
    "state",
    "forwardCallsTo",
    "profileImageUrl",
    "idempotencyKey",
)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [7, 1.5, True, False, 0, [], {}, ["Ada"], {"a": "b"}])
def test_a_documented_field_of_another_type_is_named(field: str, value: object) -> None:
    """[12][28]"""
    for body in (PHONE, EMAIL, BYON):
        assert refusal(body | {field: value}) == f"{field} must be a string"


@pytest.mark.parametrize(
    ("field", "longest"), [*[(name, 2048) for name in FIELDS[3:10]], *[(name, 256) for name in FIELDS[:2]]]
)
def test_a_text_that_is_too_long_is_named(field: str, longest: int) -> None:
    """[13]"""
    assert refusal(PHONE | {field: "x" * (longest + 1)}) == f"{field} is longer than {longest} characters"
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
        b"\xef\xbb\xbf{}",
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
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """[13]"""
    assert refusal(body) == "The body is not valid JSON"


@pytest.mark.parametrize("body", [[], [PHONE], "text", 7, True, None])
def test_json_that_is_no_object_is_refused(body: object) -> None:
    """[13]"""
    assert refusal(json.dumps(body).encode()) == "The body must be a JSON object"


# --- the idempotency key ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "field", "key"),
    [
        ("k", ..., "k"),
        (None, "k", "k"),
        ("k", "k", "k"),
        (" k ", "k", "k"),
        ("k", None, "k"),
        ("k", "  ", "k"),
        ("", "k", "k"),
        ("  ", ..., None),
        (None, "", None),
        (None, None, None),
        ("x" * 255, ..., "x" * 255),
        (None, "\N{GRINNING FACE}" * 255, "\N{GRINNING FACE}" * 255),
    ],
)
def test_a_key_comes_by_header_or_body_and_blank_means_none(header: str | None, field: object, key: str | None) -> None:
    """[28]"""
    body: dict[str, object] = dict(PHONE)
    assert read(body if field is ... else body | {"idempotencyKey": field}, header)[1] == key


@pytest.mark.parametrize(
    ("header", "field", "error"),
    [
        ("a", "b", "The Idempotency-Key header and idempotencyKey differ"),
        ("a", "A", "The Idempotency-Key header and idempotencyKey differ"),
        ("x" * 256, None, "The idempotency key is longer than 255 characters"),
        (None, "x" * 256, "The idempotency key is longer than 255 characters"),
        ("a", 7, "idempotencyKey must be a string"),
        ("\ud800", None, "The idempotency key is not valid Unicode"),
    ],
)
def test_keys_that_differ_or_are_too_long_or_no_text_are_refused(header: str | None, field: object, error: str) -> None:
    """[28]"""
    assert refusal(PHONE | {"idempotencyKey": field}, header) == error


# --- anything at all ------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documented = st.sampled_from([*FIELDS, "status", "_id"])
plausible = st.sampled_from(["phone", "email", "byon", "purchased", "a@b.co", "5550100", "Ada", "", " ", None])


@given(st.dictionaries(documented, plausible | values), st.none() | st.text(max_size=300))
def test_any_object_is_a_line_or_is_refused(body: dict[str, object], key: str | None) -> None:
    """[6][7][8][9][12][13]"""
    named = "The"
    try:
        assert_sound(*read(body, key))
    except Invalid as invalid:
        named = str(invalid).split(maxsplit=1)[0]
    assert named in {*FIELDS, "The"}


def assert_sound(submission: Submission, key: str | None) -> None:
    assert submission.first_name.strip() == submission.first_name != ""
    assert (submission.channel_type, submission.line_type) in {
        ("phone", "purchased"),
        ("phone", "byon"),
        ("email", "purchased"),
    }
    assert key is None or 0 < len(key) <= 255
    json.dumps(asdict(submission), ensure_ascii=False).encode()


@given(values | st.just(PHONE), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
def test_any_json_in_any_encoding_is_a_line_or_is_refused(value: object, encoding: str) -> None:
    """[13]"""
    never_raises_anything_else(
        json.dumps(value, ensure_ascii=False).encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_are_refused(body: bytes) -> None:
    """[13]"""
    never_raises_anything_else(body)


def never_raises_anything_else(body: bytes) -> None:
    with suppress(Invalid):
        validation.read(request(body))
