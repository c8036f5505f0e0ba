"""Who is calling: an API key of a workspace, or a Clerk session of its organisation (contract 1-5)."""

import math
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from line_requests import listing
from line_requests.errors import Invalid, LineNotFound, Unauthorized
from line_requests.http import Request
from line_requests.items import WORKSPACE_ID, hash_of
from line_requests.model import Line
from line_requests.settings import Settings
from line_requests.store import Store

# The key names its workspace, so that workspace and keys are read in one call; the checksum lets
# garbage be refused without any.
_API_KEY = re.compile(f"(tuco_({WORKSPACE_ID})_[0-9a-f]{{32}})([0-9a-f]{{8}})")
# Clocks of Clerk and Lambda may differ by this much, as in Clerk's own libraries.
CLOCK_SKEW_S = 5
# Clerk's ids are ASCII, and much shorter.
_ORGANISATION = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Credential:
    """A workspace, and the hash of the API key that still has to be found among its keys."""

    workspace_id: str
    key_hash: str | None = None

    def confirm(self, api_keys: Mapping[str, Any]) -> None:
        """Raises Unauthorized unless the key is one of the workspace's and not revoked."""
        if self.key_hash is None:
            return
        key = api_keys.get(self.key_hash)
        if key is None or key.get("revoked_at") is not None:
            raise Unauthorized


def read(authorization: str | None, settings: Settings, store: Store, now_ms: int) -> Credential:
    """Reads an Authorization header; an API key costs no call yet. Raises Unauthorized."""
    scheme, _, token = (authorization or "").strip(" \t").partition(" ")
    token = token.strip(" \t")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized
    if token.startswith("tuco_"):
        key = _API_KEY.fullmatch(token)
        if key is None or _checksum(key[1]) != key[3]:
            raise Unauthorized
        return Credential(workspace_id=key[2], key_hash=hash_of(token))
    workspace_id = store.workspace_of_organisation(_organisation(token, settings, now_ms))
    if workspace_id is None:
        raise Unauthorized
    return Credential(workspace_id)


def open_line(request: Request, settings: Settings, store: Store) -> Line:
    """The line that a request names; raises Unauthorized, Invalid, LineNotFound, in this order (contract 5, 37, 41)."""
    credential = read(request.headers.get("authorization"), settings, store, request.at_ms)
    line_id = listing.line_id(request.path_id)
    opening = store.opening(credential.workspace_id, line_id=line_id or "-")
    credential.confirm(opening.api_keys)
    if line_id is None:
        raise Invalid(listing.INVALID_ID)
    if opening.line is None:
        raise LineNotFound
    return opening.line


def new_api_key(workspace_id: str) -> str:
    """A fresh key: 128 random bits, so its plain SHA-256 gives nothing away."""
    body = f"tuco_{workspace_id}_{secrets.token_hex(16)}"
    return body + _checksum(body)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _organisation(token: str, settings: Settings, now_ms: int) -> str:
    """The organisation of a Clerk session token, versions 1 and 2; raises Unauthorized.

    https://clerk.com/docs/guides/sessions/session-tokens
    """
    if not settings.clerk_issuer or not settings.clerk_public_key or token.count(".") != 2:  # noqa: PLR2004 - JWS compact form
        raise Unauthorized
    import jwt  # API keys do not pay for it

    try:
        claims = jwt.decode(
            token,
            settings.clerk_public_key,
            algorithms=["RS256"],
            issuer=settings.clerk_issuer,
            # Time is checked below, against the event's clock.
            options={
                "require": ["exp", "iat", "sid", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
            },
        )
    except (jwt.PyJWTError, ValueError):
        raise Unauthorized from None
    _check_time(claims, now_ms / 1000)
    party, parties = claims.get("azp"), settings.clerk_authorized_parties
    version_2 = claims.get("o")
    organisation = claims.get("org_id") or (version_2.get("id") if isinstance(version_2, dict) else None)
    listed = not parties or party is None or (isinstance(party, str) and party in parties)
    if claims.get("sts") == "pending":  # signed in, but Clerk still wants something of them
        raise Unauthorized
    session = claims["sid"]
    if not listed or not isinstance(session, str) or not session.strip():
        raise Unauthorized
    if not isinstance(organisation, str) or not _ORGANISATION.fullmatch(organisation):
        raise Unauthorized
    return organisation


def _check_time(claims: Mapping[str, Any], now_s: float) -> None:
    starts, ends = [claims["iat"], claims.get("nbf", 0)], claims["exp"]
    if not all(type(moment) in {int, float} and math.isfinite(moment) for moment in (*starts, ends)):
        raise Unauthorized
    if ends <= now_s or max(starts) > now_s + CLOCK_SKEW_S:
        raise Unauthorized
