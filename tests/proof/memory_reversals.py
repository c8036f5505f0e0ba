"""Payments, refunds and credit notes of Stripe in memory: one payment for each paid invoice, and what went back."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.proof.memory_objects import Json, Params, Refusal, Thing, event, list_of, metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.proof.memory_stripe import MemoryStripe

    Route = Callable[[MemoryStripe, str, Params, str, int], tuple[MemoryStripe, Json]]

PAYMENT = "pi_"


def amounts(invoice: Json) -> Json:
    """What an invoice adds up to."""
    total = sum(line["amount"] for line in invoice["lines"]["data"])
    due = total - invoice.get("pre_payment_credit_notes_amount", 0)
    paid = due if invoice["status"] == "paid" else invoice.get("amount_paid", 0)
    owed = due - paid if invoice["status"] in {"open", "uncollectible"} else 0
    return {"currency": "usd"} | invoice | {"total": total, "amount_paid": paid, "amount_remaining": owed}


def refunds_of(stripe: MemoryStripe, invoice_id: str) -> list[Thing]:
    """The refunds of an invoice's payment."""
    return [one for one in stripe.refunds.values() if one["payment_intent"] == PAYMENT + invoice_id]


def left_of(stripe: MemoryStripe, invoice_id: str) -> int:
    """What can still be refunded of an invoice."""
    invoice = amounts(stripe.invoices[invoice_id])
    return int(invoice["amount_paid"]) - sum(
        int(one["amount"]) for one in refunds_of(stripe, invoice_id) if one["status"] != "failed"
    )


def by_hand(stripe: MemoryStripe, invoice_id: str, now_s: int, status: str = "succeeded") -> MemoryStripe:
    """A person refunds what is left, without a credit note; `pending`: the bank takes its time."""
    left = left_of(stripe, invoice_id)
    return _refunded(stripe, invoice_id, f"hand_{len(stripe.refunds)}", left, now_s, status=status) if left else stripe


def fail(stripe: MemoryStripe, refund_id: str, now_s: int) -> MemoryStripe:
    """The bank refuses a refund days later."""
    failed = stripe.refunds[refund_id] | {"status": "failed"}
    told = tuple(event(kind, failed, now_s) for kind in ("refund.updated", "refund.failed"))
    return replace(stripe, refunds={**stripe.refunds, refund_id: Thing(failed)}, events=stripe.events + told)


def _refunded(  # noqa: PLR0913 - what a refund consists of
    stripe: MemoryStripe,
    invoice_id: str,
    key: str,
    amount: int,
    now_s: int,
    *,
    status: str = "succeeded",
    of_line: Json | None = None,
) -> MemoryStripe:
    refund = Thing(
        id="re_" + re.sub(r"\W", "_", key),
        object="refund",
        amount=amount,
        payment_intent=PAYMENT + invoice_id,
        status=status,
        metadata=of_line or {},
    )
    made = {**stripe.refunds, refund["id"]: refund}
    return replace(stripe, refunds=made, events=(*stripe.events, event("refund.created", refund, now_s)))


def _create_refund(stripe: MemoryStripe, _: str, params: Params, key: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice_id, amount = params["payment_intent"].removeprefix(PAYMENT), int(params["amount"])
    if amount > left_of(stripe, invoice_id):
        raise Refusal(400, "Refund amount is greater than unrefunded amount on charge.")
    after = _refunded(stripe, invoice_id, key, amount, now_s, of_line=metadata(params))
    return after, dict(after.refunds["re_" + re.sub(r"\W", "_", key)])


def _create_note(stripe: MemoryStripe, _: str, params: Params, key: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice_id, amount, refunded = params["invoice"], int(params["amount"]), int(params.get("refund_amount", 0))
    linked = {value: 0 for name, value in params.items() if name.endswith("][refund]")}
    linked = {refund: int(stripe.refunds[refund]["amount"]) for refund in linked}
    notes = [one for one in stripe.credit_notes.values() if one["invoice"] == invoice_id]
    known = linked.keys() | {part["refund"] for note in notes for part in note["refunds"]}
    elsewhere = [one for one in refunds_of(stripe, invoice_id) if one["id"] not in known and one["status"] != "failed"]
    before = amounts(stripe.invoice(invoice_id))
    creditable, owed = before["total"] - sum(one["total"] for one in notes), before["amount_remaining"]
    given_back = amount - min(amount, owed)  # what is still owed is taken off first
    if amount > creditable - sum(one["amount"] for one in elsewhere) or refunded > left_of(stripe, invoice_id):
        raise Refusal(400, "The credit note amount is greater than the creditable amount.")
    if refunded + sum(linked.values()) != given_back:
        raise Refusal(400, "The sum of refund, credit and out of band amounts must equal the post-payment amount.")
    after = stripe
    if refunded:
        after = _refunded(stripe, invoice_id, key, refunded, now_s)
        linked[list(after.refunds)[-1]] = refunded
    note = Thing(
        id="cn_" + re.sub(r"\W", "_", key),
        object="credit_note",
        invoice=invoice_id,
        total=amount,
        status="issued",
        post_payment_amount=given_back,
        out_of_band_amount=None,
        refunds=[{"refund": refund, "amount_refunded": part} for refund, part in linked.items()],
        metadata=metadata(params),
    )
    invoice = after.invoices[invoice_id]
    credited = {
        "pre_payment_credit_notes_amount": invoice.get("pre_payment_credit_notes_amount", 0) + amount - given_back,
        "post_payment_credit_notes_amount": invoice.get("post_payment_credit_notes_amount", 0) + given_back,
    }
    paid = {"status": "paid"} if owed and amount - given_back == owed else {}
    after = after.with_invoice(invoice | credited | paid, *["invoice.paid"] * bool(paid), now_s=now_s)
    after = replace(after, credit_notes={**after.credit_notes, note["id"]: note})
    return replace(after, events=(*after.events, event("credit_note.created", note, now_s))), note


def _list_payments(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    invoice_id = params.get("invoice") or params["payment[payment_intent]"].removeprefix(PAYMENT)
    paid = amounts(stripe.invoices[invoice_id])["amount_paid"] if invoice_id in stripe.invoices else 0
    payment = {"type": "payment_intent", "payment_intent": PAYMENT + invoice_id}
    found = [
        {
            "id": f"inpay_{invoice_id}",
            "object": "invoice_payment",
            "invoice": invoice_id,
            "amount_paid": paid,
            "payment": payment,
        }
    ]
    return stripe, list_of(found if paid else [])


def _list_refunds(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    found = refunds_of(stripe, params["payment_intent"].removeprefix(PAYMENT))
    return stripe, list_of(sorted(found, key=lambda one: str(one["id"])))


def _list_notes(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    found = [one for one in stripe.credit_notes.values() if one["invoice"] == params["invoice"]]
    return stripe, list_of(sorted(found, key=lambda one: str(one["id"])))


def _list_disputes(stripe: MemoryStripe, _: str, _p: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    return stripe, list_of([])


REVERSAL_ROUTES: dict[tuple[str, str, bool, str], Route] = {
    ("GET", "invoice_payments", False, ""): _list_payments,
    ("GET", "refunds", False, ""): _list_refunds,
    ("POST", "refunds", False, ""): _create_refund,
    ("GET", "credit_notes", False, ""): _list_notes,
    ("POST", "credit_notes", False, ""): _create_note,
    ("GET", "disputes", False, ""): _list_disputes,
}
