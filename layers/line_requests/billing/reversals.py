"""What was paid for a line's invoices, and what went back of it."""

from collections.abc import Iterator, Mapping
from typing import Any

import stripe

from line_requests.billing.client import PAGE, list_all
from line_requests.billing.errors import stripe_errors
from line_requests.billing.events import Hint, id_of
from line_requests.domain.errors import BillingRefused, BillingRejected
from line_requests.domain.model import Line
from line_requests.domain.reversals import CreditNote, Dispute, PaidInvoice, Refund
from line_requests.telemetry import logger

Json = Mapping[str, Any]

# Stripe's clock and ours may differ by this much.
CREATED_MARGIN_S = 3600


class Reversals:
    """The refunds, disputes and credit notes of one Stripe account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def invoices_of(self, hint: Hint) -> list[str]:
        """The invoices that an event is about: a credit note names its invoice, a payment leads to those it has paid.

        A refund or a dispute of a charge without a payment intent is no invoice's of ours.
        """
        if hint.invoice_id:
            return [hint.invoice_id]
        payment = {"type": "payment_intent", "payment_intent": hint.payment_intent}
        try:
            paid = list(list_all(self._client, "/v1/invoice_payments", {"payment": payment, "limit": PAGE}))
        except (BillingRefused, BillingRejected) as refusal:
            logger.warning("an event names no payment of this account", extra={"reason": str(refusal)})
            return []
        return [id_of(one["invoice"]) for one in paid]

    def of_line(self, line: Line) -> list[PaidInvoice]:
        """The line's invoices, copies too, with what was paid and what went back; never one that was not finalized."""
        charge = line.charge
        if charge is None:
            return []
        params = {
            "customer": charge.customer,
            "created": {"gte": line.created_at_ms // 1000 - CREATED_MARGIN_S},
            "limit": PAGE,
        }
        try:
            listed = list(list_all(self._client, "/v1/invoices", params))
        except BillingRefused:
            # The customer was deleted; Stripe still shows the invoices, of which the line may name one twice.
            known = dict.fromkeys((line.invoice_id, line.refund_invoice_id))
            listed = [self._invoice(invoice_id) for invoice_id in known if invoice_id]
        return [
            self._paid(invoice, line)
            for invoice in listed
            if (invoice.get("metadata") or {}).get("line_id") == line.id
            and invoice["status"] in {"open", "paid", "uncollectible"}
        ]

    def _invoice(self, invoice_id: str) -> Json:
        with stripe_errors():
            invoice: Json = self._client.v1.invoices.retrieve(invoice_id).to_dict()
        return invoice

    def _paid(self, invoice: Json, line: Line) -> PaidInvoice:
        by_card: dict[str, int] = {}
        for payment in self._list("/v1/invoice_payments", invoice=invoice["id"], status="paid"):
            if intent := id_of(payment["payment"].get("payment_intent")):
                by_card[intent] = by_card.get(intent, 0) + (payment.get("amount_paid") or 0)
        return PaidInvoice(
            id=invoice["id"],
            status=invoice["status"],
            currency=invoice["currency"],
            total=invoice["total"],
            amount_paid=invoice["amount_paid"],
            amount_remaining=invoice["amount_remaining"],
            credited_unpaid=invoice.get("pre_payment_credit_notes_amount") or 0,
            by_card=by_card,
            refunds=tuple(
                Refund(one["id"], one["status"] or "", one["amount"], intent, ours=_is_ours(one, line.id))
                for intent in by_card
                for one in self._list("/v1/refunds", payment_intent=intent)
            ),
            credit_notes=tuple(
                _credit_note(one, line.id) for one in self._list("/v1/credit_notes", invoice=invoice["id"])
            ),
            disputes=tuple(
                Dispute(one["id"], one["status"], one["amount"], intent, withdrawn=_withdrawn(one))
                for intent in by_card
                for one in self._list("/v1/disputes", payment_intent=intent)
            ),
            sent_outside=line.sent_outside(invoice["id"]),
        )

    def _list(self, path: str, **params: str) -> Iterator[Json]:
        return list_all(self._client, path, {**params, "limit": PAGE})


def _credit_note(note: Json, line_id: str) -> CreditNote:
    refunds = [one for one in note.get("refunds") or [] if one.get("refund")]
    refunded = sum(one["amount_refunded"] for one in refunds)
    # A refund of a payment record, which has no refund of Stripe's, went back outside Stripe.
    recorded = sum(one["amount_refunded"] for one in note.get("refunds") or []) - refunded
    out_of_band = (note.get("out_of_band_amount") or 0) + recorded
    return CreditNote(
        id=note["id"],
        status=note["status"],
        amount=note["total"],
        to_balance=(note.get("post_payment_amount") or 0) - out_of_band - refunded,
        out_of_band=out_of_band,
        refunds=frozenset(id_of(one.get("refund")) for one in refunds),
        ours=_is_ours(note, line_id),
    )


def _withdrawn(dispute: Json) -> bool:
    """By the balance transactions, which "show funds withdrawn and reinstated": docstring of stripe.Dispute."""
    moved: int = sum(one["amount"] for one in dispute.get("balance_transactions") or [])
    return moved < 0


def _is_ours(subject: Json, line_id: str) -> bool:
    return (subject.get("metadata") or {}).get("line_id") == line_id
