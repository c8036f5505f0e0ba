"""Who is calling: API keys by shape and checksum, session tokens by a real RSA key, every 401."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import zlib
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from line_requests.api import auth
from line_requests.domain.errors import Unauthorized
from line_requests.domain.ids import sha256_hex
from line_requests.settings import Settings
from tests.decision.examples import NOW_MS

NOW_S = NOW_MS // 1000
ISSUER = "https://clerk.acme.example"
Json = dict[str, Any]


class Organisations(Store):
    """A store that knows one organisation, and no table."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def workspace_of_organisation(self, organisation: str) -> str | None:
        self.asked.append(organisation)
        return "acme" if organisation == "org_acme" else None


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem() -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key("ours").public_key().public_bytes(serialization.Encoding.PEM, spki).decode()


def settings(**env: str) -> Settings:
    clerk = {
        "TABLE_NAME": "t",
        "CLERK_ISSUER": ISSUER,
        # As a parameter of a deployment carries it, on one line.
        "CLERK_PUBLIC_KEY": public_pem().replace("\n", "\\n"),
        "CLERK_AUTHORIZED_PARTIES": "https://app.acme.example, https://beta.acme.example",
    }
    return Settings.from_environment(clerk | env)


def claims(**changes: object) -> Json:
    usual = {
        "iss": ISSUER,
        "sub": "user_1",
        "sid": "sess_1",
        "azp": "https://app.acme.example",
        "iat": NOW_S - 10,
        "nbf": NOW_S - 20,
        "exp": NOW_S + 50,
        "org_id": "org_acme",
    }
    return {name: value for name, value in (usual | changes).items() if value is not ...}


def token(key: str = "ours", **changes: object) -> str:
    return jwt.encode(claims(**changes), private_key(key), algorithm="RS256")


def read(authorization: str | None, **env: str) -> auth.Credential:
    return auth.read(authorization, settings(**env), Organisations(), NOW_MS)


def assert_unauthorized(authorization: str | None, **env: str) -> None:
    with pytest.raises(Unauthorized):
        read(authorization, **env)


# --- the header and API keys ------------------------------------------------------------------------


@given(st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True))
def test_a_key_names_its_workspace_and_passes_its_own_checksum(workspace_id: str) -> None:
    """[1][4]"""
    key = auth.new_api_key(workspace_id)
    assert re.fullmatch(rf"tuco_{workspace_id}_[0-9a-f]{{40}}", key)
    credential = auth.read(f"Bearer {key}", Settings.from_environment({"TABLE_NAME": "t"}), Organisations(), NOW_MS)
    assert credential == auth.Credential(workspace_id, sha256_hex(key))
    assert key not in repr(credential)


def test_two_keys_are_never_the_same() -> None:
    """[5]"""
    assert len({auth.new_api_key("acme") for _ in range(100)}) == 100


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    """[2]"""
    key = auth.new_api_key("acme")
    assert read(f"{scheme} {key}").workspace_id == "acme"
    assert read(f"  {scheme}   {key} ").workspace_id == "acme"


def test_the_token_is_not() -> None:
    """[2]"""
    key = auth.new_api_key("acme")
    for other in (key.upper(), key.replace("tuco", "Tuco"), key[:-1] + key[-1].upper() if key[-1].isalpha() else "x"):
        assert_unauthorized(f"Bearer {other}")


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer ", "Bearer\t", "Basic dXNlcjpwYXNz", "Bearer a b"])
def test_without_a_bearer_token_nobody_is_known(header: str | None) -> None:
    """[1]"""
    assert_unauthorized(header)


def test_a_key_without_its_scheme_or_under_another_is_unknown() -> None:
    """[1]"""
    key = auth.new_api_key("acme")
    for header in (key, f"Token {key}", f"Basic {key}", f"Bearer:{key}", f"Bearer {key},Bearer {key}", f"Bearer{key}"):
        assert_unauthorized(header)


def forged(body: str) -> str:
    return body + f"{zlib.crc32(body.encode()):08x}"


def test_a_key_of_another_shape_costs_no_look_at_the_table() -> None:
    """[1]"""
    secret = "0" * 32
    good = forged(f"tuco_acme_{secret}")
    assert read(f"Bearer {good}").workspace_id == "acme"
    wrong = [
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good[:-8],
        good + "0",
        good.replace("acme", "acm"),
        forged(f"tuco__{secret}"),
        forged(f"tuco_{'a' * 41}_{secret}"),
        forged(f"tuco_Acme_{secret}"),
        forged(f"tuco_ac#me_{secret}"),
        forged(f"tuco_acme_{secret[:-1]}g"),
        forged("tuco_acme_" + "\N{ARABIC-INDIC DIGIT ZERO}" * 32),
        "tuco_",
        "tuco_" + "x" * 5000,
    ]
    for key in wrong:
        assert_unauthorized(f"Bearer {key}")


def test_a_key_must_be_among_the_workspace_s_and_not_revoked() -> None:
    """[1][2]"""
    key = auth.new_api_key("acme")
    credential = read(f"Bearer {key}")
    stored: Json = {"label": "first", "created_at": NOW_MS}
    credential.confirm({sha256_hex(key): stored, "other": stored})
    for keys in ({}, {"other": stored}, {key: stored}, {sha256_hex(key): stored | {"revoked_at": NOW_MS}}):
        with pytest.raises(Unauthorized):
            credential.confirm(keys)


@given(st.text(max_size=80))
def test_any_header_is_a_credential_or_unauthorized(header: str) -> None:
    """[1]"""
    for text in (header, f"Bearer {header}", f"Bearer tuco_{header}"):
        assert_unauthorized(text)


# --- session tokens -----------------------------------------------------------------------------------


def test_a_session_acts_for_the_workspace_of_its_organisation() -> None:
    """[3][4]"""
    credential = read(f"Bearer {token()}")
    assert credential == auth.Credential("acme")
    credential.confirm({})


def test_a_version_2_session_names_its_organisation_elsewhere() -> None:
    """[3]"""
    assert read(f"Bearer {token(org_id=..., v=2, o={'id': 'org_acme', 'rol': 'admin'})}").workspace_id == "acme"


def test_without_parties_listed_any_party_may_call_and_one_need_not_be_named() -> None:
    """[3]"""
    assert read(f"Bearer {token(azp='https://evil.example')}", CLERK_AUTHORIZED_PARTIES="").workspace_id == "acme"
    assert read(f"Bearer {token(azp=...)}").workspace_id == "acme"
    assert read(f"Bearer {token(azp='https://beta.acme.example')}").workspace_id == "acme"


REFUSED: dict[str, Json] = {
    "expired": {"exp": NOW_S},
    "expired long ago": {"exp": 1},
    "not yet valid": {"nbf": NOW_S + auth.CLOCK_SKEW_S + 1},
    "issued in the future": {"iat": NOW_S + auth.CLOCK_SKEW_S + 1},
    "without an end": {"exp": ...},
    "without a beginning": {"iat": ...},
    "an end that is no number": {"exp": "tomorrow"},
    "a beginning that is no number": {"nbf": ["now"]},
    "another issuer": {"iss": "https://clerk.evil.example"},
    "without an issuer": {"iss": ...},
    "an unlisted party": {"azp": "https://evil.example"},
    "a party that is no string": {"azp": ["https://app.acme.example"]},
    "a party that is an object": {"azp": {}},
    "without an organisation": {"org_id": ...},
    "an empty organisation": {"org_id": ""},
    "an organisation that is no string": {"org_id": ["org_acme"]},
    "a version 2 organisation that is none": {"org_id": ..., "o": "org_acme"},
    "a version 2 organisation without an id": {"org_id": ..., "o": {"rol": "admin"}},
    "an organisation without a workspace": {"org_id": "org_other"},
    "without a session": {"sid": ...},
    "a session that Clerk still wants something of": {"sts": "pending"},
    "an empty session": {"sid": ""},
    "a blank session": {"sid": " "},
    "a session that is a number": {"sid": 5},
    "an end that is not a number": {"exp": float("nan")},
    "an end that never comes": {"exp": float("inf")},
    "a start that is a truth": {"iat": True},
    "a session that is null": {"sid": None},
    "without a subject": {"sub": ...},
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_session_with_wrong_claims_is_unauthorized(why: str) -> None:
    """[3]"""
    assert_unauthorized(f"Bearer {token(**REFUSED[why])}")


def test_clocks_may_differ_by_a_few_seconds() -> None:
    """[3]"""
    later = NOW_S + auth.CLOCK_SKEW_S
    assert read(f"Bearer {token(iat=later, nbf=later)}").workspace_id == "acme"


def by_hand(header: Json, signature: bytes | None = None) -> str:
    """A token that libraries rightly refuse to make."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims()).encode())}"
    if signature is None:
        signature = hmac.digest(public_pem().encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{encode(signature)}"


def test_only_the_issuer_s_rsa_signature_counts() -> None:
    """[3]"""
    good = token()
    forgeries = [
        token("theirs"),
        by_hand({"alg": "none", "typ": "JWT"}, b""),
        by_hand({"alg": "None"}, b""),
        by_hand({"alg": "HS256", "typ": "JWT"}),
        by_hand({"alg": "RS256"}),
        by_hand({"typ": "JWT"}),
        jwt.encode(claims(), private_key("ours"), algorithm="RS512"),
        good[:-4] + "AAAA",
        good.rsplit(".", 1)[0] + ".",
        good.rsplit(".", 1)[0],
        good + ".x",
        "..",
        "a.b.c",
        "é.é.é",
    ]
    for forgery in forgeries:
        assert_unauthorized(f"Bearer {forgery}")


@pytest.mark.parametrize("missing", ["CLERK_ISSUER", "CLERK_PUBLIC_KEY"])
def test_without_an_issuer_and_its_key_no_session_is_accepted(missing: str) -> None:
    """[3]"""
    assert_unauthorized(f"Bearer {token()}", **{missing: ""})


def test_a_broken_public_key_lets_nobody_in() -> None:
    """[3]"""
    assert_unauthorized(
        f"Bearer {token()}", CLERK_PUBLIC_KEY="-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    )


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_token_of_three_parts_is_unauthorized(head: str, body: str, signature: str) -> None:
    """[3]"""
    assert_unauthorized(f"Bearer {head}.{body}.{signature}")
