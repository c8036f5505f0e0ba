"""What the product reads of a Stripe account's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.events import WEBHOOK_EVENTS
from line_requests.billing.setup import WebhookEndpoint
from tests.edges.scripted_stripe import listed

if TYPE_CHECKING:
    from tests.edges.scripted_stripe import ScriptedStripe

Json = dict[str, Any]

URL = "https://lines.example/stripe/webhook"
# What a restricted key has to be allowed to read, and where that is tried.
SCOPES = {
    "Customers": "/v1/customers",
    "Subscriptions": "/v1/subscriptions",
    "Invoices": "/v1/invoices",
    "Invoice payments": "/v1/invoice_payments",
    "Credit notes": "/v1/credit_notes",
    "Refunds": "/v1/refunds",
    "Disputes": "/v1/disputes",
    "Invoice items": "/v1/invoiceitems",
    "Prices": "/v1/prices",
    "Products": "/v1/products",
    "Events": "/v1/events",
}


def endpoint(**changes: object) -> Json:
    usual: Json = {
        "id": "we_1",
        "object": "webhook_endpoint",
        "url": URL,
        "enabled_events": ["invoice.paid"],
        "api_version": "2026-10-28.endive",
        "status": "enabled",
    }
    return usual | changes


@pytest.mark.parametrize(
    ("events", "missing"),
    [
        (WEBHOOK_EVENTS, []),
        ({"*"}, []),
        (WEBHOOK_EVENTS - {"refund.failed", "invoice.paid"} | {"charge.succeeded"}, ["invoice.paid", "refund.failed"]),
    ],
)
def test_missing_events_are_what_the_endpoint_does_not_send(events: set[str], missing: list[str]) -> None:
    """[43]"""
    assert WebhookEndpoint("we_1", URL, frozenset(events), None, enabled=True).missing_events == missing


def test_endpoints_are_those_of_the_deployments_address(stripe: ScriptedStripe) -> None:
    """[43]"""
    off, other = endpoint(id="we_2", status="disabled", api_version=None), endpoint(id="we_3", url=f"{URL}/other")
    stripe.answer(200, listed(endpoint(), off, other))
    assert stripe.billing().setup.webhook_endpoints(URL) == [
        WebhookEndpoint("we_1", URL, frozenset({"invoice.paid"}), "2026-10-28.endive", enabled=True),
        WebhookEndpoint("we_2", URL, frozenset({"invoice.paid"}), None, enabled=False),
    ]


def test_what_setup_makes_is_returned(stripe: ScriptedStripe) -> None:
    """[43] Stripe tells an endpoint's secret only when it makes the endpoint."""
    made = WebhookEndpoint("we_1", URL, frozenset({"invoice.paid"}), "2026-10-28.endive", enabled=True)
    stripe.answer(200, endpoint(secret="whsec_1"))
    assert stripe.billing().setup.create_webhook_endpoint(URL) == (made, "whsec_1")
    assert stripe.billing().setup.update_webhook_endpoint("we_1") == made
    assert stripe.billing().setup.create_customer("Ada") == "we_1", "the id, whatever the object is"


@pytest.mark.parametrize("charges", [True, False])
def test_account_says_whether_it_may_charge(stripe: ScriptedStripe, *, charges: bool) -> None:
    stripe.answer(200, {"id": "acct_1", "object": "account", "charges_enabled": charges})
    assert stripe.billing().setup.account() == ("acct_1", charges)


@pytest.mark.parametrize(
    ("configurations", "updates"),
    [
        ([], None),
        ([{"enabled": False, "default_allowed_updates": ["price"]}], frozenset()),
        ([{"enabled": True, "default_allowed_updates": ["price", "quantity"]}], {"price", "quantity"}),
    ],
)
def test_portal_says_what_customers_may_change(
    stripe: ScriptedStripe, configurations: list[Json], updates: set[str] | None
) -> None:
    """[50]"""
    made = [
        {"id": "bpc_1", "object": "billing_portal.configuration", "features": {"subscription_update": one}}
        for one in configurations
    ]
    stripe.answer(200, listed(*made))
    assert stripe.billing().setup.portal_updates() == updates
    assert stripe.calls[0][1].startswith("/v1/billing_portal/configurations?")


@pytest.mark.parametrize("missing", SCOPES)
def test_scope_that_the_key_lacks_is_named(stripe: ScriptedStripe, missing: str) -> None:
    """[34]"""
    for scope in SCOPES:
        if scope == missing:
            stripe.refuse(403, "more_permissions_required")
        else:
            stripe.answer(200, listed())
    assert stripe.billing().setup.missing_scopes() == [missing]
    assert [path for _, path, _ in stripe.calls] == [f"{path}?limit=1" for path in SCOPES.values()]
