"""The account, its webhook endpoints and its customer portal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_webhook_endpoint_shows_secret_only_on_create(shop: Shop) -> None:
    endpoints = shop.v1.webhook_endpoints
    created = endpoints.create({"url": "https://example.com/hook", "enabled_events": ["invoice.paid"]})
    assert (created.secret or "").startswith("whsec_")

    endpoints.update(created.id, {"enabled_events": ["invoice.paid", "refund.failed"], "disabled": True})

    (found,) = endpoints.list().data
    assert (found.url, found.enabled_events, found.status) == (
        "https://example.com/hook",
        ["invoice.paid", "refund.failed"],
        "disabled",
    )
    assert not hasattr(found, "secret")
    endpoints.delete(created.id)
    with pytest.raises(stripe.InvalidRequestError):
        endpoints.retrieve(created.id)


def test_account_is_retrieved(shop: Shop) -> None:
    account = shop.v1.accounts.retrieve_current()

    assert (account.id, account.country, account.default_currency) == ("acct_double", "US", "usd")


def test_portal_has_default_configuration(shop: Shop) -> None:
    (configuration,) = shop.v1.billing_portal.configurations.list({"is_default": True, "active": True}).data

    assert not configuration.features.subscription_update.enabled
