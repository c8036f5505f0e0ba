"""What automatic tax needs: a location of the customer, and a tax behaviour of every price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import bad_request

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json


def require_tax_location(customer: Json) -> None:
    """Refuse a customer without a tax location: docs.stripe.com/tax/customer-locations, docs.stripe.com/error-codes."""
    if not (customer["address"] or {}).get("country"):
        message = "The customer's location isn't recognized. Set a valid customer address to calculate tax."
        raise bad_request(message, "automatic_tax", "customer_tax_location_invalid")


def require_tax_behavior(account: Account, taxed: Json, source: Json) -> None:
    """Refuse an item that cannot go on an invoice or a subscription with automatic tax.

    "Incompatible invoice items (with manually specified tax rates, negative amounts, or tax_behavior=unspecified)
    cannot be added to automatic tax invoices": docstring of stripe.Invoice.AutomaticTax.enabled. The account's
    default counts for an unspecified one: docstring of stripe.tax.Settings.Defaults.tax_behavior.
    """
    if not taxed["automatic_tax"]["enabled"]:
        return
    if source["tax_rates"]:
        raise bad_request("You cannot specify tax rates while automatic tax is enabled.", "tax_rates")
    price = account.get("price", source["pricing"]["price_details"]["price"]) if source["pricing"] else source
    behavior = price.get("tax_behavior") or "unspecified"
    if behavior == "unspecified" and not account.tax_settings["defaults"]["tax_behavior"]:
        message = "Automatic tax needs a tax_behavior on the price, or a default one in your tax settings."
        raise bad_request(message, "tax_behavior")
