"""The Stripe side of these tests: prices, customers and subscriptions, made with the real SDK."""

from __future__ import annotations

from tests.support.account import Account

OPERATOR_API_KEY = "sk_test_operator"


class Shop(Account):
    """One Stripe account, at the double."""

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

    def move(self, customer: str, price: str) -> None:
        """Changes what the customer subscribes to."""
        subscription = self.v1.subscriptions.list({"customer": customer}).data[0]
        item = subscription["items"].data[0].id
        self.v1.subscriptions.update(subscription.id, {"items": [{"id": item, "price": price}]})

    def cancel(self, customer: str) -> None:
        """Ends the customer's subscription."""
        self.v1.subscriptions.cancel(self.v1.subscriptions.list({"customer": customer}).data[0].id)
