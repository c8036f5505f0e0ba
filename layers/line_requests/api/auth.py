"""Who is calling: an API key of a workspace, or a Clerk session of its organisation (contract 1-5)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from line_requests.api.http import Request
from line_requests.domain.errors import Unauthorized
from line_requests.domain.ids import sha256_hex, workspace_of_api_key
from line_requests.domain.model import ApiKey
from line_requests.settings import Settings

# Clocks of Clerk and Lambda may differ by this much, as in Clerk's own libraries.
CLOCK_SKEW_S = 5
# Clerk's ids are ASCII, and much shorter.
_ORGANISATION = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Credential:
    """Who a bearer token speaks for: a workspace by its API key, or a Clerk organisation."""

    workspace_id: str | None = None
    api_key_hash: str | None = None
    organisation: str | None = None
    at_ms: int = field(default=0, compare=False)
    """The request's time, by which an API key may have expired."""

    def confirm(self, api_key: ApiKey | None) -> None:
        """Raises Unauthorized when the API key is unknown, revoked or expired."""
        if self.api_key_hash is not None and (api_key is None or not api_key.works_at(self.at_ms)):
            raise Unauthorized


def read_credential(request: Request, settings: Settings) -> Credential:
    """Reads the Authorization header, without any call; raises Unauthorized."""
    scheme, _, token = request.headers.get("authorization", "").strip(" \t").partition(" ")
    token = token.strip(" \t")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized
    if token.startswith("tuco_"):
        workspace_id = workspace_of_api_key(token)
        if workspace_id is None:
            raise Unauthorized
        return Credential(workspace_id=workspace_id, api_key_hash=sha256_hex(token), at_ms=request.at_ms)
    return Credential(organisation=_organisation(token, settings, request.at_ms))


def _organisation(token: str, settings: Settings, now_ms: int) -> str:
    """The organisation of a Clerk session token, versions 1 and 2; raises Unauthorized.

    https://clerk.com/docs/guides/sessions/session-tokens
    """
    if not settings.clerk_issuer:  # or a token without an issuer would be one of ours
        raise Unauthorized
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
