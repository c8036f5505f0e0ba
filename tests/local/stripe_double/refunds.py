"""Refunds and disputes of charges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .account import merge_metadata
from .errors import bad_request, missing

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json


def create(account: Account, params: Json) -> Json:
    """POST /v1/refunds: "once entirely refunded, a charge can't be refunded again", nor more than is left on it."""
    if "charge" in params:
        charge = account.get("charge", params["charge"], "charge")
    elif "payment_intent" in params:
        intent = account.get("payment_intent", params["payment_intent"], "payment_intent")
        charge = account.get("charge", intent["latest_charge"] or "", "payment_intent")
    else:
        raise missing("charge")
    left = charge["amount"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if not left:
        message = f"Charge {charge['id']} has already been refunded."
        raise bad_request(message, code="charge_already_refunded")
    if not 0 < amount <= left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise bad_request(message, "amount")
    fields = {
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "currency": charge["currency"],
        "metadata": merge_metadata({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    refund = account.add("refund", fields)
    del refund["livemode"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    # docs.stripe.com/changelog/acacia/2024-10-28/refund-webhook-update
    account.emit("refund.created", refund)
    account.emit("charge.refunded", charge)
    return refund


def fail(account: Account, refund_id: str) -> Json:
    """Fail a refund, as a bank may days later: docs.stripe.com/refunds#failed-refunds."""
    refund = account.get("refund", refund_id)
    refund |= {"failure_reason": "expired_or_canceled_card", "status": "failed"}
    charge = account.get("charge", refund["charge"])
    charge |= {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
    for event_type in ("refund.updated", "charge.refund.updated", "refund.failed"):
        account.emit(event_type, refund)
    return refund


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/refunds."""
    equal = {key: params[key] for key in ("charge", "payment_intent") if key in params}
    return account.page("refund", params, "/v1/refunds", lambda r: all(r[k] == v for k, v in equal.items()))


def dispute(account: Account, charge: Json) -> Json:
    """Open a dispute of a whole charge, which withdraws the money: docs.stripe.com/disputes/how-disputes-work."""
    if charge["disputed"]:
        raise bad_request(f"Charge {charge['id']} is already disputed.")
    fields = {
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": None,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "general",
        "status": "needs_response",
    }
    opened = account.add("dispute", fields)
    charge["disputed"] = True
    account.emit("charge.dispute.created", opened)
    account.emit("charge.dispute.funds_withdrawn", opened)
    return opened


def close_dispute(account: Account, dispute_id: str, *, won: bool) -> Json:
    """Decide a dispute; one that is won gives the money back."""
    closed = account.get("dispute", dispute_id)
    closed["status"] = "won" if won else "lost"
    account.emit("charge.dispute.closed", closed)
    if won:
        account.emit("charge.dispute.funds_reinstated", closed)
    return closed


def list_disputes(account: Account, params: Json) -> Json:
    """GET /v1/disputes."""
    equal = {key: params[key] for key in ("charge", "payment_intent") if key in params}
    return account.page("dispute", params, "/v1/disputes", lambda d: all(d[k] == v for k, v in equal.items()))
