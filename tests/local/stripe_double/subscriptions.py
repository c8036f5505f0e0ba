"""Subscriptions, their items, and the invoice a new one makes for itself."""

from __future__ import annotations

import copy
from decimal import Decimal

from . import invoices
from .account import Account, merge_metadata, whole_list
from .errors import Json, bad_request, no_such
from .invoice_items import add_line, pricing
from .objects import SUBSCRIPTION

_DAY_S = 86_400
_INTERVAL_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_ENDED = ("canceled", "incomplete_expired")
# What an update stores as it comes; everything else it accepts changes nothing here.
_STORED = ("cancel_at_period_end", "collection_method", "default_payment_method", "description")


def create(account: Account, params: Json) -> Json:
    """POST /v1/subscriptions; active at once, trialing with a trial, incomplete on request."""
    if "customer" not in params:
        raise bad_request("Missing required param: customer.", "customer", "parameter_missing")
    customer = account.get("customer", params["customer"], "customer")
    if not params.get("items"):
        raise bad_request("Missing required param: items.", "items", "parameter_missing")
    trial_end = _trial_end(account, params)
    incomplete = params.get("payment_behavior") == "default_incomplete" and trial_end is None
    status = "incomplete" if incomplete else "trialing" if trial_end else "active"
    subscription = _new(account, customer, params, status, trial_end)
    account.emit("customer.subscription.created", subscription)
    _make_first_invoice(account, subscription, customer)
    return subscription


def update(account: Account, params: Json, subscription_id: str) -> Json:
    """POST /v1/subscriptions/{id}."""
    subscription = account.get("subscription", subscription_id)
    if subscription["status"] in _ENDED and set(params) - {"metadata", "cancellation_details"}:
        message = "A canceled subscription can only update its cancellation_details and metadata."
        raise bad_request(message)
    changed: Json = {key: params[key] for key in _STORED if key in params}
    if "metadata" in params:
        changed["metadata"] = merge_metadata(subscription["metadata"], params["metadata"])
    if "pause_collection" in params:
        changed["pause_collection"] = _pause_collection(params["pause_collection"])
    if params.get("trial_end") == "now":
        changed |= {"trial_end": account.now(), "status": "active"}
    if "items" in params:
        before = [dict(item) for item in subscription["items"]["data"]]
        for index, change in enumerate(params["items"]):
            _change_item(account, subscription, change, f"items[{index}]")
        account.emit("customer.subscription.updated", subscription, {"items": {"data": before}})
    account.change("customer.subscription.updated", subscription, changed)
    return subscription


def cancel(account: Account, _params: Json, subscription_id: str) -> Json:
    """DELETE /v1/subscriptions/{id}."""
    subscription = account.get("subscription", subscription_id)
    if subscription["status"] in _ENDED:
        raise no_such("subscription", subscription_id, status=404)
    set_status(account, subscription_id, "canceled")
    return subscription


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/subscriptions; without a status all but the canceled."""
    customer, price = params.get("customer"), params.get("price")
    if customer:
        account.get("customer", customer, "customer")
    status = params.get("status")

    def keep(subscription: Json) -> bool:
        if customer not in (None, subscription["customer"]):
            return False
        if price and price not in [i["price"]["id"] for i in subscription["items"]["data"]]:
            return False
        if status is None:
            return bool(subscription["status"] != "canceled")
        return status == "all" or subscription["status"] in (_ENDED if status == "ended" else [status])

    return account.page("subscription", params, "/v1/subscriptions", keep)


def set_status(
    account: Account,
    subscription_id: str,
    status: str | None = None,
    *,
    cancel_at_period_end: bool | None = None,
    pause_collection: Json | str | None = None,
) -> Json:
    """Force a state, as time or a customer would, with the events Stripe sends for it."""
    subscription = account.get("subscription", subscription_id)
    was, now = subscription["status"], account.now()
    changed: Json = {"status": status or was}
    if cancel_at_period_end is not None:
        end = subscription["items"]["data"][0]["current_period_end"]
        changed["cancel_at_period_end"] = cancel_at_period_end
        changed["cancel_at"] = end if cancel_at_period_end else None
    if pause_collection is not None:
        changed["pause_collection"] = _pause_collection(pause_collection)
    if status in _ENDED and was not in _ENDED:
        changed |= {"canceled_at": now, "ended_at": now}
    if was in _ENDED and status not in (None, *_ENDED):
        changed |= {"canceled_at": None, "ended_at": None}
    if status == "trialing":
        changed |= {"trial_start": now, "trial_end": now + 14 * _DAY_S}
    if status == "canceled" and was != "canceled":
        subscription.update(changed)
        account.emit("customer.subscription.deleted", subscription)
        return subscription
    account.change("customer.subscription.updated", subscription, changed)
    if "paused" in (status, was) and status not in (None, was):
        kind = "paused" if status == "paused" else "resumed"
        account.emit(f"customer.subscription.{kind}", subscription)
    return subscription


def delete_customer(account: Account, _params: Json, customer_id: str) -> Json:
    """DELETE /v1/customers/{id}: cancels its subscriptions and leaves a stub."""
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        raise no_such("customer", customer_id, status=404)
    for subscription in list(account.newest("subscription")):
        if subscription["customer"] == customer_id and subscription["status"] not in _ENDED:
            set_status(account, subscription["id"], "canceled")
    account.emit("customer.deleted", customer)
    customer["deleted"] = True
    return {"id": customer_id, "object": "customer", "deleted": True}


def create_item(account: Account, params: Json) -> Json:
    """POST /v1/subscription_items."""
    subscription = account.get("subscription", params["subscription"], "subscription")
    _require_running(subscription)
    item = _add_item(account, subscription, params, "")
    _tell_items_changed(account, subscription)
    return item


def update_item(account: Account, params: Json, item_id: str) -> Json:
    """POST /v1/subscription_items/{id}."""
    item = account.get("subscription_item", item_id)
    subscription = account.tables["subscription"][item["subscription"]]
    _require_running(subscription)
    before = dict(item)
    _change_item(account, subscription, params | {"id": item_id}, "")
    if item != before:
        _tell_items_changed(account, subscription)
    return item


def delete_item(account: Account, _params: Json, item_id: str) -> Json:
    """DELETE /v1/subscription_items/{id}; the last one stays."""
    item = account.get("subscription_item", item_id)
    subscription = account.tables["subscription"][item["subscription"]]
    _require_running(subscription)
    _drop_item(account, subscription, item_id)
    _tell_items_changed(account, subscription)
    return {"id": item_id, "object": "subscription_item", "deleted": True}


def list_items(account: Account, params: Json) -> Json:
    """GET /v1/subscription_items?subscription=…"""
    subscription_id = params["subscription"]
    account.get("subscription", subscription_id, "subscription")
    return account.page(
        "subscription_item",
        params,
        "/v1/subscription_items",
        lambda item: bool(item["subscription"] == subscription_id),
    )


def _new(account: Account, customer: Json, params: Json, status: str, trial_end: int | None) -> Json:
    now = account.now()
    fields = copy.deepcopy(SUBSCRIPTION) | {
        "billing_cycle_anchor": now,
        "customer": customer["id"],
        "start_date": now,
        "status": status,
        "trial_end": trial_end,
        "trial_start": now if trial_end else None,
    }
    fields |= {key: params[key] for key in _STORED if key in params}
    fields["metadata"] = merge_metadata({}, params.get("metadata"))
    subscription = account.add("subscription", fields)
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    subscription["items"] = whole_list(url, [])
    try:
        for index, given in enumerate(params["items"]):
            _add_item(account, subscription, given, f"items[{index}]")
    except Exception:
        del account.tables["subscription"][subscription["id"]]
        raise
    subscription["currency"] = subscription["items"]["data"][0]["price"]["currency"]
    return subscription


def _add_item(account: Account, subscription: Json, given: Json, path: str) -> Json:
    name = f"{path}[price]" if path else "price"
    if "price" not in given:
        raise bad_request(f"Missing required param: {name}.", name, "parameter_missing")
    price = _recurring_price(account, given["price"], name)
    items = subscription["items"]["data"]
    if price["id"] in [item["price"]["id"] for item in items]:
        message = f"Cannot add multiple subscription items with the same price: {price['id']}"
        raise bad_request(message, name)
    metered = price["recurring"]["usage_type"] == "metered"
    now = account.now()
    item = account.add(
        "subscription_item",
        {
            "billed_until": None,
            "billing_thresholds": None,
            "current_period_end": now + _period_s(price),
            "current_period_start": now,
            "discounts": [],
            "metadata": merge_metadata({}, given.get("metadata")),
            "price": price,
            "subscription": subscription["id"],
            "tax_rates": [],
        },
    )
    del item["livemode"]
    if not metered:
        item["quantity"] = given.get("quantity", 1)
    items.append(item)
    return item


def _change_item(account: Account, subscription: Json, change: Json, path: str) -> None:
    """Apply one entry of `items`: with an id it changes that item, without one it adds."""
    if "id" not in change:
        _add_item(account, subscription, change, path)
        return
    item = account.get("subscription_item", change["id"], f"{path}[id]" if path else "id")
    if change.get("deleted"):
        _drop_item(account, subscription, item["id"])
        return
    if "price" in change:
        name = f"{path}[price]" if path else "price"
        item["price"] = _recurring_price(account, change["price"], name)
    if "quantity" in change:
        if change["quantity"] < 0:
            message = f"Invalid integer: {change['quantity']}"
            raise bad_request(message, "quantity", "parameter_invalid_integer")
        item["quantity"] = change["quantity"]
    if "metadata" in change:
        item["metadata"] = merge_metadata(item["metadata"], change["metadata"])


def _drop_item(account: Account, subscription: Json, item_id: str) -> None:
    rest = [item for item in subscription["items"]["data"] if item["id"] != item_id]
    if not rest:
        message = "A subscription must have at least one active plan: cancel it instead."
        raise bad_request(message)
    subscription["items"]["data"] = rest
    del account.tables["subscription_item"][item_id]


def _tell_items_changed(account: Account, subscription: Json) -> None:
    account.emit("customer.subscription.updated", subscription, {"items": {}})


def _require_running(subscription: Json) -> None:
    if subscription["status"] in _ENDED:
        message = f"The subscription {subscription['id']} is canceled and cannot be updated."
        raise bad_request(message, "subscription")


def _recurring_price(account: Account, price_id: str, param: str) -> Json:
    price = account.get("price", price_id, param)
    if price["type"] != "recurring":
        message = (
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
        )
        raise bad_request(message, param)
    return price


def _make_first_invoice(account: Account, subscription: Json, customer: Json) -> None:
    currency = {"currency": subscription["currency"]}
    invoice = invoices.new_draft(account, customer, currency, billing_reason="subscription_create")
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    invoice["parent"] = {
        "quote_details": None,
        "subscription_details": details,
        "type": "subscription_details",
    }
    for item in subscription["items"]["data"]:
        add_line(account, invoice, _line_source(account, subscription, item))
    subscription["latest_invoice"] = invoice["id"]
    account.emit("invoice.created", invoice)
    invoices.finalize(account, {}, invoice["id"])
    if invoice["status"] == "open" and subscription["status"] == "active":
        invoices.settle(account, invoice)


def _line_source(account: Account, subscription: Json, item: Json) -> Json:
    price, quantity = item["price"], item.get("quantity", 0)
    trialing = subscription["status"] == "trialing"
    amount = 0 if trialing else int(Decimal(price["unit_amount_decimal"] or 0) * quantity)
    details = {
        "invoice_item": None,
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": subscription["id"],
        "subscription_item": item["id"],
    }
    return {
        "amount": amount,
        "currency": price["currency"],
        "description": account.tables["product"][price["product"]]["name"],
        "discountable": True,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pricing": pricing(price),
        "quantity": quantity,
        "tax_rates": [],
    }


def _trial_end(account: Account, params: Json) -> int | None:
    days, end = params.get("trial_period_days"), params.get("trial_end")
    if days:
        return account.now() + int(days) * _DAY_S
    return None if end in (None, "now") else int(end)


def _pause_collection(given: Json | str) -> Json | None:
    return {"resumes_at": None} | given if isinstance(given, dict) else None


def _period_s(price: Json) -> int:
    recurring = price["recurring"]
    days: int = _INTERVAL_DAYS[recurring["interval"]] * recurring["interval_count"]
    return days * _DAY_S
