"""What people do to an invoice at Stripe in memory, beyond paying and voiding it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.proof import memory_reversals
from tests.proof.memory_objects import Json, list_of

if TYPE_CHECKING:
    from tests.proof.memory_stripe import MemoryStripe

REVISED_AMOUNT = 900
OF_ITS_OWN = {"amount_paid", "copy_of", "from_invoice", "latest_revision"}


def pay_part(stripe: MemoryStripe, invoice_id: str, now_s: int) -> MemoryStripe:
    """The customer pays a part: the invoice stays open, and can be voided no more."""
    invoice = stripe.invoices[invoice_id]
    if not _payable(stripe, invoice):
        return stripe
    return stripe.with_invoice(invoice | {"amount_paid": invoice.get("amount_paid", 0) + 1}, now_s=now_s)


def copy_and_pay(stripe: MemoryStripe, invoice_id: str, now_s: int) -> MemoryStripe:
    """Somebody duplicates the invoice, and the duplicate is paid."""
    copied = _named(stripe, invoice_id, "copy", now_s) | {"status": "paid", "copy_of": invoice_id}
    return stripe.with_invoice(copied, "invoice.paid", "invoice.payment_succeeded", now_s=now_s)


def revise(stripe: MemoryStripe, invoice_id: str, now_s: int) -> MemoryStripe:
    """Somebody replaces the invoice by a revision with another amount, which voids it."""
    invoice = stripe.invoices[invoice_id]
    if not _payable(stripe, invoice) or invoice.get("amount_paid"):
        return stripe
    revision = _named(stripe, invoice_id, "revision", now_s)
    lines = [line | {"amount": REVISED_AMOUNT} for line in invoice["lines"]["data"]]
    revision |= {"status": "open", "lines": list_of(lines)}
    revision["from_invoice"] = {"action": "revision", "invoice": invoice_id}
    original = invoice | {"status": "void", "latest_revision": revision["id"]}
    after = stripe.with_invoice(original, "invoice.voided", now_s=now_s)
    return after.with_invoice(revision, "invoice.finalized", now_s=now_s)


def credit(stripe: MemoryStripe, invoice_id: str, now_s: int) -> MemoryStripe:
    """Somebody credits the whole invoice, which Stripe then calls paid."""
    invoice = stripe.invoices[invoice_id]
    if not _payable(stripe, invoice):
        return stripe
    total = sum(line["amount"] for line in invoice["lines"]["data"])
    paid = invoice.get("amount_paid", 0)
    credited = {"pre_payment_credit_notes_amount": total - paid, "post_payment_credit_notes_amount": paid}
    noted = invoice | {"status": "paid", "total": total} | credited
    # What was paid goes back with the note.
    return memory_reversals.by_hand(stripe.with_invoice(noted, "invoice.paid", now_s=now_s), invoice_id, now_s)


def refuse_void(stripe: MemoryStripe, invoice_id: str) -> MemoryStripe:
    """From now on Stripe refuses to void the invoice, though no payment is on its way."""
    return replace(stripe, refusing=f"/v1/invoices/{invoice_id}/void")


def _payable(stripe: MemoryStripe, invoice: Json) -> bool:
    return invoice["status"] in {"open", "uncollectible"} and invoice["id"] not in stripe.debits


def _named(stripe: MemoryStripe, invoice_id: str, what: str, now_s: int) -> Json:
    """The same invoice under another name."""
    name = f"{invoice_id}_{what}"
    while name in stripe.invoices:
        name += "_"
    url = f"https://pay.example/{name}"
    kept = {key: value for key, value in stripe.invoices[invoice_id].items() if key not in OF_ITS_OWN}
    return {**kept, "id": name, "created": now_s, "hosted_invoice_url": url}
