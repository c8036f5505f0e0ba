"""The operator's credit notes; the functions' key must not be able to make any.

A credit note first takes off what is still owed (`pre_payment_amount`); what exceeds that has been paid, and is given
back as refunds, to the customer's balance and out of band, which must add up to it (`post_payment_amount`). So a note
over the total of a partly paid open invoice carries both, one on a paid invoice the second alone; Stripe refuses one
beyond the invoice's total: docstring of stripe.CreditNoteService.create.
"""

import hashlib
import json

import stripe

from line_requests.billing.errors import stripe_errors
from line_requests.domain.model import Line
from line_requests.domain.reversals import Credit, PaidInvoice


class CreditNotes:
    """The credit notes of one Stripe account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def issue(self, line: Line, invoice: PaidInvoice, credit: Credit, *, attempt: int) -> None:
        """Refunds and credits; the same decision twice, also at the same time, is one.

        The keys count what was there: whatever else went back meanwhile makes it another decision, which Stripe refuses
        beyond what was paid. Another attempt is for after a failure that Stripe replays.

        With several payments, refunds are made first, also when all but one went back before, because `refund_amount`
        is "for the charge associated with the invoice": docstring of stripe.params.CreditNoteCreateParams.
        """
        linked = dict(credit.linked)
        one_call = bool(credit.amount and credit.refunds) and len(invoice.by_card) == 1
        if not one_call:
            for intent, amount in credit.refunds.items():
                linked[self._refund(line, invoice, intent, amount, attempt)] = amount
        if not credit.amount:
            return
        params: stripe.params.CreditNoteCreateParams = {
            "invoice": invoice.id,
            "amount": credit.amount,
            "metadata": _metadata(line),
        }
        if one_call:
            params["refund_amount"] = sum(credit.refunds.values())
        if credit.to_balance:
            params["credit_amount"] = credit.to_balance
        if credit.out_of_band:
            params["out_of_band_amount"] = credit.out_of_band
        if linked:
            params["refunds"] = [{"refund": refund, "amount_refunded": amount} for refund, amount in linked.items()]
        decision = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]
        key = f"{line.id}:credit_note:{invoice.id}:{len(invoice.credit_notes)}:{decision}:v{attempt}"
        with stripe_errors():
            self._client.v1.credit_notes.create(params, {"idempotency_key": key})

    def _refund(self, line: Line, invoice: PaidInvoice, intent: str, amount: int, attempt: int) -> str:
        params: stripe.params.RefundCreateParams = {
            "payment_intent": intent,
            "amount": amount,
            "metadata": _metadata(line),
        }
        earlier = sum(refund.payment_intent == intent for refund in invoice.refunds)
        key = f"{line.id}:refund:{intent}:{earlier}:{amount}:v{attempt}"
        with stripe_errors():
            return self._client.v1.refunds.create(params, {"idempotency_key": key}).id


def _metadata(line: Line) -> dict[str, str]:
    return {"workspace_id": line.workspace_id, "line_id": line.id}
