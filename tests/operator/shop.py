"""The Stripe side of these tests: prices, customers and subscriptions, made with the real SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import stripe

if TYPE_CHECKING:
    from tests.local.stripe_double import StripeDouble

OPERATOR_API_KEY = "sk_test_operator"


@dataclass
class Shop:
    """One Stripe account, at the double."""

    double: StripeDouble
    http: stripe.RequestsClient

    @property
    def v1(self) -> stripe.V1Services:
        # Another key than the product's: faults are the product's alone.
        return stripe.StripeClient("sk_test_shop", base_addresses={"api": self.double.url}, http_client=self.http).v1

    def product(self) -> str:
        return self.v1.products.create({"name": "Line"}).id

    def price(self, unit_amount: int | None = 1500, **params: Any) -> str:  # noqa: ANN401 - of any parameter
        """A price for every month unless the parameters say otherwise; an argument of None leaves one out."""
        common = {
            "product": self.product(),
            "currency": "usd",
            "unit_amount": unit_amount,
            "recurring": {"interval": "month"},
        }
        given: Any = {name: value for name, value in (common | params).items() if value is not None}
        return self.v1.prices.create(given).id

    def inactive_price(self) -> str:
        price = self.price()
        self.v1.prices.update(price, {"active": False})
        return price

    def price_of_inactive_product(self) -> str:
        product = self.product()
        price = self.price(product=product)
        self.v1.products.update(product, {"active": False})
        return price

    def forget_tax_behavior(self) -> None:
        """As in a new account; Stripe's API cannot unset it."""
        self.double._account.tax_settings["defaults"]["tax_behavior"] = None  # noqa: SLF001

    def customer(self) -> str:
        return self.v1.customers.create({"name": "Ada"}).id

    def subscriber(self, price: str) -> str:
        """A customer who subscribes to the price."""
        customer = self.customer()
        self.v1.subscriptions.create({"customer": customer, "items": [{"price": price}]})
        return customer

    def move(self, customer: str, price: str) -> None:
        """Changes what the customer subscribes to."""
        subscription = self.v1.subscriptions.list({"customer": customer}).data[0]
        item = subscription["items"].data[0].id
        self.v1.subscriptions.update(subscription.id, {"items": [{"id": item, "price": price}]})

    def cancel(self, customer: str) -> None:
        """Ends the customer's subscription."""
        self.v1.subscriptions.cancel(self.v1.subscriptions.list({"customer": customer}).data[0].id)
