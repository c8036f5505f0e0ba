"""Every kind of request that the product sends to Stripe, against stripe-mock: Stripe's own OpenAPI description.

What the Stripe double received (tests/vendor/traffic.py) is sent once more, each distinct request once.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.local.stripe_double.routes import find_route
from tests.vendor.engines import VENDOR, stripe_mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local.stripe_double.api import LoggedRequest
    from tests.vendor.traffic import Traffic

ENDPOINTS = 39  # fewer: a story no longer reaches Stripe as it did; more: count again
# The SDK's version is later than the one that stripe-mock describes.
LATER_VERSION = "object property 'api_version' validation failed: value is not in enumeration"


@pytest.fixture(scope="module")
def mock() -> Iterator[stripe.StripeClient]:
    with stripe_mock() as url:
        yield stripe.StripeClient("sk_test_mock", base_addresses={"api": url}, max_network_retries=0)


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/v1/invoices"), ("get", "/v1/events"), ("delete", "/v1/subscription_items/si_1")]
)
def test_a_parameter_that_stripe_does_not_know_is_refused(mock: stripe.StripeClient, method: str, path: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="additional properties"):
        mock.raw_request(method, path, colour="blue")


def test_stripes_openapi_accepts_every_request_of_the_product(
    traffic: Traffic, mock: stripe.StripeClient, note: Callable[[str], None]
) -> None:
    distinct: dict[str, LoggedRequest] = {}
    counts = Counter[str]()
    for request in traffic.requests:
        counts[_shape(request)] += 1
        distinct.setdefault(_shape(request), request)
    assert len({(r.method, find_route(r.method, r.path)[0].path) for r in distinct.values()}) == ENDPOINTS

    refused = [f"{shape}: {error}" for shape, request in distinct.items() if (error := _refusal(mock, request))]
    refused = [one for one in refused if LATER_VERSION not in one]
    described = re.search(rb'"version": ?"(20\d\d-[\w.-]+)"', (VENDOR / "bin/stripe-mock").read_bytes())
    version = described[1].decode() if described else "of an unknown version"
    note(
        f"Stripe's OpenAPI {version} accepts {len(distinct) - len(refused)} of {len(distinct)} distinct requests"
        f" ({counts.total()} in all); the SDK speaks {stripe.api_version}:"
    )
    for shape in sorted(distinct):
        note(f"  {shape}")
    assert not refused, "\n".join(refused)


def _shape(request: LoggedRequest) -> str:
    """Method, path without ids, and the names of the parameters."""
    names = sorted({re.sub(r"\[\d+\]", "[]", name) for name in _names(request.params)})
    return f"{request.method:6} {find_route(request.method, request.path)[0].path} {' '.join(names)}".rstrip()


def _names(params: Any, under: str = "") -> Iterator[str]:  # noqa: ANN401 - any of JSON's types
    if isinstance(params, dict):
        for name, value in params.items():
            # Metadata's names are ours to choose.
            yield from [name] if name == "metadata" else _names(value, f"{under}[{name}]" if under else name)
    elif isinstance(params, list):
        for value in params:
            yield from _names(value, f"{under}[]")
    else:
        yield under


def _refusal(mock: stripe.StripeClient, request: LoggedRequest) -> str | None:
    try:
        mock.raw_request(request.method.lower(), request.path, **request.params)
    except stripe.InvalidRequestError as error:
        return str(error)
    return None
