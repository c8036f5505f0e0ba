"""What time does to subscriptions at Stripe in memory: periods, trials, renewals. Pure functions of Stripe's JSON.

Behaviour as documented: https://docs.stripe.com/billing/subscriptions/billing-cycle (periods follow the anchor),
https://docs.stripe.com/billing/subscriptions/trials, https://docs.stripe.com/billing/invoices/subscription.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from tests.proof.memory_objects import Json, list_of


class Price(NamedTuple):
    """A recurring price, in each of its currencies."""

    interval: str = "month"
    interval_count: int = 1
    unit_amounts: Mapping[str, int] = {"usd": 1500}


Prices = Mapping[str, Price]
_ANY_PRICE = Price()


def price_in(prices: Prices, price_id: str) -> Price:
    """A price of the account; one that nobody described is $15 a month."""
    return prices.get(price_id, _ANY_PRICE)


def next_end(anchor_s: int, price: Price, after_s: int) -> int:
    """When the period that holds this moment ends: the anchor plus a whole number of intervals.

    Counted from the anchor each time, so that the 31st becomes the 28th in February and the 31st again in March.
    """
    anchor = datetime.datetime.fromtimestamp(anchor_s, tz=datetime.UTC)
    count = 0
    end_s = anchor_s
    while end_s <= after_s:
        count += 1
        end_s = int((anchor + _intervals(price, count)).timestamp())
    return end_s


def _intervals(price: Price, count: int) -> relativedelta:
    size = price.interval_count * count
    return {
        "day": relativedelta(days=size),
        "week": relativedelta(weeks=size),
        "month": relativedelta(months=size),
        "year": relativedelta(years=size),
    }[price.interval]


def new_subscription(  # noqa: PLR0913 - what a subscription consists of
    prices: Prices, subscription_id: str, customer: str, price: str, now_s: int, *, currency: str, trial_s: int
) -> Json:
    """An active subscription to a base price, or one in its trial."""
    anchor_s = now_s + trial_s
    end_s = anchor_s if trial_s else next_end(now_s, price_in(prices, price), now_s)
    return {
        "id": subscription_id,
        "object": "subscription",
        "customer": customer,
        "status": "trialing" if trial_s else "active",
        "created": now_s,
        "currency": currency,
        "billing_cycle_anchor": anchor_s,
        "trial_end": anchor_s if trial_s else None,
        "cancel_at_period_end": False,
        "items": list_of([new_item(prices, subscription_id, price, 1, (now_s, end_s))]),
    }


def new_item(prices: Prices, subscription_id: str, price_id: str, quantity: int, period: tuple[int, int]) -> Json:
    """An item of a subscription, with the bounds of its current period."""
    price = price_in(prices, price_id)
    return {
        "id": f"si_{subscription_id}_{price_id}",
        "object": "subscription_item",
        "price": {
            "id": price_id,
            "object": "price",
            "recurring": {"interval": price.interval, "interval_count": price.interval_count},
        },
        "quantity": quantity,
        "current_period_start": period[0],
        "current_period_end": period[1],
        "metadata": {},
    }


def period_of(subscription: Json) -> tuple[int, int]:
    """The current period; all items of a subscription share it, for mixed intervals are refused."""
    first = subscription["items"]["data"][0]
    return first["current_period_start"], first["current_period_end"]


def in_period(subscription: Json, start_s: int, end_s: int) -> Json:
    """The subscription in another period."""
    items = [
        item | {"current_period_start": start_s, "current_period_end": end_s} for item in subscription["items"]["data"]
    ]
    return subscription | {"items": list_of(items)}


def renewed(prices: Prices, subscription: Json) -> Json:
    """The subscription in the period that follows; a trial is over then."""
    _, start_s = period_of(subscription)
    base = price_in(prices, subscription["items"]["data"][0]["price"]["id"])
    end_s = next_end(subscription["billing_cycle_anchor"], base, start_s)
    status = "active" if subscription["status"] == "trialing" else subscription["status"]
    return in_period(subscription, start_s, end_s) | {"status": status}


def with_base(prices: Prices, subscription: Json, before: str, after: str, now_s: int) -> Json:
    """The subscription on another base price; another interval starts a new period now, unless there is a trial.

    Stripe refuses items of different intervals, so the caller that changes the interval removes the others.
    """
    old, new = price_in(prices, before), price_in(prices, after)
    period = period_of(subscription)
    same = (old.interval, old.interval_count) == (new.interval, new.interval_count)
    items = [
        new_item(prices, subscription["id"], after, 1, period) if item["price"]["id"] == before else item
        for item in subscription["items"]["data"]
        if same or item["price"]["id"] == before
    ]
    changed = subscription | {"items": list_of(items)}
    if same or subscription["status"] == "trialing":
        return changed
    return in_period(changed, now_s, next_end(now_s, new, now_s)) | {"billing_cycle_anchor": now_s}


def invoice_for(  # noqa: PLR0913 - what such an invoice consists of
    prices: Prices, subscription: Json, pending: Iterable[Json], reason: str, now_s: int, *, paid: bool
) -> Json:
    """The invoice of a period that begins: each item at its quantity, and the pending invoice items."""
    free = subscription["status"] == "trialing"
    lines = [_line(prices, subscription, item, free=free) for item in subscription["items"]["data"]]
    lines += [line_for_item(item) for item in pending]
    invoice_id = f"in_{subscription['id']}_{now_s}"
    return {
        "id": invoice_id,
        "object": "invoice",
        "customer": subscription["customer"],
        "status": "paid" if paid or not any(line["amount"] for line in lines) else "open",
        "created": now_s,
        "currency": subscription["currency"],
        "metadata": {},
        "billing_reason": reason,
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": subscription["id"]}},
        "hosted_invoice_url": f"https://pay.example/{invoice_id}",
        "lines": list_of(lines),
    }


def _line(prices: Prices, subscription: Json, item: Json, *, free: bool) -> Json:
    start_s, end_s = period_of(subscription)
    price_id, currency = item["price"]["id"], subscription["currency"]
    unit_amount = 0 if free else price_in(prices, price_id).unit_amounts[currency]
    return {
        "id": f"il_{item['id']}_{start_s}",
        "object": "line_item",
        "amount": unit_amount * item["quantity"],
        "currency": currency,
        "quantity": item["quantity"],
        "period": {"start": start_s, "end": end_s},
        "metadata": {},
        "pricing": {"type": "price_details", "price_details": {"price": price_id, "product": f"prod_{price_id}"}},
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
    }


def line_for_item(item: Json) -> Json:
    """The line of an invoice that stands for an invoice item."""
    return {
        "id": f"il_{item['id']}",
        "object": "line_item",
        "amount": item["amount"],
        "currency": item["currency"],
        "description": item.get("description"),
        "quantity": 1,
        "period": item["period"],
        "metadata": item["metadata"],
        "pricing": {"type": "price_details", "price_details": item["pricing"]},
        "parent": {
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": False,
                "subscription": item.get("subscription"),
            },
        },
    }
