"""Coupons, and the discounts that customers and subscriptions have by them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from .account import merge_metadata
from .errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .account import Account
    from .errors import Json


def create_coupon(account: Account, params: Json) -> Json:
    """POST /v1/coupons."""
    if ("percent_off" in params) == ("amount_off" in params):
        raise bad_request("You must pass either percent_off or amount_off.", "percent_off")
    fields = {
        "amount_off": params.get("amount_off"),
        "currency": params.get("currency"),
        "duration": params.get("duration", "once"),
        "duration_in_months": params.get("duration_in_months"),
        "max_redemptions": None,
        "metadata": merge_metadata({}, params.get("metadata")),
        "name": params.get("name"),
        "percent_off": None if "percent_off" not in params else float(params["percent_off"]),
        "redeem_by": None,
        "times_redeemed": 0,
        "valid": True,
    }
    return account.add("coupon", fields, params.get("id"))


def discounts_of(customer: Json) -> list[str]:
    """Return the discounts that an invoice inherits.

    "If not specified, inherits the discount from the invoice's customer": docstring of
    stripe.params.InvoiceCreateParams.discounts.
    """
    return [customer["discount"]["id"]] if customer["discount"] else []


def redeem_all(account: Account, given: list[Json] | str, **owner: str | None) -> list[str]:
    """Return the ids of the discounts that a `discounts` parameter asks for."""
    if isinstance(given, str):  # an empty one: none
        return []
    return [one.get("discount") or redeem(account, one["coupon"], **owner)["id"] for one in given]


def redeem(account: Account, coupon_id: str, **owner: str | None) -> Json:
    """Return a new discount of a customer or subscription."""
    coupon = account.get("coupon", coupon_id, "discounts[0][coupon]")
    coupon["times_redeemed"] += 1
    fields = {
        "checkout_session": None,
        "customer": None,
        "end": None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": None,
        "source": {"coupon": coupon_id, "type": "coupon"},
        "start": account.now(),
        "subscription": None,
        "subscription_item": None,
    }
    discount = account.add("discount", fields | owner)
    del discount["created"], discount["livemode"]
    return discount


def applied(account: Account, discounts: Sequence[str], lines: list[Json]) -> list[Json]:
    """Set each line's `discount_amounts`; return the invoice's `total_discount_amounts`."""
    for line in lines:
        line["discount_amounts"] = []
    totals = []
    for discount_id in discounts:
        coupon = account.get("coupon", account.get("discount", discount_id)["source"]["coupon"])
        open_lines = [line for line in lines if line["discountable"] and line["amount"] > 0]
        left = [line["amount"] - discount_on(line) for line in open_lines]
        base = sum(left)
        off = min(base, coupon["amount_off"] or round_half_up(base * Decimal(str(coupon["percent_off"] or 0)) / 100))
        shares = [off * amount // base for amount in left] if base else []
        if shares:
            shares[-1] += off - sum(shares)
        for line, share in zip(open_lines, shares, strict=True):
            line["discount_amounts"].append({"amount": share, "discount": discount_id})
        totals.append({"amount": off, "discount": discount_id})
    return totals


def net_of(account: Account, subscription: Json, amount: int) -> int:
    """Return a proration's amount after discounts, which is what its invoice item shows unless set to `itemized`.

    docs.stripe.com/changelog/clover/2025-09-30/itemize-proration-discount-amounts
    """
    customer = account.tables["customer"][subscription["customer"]]
    line: Json = {"amount": amount, "discountable": True}
    applied(account, subscription["discounts"] or discounts_of(customer), [line])
    return amount - discount_on(line)


def discount_on(line: Json) -> int:
    """Return the sum of a line's discounts."""
    return sum(one["amount"] for one in line["discount_amounts"])


def round_half_up(amount: Decimal) -> int:
    """Return whole minor units; Stripe does not document its rounding: assumed."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
