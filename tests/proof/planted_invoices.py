"""Planted bugs about what people do with invoices at Stripe: copies, revisions, part payments, refunds."""

from tests.proof.mutants import Mutant

_bug = Mutant.of

MUTANTS = (
    _bug(
        "a copy that is paid pays nothing",
        "domain.decision",
        'return line.invoice_id in {None, invoice.id, invoice.revises} or invoice.status == "paid"',
        "return line.invoice_id in {None, invoice.id, invoice.revises}",
        "touched/copy+poll",
    ),
    _bug(
        "the original of a paid copy is forgotten",
        "flows.lifecycle",
        "replaced = decision.replaced_by(line, invoice)",
        "replaced = None",
        "touched/copy+poll",
    ),
    _bug(
        "a crash leaves the original of a paid copy open",
        "storage._transitions",
        "        if line.replaced_invoice_id is not None:\n            due_at_ms = change.at_ms\n",
        "",
        "touched/copy+poll",
    ),
    _bug(
        "a second payment is kept",
        "domain.decision",
        'return invoice.status == "paid" and not line.awaiting and not own',
        "return line.refundable and not own",
        "touched/copy+pay",
    ),
    _bug(
        "an invoice that was revised is void",
        "billing.invoices",
        'if invoice.status != "void" or invoice.latest_revision is None:',
        "if True:",
        "touched/revise+poll",
    ),
    _bug(
        "a late writer stores the original's link",
        "storage._transitions",
        '        condition += " AND (attribute_not_exists(#invoice_id) OR #invoice_id = :invoice)"\n',
        "",
        "touched/revise+poll",
    ),
    _bug(
        "an invoice that is credited in full is paid",
        "domain.decision",
        'return "void" if 0 < total <= credited else status',
        "return status",
        "touched/credit+poll",
    ),
    _bug(
        "a part pays the line",
        "domain.decision",
        "        return AwaitPayment()  # Stripe would refuse the void\n",
        "        return MarkPaid()\n",
        "touched/part+poll",
    ),
    _bug(
        "a renewal before the payment leaves the rest of the period free",
        "flows.add_ons",
        "while (charge := self._next_charge(workspace, subscription, now_ms)) is not None:",
        "while (charge := None) is not None:",
        "renewed/pay+reconcile",
    ),
    _bug(
        "the refund flag is cleared before Stripe confirms",
        "domain.reversals",
        "for refund in self.refunds if refund.status == SUCCEEDED)",
        "for refund in self.refunds if refund.counts)",
        "released/refund-pending+refund",
    ),
    _bug(
        "what was sent outside Stripe is forgotten",
        "domain.reversals",
        "if dispute.gave_back) + self.sent_outside",
        "if dispute.gave_back)",
        "released/refund-outside+reconcile",
    ),
    _bug(
        "a line whose payment was sent outside Stripe may be retried",
        "flows.refunds",
        "            if _fails_paid(line):\n                # Released first",
        "            if False:\n                # Released first",
        "failed/refund-outside+retry",
    ),
    _bug(
        "a failed refund is ignored",
        "flows.reversals",
        "        refund_due = bool(kept)\n",
        "        refund_due = line.refund_due and bool(kept)\n",
        "released/refund+refund-fails",
    ),
    _bug(
        "a reversal is written by each who hears of it",
        "storage._marks",
        'condition=f"size(#history) = :sequence AND {known} AND',
        'condition=f"size(#history) = :sequence AND',
        "provisioning/refund-by-hand+reconcile",
    ),
    _bug(
        "a failed line is refunded and may be retried",
        "flows.refunds",
        "        if _fails_paid(line):\n            # Released first",
        "        if False:\n            # Released first",
        "failed/refund+retry",
    ),
    _bug(
        "reversals are heard from the webhook alone",
        "billing.events",
        '"types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS, *FEED_REVERSAL_EVENTS],',
        '"types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS],',
        "released/refund-unheard",
    ),
)
