"""What plans and workspaces name at Stripe: prices, tax rates, customers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import stripe

from line_requests.billing.errors import or_none, stripe_errors
from line_requests.domain.prices import Amount, TaxBehavior


@dataclass(frozen=True, slots=True)
class StripePrice:
    """A price as Stripe has it, as far as a plan depends on it."""

    id: str
    product: str
    currency: str
    unit_amount: int | None
    """Minor units of the currency; None when it is no whole number of them, or there are tiers."""
    tax_behavior: TaxBehavior
    amounts: Mapping[str, Amount]
    """By currency: the price's own, and those of its currency options."""
    interval: str | None
    """Such as `1 month`; None when it does not recur."""
    active: bool
    metered: bool
    tiered: bool
    per_package: bool
    """Whether its amount is for several lines at once."""

    @property
    def longer_than_a_month(self) -> bool:
        """Whether it renews less often than monthly."""
        count, _, unit = (self.interval or "1 month").partition(" ")
        days = {"day": 1, "week": 7, "month": 31, "year": 365}[unit] * int(count)
        return days > 31  # noqa: PLR2004 - the longest month


class Catalogue:
    """The prices, tax rates and customers of one Stripe account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def price(self, price_id: str) -> StripePrice | None:
        """What a plan may name; None when Stripe does not know it."""
        price = or_none(lambda: self._client.v1.prices.retrieve(price_id, {"expand": ["currency_options"]}))
        return _price(price) if price else None

    def product_active(self, product_id: str) -> bool:
        """Whether the product may still be sold."""
        product = or_none(lambda: self._client.v1.products.retrieve(product_id))
        return product is not None and product.active

    def default_tax_behavior(self) -> str | None:
        """What the account says of prices that say nothing themselves; None when it says nothing, too."""
        with stripe_errors():
            return self._client.v1.tax.settings.retrieve().defaults.tax_behavior

    def tax_rate_active(self, tax_rate_id: str) -> bool:
        """Whether an invoice item may name it."""
        rate = or_none(lambda: self._client.v1.tax_rates.retrieve(tax_rate_id))
        return rate is not None and rate.active

    def customer_livemode(self, customer_id: str) -> bool | None:
        """The mode that a customer lives in; None when Stripe does not know it, or deleted it."""
        customer = or_none(lambda: self._client.v1.customers.retrieve(customer_id))
        return None if customer is None or getattr(customer, "deleted", False) else customer.livemode


def _tax_behavior(text: str | None) -> TaxBehavior:
    return cast("TaxBehavior", text or "unspecified")


def _price(price: stripe.Price) -> StripePrice:
    recurring = price.recurring
    return StripePrice(
        id=price.id,
        product=price.product if isinstance(price.product, str) else price.product.id,
        currency=price.currency,
        unit_amount=price.unit_amount,
        tax_behavior=_tax_behavior(price.tax_behavior),
        amounts={
            currency: Amount(option["unit_amount"], _tax_behavior(option.get("tax_behavior")))
            for currency, option in (price.to_dict().get("currency_options") or {}).items()
            if option.get("unit_amount") is not None
        },
        interval=f"{recurring.interval_count} {recurring.interval}" if recurring else None,
        active=price.active,
        metered=recurring is not None and recurring.usage_type == "metered",
        tiered=price.billing_scheme == "tiered",
        per_package=price.transform_quantity is not None,
    )
