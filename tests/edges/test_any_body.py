"""Idempotency keys as clients send them, and generated bodies."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from line_requests.api import requests
from line_requests.domain.errors import Invalid
from tests.edges.bodies import FIELDS, PHONE, read, refusal, request

if TYPE_CHECKING:
    from line_requests.domain.submission import Submission

ONE_KEY = "The request has more than one idempotency key; send one, without commas"


# --- the idempotency key ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "field", "key"),
    [
        (" a,b", "a,b ", "a,b"),
        (None, "a,b", "a,b"),
        ("k", ..., "k"),
        (None, "k", "k"),
        ("k", "k", "k"),
        (" k ", "k", "k"),
        ("k", None, "k"),
        ("k", "  ", "k"),
        ("", "k", "k"),
        ("k, k", ..., "k"),
        ("k,k,k", "k", "k"),
        ("k,,", ..., "k"),
        (" , ", ..., None),
        (",".join(["x" * 255] * 3), ..., "x" * 255),
        ("  ", ..., None),
        (None, "", None),
        (None, None, None),
        ("x" * 255, ..., "x" * 255),
        (None, "\N{GRINNING FACE}" * 255, "\N{GRINNING FACE}" * 255),
    ],
)
def test_idempotency_key_is_read_from_header_or_body(header: str | None, field: object, key: str | None) -> None:
    """[28] A key with a comma is one key if header and field are equal."""
    body: dict[str, object] = dict(PHONE)
    assert read(body if field is ... else body | {"idempotencyKey": field}, header)[1] == key


@pytest.mark.parametrize(
    ("header", "field", "error"),
    [
        ("a", "b", ONE_KEY),
        ("a", "A", ONE_KEY),
        ("a, b", ..., ONE_KEY),
        ("a,a,b", ..., ONE_KEY),
        ("a,a", "b", ONE_KEY),
        ("a,b", "a", ONE_KEY),
        ("a,b", "b,a", ONE_KEY),
        ("x" * 256, None, "The idempotency key is longer than 255 characters; send a shorter one"),
        (None, "x" * 256, "The idempotency key is longer than 255 characters; send a shorter one"),
        ("a", 7, "idempotencyKey must be a string"),
        ("\ud800", None, "The idempotency key is not valid Unicode; send another one"),
    ],
)
def test_differing_or_malformed_idempotency_keys_are_refused(header: str | None, field: object, error: str) -> None:
    """[28]"""
    assert refusal(PHONE if field is ... else PHONE | {"idempotencyKey": field}, header) == error


# --- generated bodies ------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documented = st.sampled_from([*FIELDS, "status", "_id"])
plausible = st.sampled_from(["phone", "email", "byon", "purchased", "a@b.co", "5550100", "Ada", "", " ", None])


@settings(max_examples=1000)
@given(st.dictionaries(documented, plausible | values), st.none() | st.text(max_size=300))
def test_any_object_is_read_or_refused_by_field(body: dict[str, object], key: str | None) -> None:
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
def test_any_json_in_any_encoding_is_read_or_refused(value: object, encoding: str) -> None:
    """[13]"""
    assert_read_or_refused(
        json.dumps(value, ensure_ascii=False).encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """[13]"""
    assert_read_or_refused(body)


def assert_read_or_refused(body: bytes) -> None:
    with suppress(Invalid):
        requests.read_line_request(request(body))
