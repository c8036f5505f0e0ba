"""Webhook deliveries with generated bodies and signatures, and signed events that are malformed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.local.stack import WEBHOOK_SECRETS
from tests.local.stripe_double.webhooks import signature_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.stack import LocalStack


bounded = settings(database=None, suppress_health_check=list(HealthCheck))

texts = st.text(max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
header_characters = st.characters(min_codepoint=33, max_codepoint=126)
headers = st.one_of(
    st.text(header_characters, max_size=80),
    st.builds(
        "t={},v1={}".format,
        st.one_of(st.integers(), st.just(int(time.time())), st.text(header_characters, max_size=10)),
        st.text("0123456789abcdef", max_size=64) | st.text(header_characters, max_size=20),
    ),
)
types = st.sampled_from(
    [
        "invoice.paid",
        "invoice.voided",
        "invoice.deleted",
        "customer.subscription.updated",
        "customer.subscription.deleted",
    ]
)
ids = (
    st.sampled_from(["", "in_1", "in_1/void", "../events", "sub_1", "0" * 24, "acme", "a" * 300, "c" * 3000, "\ud800"])
    | texts
)
metadata = st.dictionaries(st.sampled_from(["workspace_id", "line_id"]) | texts, ids | json_values, max_size=3)
subjects = st.fixed_dictionaries(
    {},
    optional={
        "id": ids | json_values,
        "object": st.sampled_from(["invoice", "subscription"]),
        "customer": ids | json_values,
        "metadata": metadata | json_values,
        "status": texts,
    },
)
events = st.fixed_dictionaries(
    {},
    optional={
        "id": texts | json_values,
        "type": types | json_values,
        "livemode": st.booleans() | json_values,
        "data": st.fixed_dictionaries({"object": subjects | json_values}) | json_values,
        "created": json_values,
    },
)


@pytest.fixture(scope="module")
def http(running_stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running_stack.origin, timeout=30) as client:
        yield client


@bounded
@given(body=st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()), header=headers)
def test_unsigned_delivery_is_400(http: httpx.Client, body: bytes, header: str) -> None:
    """[43] With an error, whatever the body and the header are."""
    answer = http.post("/stripe/webhook", content=body, headers={"Stripe-Signature": header})
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


CUSTOMERS: list[object] = ["c" * 3000, "\ud800", "", 7, [], ["cus_1"], {}, {"id": "cus_1"}, {"id": ["cus_1"]}, None]
ODD: list[dict[str, Any]] = [
    *({"data": {"object": {"id": "sub_1", "customer": customer}}} for customer in CUSTOMERS),
    {"type": "customer.subscription.updated", "data": {"object": {}}},
    {"created": "now", "data": {"object": {"id": "sub_1", "customer": "cus_1"}}},
    {"created": 10**300, "data": {"object": {"id": "sub_1", "customer": "cus_1", "metadata": {"line_id": []}}}},
    {"type": "invoice.paid", "data": {"object": {"metadata": {"workspace_id": "acme", "line_id": "0" * 24}}}},
    {"type": "invoice.paid", "data": {"object": {"id": {}, "metadata": {"workspace_id": {}, "line_id": {}}}}},
    {"type": "\ud800", "api_version": None, "data": []},
]


@pytest.mark.parametrize("fields", ODD)
def test_odd_event_of_stripe_is_200(http: httpx.Client, fields: dict[str, object]) -> None:
    """[43] [45] Nothing that Stripe may send is delivered again for three days."""
    event = {"type": "customer.subscription.updated", "livemode": False} | fields
    body = json.dumps(event).encode()
    answer = http.post(
        "/stripe/webhook", content=body, headers={"Stripe-Signature": signature_header(body, WEBHOOK_SECRETS)}
    )
    assert (answer.status_code, answer.json()) == (200, {"received": True})


@bounded
@given(body=st.binary(max_size=200) | (events | json_values).map(lambda v: json.dumps(v).encode()))
def test_signed_but_malformed_event_is_200_or_400(http: httpx.Client, body: bytes) -> None:
    """[43] [45] Never 5xx: Stripe would deliver it again for three days."""
    header = signature_header(body, WEBHOOK_SECRETS)
    answer = http.post("/stripe/webhook", content=body, headers={"Stripe-Signature": header})
    assert answer.status_code in {200, 400}, answer.text
    assert answer.json() == {"received": True} or set(answer.json()) == {"error"}
