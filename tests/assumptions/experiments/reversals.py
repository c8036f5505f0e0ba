"""Refunds, credit notes, disputes and revisions"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.assumptions.experiments.events import is_about
from tests.assumptions.experiments.invoices import metadata_of
from tests.assumptions.registry import accepted, assumption, expect, refused

if TYPE_CHECKING:
    import stripe

    from tests.assumptions.account import Account

CREDIT_NOTE = "stripe.CreditNoteService.create"
EVENT_TYPES = "https://docs.stripe.com/api/events/types"
EDITS = "https://docs.stripe.com/invoicing/invoice-edits"


def credit(  # noqa: PLR0913 - the parts of a credit note, named at every call
    account: Account, invoice: stripe.Invoice, amount: int, *, refund: int = 0, balance: int = 0, outside: int = 0
) -> stripe.CreditNote:
    """Credit an amount, given back in these parts."""
    wanted: stripe.params.CreditNoteCreateParams = {"invoice": invoice.id, "amount": amount, "email_type": "none"}
    if refund:
        wanted["refund_amount"] = refund
    if balance:
        wanted["credit_amount"] = balance
    if outside:
        wanted["out_of_band_amount"] = outside
    return account.v1.credit_notes.create(wanted)


@assumption(
    source=CREDIT_NOTE,
    if_true="The operator's refund is one call: the credit note refunds what was paid by card.",
    if_false="The refund would need a call of its own, linked to the credit note.",
)
def credit_note_refunds_a_paid_invoice_which_stays_paid(account: Account) -> None:
    """A credit note with refund_amount refunds the payment; the invoice stays paid and counts what was credited."""
    invoice = account.new_paid_invoice(account.new_customer())
    note = credit(account, invoice, 1500, refund=1500)
    refunds = account.v1.refunds.list({"payment_intent": account.payment_intent_of(invoice)}).data
    now = account.v1.invoices.retrieve(invoice.id)

    expect("refunds", [refund.amount for refund in refunds], [1500])
    expect("refund of the note", [part.refund for part in note.refunds], [refunds[0].id])
    expect("invoice", (now.status, now.amount_paid, now.post_payment_credit_notes_amount), ("paid", 1500, 1500))


@assumption(
    source=CREDIT_NOTE,
    if_true="What was paid from credit goes back to the credit.",
    if_false="A refund could only go to cards.",
)
def credit_note_credits_the_balance_of_the_customer(account: Account) -> None:
    """A credit note with credit_amount gives the customer credit."""
    customer = account.new_customer()
    invoice = account.new_paid_invoice(customer)
    credit(account, invoice, 1500, balance=1500)

    expect("balance", account.v1.customers.retrieve(customer).balance, -1500)


@assumption(
    source=CREDIT_NOTE,
    if_true="What was paid outside Stripe is credited outside it; the command says how much to send back.",
    if_false="Such an invoice could not be credited at all.",
)
def credit_note_notes_what_is_given_back_outside_stripe(account: Account) -> None:
    """A credit note with out_of_band_amount credits an invoice that was paid outside Stripe."""
    invoice = account.new_open_invoice(account.new_customer(card=None))
    account.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    with accepted("out_of_band_amount"):
        note = credit(account, invoice, 1500, outside=1500)

    expect("note", (note.out_of_band_amount, note.post_payment_amount), (1500, 1500))
    expect("credited", account.v1.invoices.retrieve(invoice.id).post_payment_credit_notes_amount, 1500)


@assumption(
    source=CREDIT_NOTE,
    if_true="The command splits the amount exactly as it was paid, or Stripe refuses the whole note.",
    if_false="A credit note could credit more or less than the customer gets.",
)
def credit_note_is_refused_when_its_parts_do_not_add_up(account: Account) -> None:
    """A credit note whose refund, credit and out-of-band amounts are not its amount is refused with 400."""
    invoice = account.new_paid_invoice(account.new_customer())

    with refused(400):
        credit(account, invoice, 1500, refund=500, balance=500)


@assumption(
    source=CREDIT_NOTE,
    if_true="A refund command that is repeated under another key cannot give the money back twice.",
    if_false="The operator could refund twice; the command lists the invoice's credit notes first.",
)
def credit_note_is_refused_beyond_the_invoice(account: Account) -> None:
    """A credit note for more than what is left of the invoice is refused with 400."""
    invoice = account.new_paid_invoice(account.new_customer())
    credit(account, invoice, 1500, refund=1500)

    with refused(400):
        credit(account, invoice, 1, refund=1)


@assumption(
    source=CREDIT_NOTE,
    if_true="`paid` alone promotes no line: an invoice whose credit notes reach its total counts as void.",
    if_false="The invoice would stay open with nothing due, and the comparison with its total still holds.",
)
def open_invoice_that_is_fully_credited_becomes_paid(account: Account) -> None:
    """An open invoice whose credit note reaches its total becomes paid, with nothing paid."""
    invoice = account.new_open_invoice(account.new_customer())
    note = credit(account, invoice, 1500)
    now = account.v1.invoices.retrieve(invoice.id)

    expect("note", (note.pre_payment_amount, note.post_payment_amount), (1500, 0))
    expect("invoice", (now.status, now.amount_paid, now.amount_remaining), ("paid", 0, 0))
    expect("credited", (now.total, now.pre_payment_credit_notes_amount), (1500, 1500))


@assumption(
    source=CREDIT_NOTE,
    if_true="A partly credited invoice still awaits the rest; the line waits with it.",
    if_false="The product compares the credited amount with the total, whatever the status says.",
)
def open_invoice_that_is_partly_credited_asks_for_the_rest(account: Account) -> None:
    """A credit note below the total lowers amount_remaining and leaves the invoice open."""
    invoice = account.new_open_invoice(account.new_customer())
    credit(account, invoice, 400)
    now = account.v1.invoices.retrieve(invoice.id)

    expect("invoice", (now.status, now.amount_remaining), ("open", 1100))


@assumption(
    source=CREDIT_NOTE,
    if_true="The operator's refund command ends a partly paid request: the rest is credited, the part refunded.",
    if_false="The operator would refund the part by hand, and the invoice would stay open.",
)
def partly_paid_invoice_can_be_credited_in_full(account: Account) -> None:
    """A credit note over the total of a partly paid invoice credits the rest and refunds the part."""
    invoice = account.new_open_invoice(account.new_customer())
    account.pay_part(invoice, 500)
    with accepted("credit note over the total"):
        note = credit(account, invoice, 1500, refund=500)
    now = account.v1.invoices.retrieve(invoice.id)

    expect("note", (note.pre_payment_amount, note.post_payment_amount), (1000, 500))
    expect("remaining", now.amount_remaining, 0)


@assumption(
    source=EVENT_TYPES,
    if_true="Credit notes made in the Dashboard are heard and written in the line's history.",
    if_false="The reconciler would find them when it next retrieves the invoice.",
)
def credit_note_event_names_the_invoice(account: Account) -> None:
    """Stripe sends credit_note.created for a credit note, with its invoice."""
    since = account.now()
    invoice = account.new_paid_invoice(account.new_customer())
    note = credit(account, invoice, 1500, refund=1500)
    event = account.event("credit_note.created", since, partial(is_about, note.id))

    expect("its invoice", event and event.data.object["invoice"], invoice.id)


@assumption(
    source=EVENT_TYPES,
    if_true="The invoice's payments lead from a refund's payment intent to the line.",
    if_false="charge.refunded would have to be listened to as well.",
)
def refund_event_names_the_payment_intent(account: Account) -> None:
    """Stripe sends refund.created for a refund, with the payment intent, and the invoice stays paid."""
    since = account.now()
    invoice = account.new_paid_invoice(account.new_customer())
    intent = account.payment_intent_of(invoice)
    refund = account.new_refund(invoice)
    event = account.event("refund.created", since, partial(is_about, refund.id))

    expect("its payment intent", event and event.data.object["payment_intent"], intent)
    expect("status of the invoice", account.v1.invoices.retrieve(invoice.id).status, "paid")


@assumption(
    source="https://docs.stripe.com/refunds#failed-refunds",
    if_true="A failed refund sets `refund_due` again.",
    if_false="The operator would believe that the customer has the money.",
)
def failed_refund_event_names_the_payment_intent(account: Account) -> None:
    """Stripe sends refund.failed when the bank refuses a refund, with the payment intent and a reason."""
    since = account.now()
    refund = account.new_failed_refund()
    event = account.event("refund.failed", since, partial(is_about, refund.id))
    seen = event and (event.data.object["status"], event.data.object["payment_intent"])

    expect("status and payment intent", seen, ("failed", refund.payment_intent))
    expect("has a reason", bool(event and event.data.object["failure_reason"]), assumed=True)


@assumption(
    source="stripe.RefundService.create",
    if_true="Stripe itself refuses to give the same money back twice.",
    if_false="The operator could refund twice; the command lists the refunds first.",
)
def payment_cannot_be_refunded_twice(account: Account) -> None:
    """A second refund of a whole payment is refused with 400 charge_already_refunded."""
    invoice = account.new_paid_invoice(account.new_customer())
    account.new_refund(invoice)

    with refused(400, code="charge_already_refunded"):
        account.new_refund(invoice)


@assumption(
    source=CREDIT_NOTE,
    if_true="The refund command links refunds made earlier instead of refunding again.",
    if_false="An earlier refund would have to be credited outside Stripe.",
)
def credit_note_can_link_an_earlier_refund(account: Account) -> None:
    """A credit note can name a refund that was made before, and makes no second one."""
    invoice = account.new_paid_invoice(account.new_customer())
    intent, refund = account.payment_intent_of(invoice), account.new_refund(invoice)
    with accepted("an earlier refund"):
        account.v1.credit_notes.create(
            {
                "invoice": invoice.id,
                "amount": 1500,
                "refunds": [{"refund": refund.id, "amount_refunded": 1500}],
                "email_type": "none",
            }
        )

    expect("refunds", [r.id for r in account.v1.refunds.list({"payment_intent": intent}).data], [refund.id])


@assumption(
    source=EVENT_TYPES,
    if_true="A dispute is written in the line's history and raises an alarm; the line stays as it is.",
    if_false="Disputes would be visible in the Dashboard only.",
)
def dispute_event_names_the_payment_intent(account: Account) -> None:
    """Stripe sends charge.dispute.created for a disputed payment, with its intent, and the invoice stays paid."""
    since = account.now()
    invoice = account.new_disputed_invoice()
    intent = account.payment_intent_of(invoice)
    event = account.event("charge.dispute.created", since, lambda event: event.data.object["payment_intent"] == intent)

    expect("an event", event is not None, assumed=True)
    expect("status of the invoice", account.v1.invoices.retrieve(invoice.id).status, "paid")


def revise(account: Account, invoice: stripe.Invoice) -> stripe.Invoice:
    return account.v1.invoices.create({"from_invoice": {"action": "revision", "invoice": invoice.id}})


@assumption(
    source=EDITS,
    if_true="A revision made in the Dashboard is found by our metadata, like the invoice that it replaces.",
    if_false="It is found by the original's latest_revision alone.",
)
def revision_copies_items_and_metadata(account: Account) -> None:
    """A revision is a draft with the original's items, customer and metadata, and names the original."""
    invoice = account.new_open_invoice(account.new_customer(), params={"metadata": {"line_id": "l1"}})
    draft = revise(account, invoice)

    expect("status and customer", (draft.status, draft.customer), ("draft", invoice.customer))
    expect("amounts", [line.amount for line in draft.lines.data], [1500])
    expect("metadata", metadata_of(draft), {"line_id": "l1"})
    expect("original", draft.from_invoice and draft.from_invoice.invoice, invoice.id)


@assumption(
    source="stripe.Invoice.latest_revision",
    if_true="A void invoice with a revision cancels no line: the revision becomes the line's invoice.",
    if_false="The line would be canceled when its invoice is revised, and the revision flagged when it is paid.",
)
def finalized_revision_voids_the_original_which_names_it(account: Account) -> None:
    """Finalizing a revision voids the original, whose latest_revision is then the revision."""
    invoice = account.new_open_invoice(account.new_customer())
    draft = revise(account, invoice)
    expect("latest_revision while it is a draft", account.v1.invoices.retrieve(invoice.id).latest_revision, None)
    account.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})
    now = account.v1.invoices.retrieve(invoice.id)

    expect("original", (now.status, now.latest_revision), ("void", draft.id))


@assumption(
    source=EDITS,
    if_true="A paid line's invoice is final: what may replace it are credit notes only.",
    if_false="A paid invoice could be replaced; the product keeps to the one that was paid.",
)
def paid_invoice_cannot_be_revised(account: Account) -> None:
    """A revision of a paid invoice is refused with 400."""
    invoice = account.new_paid_invoice(account.new_customer())

    with refused(400):
        revise(account, invoice)
