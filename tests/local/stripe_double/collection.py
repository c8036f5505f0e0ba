"""Collecting invoices: payments, retries, and what they do to the subscription."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from . import payments
from .periods import DAY_S
from .subscription_status import end

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# Smart Retries choose their times: assumed to be these, of the custom schedules at
# docs.stripe.com/billing/revenue-recovery/smart-retries#custom-retry-schedule.
_RETRY_DELAYS_S = (3 * DAY_S, 5 * DAY_S, 7 * DAY_S)


def settle(account: Account, invoice: Json, *, out_of_band: bool = False) -> None:
    """Pay what remains of a finalized invoice."""
    account.hidden[invoice["id"]].pop("debit", None)
    invoice |= {"attempt_count": invoice["attempt_count"] + (invoice["amount_remaining"] > 0), "attempted": True}
    if out_of_band:
        payments.pay_out_of_band(account, invoice)
    else:
        payments.pay(account, invoice, invoice["amount_remaining"])
    mark_paid(account, invoice)


def mark_paid(account: Account, invoice: Json) -> None:
    """Set a fully paid invoice to paid, and its subscription to active."""
    close(account, invoice, "paid", "paid_at")
    payments.cancel_open(account, invoice)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)
    subscription = subscription_of(account, invoice)
    # "Once the first invoice is paid, the subscription moves into an active status": docstring of
    # stripe.Subscription.status; that the latest invoice counts: docs.stripe.com/billing/subscriptions/overview.
    behind = subscription and subscription["status"] in ("incomplete", "past_due", "unpaid")
    if subscription and behind and subscription["latest_invoice"] == invoice["id"]:
        account.change("customer.subscription.updated", subscription, {"status": "active"})


def pay_part(account: Account, invoice: Json, amount: int) -> None:
    """Pay a part, as an attached payment does: docs.stripe.com/invoicing/partial-payments."""
    payments.pay(account, invoice, amount)
    if invoice["amount_remaining"]:
        account.emit("invoice.updated", invoice, {"amount_remaining": invoice["amount_remaining"] + amount})
    else:
        mark_paid(account, invoice)


def collect(account: Account, invoice: Json) -> None:
    """Attempt payment; retry failures, then do with the subscription what the account's settings say.

    "It becomes past_due when payment is required but cannot be paid. Once Stripe has exhausted all payment retry
    attempts, the subscription will become canceled or unpaid": docstring of stripe.Subscription.status.
    """
    if payments.succeeds(account, invoice):
        settle(account, invoice)
        return
    retries = invoice["attempt_count"]
    due = account.now() + _RETRY_DELAYS_S[retries] if retries < len(_RETRY_DELAYS_S) else None
    invoice |= {"attempt_count": retries + 1, "attempted": True, "next_payment_attempt": due}
    account.emit("invoice.payment_failed", invoice)
    account.emit("invoice.updated", invoice, {"attempt_count": retries})
    if due:
        account.at(due, partial(_retry, account, invoice))
    subscription = subscription_of(account, invoice)
    if not subscription:
        return
    if subscription["status"] in ("active", "trialing"):
        account.change("customer.subscription.updated", subscription, {"status": "past_due"})
    if not due and subscription["status"] == "past_due":
        if account.after_failed_payments == "cancel":
            subscription["cancellation_details"]["reason"] = "payment_failed"
            end(account, subscription)
        else:
            account.change("customer.subscription.updated", subscription, {"status": account.after_failed_payments})


def fall_overdue(account: Account, invoice: Json) -> None:
    """Note that nobody paid in time.

    "If collection_method=send_invoice it becomes past_due when its invoice is not paid by the due date": docstring of
    stripe.Subscription.status.
    """
    if invoice["status"] != "open":
        return
    account.emit("invoice.overdue", invoice)
    subscription = subscription_of(account, invoice)
    if subscription and subscription["status"] == "active":
        account.change("customer.subscription.updated", subscription, {"status": "past_due"})


def close(account: Account, invoice: Json, status: str, transition: str) -> None:
    """Set a status that ends collection."""
    invoice |= {"next_payment_attempt": None, "status": status, "status_details": None}
    if status != "uncollectible":
        invoice["auto_advance"] = False
    invoice["status_transitions"][transition] = account.now()


def subscription_of(account: Account, invoice: Json) -> Json | None:
    """Return the invoice's subscription, if it has one."""
    details: Json = (invoice["parent"] or {}).get("subscription_details") or {}
    return account.tables["subscription"].get(details.get("subscription", ""))


def _retry(account: Account, invoice: Json) -> None:
    if invoice["status"] == "open" and invoice["next_payment_attempt"] == account.now():
        collect(account, invoice)
