"""Prorations: credits for time that was debited and is not used, debits for the rest of a period; by the second."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from .catalogue import amount_in
from .discounts import net_of, round_half_up
from .invoice_items import add_item, pricing, subscription_of, subscription_parent

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json


def period_amount(account: Account, subscription: Json, item: Json) -> Decimal:
    """Return what a whole period of an item costs; a trial is free."""
    if subscription["status"] == "trialing":
        return Decimal(0)
    return amount_in(account, item["price"], subscription["currency"], "price") * int(item.get("quantity", 0))


def record_debit(account: Account, item: Json, amount: int, start: int) -> None:
    """Record the amount that an item was debited for `start` to the end of its period."""
    account.hidden[item["id"]]["debits"] = [(amount, start, item["current_period_end"])]


def credit_unused(account: Account, subscription: Json, item: Json, at: int) -> None:
    """Add pending credits for debited time after `at`.

    "Flexible billing mode calculates credit prorations based on the original amount previously debited":
    docs.stripe.com/billing/subscriptions/billing-mode/compare#credit-proration-calculations. So a quantity that was
    raised with `none` is not credited.
    """
    for amount, start, end in account.hidden[item["id"]].pop("debits", []):
        unused = round_half_up(Decimal(amount) * (end - max(at, start)) / (end - start))
        if end > at and unused:
            text = _text("Unused", account, item, at)
            _add(account, subscription, item, -unused, {"description": text, "period": {"end": end, "start": at}})


def debit_remaining(account: Account, subscription: Json, item: Json, at: int) -> None:
    """Add a pending debit for the rest of the period at the item's present price and quantity."""
    start, end = item["current_period_start"], item["current_period_end"]
    gross = round_half_up(period_amount(account, subscription, item) * (end - at) / (end - start))
    amount = net_of(account, subscription, gross)
    record_debit(account, item, amount, at)
    if amount:
        text = _text("Remaining", account, item, at)
        _add(account, subscription, item, amount, {"description": text, "period": {"end": end, "start": at}})


def drop_pending(account: Account, subscription: Json) -> None:
    """Delete the pending prorations of a subscription."""
    for item in list(account.tables["invoiceitem"].values()):
        if item["proration"] and item["invoice"] is None and subscription_of(item) == subscription["id"]:
            account.emit("invoiceitem.deleted", account.tables["invoiceitem"].pop(item["id"]))


def _text(kind: str, account: Account, item: Json, at: int) -> str:
    name = account.tables["product"][item["price"]["product"]]["name"]
    return f"{kind} time on {item.get('quantity', 1)} x {name} after {datetime.fromtimestamp(at, UTC):%d %b %Y}"


def _add(account: Account, subscription: Json, item: Json, amount: int, shown: Json) -> None:
    fields = {
        "amount": amount,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        # "All invoice items that are prorations are set to discountable=false":
        # docs.stripe.com/billing/subscriptions/prorations#prorations-and-discounts
        "discountable": False,
        "metadata": {},
        "parent": subscription_parent(subscription["id"], item["id"]),
        "pricing": pricing(item["price"]),
        "proration": True,
        "proration_details": {"credited_items": None, "discount_amounts": []},
        "quantity": item.get("quantity", 1),
        "tax_rates": [],
    }
    add_item(account, fields | shown)
