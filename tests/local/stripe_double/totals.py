"""An invoice's lines and what they add up to: discounts, taxes, the customer's balance, minimum amounts."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from .discounts import applied, discount_on, round_half_up
from .taxes import require_tax_behavior

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, in minor units.
MINIMUM_CHARGES = {
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200,
    "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip


def add_line(account: Account, invoice: Json, source: Json) -> Json:
    """Add a line made from an item (or a subscription item) to an invoice and recompute its totals."""
    require_tax_behavior(account, invoice, source)
    line = account.add(
        "line_item",
        {
            "amount": source["amount"],
            "currency": source["currency"],
            "description": source["description"],
            "discount_amounts": [],
            "discountable": source["discountable"],
            "discounts": [],
            "invoice": invoice["id"],
            "metadata": dict(source["metadata"]),
            "parent": source["parent"],
            "period": source["period"],
            "pretax_credit_amounts": [],
            "pricing": source["pricing"],
            "quantity": source["quantity"],
            "quantity_decimal": str(source["quantity"]),
            "subscription": source.get("subscription"),
            "subtotal": source["amount"],
            "taxes": [],
        },
    )
    # A line has no creation time of its own.
    del line["created"]
    account.hidden[line["id"]]["tax_rates"] = source["tax_rates"] or invoice["default_tax_rates"]
    invoice["lines"]["data"].append(line)
    retotal(account, invoice)
    return line


def retotal(account: Account, invoice: Json) -> None:
    """Set the amounts of a draft from its lines and the customer's balance."""
    lines = invoice["lines"]["data"]
    totals = applied(account, invoice["discounts"], lines)
    for line in lines:
        taxable = line["amount"] - discount_on(line)
        line["taxes"] = [_tax(rate, taxable) for rate in account.hidden[line["id"]]["tax_rates"]]
    taxes = [tax for line in lines for tax in line["taxes"]]
    subtotal = sum(line["amount"] for line in lines)
    inclusive = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive")
    total = subtotal - sum(one["amount"] for one in totals) + sum(tax["amount"] for tax in taxes) - inclusive
    due, _ = balanced(account, invoice, total)
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - inclusive,
        "total": total,
        "total_discount_amounts": totals,
        "total_excluding_tax": total - sum(tax["amount"] for tax in taxes),
        "total_taxes": taxes,
    }


def balanced(account: Account, invoice: Json, total: int) -> tuple[int, int]:
    """Return the amount due and the customer's balance after finalizing.

    "Stripe applies any customer credit before determining the amount due. If it is less than the minimum allowed
    charge, the invoice is automatically marked paid, and we add the amount due to the customer's credit balance":
    docstring of stripe.Invoice.
    """
    owed = total + int(account.tables["customer"][invoice["customer"]]["balance"])
    if owed < MINIMUM_CHARGES.get(invoice["currency"], 1):
        return 0, owed
    return owed, 0


def _tax(rate: Json, amount: int) -> Json:
    percentage = Decimal(str(rate["percentage"])) / 100
    share = percentage / (1 + percentage) if rate["inclusive"] else percentage
    return {
        "amount": round_half_up(amount * share),
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": "standard_rated",
        "taxable_amount": amount,
        "type": "tax_rate_details",
    }
