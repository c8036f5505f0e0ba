"""What time does to subscriptions: renewals, trials that end, cancellations that come due, and their invoices."""

from __future__ import annotations

import copy
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from . import invoices
from .discounts import discount_on, round_half_up
from .errors import ApiError
from .invoice_items import pending_items, pricing, put_on_invoice
from .invoice_states import finalize, mark_uncollectible, void
from .periods import DAY_S, period_at
from .prorations import credit_unused, period_amount, record_debit
from .subscription_status import ENDED, end
from .totals import add_line

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# "Stripe waits one hour after creation to finalize the invoice": docstring of stripe.Invoice.
_DRAFT_S = 3600
# "If the first invoice is not paid within 23 hours, the subscription transitions to incomplete_expired, the open
# invoice will be voided": docstring of stripe.Subscription.status.
_INCOMPLETE_S = 23 * 3600
# "Occurs three days before a subscription's trial period is scheduled to end":
# docs.stripe.com/api/events/types#event_types-customer.subscription.trial_will_end
_TRIAL_NOTICE_S = 3 * DAY_S


def schedule(account: Account, subscription: Json) -> None:
    """Set a timer for everything that may fall due; a stale timer does nothing."""
    moments = {item["current_period_end"] for item in subscription["items"]["data"]}
    moments |= {subscription["cancel_at"], (subscription["pause_collection"] or {}).get("resumes_at")}
    for moment in moments - {None}:
        account.at(moment, partial(_come_due, account, subscription))
    if subscription["status"] == "incomplete":
        account.at(subscription["created"] + _INCOMPLETE_S, partial(_expire, account, subscription))
    if subscription["status"] == "trialing":
        trial_end = subscription["trial_end"]
        account.at(trial_end - _TRIAL_NOTICE_S, partial(_announce_trial_end, account, subscription, trial_end))


def restart(account: Account, subscription: Json, before: list[Json], behavior: str, at: int) -> None:
    """Start a new period now: credit the unused time unless `none`, then charge the whole period at once.

    "The billing interval is changed, the subscription moves from free to paid, a trial starts or ends. In these cases,
    we apply a credit for the unused time on the previous price, immediately charge the customer using the new price,
    and reset the billing date. If you set proration_behavior to none, we don't generate any credits":
    docstring of stripe.SubscriptionService.update.
    """
    if behavior != "none":
        for item in before:
            credit_unused(account, subscription, item, at)
    subscription["billing_cycle_anchor"] = account.now()
    items = subscription["items"]["data"]
    _set_periods(account, subscription, items)
    schedule(account, subscription)
    bill(account, subscription, items, "subscription_update", at_once=True)


def bill(  # noqa: PLR0913 - named at every call
    account: Account, subscription: Json, items: list[Json], reason: str, *, at_once: bool, collect: bool = True
) -> Json:
    """Make an invoice of these items' periods and of the pending items."""
    customer = account.get("customer", subscription["customer"])
    params = {
        "automatic_tax": {"enabled": subscription["automatic_tax"]["enabled"]},
        "collection_method": subscription["collection_method"],
        "currency": subscription["currency"],
        "days_until_due": subscription["days_until_due"],
    }
    invoice = invoices.new_draft(account, customer, params, billing_reason=reason)
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    invoice |= {
        "auto_advance": collect,
        "discounts": subscription["discounts"] or invoice["discounts"],
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
    }
    for item in items:
        add_line(account, invoice, _line_source(account, subscription, item))
    for pending in pending_items(account, customer["id"], invoice["currency"], subscription["id"]):
        with suppress(ApiError):  # one that automatic tax cannot take stays pending: assumed
            put_on_invoice(account, pending, invoice)
    for item, line in zip(items, invoice["lines"]["data"], strict=False):
        record_debit(account, item, line["amount"] - discount_on(line), item["current_period_start"])
    subscription["latest_invoice"] = invoice["id"]
    account.emit("invoice.created", invoice)
    _advance(account, subscription, invoice, at_once=at_once)
    return invoice


def _advance(account: Account, subscription: Json, invoice: Json, *, at_once: bool) -> None:
    """Finalize and collect an invoice, as the state of its subscription allows.

    keep_as_draft, mark_uncollectible, void: docs.stripe.com/billing/subscriptions/pause-payment. "When a subscription
    has a status of unpaid, no subsequent invoices will be attempted": docstring of stripe.Subscription.status.
    """
    paused = (subscription["pause_collection"] or {}).get("behavior")
    if paused == "keep_as_draft" or subscription["status"] == "unpaid":
        invoice["auto_advance"] = False
    elif paused:
        invoice["auto_advance"] = False
        _finalize(account, invoice)
        if invoice["status"] == "open":
            if paused == "void":
                void(account, {}, invoice["id"])
            else:
                mark_uncollectible(account, {}, invoice["id"], "subscription_paused")
    elif at_once:
        _finalize(account, invoice)
    else:
        invoice["automatically_finalizes_at"] = account.now() + _DRAFT_S
        account.at(account.now() + _DRAFT_S, partial(_finalize_draft, account, invoice))


def _finalize_draft(account: Account, invoice: Json) -> None:
    if invoice["status"] == "draft" and invoice["auto_advance"] and invoice["id"] in account.tables["invoice"]:
        _finalize(account, invoice)


def _finalize(account: Account, invoice: Json) -> None:
    try:
        finalize(account, {}, invoice["id"])
    except ApiError:
        invoice["auto_advance"] = False  # its event has told of it; somebody has to finalize it: assumed
        account.note(invoice)


def _come_due(account: Account, subscription: Json) -> None:
    now = account.now()
    pause = subscription["pause_collection"] or {}
    if subscription["status"] in (*ENDED, "paused", "incomplete"):
        # "A paused subscription doesn't advance to a new billing period": docstring of stripe.Subscription.status.
        return
    if (pause.get("resumes_at") or now + 1) <= now:
        account.change("customer.subscription.updated", subscription, {"pause_collection": None})
    due = [item for item in subscription["items"]["data"] if item["current_period_end"] <= now]
    if (subscription["cancel_at"] or now + 1) <= now:
        # "Any pending prorations are also left in place and collected at the end of the period": docstring of
        # stripe.SubscriptionService.cancel.
        if pending_items(account, subscription["customer"], subscription["currency"], subscription["id"]):
            bill(account, subscription, [], "subscription_cycle", at_once=True)
        end(account, subscription)
    elif due:
        _renew(account, subscription, due)


def _renew(account: Account, subscription: Json, due: list[Json]) -> None:
    """Start the next period of due items: docs.stripe.com/billing/subscriptions/overview#subscription-lifecycle."""
    before = {"items": copy.deepcopy(subscription["items"]), "latest_invoice": subscription["latest_invoice"]}
    period_start = min(item["current_period_start"] for item in due)
    if subscription["status"] == "trialing":
        # "A subscription that is in a trial period moves to active when the trial period is over": ibid.
        before["status"] = "trialing"
        subscription["status"] = "active"
    _set_periods(account, subscription, due)
    schedule(account, subscription)
    invoice = bill(account, subscription, due, "subscription_cycle", at_once=False)
    invoice["period_start"] = period_start
    account.emit("customer.subscription.updated", subscription, before)


def _set_periods(account: Account, subscription: Json, items: list[Json]) -> None:
    for item in items:
        start, until = period_at(subscription["billing_cycle_anchor"], item["price"]["recurring"], account.now())
        item |= {"current_period_start": start, "current_period_end": until}


def _expire(account: Account, subscription: Json) -> None:
    if subscription["status"] != "incomplete":
        return
    fields = {"ended_at": account.now(), "status": "incomplete_expired"}
    account.change("customer.subscription.updated", subscription, fields)
    if account.get("invoice", subscription["latest_invoice"])["status"] == "open":
        void(account, {}, subscription["latest_invoice"])


def _announce_trial_end(account: Account, subscription: Json, trial_end: int) -> None:
    if subscription["status"] == "trialing" and subscription["trial_end"] == trial_end:
        account.emit("customer.subscription.trial_will_end", subscription)


def _line_source(account: Account, subscription: Json, item: Json) -> Json:
    price = item["price"]
    details = {
        "invoice_item": None,
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": subscription["id"],
        "subscription_item": item["id"],
    }
    return {
        "amount": round_half_up(period_amount(account, subscription, item)),
        "currency": subscription["currency"],
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
        "quantity": item.get("quantity", 0),
        "subscription": subscription["id"],
        "tax_rates": [],
    }
