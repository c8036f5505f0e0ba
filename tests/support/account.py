"""Short ways to make things in a Stripe account, with the real SDK."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import stripe

if TYPE_CHECKING:
    from tests.local.stripe_double import StripeDouble

Interval = Literal["day", "week", "month", "year"]


@dataclass
class Account:
    """One account at the Stripe double, by a key other than the product's: faults spare it."""

    double: StripeDouble
    http: stripe.RequestsClient = field(default_factory=lambda: stripe.RequestsClient(timeout=10))
    api_key: str = "sk_test_account"

    def client(self, api_key: str | None = None, version: str | None = None) -> stripe.StripeClient:
        return stripe.StripeClient(
            api_key or self.api_key,
            base_addresses={"api": self.double.url},
            http_client=self.http,
            stripe_version=version,
        )

    @property
    def v1(self) -> stripe.V1Services:
        return self.client().v1

    def close(self) -> None:
        self.http.close()  # type: ignore[no-untyped-call] # not annotated by the SDK

    def customer(self, balance: int = 0) -> str:
        return self.v1.customers.create({"name": "Ada", "balance": balance}).id

    def product(self) -> str:
        return self.v1.products.create({"name": "Extra phone line"}).id

    def price(self, unit_amount: int | None = 1500, *, interval: Interval | None = "month", **params: Any) -> str:  # noqa: ANN401 - of any parameter
        """A price for every month unless the parameters say otherwise; a parameter of None is left out."""
        usual = {
            "product": params.get("product") or self.product(),
            "currency": "usd",
            "unit_amount": unit_amount,
            "recurring": {"interval": interval} if interval else None,
        }
        given: Any = {name: value for name, value in (usual | params).items() if value is not None}
        return self.v1.prices.create(given).id

    def subscriber(self, price: str) -> str:
        """A customer who subscribes to the price."""
        customer = self.customer()
        self.v1.subscriptions.create({"customer": customer, "items": [{"price": price}]})
        return customer
