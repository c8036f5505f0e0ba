"""The Stripe SDK's client: pinned version, time-outs, retries, long lists, webhook signatures."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import requests
import stripe

from line_requests.billing.errors import stripe_errors
from line_requests.clock import Clock

# Pinned by the SDK, whose types are of this version; a test compares.
API_VERSION = "2026-10-28.endive"
CALL_TIMEOUT_S = 8.0  # Stripe's slowest answers take a few seconds; the SDK's own limit is 80.
SMALLEST_CALL_S = 0.3  # With less time left a call is not worth starting.
MAX_NETWORK_RETRIES = 1
PAGE = 100

# At its default level the SDK logs what Stripe refuses, in texts that hold names and addresses.
logging.getLogger("stripe").setLevel(logging.WARNING)

# One pool of connections per process: a TLS handshake costs as much as a call.
_CONNECTIONS = requests.adapters.HTTPAdapter()


class _DeadlineSession(requests.Session):
    """Cuts every call's time-out to the time that the caller has left."""

    def __init__(self, remaining_s: Callable[[], float]) -> None:
        super().__init__()
        self._remaining_s = remaining_s
        self.mount("https://", _CONNECTIONS)
        self.mount("http://", _CONNECTIONS)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        remaining_s = self._remaining_s()
        if remaining_s < SMALLEST_CALL_S:
            raise requests.Timeout("no time left for another call to Stripe")
        kwargs["timeout"] = min(CALL_TIMEOUT_S, remaining_s)
        return super().request(*args, **kwargs)


def connect(api_key: str, *, api_base: str, clock: Clock) -> stripe.StripeClient:
    """A client whose calls end when the clock does."""
    return stripe.StripeClient(
        api_key,
        stripe_version=API_VERSION,
        base_addresses={"api": api_base},
        http_client=stripe.RequestsClient(session=_DeadlineSession(clock.remaining_s)),
        max_network_retries=MAX_NETWORK_RETRIES,
    )


def is_live(api_key: str) -> bool:
    """Whether a key, restricted or not, is of live mode."""
    return "_live_" in api_key


def list_all(client: stripe.StripeClient, path: str, params: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    """A long list's objects as plain JSON: the SDK's objects take ten times as long to make."""
    while True:
        with stripe_errors():
            page: Any = client.raw_request("get", path, **params).data
        yield from page["data"]
        if not page["has_more"]:
            return
        params = {**params, "starting_after": page["data"][-1]["id"]}


def is_signed(body: bytes, header: str, secrets: object) -> bool:
    """Whether one of the secrets (two during a rotation) made one of a delivery's signatures."""
    if not isinstance(secrets, list) or not header.isascii():
        return False
    for secret in secrets:
        with suppress(stripe.SignatureVerificationError, UnicodeDecodeError):
            # The SDK refuses an empty secret.
            stripe.WebhookSignature.verify_header(body, header, str(secret or "").strip())
            return True
    return False
