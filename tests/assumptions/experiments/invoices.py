"""Invoices and their items"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.assumptions.account import DAY_S
from tests.assumptions.registry import accepted, assumption, expect, refused, single

if TYPE_CHECKING:
    import stripe

    from tests.assumptions.account import Account

TRANSITIONS = "https://docs.stripe.com/invoicing/integration/workflow-transitions"
OVERVIEW = "https://docs.stripe.com/invoicing/overview"
PERIOD_S = 3600


def metadata_of(invoice: stripe.Invoice) -> dict[str, str]:
    return invoice.metadata.to_dict() if invoice.metadata else {}


@assumption(
    source="stripe.Invoice.hosted_invoice_url",
    if_true="The payment link is read from the finalized invoice, never from the draft.",
    if_false="A client could be sent to a page that cannot take its money yet.",
)
def draft_has_no_hosted_page(account: Account) -> None:
    """A draft has neither a hosted page nor a number."""
    draft = account.new_draft(account.new_customer())

    expect("page and number", (draft.hosted_invoice_url, draft.number), (None, None))


@assumption(
    source="stripe.Invoice.hosted_invoice_url",
    if_true="The answer to finalize already carries the payment link of the 201.",
    if_false="The 201 would have no link: the product would have to retrieve the invoice until it has one.",
)
def invoice_has_hosted_page_once_finalized(account: Account) -> None:
    """The answer to finalize carries the address of the hosted page."""
    invoice = account.new_open_invoice(account.new_customer())

    expect("has a page", str(invoice.hosted_invoice_url).startswith("http"), assumed=True)


@assumption(
    source="https://docs.stripe.com/invoicing/hosted-invoice-page",
    if_true="The stored payment link is refreshed whenever the product retrieves the invoice.",
    if_false="The first link would do for as long as the line awaits payment.",
)
def hosted_page_expires_and_a_retrieved_invoice_has_a_new_one(account: Account) -> None:
    """After 30 days the page's address no longer works, and the invoice has another address that does."""
    invoice = account.new_open_invoice(account.new_customer())
    expect("the page at first", account.page_opens(invoice.hosted_invoice_url), assumed=True)
    account.pass_real_time(31 * DAY_S)
    later = account.v1.invoices.retrieve(invoice.id)

    expect("the first page", account.page_opens(invoice.hosted_invoice_url), assumed=False)
    expect("the new page", account.page_opens(later.hosted_invoice_url), assumed=True)


@assumption(
    source="stripe.params.InvoiceFinalizeInvoiceParams.auto_advance",
    if_true="A saved card is not charged: the customer decides on the hosted page.",
    if_false="Customers would be charged without being asked. The product must not be used.",
)
def invoice_stays_open_without_auto_advance_despite_saved_card(account: Account) -> None:
    """An invoice finalized with auto_advance=false stays open, though the customer has a card that would pay."""
    invoice = account.new_open_invoice(account.new_customer(card="pm_card_visa"))

    expect("status", invoice.status, "open")
    expect("auto_advance", invoice.auto_advance, assumed=False)
    expect("amounts", (invoice.amount_due, invoice.amount_paid, invoice.amount_remaining), (1500, 0, 1500))


@assumption(
    source="stripe.params.InvoiceCreateParams.pending_invoice_items_behavior",
    if_true="The line's invoice charges the line alone; what is pending waits for the renewal.",
    if_false="The draft would have foreign items; the product notices before it finalizes and makes another draft.",
)
def invoice_leaves_pending_items_alone_with_exclude(account: Account) -> None:
    """A draft made with pending_invoice_items_behavior=exclude does not take the customer's pending items."""
    customer = account.new_customer()
    pending = account.add_item(customer, None)
    draft = account.new_draft(customer, amount=None)

    expect("lines", len(draft.lines.data), 0)
    waiting = account.v1.invoice_items.list({"customer": customer, "pending": True}).data
    expect("pending items", [item.id for item in waiting], [pending.id])


@assumption(
    source="https://github.com/stripe/stripe-node/issues/1918",
    if_true="Manual invoices of operators do not take the product's pending items.",
    if_false="An operator's manual invoice would charge what the renewal was to charge: the ledger still sees it once.",
)
def invoice_leaves_pending_items_alone_by_default(account: Account) -> None:
    """A draft made without pending_invoice_items_behavior takes no pending items either."""
    customer = account.new_customer()
    account.add_item(customer, None)
    draft = account.v1.invoices.create({"customer": customer, "currency": "usd"})

    expect("lines", len(draft.lines.data), 0)


@assumption(
    source="stripe.InvoiceService.delete",
    if_true="The product deletes them after the draft, or the customer's next invoice would charge them.",
    if_false="The deletion finds nothing to do: one list call too many.",
)
def deleted_draft_leaves_its_items_pending(account: Account) -> None:
    """The items of a deleted draft go back to the customer as pending items (Stripe does not say; the worse case)."""
    customer = account.new_customer()
    draft = account.new_draft(customer)
    account.v1.invoices.delete(draft.id)

    pending = account.v1.invoice_items.list({"customer": customer, "pending": True}).data
    expect("amounts of pending items", [item.amount for item in pending], [1500])


@assumption(
    source="stripe.InvoiceService.delete",
    if_true="A draft is deleted, a finalized invoice is voided.",
    if_false="A line's invoice could vanish; an unknown invoice changes nothing and raises an alarm.",
)
def finalized_invoice_cannot_be_deleted(account: Account) -> None:
    """Deleting an invoice that is no draft is refused with 400."""
    invoice = account.new_open_invoice(account.new_customer())

    with refused(400):
        account.v1.invoices.delete(invoice.id)
    expect("status", account.v1.invoices.retrieve(invoice.id).status, "open")


@assumption(
    source=TRANSITIONS,
    if_true="A draft that is no longer wanted is deleted.",
    if_false="Voiding would do for drafts, too.",
)
def draft_cannot_be_voided(account: Account) -> None:
    """Voiding a draft is refused with 400."""
    draft = account.new_draft(account.new_customer())

    with refused(400):
        account.v1.invoices.void_invoice(draft.id)


@assumption(
    source="https://docs.stripe.com/error-codes#invoice-not-editable",
    if_true="Of two callers that finalize, the second retrieves the invoice and finds it open.",
    if_false="Nothing changes: the product believes what it retrieves, not the refusal.",
)
def invoice_cannot_be_finalized_twice(account: Account) -> None:
    """Finalizing an open invoice is refused with 400."""
    invoice = account.new_open_invoice(account.new_customer())

    with refused(400):
        account.v1.invoices.finalize_invoice(invoice.id, {"auto_advance": False})


@assumption(
    source="stripe.params.InvoiceItemCreateParams.invoice",
    if_true="What the customer sees on the page is what the line was frozen with.",
    if_false="The open invoice's items would have to be compared at every retrieve.",
)
def finalized_invoice_takes_no_more_items(account: Account) -> None:
    """An item for an open invoice is refused with 400."""
    customer = account.new_customer()
    invoice = account.new_open_invoice(customer)

    with refused(400):
        account.add_item(customer, invoice.id)


@assumption(
    source="stripe.InvoiceService.update",
    if_true="The product could mark an open invoice; today it writes metadata with the draft only.",
    if_false="Nothing changes.",
)
def open_invoice_takes_metadata(account: Account) -> None:
    """The metadata of an open invoice can still be changed, key by key."""
    invoice = account.new_open_invoice(account.new_customer(), params={"metadata": {"line_id": "l1"}})
    with accepted("metadata on an open invoice"):
        changed = account.v1.invoices.update(invoice.id, {"metadata": {"seen": "yes"}})

    expect("metadata", metadata_of(changed), {"line_id": "l1", "seen": "yes"})


@assumption(
    source="https://docs.stripe.com/api/metadata",
    if_true="Ids fit (24 and at most 64 characters), so the product sends them as they are.",
    if_false="Longer values would be possible.",
)
def metadata_value_is_refused_beyond_500_characters(account: Account) -> None:
    """A metadata value of 500 characters is kept; one of 501 is refused with 400."""
    customer = account.new_customer()
    with accepted("500 characters"):
        kept = account.new_draft(customer, None, params={"metadata": {"line_id": "x" * 500}})

    expect("length", len(metadata_of(kept)["line_id"]), 500)
    with refused(400):
        account.new_draft(customer, None, params={"metadata": {"line_id": "x" * 501}})


@assumption(
    source="https://docs.stripe.com/api/metadata",
    if_true="Stripe's metadata is not where the product keeps a history.",
    if_false="Nothing changes: the product writes two keys.",
)
def metadata_is_refused_beyond_50_keys(account: Account) -> None:
    """A 51st metadata key is refused with 400."""
    with refused(400):
        account.new_draft(account.new_customer(), None, params={"metadata": {f"k{n}": "v" for n in range(51)}})


@assumption(
    source="https://docs.stripe.com/api/invoiceitems/create",
    if_true="The invoice item copies product, currency and amount of the plan's recurring price (`price_data`).",
    if_false="The item could name the plan's price itself, and `plans apply` would freeze less.",
)
def invoice_item_refuses_recurring_price(account: Account) -> None:
    """An invoice item that names a recurring price is refused with 400."""
    customer, price = account.new_customer(), account.new_price()
    draft = account.new_draft(customer, amount=None)

    with refused(400):
        account.v1.invoice_items.create({"customer": customer, "invoice": draft.id, "pricing": {"price": price}})


@assumption(
    source="stripe.params.InvoiceItemCreateParams.price_data",
    if_true="One call puts the line's charge on its draft, under the product that the plan names.",
    if_false="The product would have to make a one-time price for each amount first.",
)
def invoice_item_takes_inline_price_of_existing_product(account: Account) -> None:
    """An invoice item with price_data makes a line of that product, amount and quantity 1."""
    customer, product = account.new_customer(), account.new_product()
    draft = account.new_draft(customer, amount=None)
    with accepted("price_data"):
        account.v1.invoice_items.create(
            {
                "customer": customer,
                "invoice": draft.id,
                "price_data": {"currency": "usd", "product": product, "unit_amount": 733},
                "quantity": 1,
            }
        )

    line = single("lines", account.v1.invoices.retrieve(draft.id).lines.data)
    details = line.pricing.price_details if line.pricing else None
    expect("amount and quantity", (line.amount, line.quantity), (733, 1))
    expect("product", details and details.product, product)


@assumption(
    source="stripe.params.InvoiceItemCreateParams.period",
    if_true="The hosted page and the receipt show the time that the first charge covers.",
    if_false="The texts alone would say it; the amount is the same.",
)
def invoice_item_period_is_shown_on_the_invoice_line(account: Account) -> None:
    """The period given to an invoice item is the period of its line."""
    customer, product, start = account.new_customer(), account.new_product(), account.now()
    draft = account.new_draft(customer, amount=None)
    account.v1.invoice_items.create(
        {
            "customer": customer,
            "invoice": draft.id,
            "price_data": {"currency": "usd", "product": product, "unit_amount": 733},
            "period": {"start": start, "end": start + PERIOD_S},
            "description": "Extra phone line, until the next renewal",
        }
    )

    line = single("lines", account.v1.invoices.retrieve(draft.id).lines.data)
    expect("period", (line.period.start, line.period.end), (start, start + PERIOD_S))
    expect("description", line.description, "Extra phone line, until the next renewal")


@assumption(
    source="https://docs.stripe.com/invoicing/multi-currency-customers",
    if_true="Currency and amount are frozen together, in the subscription's currency.",
    if_false="An invoice could mix currencies; the product compares each item's currency before it finalizes.",
)
def invoice_item_refuses_other_currency_than_its_invoice(account: Account) -> None:
    """An item in another currency than its invoice's is refused with 400."""
    customer, product = account.new_customer(), account.new_product()
    draft = account.new_draft(customer, amount=None)

    with refused(400):
        account.v1.invoice_items.create(
            {
                "customer": customer,
                "invoice": draft.id,
                "price_data": {"currency": "eur", "product": product, "unit_amount": 733},
            }
        )
