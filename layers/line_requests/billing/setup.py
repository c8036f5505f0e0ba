"""What the Stripe account has to have beside plans: the webhook endpoint, a key with its scopes, the portal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import stripe

from line_requests.billing.client import API_VERSION, PAGE
from line_requests.billing.errors import stripe_errors
from line_requests.billing.events import WEBHOOK_EVENTS as NEEDED
from line_requests.domain.errors import BillingMisconfigured, BillingRefused

# Any: to the SDK these are literals.
WEBHOOK_EVENTS: Any = sorted(NEEDED)
# https://docs.stripe.com/api/subscriptions/create#create_subscription-trial_period_days
TRIAL_MAX_DAYS = 730
_ADDRESS: stripe.params.CustomerCreateParamsAddress = {
    "line1": "354 Oyster Point Blvd",
    "city": "South San Francisco",
    "state": "CA",
    "postal_code": "94080",
    "country": "US",
}


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A webhook endpoint as Stripe has it; its secret is told once, when it is created."""

    id: str
    url: str
    events: frozenset[str]
    api_version: str | None
    enabled: bool

    @property
    def missing_events(self) -> list[str]:
        """What this release has to hear and the endpoint does not send."""
        return [] if "*" in self.events else sorted(set(WEBHOOK_EVENTS) - self.events)


class Setup:
    """The settings of one Stripe account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def account(self) -> tuple[str, bool]:
        """The id of the key's account, and whether it may charge."""
        with stripe_errors():
            account = self._client.v1.accounts.retrieve_current()
        return account.id, bool(account.charges_enabled)

    def webhook_endpoints(self, url: str) -> list[WebhookEndpoint]:
        """The endpoints of this URL."""
        with stripe_errors():
            listed = list(self._client.v1.webhook_endpoints.list({"limit": PAGE}).auto_paging_iter())
        return [_endpoint(endpoint) for endpoint in listed if endpoint.url == url]

    def create_webhook_endpoint(self, url: str) -> tuple[WebhookEndpoint, str]:
        """A new endpoint with this release's events and version, and its signing secret."""
        params: stripe.params.WebhookEndpointCreateParams = {
            "url": url,
            "enabled_events": WEBHOOK_EVENTS,
            "api_version": API_VERSION,  # type: ignore[typeddict-item] # pinned by the SDK
        }
        with stripe_errors():
            endpoint = self._client.v1.webhook_endpoints.create(params)
        return _endpoint(endpoint), str(endpoint.secret)

    def update_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """Sets this release's events and enables the endpoint; its version cannot be changed."""
        params: stripe.params.WebhookEndpointUpdateParams = {
            "enabled_events": WEBHOOK_EVENTS,
            "disabled": False,
        }
        with stripe_errors():
            return _endpoint(self._client.v1.webhook_endpoints.update(endpoint_id, params))

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Deletes the endpoint."""
        with stripe_errors():
            self._client.v1.webhook_endpoints.delete(endpoint_id)

    def portal_updates(self) -> frozenset[str] | None:
        """What customers may change about a subscription in the portal; None without a portal configuration."""
        with stripe_errors():
            listed = self._client.v1.billing_portal.configurations.list({"is_default": True, "active": True}).data
        if not listed:
            return None
        update = listed[0].features.subscription_update
        return frozenset(update.default_allowed_updates) if update.enabled else frozenset()

    # --- for the smoke test ---------------------------------------------------------------------

    def create_customer(self, name: str) -> str:
        """The id of a new customer, whom Stripe Tax can locate."""
        with stripe_errors():
            return self._client.v1.customers.create({"name": name, "address": _ADDRESS}).id

    def delete_customer(self, customer: str) -> None:
        """Deletes a customer, and so ends its subscriptions."""
        with stripe_errors():
            self._client.v1.customers.delete(customer)

    def start_trial(self, customer: str, price: str) -> None:
        """A subscription that charges nothing: it ends with its trial.

        In the longest trial that Stripe allows a line's first charge is its whole price, which an invoice can ask for.
        """
        params: stripe.params.SubscriptionCreateParams = {
            "customer": customer,
            "items": [{"price": price}],
            "trial_period_days": TRIAL_MAX_DAYS,
            "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
        }
        with stripe_errors():
            self._client.v1.subscriptions.create(params)

    def pay_out_of_band(self, invoice_id: str) -> None:
        """Marks an invoice as paid without any money."""
        with stripe_errors():
            self._client.v1.invoices.pay(invoice_id, {"paid_out_of_band": True})

    def missing_scopes(self) -> list[str]:
        """What the key may not read; that it may write is known only when it does."""
        v1 = self._client.v1
        reads: dict[str, Callable[[], object]] = {
            "Customers": partial(v1.customers.list, {"limit": 1}),
            "Subscriptions": partial(v1.subscriptions.list, {"limit": 1}),
            "Invoices": partial(v1.invoices.list, {"limit": 1}),
            "Invoice payments": partial(v1.invoice_payments.list, {"limit": 1}),
            "Credit notes": partial(v1.credit_notes.list, {"limit": 1}),
            "Refunds": partial(v1.refunds.list, {"limit": 1}),
            "Disputes": partial(v1.disputes.list, {"limit": 1}),
            "Invoice items": partial(v1.invoice_items.list, {"limit": 1}),
            "Prices": partial(v1.prices.list, {"limit": 1}),
            "Products": partial(v1.products.list, {"limit": 1}),
            "Events": partial(v1.events.list, {"limit": 1}),
        }
        return [scope for scope, read in reads.items() if not _allowed(read)]


def _allowed(read: Callable[[], object]) -> bool:
    try:
        with stripe_errors():
            read()
    except (BillingMisconfigured, BillingRefused):
        return False
    return True


def _endpoint(endpoint: stripe.WebhookEndpoint) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=endpoint.id,
        url=endpoint.url,
        events=frozenset(endpoint.enabled_events),
        api_version=endpoint.api_version,
        enabled=endpoint.status == "enabled",
    )
