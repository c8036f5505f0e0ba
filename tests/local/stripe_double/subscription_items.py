"""Subscription items: adding, changing and removing them, with what that costs at once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .account import merge_metadata
from .catalogue import amount_in, plan_of, require_sold
from .errors import ApiError, bad_request, missing
from .invoice_items import pending_items, pricing
from .periods import period_at
from .prorations import credit_unused, debit_remaining
from .renewals import bill, restart, schedule
from .subscription_status import ENDED
from .taxes import require_tax_behavior

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json


def create(account: Account, params: Json) -> Json:
    """POST /v1/subscription_items."""
    subscription = account.get("subscription", params["subscription"], "subscription")
    _require_running(subscription)
    change(account, subscription, [params], params, "")
    item: Json = subscription["items"]["data"][-1]
    return item


def update(account: Account, params: Json, item_id: str) -> Json:
    """POST /v1/subscription_items/{id}."""
    item = account.get("subscription_item", item_id)
    subscription = account.tables["subscription"][item["subscription"]]
    _require_running(subscription)
    change(account, subscription, [params | {"id": item_id}], params, "")
    return item


def delete(account: Account, params: Json, item_id: str) -> Json:
    """DELETE /v1/subscription_items/{id}; the last one stays."""
    item = account.get("subscription_item", item_id)
    subscription = account.tables["subscription"][item["subscription"]]
    _require_running(subscription)
    change(account, subscription, [{"id": item_id, "deleted": True}], params, "")
    return {"id": item_id, "object": "subscription_item", "deleted": True}


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/subscription_items?subscription=…"""
    subscription_id = params["subscription"]
    account.get("subscription", subscription_id, "subscription")
    return account.page(
        "subscription_item",
        params,
        "/v1/subscription_items",
        lambda item: bool(item["subscription"] == subscription_id),
    )


def change(account: Account, subscription: Json, changes: list[Json], params: Json, path: str = "items") -> None:
    """Apply entries of `items`, then prorate or restart the period; `path` names them in refusals."""
    before = copy.deepcopy(subscription["items"]["data"])
    try:
        for index, one in enumerate(changes):
            _apply(account, subscription, one, f"{path}[{index}]" if path else "")
    except ApiError:
        _restore(account, subscription, before)  # a request is carried out as a whole or not at all
        raise
    after = subscription["items"]["data"]
    if after == before:
        return
    account.emit("customer.subscription.updated", subscription, {"items": {"data": before}})
    behavior = params.get("proration_behavior", "create_prorations")
    at = params.get("proration_date", account.now())
    if subscription["status"] in ("trialing", "incomplete", "paused"):
        return  # nothing was charged yet
    if _interval_changed(before, after) or (is_free(before) and not is_free(after)):
        restart(account, subscription, before, behavior, at)
    elif behavior != "none":
        _prorate(account, subscription, before, at)
        if behavior == "always_invoice" and pending_items(
            account, subscription["customer"], subscription["currency"], subscription["id"]
        ):
            bill(account, subscription, [], "subscription_update", at_once=True)


def is_free(items: list[Json]) -> bool:
    """Tell whether every price is zero: a quantity of 0 does not make a subscription free.

    "If all prices on a subscription are zero-amount, switching to a paid subscription always resets the billing cycle
    anchor. With a non-zero price with a quantity of 0, changing the quantity does not": stackoverflow.com/a/79786554,
    which cites docs.stripe.com/billing/subscriptions/billing-cycle.
    """
    return all(float(item["price"]["unit_amount_decimal"] or 1) == 0 for item in items)


def add(account: Account, subscription: Json, given: Json, path: str) -> Json:
    """Store an item; its period is that of the subscription's cycle, or of its trial."""
    name = f"{path}[price]" if path else "price"
    if "price" not in given:
        raise missing(name)
    price = _price(account, subscription, given["price"], name)
    items = subscription["items"]["data"]
    if price["id"] in [item["price"]["id"] for item in items]:
        raise bad_request(f"Cannot add multiple subscription items with the same price: {price['id']}", name)
    item = account.add(
        "subscription_item",
        {
            "billing_thresholds": None,
            "discounts": [],
            "metadata": merge_metadata({}, given.get("metadata")),
            "plan": plan_of(price),
            "price": price,
            "subscription": subscription["id"],
            "tax_rates": [],
        }
        | _period(account, subscription, price),
    )
    del item["livemode"]
    if price["recurring"]["usage_type"] != "metered":
        item["quantity"] = _quantity(given)
    items.append(item)
    return item


def _apply(account: Account, subscription: Json, given: Json, path: str) -> None:
    """Apply one entry of `items`: with an id it changes that item, without one it adds."""
    if "id" not in given:
        add(account, subscription, given, path)
        schedule(account, subscription)
        return
    item = account.get("subscription_item", given["id"], f"{path}[id]" if path else "id")
    if given.get("deleted"):
        _drop(account, subscription, item["id"])
        return
    if "price" in given:
        name = f"{path}[price]" if path else "price"
        price = _price(account, subscription, given["price"], name)
        item |= {"plan": plan_of(price), "price": price}
        if "quantity" in item:
            # "When changing a subscription item's price, quantity is set to 1 unless a quantity parameter is provided":
            # docstring of stripe.params.SubscriptionItemUpdateParams.price.
            item["quantity"] = 1
    if "quantity" in given:
        item["quantity"] = _quantity(given)
    if "metadata" in given:
        item["metadata"] = merge_metadata(item["metadata"], given["metadata"])


def _restore(account: Account, subscription: Json, items: list[Json]) -> None:
    table = account.tables["subscription_item"]
    for item in subscription["items"]["data"]:
        del table[item["id"]]
    subscription["items"]["data"] = items
    table.update({item["id"]: item for item in items})


def _prorate(account: Account, subscription: Json, before: list[Json], at: int) -> None:
    """Credit what changed or was removed, debit what changed or was added (docs: billing/subscriptions/prorations)."""
    now = {item["id"]: item for item in subscription["items"]["data"]}
    charged = {item["id"]: item for item in before}
    same = {one for one in charged.keys() & now.keys() if _charge(charged[one]) == _charge(now[one])}
    for item_id, item in charged.items():
        if item_id not in same:
            credit_unused(account, subscription, item, at)
    for item_id, item in now.items():
        if item_id not in same:
            debit_remaining(account, subscription, item, at)


def _charge(item: Json) -> tuple[str, int]:
    return item["price"]["id"], item.get("quantity", 0)


def _interval_changed(before: list[Json], after: list[Json]) -> bool:
    def interval(item: Json) -> tuple[str, int]:
        recurring = item["price"]["recurring"]
        return recurring["interval"], recurring["interval_count"]

    old = {item["id"]: interval(item) for item in before}
    return any(old.get(item["id"], interval(item)) != interval(item) for item in after)


def _period(account: Account, subscription: Json, price: Json) -> Json:
    if subscription["billing_cycle_anchor"] > account.now():  # in its trial
        start, end = subscription["trial_start"], subscription["billing_cycle_anchor"]
    else:
        start, end = period_at(subscription["billing_cycle_anchor"], price["recurring"], account.now())
    return {"current_period_end": end, "current_period_start": start}


def _quantity(given: Json) -> int:
    quantity: int = given.get("quantity", 1)
    if quantity < 0:
        raise bad_request(f"Invalid integer: {quantity}", "quantity", "parameter_invalid_integer")
    return quantity


def _drop(account: Account, subscription: Json, item_id: str) -> None:
    rest = [item for item in subscription["items"]["data"] if item["id"] != item_id]
    if not rest:
        raise bad_request(
            "A subscription must have at least one active plan. To cancel a subscription, please use the cancel API "
            "endpoint on /v1/subscriptions."
        )
    subscription["items"]["data"] = rest
    del account.tables["subscription_item"][item_id]


def _require_running(subscription: Json) -> None:
    if subscription["status"] in ENDED:
        message = f"The subscription {subscription['id']} is canceled and cannot be updated."
        raise bad_request(message, "subscription")


def _price(account: Account, subscription: Json, price_id: str, param: str) -> Json:
    """Return a price, or refuse one that is archived, not recurring, not in the currency, or lacks a tax behavior."""
    price = account.get("price", price_id, param)
    if not price["active"]:
        # In the words of github.com/invertase/stripe-firebase-extensions/issues/560.
        raise bad_request("The price specified is inactive. This field only accepts active prices.", param)
    require_sold(account, price["product"], param)
    if price["type"] != "recurring":
        message = (
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
        )
        raise bad_request(message, param)
    amount_in(account, price, subscription["currency"], param)
    require_tax_behavior(account, subscription, {"pricing": pricing(price), "tax_rates": []})
    return price
