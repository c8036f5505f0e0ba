"""Authentication: API keys by shape and checksum, session tokens signed by a real RSA key, every 401."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import zlib
from dataclasses import replace
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from line_requests.api import auth
from line_requests.api.auth import Credential
from line_requests.api.http import Request
from line_requests.domain.errors import Unauthorized
from line_requests.domain.ids import new_api_key, sha256_hex, workspace_of_api_key
from line_requests.domain.model import ApiKey
from line_requests.settings import Settings
from tests.decision.examples import NOW_MS, workspace_ids

NOW_S = NOW_MS // 1000
ISSUER = "https://clerk.acme.example"
Json = dict[str, Any]


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
        # On one line, as a deployment parameter carries it.
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


def read(authorization: str | None, **env: str) -> Credential:
    headers = {} if authorization is None else {"authorization": authorization}
    return auth.read_credential(Request(headers, "", {}, b"", NOW_MS), settings(**env))


def assert_unauthorized(authorization: str | None, **env: str) -> None:
    with pytest.raises(Unauthorized):
        read(authorization, **env)


# --- the header and API keys ------------------------------------------------------------------------


@given(workspace_ids)
def test_api_key_names_its_workspace_and_passes_checksum(workspace_id: str) -> None:
    """[1][4]"""
    key = new_api_key(workspace_id)
    assert workspace_of_api_key(key) == workspace_id
    assert re.fullmatch(rf"tuco_{workspace_id}_[0-9a-f]{{40}}", key)
    credential = read(f"Bearer {key}", CLERK_ISSUER="", CLERK_PUBLIC_KEY="")
    assert credential == Credential(workspace_id, sha256_hex(key))
    assert key not in repr(credential)


def test_api_keys_are_unique() -> None:
    """[5]"""
    assert len({new_api_key("acme") for _ in range(100)}) == 100


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_authorization_scheme_is_case_insensitive(scheme: str) -> None:
    """[2]"""
    key = new_api_key("acme")
    assert read(f"{scheme} {key}").workspace_id == "acme"
    assert read(f"  {scheme}   {key} ").workspace_id == "acme"


def test_api_key_is_case_sensitive() -> None:
    """[2]"""
    key = new_api_key("acme")
    for other in (key.upper(), key.replace("tuco", "Tuco"), key[:-1] + key[-1].upper() if key[-1].isalpha() else "x"):
        assert_unauthorized(f"Bearer {other}")


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer ", "Bearer\t", "Basic dXNlcjpwYXNz", "Bearer a b"])
def test_header_without_bearer_token_is_unauthorized(header: str | None) -> None:
    """[1]"""
    assert_unauthorized(header)


def test_api_key_without_bearer_scheme_is_unauthorized() -> None:
    """[1]"""
    key = new_api_key("acme")
    for header in (key, f"Token {key}", f"Basic {key}", f"Bearer:{key}", f"Bearer {key},Bearer {key}", f"Bearer{key}"):
        assert_unauthorized(header)


def forged(body: str) -> str:
    return body + f"{zlib.crc32(body.encode()):08x}"


def test_malformed_api_key_is_unauthorized_without_reading_the_table() -> None:
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


def test_api_key_must_be_stored_and_not_revoked() -> None:
    """[1][2]"""
    key = new_api_key("acme")
    credential = read(f"Bearer {key}")
    assert credential.api_key_hash == sha256_hex(key)
    stored = ApiKey(sha256_hex(key), "first", NOW_MS)
    credential.confirm(stored)
    for api_key in (None, replace(stored, revoked_at_ms=NOW_MS), replace(stored, revoked_at_ms=0)):
        with pytest.raises(Unauthorized):
            credential.confirm(api_key)


@given(st.text(max_size=80))
def test_any_header_is_unauthorized_without_a_valid_key(header: str) -> None:
    """[1]"""
    for text in (header, f"Bearer {header}", f"Bearer tuco_{header}"):
        assert_unauthorized(text)


# --- session tokens -----------------------------------------------------------------------------------


def test_session_token_names_its_organisation() -> None:
    """[3][4]"""
    credential = read(f"Bearer {token()}")
    assert credential == Credential(organisation="org_acme")
    credential.confirm(None)


def test_session_token_version_2_names_its_organisation() -> None:
    """[3]"""
    assert read(f"Bearer {token(org_id=..., v=2, o={'id': 'org_acme', 'rol': 'admin'})}").organisation == "org_acme"


def test_session_token_party_is_free_if_none_listed_and_may_be_absent() -> None:
    """[3]"""
    assert read(f"Bearer {token(azp='https://evil.example')}", CLERK_AUTHORIZED_PARTIES="").organisation == "org_acme"
    assert read(f"Bearer {token(azp=...)}").organisation == "org_acme"
    assert read(f"Bearer {token(azp='https://beta.acme.example')}").organisation == "org_acme"


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
    "an organisation that no id could be": {"org_id": "org acme"},
    "an organisation of 256 characters": {"org_id": "o" * 256},
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
def test_session_token_with_wrong_claims_is_unauthorized(why: str) -> None:
    """[3]"""
    assert_unauthorized(f"Bearer {token(**REFUSED[why])}")


def test_session_token_allows_clock_skew() -> None:
    """[3]"""
    later = NOW_S + auth.CLOCK_SKEW_S
    assert read(f"Bearer {token(iat=later, nbf=later)}").organisation == "org_acme"


def test_session_token_is_of_the_time_of_its_request_and_for_any_audience() -> None:
    """[3] Lambda's own clock has no say."""
    later_s = NOW_S + 100 * 366 * 86_400
    bearer = token(iat=later_s, nbf=later_s, exp=later_s + 60, aud="https://app.acme.example")
    request = Request({"authorization": f"Bearer {bearer}"}, "", {}, b"", later_s * 1000)
    assert auth.read_credential(request, settings()).organisation == "org_acme"


def by_hand(header: Json, signature: bytes | None = None) -> str:
    """A token that libraries refuse to make."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims()).encode())}"
    if signature is None:
        signature = hmac.digest(public_pem().encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{encode(signature)}"


def test_session_token_requires_rsa_signature_of_issuer() -> None:
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
def test_session_token_is_unauthorized_without_issuer_or_key(missing: str) -> None:
    """[3]"""
    for issuer in (ISSUER, "", ...):
        assert_unauthorized(f"Bearer {token(iss=issuer)}", **{missing: ""})


def test_session_token_is_unauthorized_with_broken_public_key() -> None:
    """[3]"""
    assert_unauthorized(
        f"Bearer {token()}", CLERK_PUBLIC_KEY="-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    )


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_three_part_token_is_unauthorized(head: str, body: str, signature: str) -> None:
    """[3]"""
    assert_unauthorized(f"Bearer {head}.{body}.{signature}")
