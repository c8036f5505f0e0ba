"""Taxes"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.assumptions.registry import NotTriedError, assumption, expect, refused

if TYPE_CHECKING:
    import stripe

    from tests.assumptions.account import Account

TAX_BEHAVIOR = "https://docs.stripe.com/tax/products-prices-tax-categories-tax-behavior"
ADDRESS: stripe.params.CustomerCreateParams = {
    "address": {"country": "US", "state": "CA", "city": "San Francisco", "postal_code": "94110", "line1": "1 Main St"}
}


@assumption(
    source="https://docs.stripe.com/billing/taxes/tax-rates",
    if_true="A plan may name tax rates; the page asks for price and tax.",
    if_false="Tax would be included in the price.",
)
def tax_rate_of_an_item_is_added_to_what_is_due(account: Account) -> None:
    """An exclusive tax rate on an item is added to the total; the line's amount stays before tax."""
    customer, product, rate = account.new_customer(), account.new_product(), account.new_tax_rate(20)
    draft = account.new_draft(customer, amount=None)
    account.v1.invoice_items.create(
        {
            "customer": customer,
            "invoice": draft.id,
            "price_data": {"currency": "usd", "product": product, "unit_amount": 1000},
            "tax_rates": [rate],
        }
    )
    invoice = account.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})

    expect("subtotal, total and due", (invoice.subtotal, invoice.total, invoice.amount_due), (1000, 1200, 1200))
    expect("amount of the line", invoice.lines.data[0].amount, 1000)


@assumption(
    source="https://docs.stripe.com/error-codes#customer-tax-location-invalid",
    if_true="The refusal is final: the line is canceled and the error names the customer's address.",
    if_false="The invoice would be finalized without tax.",
)
def automatic_tax_needs_the_address_of_the_customer(account: Account) -> None:
    """An invoice with automatic tax for a customer without an address is refused with customer_tax_location_invalid."""
    _require_automatic_tax(account)
    customer = account.new_customer()

    with refused(400, code="customer_tax_location_invalid"):
        draft = account.new_draft(customer, params={"automatic_tax": {"enabled": True}})
        account.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})


@assumption(
    source=TAX_BEHAVIOR,
    if_true="`plans apply` refuses automatic tax with an add-on price of unspecified tax behaviour.",
    if_false="Such plans would work; the refusal is stricter than need be.",
)
def automatic_tax_refuses_unspecified_tax_behavior(account: Account) -> None:
    """With automatic tax and no default in the account, an item of unspecified tax behaviour is refused with 400."""
    _require_automatic_tax(account, default_behavior=False)
    customer, product = account.new_customer(params=ADDRESS), account.new_product()
    draft = account.new_draft(customer, None, params={"automatic_tax": {"enabled": True}})

    with refused(400):
        account.v1.invoice_items.create(
            {
                "customer": customer,
                "invoice": draft.id,
                "price_data": {"currency": "usd", "product": product, "unit_amount": 1000},
            }
        )
        account.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})


def _require_automatic_tax(account: Account, *, default_behavior: bool | None = None) -> None:
    """Give up where the account's tax settings cannot answer the question."""
    behavior = account.tax_settings()
    if behavior is None:
        raise NotTriedError("Stripe Tax is not set up in this account")
    if default_behavior is False and behavior:
        raise NotTriedError(f"the account has a default tax behaviour ({behavior})")
