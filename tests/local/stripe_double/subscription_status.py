"""The states of a subscription, and the events that tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .periods import DAY_S

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

ENDED = ("canceled", "incomplete_expired")
_FORCED_TRIAL_S = 14 * DAY_S


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
    if status == "canceled" and was != "canceled":
        end(account, subscription)
        return subscription
    changed: Json = {"status": status or was}
    if cancel_at_period_end is not None:
        changed |= cancellation(subscription, cancel_at_period_end=cancel_at_period_end)
    if pause_collection is not None:
        changed["pause_collection"] = paused_collection(pause_collection)
    if status in ENDED and was not in ENDED:
        changed["ended_at"] = now
    if was in ENDED and status not in (None, *ENDED):
        changed |= {"canceled_at": None, "ended_at": None}
    if status == "trialing":
        trial_end = now + _FORCED_TRIAL_S
        changed |= {"billing_cycle_anchor": trial_end, "trial_start": now, "trial_end": trial_end}
        for item in subscription["items"]["data"]:
            item |= {"current_period_end": trial_end, "current_period_start": now}
    account.change("customer.subscription.updated", subscription, changed)
    if "paused" in (status, was) and status not in (None, was):
        kind = "paused" if status == "paused" else "resumed"
        account.emit(f"customer.subscription.{kind}", subscription)
    return subscription


def end(account: Account, subscription: Json) -> None:
    """Cancel at once.

    "By default, upon subscription cancellation, Stripe stops automatic collection of all finalized invoices for the
    customer": docstring of stripe.SubscriptionService.cancel; its drafts, too: assumed.
    """
    now = account.now()
    subscription |= {"ended_at": now, "status": "canceled", "canceled_at": subscription["canceled_at"] or now}
    for invoice in account.newest("invoice"):
        if invoice["customer"] == subscription["customer"] and invoice["status"] in ("draft", "open"):
            invoice |= {"auto_advance": False, "next_payment_attempt": None}
            account.note(invoice)
    account.emit("customer.subscription.deleted", subscription)


def cancellation(subscription: Json, *, cancel_at_period_end: bool) -> Json:
    """Return the fields that set a cancellation at the period's end, or withdraw it."""
    at = max(item["current_period_end"] for item in subscription["items"]["data"])
    return {"cancel_at": at if cancel_at_period_end else None, "cancel_at_period_end": cancel_at_period_end}


def paused_collection(given: Json | str) -> Json | None:
    """Return `pause_collection`; an empty string ends it."""
    return {"resumes_at": None} | given if isinstance(given, dict) else None
