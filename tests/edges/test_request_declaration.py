"""The one declaration of a request, compared with what is documented, stored, published and fingerprinted."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from line_requests.bus.events import state_changed
from line_requests.domain.form import FORM
from line_requests.domain.model import Status
from line_requests.domain.submission import CLIENT_NAMES, Kind, Submission, check_phone
from line_requests.flows.create import fingerprint
from line_requests.storage.records import line_item
from tests.decision.examples import SUBMISSIONS, line
from tests.local.ministack import ROOT

Json = dict[str, Any]

SCHEMAS: Json = yaml.load((ROOT / "openapi.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)["components"][
    "schemas"
]
DECLARED: Json = FORM.model_json_schema(by_alias=True)["properties"]
KIND_SCHEMAS = {
    Kind.PURCHASED_PHONE: SCHEMAS["PurchasedPhoneRequest"],
    Kind.BYON_PHONE: SCHEMAS["ByonPhoneRequest"],
    Kind.EMAIL: SCHEMAS["EmailRequest"],
}
# A field that a kind requires has a schema of its own; this kind requires the names alone.
DOCUMENTED: Json = KIND_SCHEMAS[Kind.PURCHASED_PHONE]["properties"]
PHONE_PATTERN: str = SCHEMAS["PhoneNumber"]["pattern"]
FULL = Submission(
    first_name="Ada",
    last_name="Lovelace",
    channel_type="phone",
    line_type="byon",
    email="ada@example.com",
    phone="+15550100200",
    zipcode="94107",
    state="CA",
    forward_calls_to="+15550100300",
    profile_image_url="https://images.example.com/ada.png",
)


def limits(schema: Json) -> tuple[set[str], int | None]:
    """The types and the greatest length that a schema allows."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    choices = schema.get("anyOf", [schema])
    types = {
        name for choice in choices for name in ([choice["type"]] if isinstance(choice["type"], str) else choice["type"])
    }
    return types, next((choice["maxLength"] for choice in choices if "maxLength" in choice), None)


# --- documented -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_documented_fields_are_those_declared(kind: Kind) -> None:
    """[6][11]"""
    assert set(KIND_SCHEMAS[kind]["properties"]) == set(DECLARED) | {"idempotencyKey"}


@pytest.mark.parametrize("field", sorted(set(DECLARED) - {"channelType", "lineType"}))
def test_documented_types_and_lengths_are_those_declared(field: str) -> None:
    """[12][13]"""
    assert limits(DOCUMENTED[field]) == limits(DECLARED[field])


def test_documented_channel_types_are_those_of_the_kinds() -> None:
    """[7]"""
    assert SCHEMAS["ChannelType"]["enum"] == list(dict.fromkeys(kind.channel_type for kind in Kind))
    assert set(KIND_SCHEMAS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_documented_requirements_of_a_kind_are_those_declared(kind: Kind) -> None:
    """[8][9]"""
    schema = KIND_SCHEMAS[kind]
    assert schema["properties"]["channelType"]["const"] == kind.channel_type
    always = {"firstName", "lastName", "channelType"}
    assert set(schema["required"]) - {"lineType"} == always | set(kind.required)
    line_type = schema["properties"]["lineType"]
    # Email tolerates any lineType.
    assert "$ref" in line_type or kind.line_type in line_type.get("enum", [line_type.get("const")])
    assert ("lineType" in schema["required"]) is ("const" in line_type), "only the first kind needs no lineType"


@given(st.from_regex(PHONE_PATTERN, fullmatch=True))
def test_phones_of_the_documented_pattern_are_accepted(phone: str) -> None:
    """[10]"""
    check_phone(phone)


@given(
    st.text(
        st.sampled_from("+0123456789 -.()/\u00a0\u2007\u2009\u200a\u202f\u2010\u2011\u2012\u2013\u2014\u2015\u2212ax")
    )
)
def test_phones_that_are_accepted_match_the_documented_pattern(phone: str) -> None:
    """[10]"""
    try:
        check_phone(phone)
        accepted = True
    except ValueError:
        accepted = False
    assert accepted is bool(re.fullmatch(PHONE_PATTERN, phone))


def test_names_of_kinds_never_change_because_items_events_and_plans_have_them() -> None:
    assert list(map(str, Kind)) == ["purchased_phone", "byon_phone", "email"]


@pytest.mark.parametrize("kind", Kind)
def test_submission_counts_towards_the_kind_that_it_names(kind: Kind) -> None:
    """[7][8][9]"""
    assert SUBMISSIONS[kind].kind is kind


# --- stored, published, fingerprinted ------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_published_fields_are_those_declared(kind: Kind) -> None:
    """[48]"""
    published = state_changed(line(kind, Status.PROVISIONING))["line"]
    assert list(published) == list(DECLARED)
    assert list(published.values()) == list(asdict(SUBMISSIONS[kind]).values())


def test_stored_fields_are_those_declared() -> None:
    """[11]"""
    assert set(line_item(line(submission=FULL))["submission"]) == set(CLIENT_NAMES)


@dataclass(frozen=True)
class LaterSubmission(Submission):
    """What a later release declares: one more optional field."""

    nickname: str | None = None


def test_new_optional_field_does_not_change_a_stored_fingerprint() -> None:
    """[29] Otherwise a deploy makes every earlier key replay with a mismatch."""
    for submission in (FULL, *SUBMISSIONS.values()):
        later = LaterSubmission(**asdict(submission))
        assert fingerprint(later) == fingerprint(submission)
        assert fingerprint(replace(later, nickname="A")) != fingerprint(submission)


def test_fingerprint_stays_what_earlier_releases_stored() -> None:
    """[29]"""
    assert (
        fingerprint(SUBMISSIONS[Kind.PURCHASED_PHONE])
        == "831ba7e514c0e2519bde41bd72dab159f3eb0855a049293f82e5bedf339356c2"
    )
    assert fingerprint(FULL) == "4f1109fa15115172556aa05d30d5679b34bd6dc2f27c1e294c5f956cc0063889"


@pytest.mark.parametrize("field", CLIENT_NAMES)
def test_fingerprint_tells_every_declared_field(field: str) -> None:
    """[29]"""
    assert fingerprint(replace(FULL, **{field: "another"})) != fingerprint(FULL)
