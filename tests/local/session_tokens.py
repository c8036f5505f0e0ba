"""Session tokens of the stack's own issuer, good ones and bad ones."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Json = dict[str, Any]

ISSUER = "https://clerk.local.test"
AUTHORIZED_PARTY = "http://localhost:5173"  # where a front end under development usually is
LIFETIME_SECONDS = 60  # as Clerk's


class Issuer:
    """A key pair of its own; signs whatever claims it is given."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public_key = self._key.public_key()
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public_pem = public_key.public_bytes(serialization.Encoding.PEM, spki).decode()

    def token(self, organisation: str, claims: Json, header: Json) -> str:
        """Sign the usual claims with these overrides; null removes one. The header's `alg` decides how."""
        now = int(time.time())
        usual = {
            "iss": ISSUER,
            "sub": f"user_{secrets.token_hex(12)}",
            "sid": f"sess_{secrets.token_hex(12)}",
            "azp": AUTHORIZED_PARTY,
            "iat": now,
            "nbf": now - 10,
            "exp": now + LIFETIME_SECONDS,
            "org_id": organisation,
        }
        head = _without_null({"alg": "RS256", "typ": "JWT", "kid": "local"} | header)
        signed = f"{_encode(head)}.{_encode(_without_null(usual | claims))}"
        return f"{signed}.{_base64url(self._signature(str(head.get('alg')), signed.encode()))}"

    def _signature(self, algorithm: str, signed: bytes) -> bytes:
        # By hand, because libraries rightly refuse to make the last two.
        if algorithm.lower() == "none":
            return b""
        if algorithm.startswith("HS"):  # the classical confusion: the public key taken for a shared secret
            return hmac.digest(self.public_pem.encode(), signed, hashlib.sha256)
        return self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def _without_null(values: Json) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _encode(values: Json) -> str:
    return _base64url(json.dumps(values).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
