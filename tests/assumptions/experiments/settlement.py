"""What settles an invoice"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.assumptions.registry import accepted, assumption, expect, refused

if TYPE_CHECKING:
    from tests.assumptions.account import Account

TRANSITIONS = "https://docs.stripe.com/invoicing/integration/workflow-transitions"
BALANCE = "https://docs.stripe.com/billing/customer/balance"
PARTIAL_PAYMENTS = "https://docs.stripe.com/invoicing/partial-payments"
BELOW_MINIMUM = 49  # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts: $0.50


@assumption(
    source="https://docs.stripe.com/invoicing/overview",
    if_true="The product finalizes only a draft with exactly its own item; an empty one would make the line free.",
    if_false="The check before finalize still protects the amount.",
)
def empty_draft_is_paid_by_finalizing(account: Account) -> None:
    """A draft without items is paid as soon as it is finalized."""
    draft = account.new_draft(account.new_customer(), amount=None)

    expect("status", account.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False}).status, "paid")


@assumption(
    source="https://docs.stripe.com/invoicing/overview",
    if_true="The 201 has the shape of an included line and the payment status `paid`.",
    if_false="The client would be sent to a page that asks for nothing.",
)
def zero_amount_is_paid_by_finalizing(account: Account) -> None:
    """An invoice of 0 is paid as soon as it is finalized."""
    invoice = account.new_open_invoice(account.new_customer(), amount=0)

    expect("status and amounts", (invoice.status, invoice.amount_due, invoice.amount_paid), ("paid", 0, 0))


@assumption(
    source=BALANCE,
    if_true="The line goes straight to provisioning, paid from the customer's credit.",
    if_false="The client would be asked for money that it has already given.",
)
def invoice_covered_by_credit_is_paid_by_finalizing(account: Account) -> None:
    """Credit that covers the total pays the invoice at finalize and shrinks by it."""
    customer = account.new_customer(balance=-2000)
    invoice = account.new_open_invoice(customer)

    expect("status, total and due", (invoice.status, invoice.total, invoice.amount_due), ("paid", 1500, 0))
    expect("balance", account.v1.customers.retrieve(customer).balance, -500)


@assumption(
    source=BALANCE,
    if_true="The hosted page asks for the rest; the line awaits payment as usual.",
    if_false="The credit waits for the renewal instead.",
)
def partial_credit_lowers_what_is_due(account: Account) -> None:
    """Credit below the total lowers amount_due, and the invoice stays open."""
    invoice = account.new_open_invoice(account.new_customer(balance=-500))

    expect("status, total and due", (invoice.status, invoice.total, invoice.amount_due), ("open", 1500, 1000))


@assumption(
    source=BALANCE,
    if_true="Owing customers pay their debt with the next line: what the page asks for may exceed the price.",
    if_false="The debt waits for the renewal instead.",
)
def debt_on_the_balance_is_added_to_what_is_due(account: Account) -> None:
    """A positive customer balance is added to amount_due at finalize."""
    invoice = account.new_open_invoice(account.new_customer(balance=200))

    expect("status, total and due", (invoice.status, invoice.total, invoice.amount_due), ("open", 1500, 1700))


@assumption(
    source="https://docs.stripe.com/changelog/2019-12-03/customer-balances-returned-voided-invoices",
    if_true="A canceled request costs the customer no credit.",
    if_false="The operator would have to give the credit back by hand.",
)
def void_returns_the_credit_that_was_applied(account: Account) -> None:
    """Voiding an invoice returns the credit that finalize applied."""
    customer = account.new_customer(balance=-500)
    invoice = account.new_open_invoice(customer)
    account.v1.invoices.void_invoice(invoice.id)

    expect("balance", account.v1.customers.retrieve(customer).balance, -500)


@assumption(
    source=BALANCE,
    if_true="A first charge of a few cents settles at once and is collected with the next invoice.",
    if_false="The charge would be refused on the page; `first_charge` would need a floor.",
)
def amount_below_the_minimum_is_paid_and_moved_to_the_balance(account: Account) -> None:
    """An amount below Stripe's minimum charge is paid at finalize and becomes a debt on the customer's balance."""
    customer = account.new_customer()
    invoice = account.new_open_invoice(customer, BELOW_MINIMUM)

    expect("status, total and due", (invoice.status, invoice.total, invoice.amount_due), ("paid", BELOW_MINIMUM, 0))
    expect("balance", account.v1.customers.retrieve(customer).balance, BELOW_MINIMUM)


@assumption(
    source="https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts",
    if_true="From 50 cents on a first charge is asked for on the page.",
    if_false="The minimum is another one; the product depends on no figure.",
)
def amount_of_the_minimum_stays_open(account: Account) -> None:
    """An invoice over exactly $0.50 stays open and asks for it."""
    invoice = account.new_open_invoice(account.new_customer(), 50)

    expect("status and due", (invoice.status, invoice.amount_due), ("open", 50))


@assumption(
    source="stripe.params.InvoiceCreateParams.discounts",
    if_true="The customer pays the discounted first charge; the ledger compares what stands before discounts.",
    if_false="The customer pays the full first charge.",
)
def discount_of_the_customer_applies_to_the_invoice(account: Account) -> None:
    """A manual invoice inherits the customer's discount."""
    customer = account.new_customer()
    account.discount_customer(customer, percent=50)
    invoice = account.new_open_invoice(customer)

    expect("subtotal and total", (invoice.subtotal, invoice.total), (1500, 750))
    expect("amounts of the items", [line.amount for line in invoice.lines.data], [1500])


@assumption(
    source=TRANSITIONS,
    if_true="A second payment of one line is refused by Stripe itself.",
    if_false="Two payments for one line are flagged for a refund.",
)
def paid_invoice_cannot_be_paid_again(account: Account) -> None:
    """Paying a paid invoice is refused with 400."""
    invoice = account.new_paid_invoice(account.new_customer())

    with refused(400):
        account.v1.invoices.pay(invoice.id)


@assumption(
    source=TRANSITIONS,
    if_true="After a refused void the product retrieves the invoice: paid wins over every reason to cancel.",
    if_false="A paid line could be canceled; the retrieve before each void only makes that unlikely.",
)
def paid_invoice_cannot_be_voided(account: Account) -> None:
    """Voiding a paid invoice is refused with 400 and it stays paid."""
    invoice = account.new_paid_invoice(account.new_customer())

    with refused(400):
        account.v1.invoices.void_invoice(invoice.id)
    expect("status", account.v1.invoices.retrieve(invoice.id).status, "paid")


@assumption(
    source=TRANSITIONS,
    if_true="Once voided, a request is canceled for good: no payment can follow.",
    if_false="A payment after the cancel is flagged for a refund and raises an alarm.",
)
def void_invoice_cannot_be_paid(account: Account) -> None:
    """Paying a void invoice is refused with 400."""
    invoice = account.new_open_invoice(account.new_customer())
    expect("status", account.v1.invoices.void_invoice(invoice.id).status, "void")

    with refused(400):
        account.v1.invoices.pay(invoice.id)


@assumption(
    source=TRANSITIONS,
    if_true="`uncollectible` is no end: the line goes on waiting and can still be paid.",
    if_false="Lines that an operator wrote off would wait until the payment window ends them.",
)
def uncollectible_invoice_can_be_paid(account: Account) -> None:
    """An invoice marked uncollectible can still be paid."""
    invoice = account.new_open_invoice(account.new_customer())
    account.v1.invoices.mark_uncollectible(invoice.id)
    with accepted("payment of an uncollectible invoice"):
        paid = account.v1.invoices.pay(invoice.id)

    expect("status", paid.status, "paid")


@assumption(
    source=TRANSITIONS,
    if_true="A cancel voids a written-off invoice as well.",
    if_false="The cancel would be tried again by the reconciler, with an alarm.",
)
def uncollectible_invoice_can_be_voided(account: Account) -> None:
    """An invoice marked uncollectible can be voided."""
    invoice = account.new_open_invoice(account.new_customer())
    account.v1.invoices.mark_uncollectible(invoice.id)
    with accepted("void of an uncollectible invoice"):
        void = account.v1.invoices.void_invoice(invoice.id)

    expect("status", void.status, "void")


@assumption(
    source="https://docs.stripe.com/api/invoices/void",
    if_true="A repeated void is refused; the retrieve that follows finds the invoice void, as wanted.",
    if_false="A repeated void would be answered like the first.",
)
def void_invoice_cannot_be_voided_again(account: Account) -> None:
    """Voiding a void invoice is refused with 400 and it stays void."""
    invoice = account.new_open_invoice(account.new_customer())
    account.v1.invoices.void_invoice(invoice.id)

    with refused(400):
        account.v1.invoices.void_invoice(invoice.id)
    expect("status", account.v1.invoices.retrieve(invoice.id).status, "void")


@assumption(
    source=PARTIAL_PAYMENTS,
    if_true="Cancel answers 409 while a payment is on its way and is tried again later; paid wins.",
    if_false="A canceled request could be debited: it is flagged for a refund when the payment arrives.",
)
def void_is_refused_while_a_bank_debit_is_on_its_way(account: Account) -> None:
    """While a bank debit is processing the invoice stays open, and voiding it is refused with 400."""
    invoice = account.new_open_invoice(account.new_customer())
    account.start_bank_debit(invoice)

    with refused(400):
        account.v1.invoices.void_invoice(invoice.id)
    expect("status", account.v1.invoices.retrieve(invoice.id).status, "open")


@assumption(
    source="stripe.InvoiceService.attach_payment",
    if_true="A line whose invoice is partly paid goes on waiting; an alarm names it.",
    if_false="A part would promote the line. The product compares status, so it needs `paid`.",
)
def partly_paid_invoice_stays_open_and_says_how_much(account: Account) -> None:
    """A part payment leaves the invoice open with amount_paid and amount_remaining set."""
    invoice = account.new_open_invoice(account.new_customer())
    account.pay_part(invoice, 500)

    seen = account.v1.invoices.retrieve(invoice.id)
    expect("status, paid and remaining", (seen.status, seen.amount_paid, seen.amount_remaining), ("open", 500, 1000))


@assumption(
    source=PARTIAL_PAYMENTS,
    if_true="Cancel answers 409 saying so; the operator's refund credits the invoice and cancels the request.",
    if_false="The void would succeed and the part would be owed to the customer: `refund_due`.",
)
def partly_paid_invoice_cannot_be_voided(account: Account) -> None:
    """Voiding a partly paid invoice is refused with 400."""
    invoice = account.new_open_invoice(account.new_customer())
    account.pay_part(invoice, 500)

    with refused(400):
        account.v1.invoices.void_invoice(invoice.id)


@assumption(
    source="stripe.params.InvoicePayParams.paid_out_of_band",
    if_true="A line that was paid by bank transfer outside Stripe is promoted like any other.",
    if_false="The operator would have to credit the invoice and release the line instead.",
)
def out_of_band_payment_makes_the_invoice_paid(account: Account) -> None:
    """An invoice paid outside Stripe is paid, and no payment intent stands behind it."""
    invoice = account.new_open_invoice(account.new_customer(card=None))
    paid = account.v1.invoices.pay(invoice.id, {"paid_out_of_band": True, "expand": ["payments"]})

    expect("status and remaining", (paid.status, paid.amount_remaining), ("paid", 0))
    payments = paid.payments.data if paid.payments else []
    kinds = {payment.payment.type for payment in payments if payment.status == "paid"}
    expect("paid by a payment intent", "payment_intent" in kinds, assumed=False)


@assumption(
    source="https://docs.stripe.com/api/invoice-payment",
    if_true="A refund or dispute, which names a payment intent, is traced to the line's invoice.",
    if_false="Reversals made elsewhere would not be heard; the invoice's credit notes still would.",
)
def payment_intent_leads_to_its_invoice(account: Account) -> None:
    """The invoice payments of a payment intent name the invoice that it paid."""
    invoice = account.new_paid_invoice(account.new_customer())
    intent = account.payment_intent_of(invoice)

    found = account.v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": intent}}).data
    expect("invoices", [payment.invoice for payment in found], [invoice.id])
