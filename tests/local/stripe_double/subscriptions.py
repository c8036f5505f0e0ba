"""Subscriptions: creating, updating and canceling them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from . import subscription_items
from .account import merge_metadata, whole_list
from .discounts import redeem_all
from .errors import bad_request, missing, no_such
from .objects import SUBSCRIPTION
from .payments import DECLINED_CARD
from .periods import DAY_S
from .prorations import credit_unused, drop_pending
from .renewals import bill, restart, schedule
from .subscription_status import ENDED, cancellation, end, paused_collection
from .taxes import require_tax_location

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# What an update stores as it comes; everything else it accepts changes nothing here.
_STORED = ("collection_method", "days_until_due", "default_payment_method", "description")


def create(account: Account, params: Json) -> Json:
    """POST /v1/subscriptions; active at once, trialing with a trial, incomplete on request or with a declined card."""
    if "customer" not in params:
        raise missing("customer")
    customer = account.get("customer", params["customer"], "customer")
    if not params.get("items"):
        raise missing("items")
    if params.get("automatic_tax", {}).get("enabled"):
        require_tax_location(customer)
    subscription = _new(account, customer, params)
    account.emit("customer.subscription.created", subscription)
    schedule(account, subscription)
    collect = params.get("payment_behavior") != "default_incomplete"
    at_once = (
        subscription["collection_method"] == "charge_automatically"
    )  # "the first invoice is finalized as part of it"
    bill(account, subscription, subscription["items"]["data"], "subscription_create", at_once=at_once, collect=collect)
    return subscription


def update(account: Account, params: Json, subscription_id: str) -> Json:
    """POST /v1/subscriptions/{id}."""
    subscription = account.get("subscription", subscription_id)
    if subscription["status"] in ENDED and set(params) - {"metadata", "cancellation_details"}:
        raise bad_request("A canceled subscription can only update its cancellation_details and metadata.")
    if "items" in params:
        subscription_items.change(account, subscription, params["items"], params)
    account.change("customer.subscription.updated", subscription, _changed(account, subscription, params))
    if "trial_end" in params:
        _change_trial(account, subscription, params)
    elif params.get("billing_cycle_anchor", {}).get("type") == "now":
        items = subscription["items"]["data"]
        behavior = params.get("proration_behavior", "create_prorations")
        restart(account, subscription, copy.deepcopy(items), behavior, account.now())
    schedule(account, subscription)
    return subscription


def cancel(account: Account, params: Json, subscription_id: str) -> Json:
    """DELETE /v1/subscriptions/{id}.

    "Pending invoice items are included on a final invoice if you generate one. Otherwise, they remain pending. If the
    subscription is set to cancel immediately, pending prorations are removed if invoice_now and prorate are both set to
    false": docstring of stripe.SubscriptionService.cancel.
    """
    subscription = account.get("subscription", subscription_id)
    if subscription["status"] in ENDED:
        raise no_such("subscription", subscription_id, status=404)
    prorate, invoice_now = params.get("prorate", False), params.get("invoice_now", False)
    if prorate:
        for item in subscription["items"]["data"]:
            credit_unused(account, subscription, item, account.now())
    if invoice_now:
        bill(account, subscription, [], "subscription_update", at_once=True)
    elif not prorate:
        drop_pending(account, subscription)
    subscription["cancellation_details"]["reason"] = "cancellation_requested"
    end(account, subscription)
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
        return status == "all" or subscription["status"] in (ENDED if status == "ended" else [status])

    return account.page("subscription", params, "/v1/subscriptions", keep)


def delete_customer(account: Account, _params: Json, customer_id: str) -> Json:
    """DELETE /v1/customers/{id}: cancels its subscriptions and leaves a stub."""
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        raise no_such("customer", customer_id, status=404)
    for subscription in list(account.newest("subscription")):
        if subscription["customer"] == customer_id and subscription["status"] not in ENDED:
            end(account, subscription)
    account.emit("customer.deleted", customer)
    customer["deleted"] = True
    return {"id": customer_id, "object": "customer", "deleted": True}


def _new(account: Account, customer: Json, params: Json) -> Json:
    now = account.now()
    trial_end = _trial_end(account, params)
    card = params.get("default_payment_method") or customer["invoice_settings"]["default_payment_method"]
    incomplete = params.get("payment_behavior") == "default_incomplete" or card == DECLINED_CARD
    status = "trialing" if trial_end else "incomplete" if incomplete else "active"
    fields = copy.deepcopy(SUBSCRIPTION) | {
        "billing_cycle_anchor": trial_end or now,
        "currency": params.get("currency") or _first_currency(account, params),
        "customer": customer["id"],
        "discounts": redeem_all(account, params.get("discounts", []), customer=customer["id"]),
        "start_date": now,
        "status": status,
        "trial_end": trial_end,
        "trial_start": now if trial_end else None,
    }
    fields |= {key: params[key] for key in _STORED if key in params}
    fields["automatic_tax"]["enabled"] = params.get("automatic_tax", {}).get("enabled", False)
    fields["metadata"] = merge_metadata({}, params.get("metadata"))
    subscription = account.add("subscription", fields)
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    subscription["items"] = whole_list(url, [])
    try:
        for index, given in enumerate(params["items"]):
            subscription_items.add(account, subscription, given, f"items[{index}]")
    except Exception:
        del account.tables["subscription"][subscription["id"]]
        raise
    if params.get("cancel_at_period_end"):
        subscription |= cancellation(subscription, cancel_at_period_end=True)
    return subscription


def _changed(account: Account, subscription: Json, params: Json) -> Json:
    changed: Json = {key: params[key] for key in _STORED if key in params}
    if "metadata" in params:
        changed["metadata"] = merge_metadata(subscription["metadata"], params["metadata"])
    if "pause_collection" in params:
        changed["pause_collection"] = paused_collection(params["pause_collection"])
    if "discounts" in params:
        changed["discounts"] = redeem_all(account, params["discounts"], subscription=subscription["id"])
    if "automatic_tax" in params:
        changed["automatic_tax"] = subscription["automatic_tax"] | {"enabled": params["automatic_tax"]["enabled"]}
    if "cancel_at_period_end" in params:
        changed |= cancellation(subscription, cancel_at_period_end=params["cancel_at_period_end"])
    elif "cancel_at" in params:
        changed["cancel_at"] = params["cancel_at"] or None
    if "cancel_at" in changed:
        changed["canceled_at"] = account.now() if changed["cancel_at"] else None
    return changed


def _first_currency(account: Account, params: Json) -> str:
    price = account.tables["price"].get(params["items"][0].get("price", ""), {})
    return str(price.get("currency", "usd"))


def _trial_end(account: Account, params: Json) -> int | None:
    days, until = params.get("trial_period_days"), params.get("trial_end")
    if days:
        return account.now() + int(days) * DAY_S
    return None if until in (None, "now") else int(until)


def _change_trial(account: Account, subscription: Json, params: Json) -> None:
    """End a trial now, or start or move one; either resets the billing date (`restart`)."""
    now, behavior = account.now(), params.get("proration_behavior", "create_prorations")
    items = subscription["items"]["data"]
    if params["trial_end"] == "now":
        if subscription["status"] == "trialing":
            account.change("customer.subscription.updated", subscription, {"trial_end": now, "status": "active"})
            restart(account, subscription, copy.deepcopy(items), behavior, now)
        return
    until = int(params["trial_end"])
    if behavior != "none":
        for item in items:
            credit_unused(account, subscription, item, now)
    for item in items:
        item |= {"current_period_start": now, "current_period_end": until}
    fields = {"billing_cycle_anchor": until, "status": "trialing", "trial_end": until, "trial_start": now}
    account.change("customer.subscription.updated", subscription, fields)
