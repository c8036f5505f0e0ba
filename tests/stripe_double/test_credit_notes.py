"""Credit notes, before and after payment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe
import stripe.params

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_voided_credit_note_is_owed_again(shop: Shop) -> None:
    invoice = shop.open_invoice()
    note = shop.v1.credit_notes.create({"invoice": invoice.id, "amount": 500})
    assert (note.type, note.number) == ("pre_payment", f"{invoice.number}-CN-01")

    voided = shop.v1.credit_notes.void_credit_note(note.id)

    assert (voided.status, shop.events_about(note.id)) == ("void", ["credit_note.created", "credit_note.voided"])
    after = shop.v1.invoices.retrieve(invoice.id)
    assert (after.amount_remaining, after.pre_payment_credit_notes_amount) == (1500, 0)
    assert shop.v1.credit_notes.create({"invoice": invoice.id, "amount": 1500}).total == 1500
    with pytest.raises(stripe.InvalidRequestError, match="only void"):
        shop.v1.credit_notes.void_credit_note(note.id)
    assert len(shop.v1.credit_notes.list({"invoice": invoice.id}).data) == 2


def test_credit_note_after_payment_splits_into_refund_balance_and_out_of_band(shop: Shop) -> None:
    customer = shop.customer()
    invoice = shop.v1.invoices.pay(shop.open_invoice(customer).id)

    note = shop.v1.credit_notes.create(
        {
            "invoice": invoice.id,
            "amount": 1500,
            "refund_amount": 1000,
            "credit_amount": 400,
            "out_of_band_amount": 100,
            "metadata": {"line_id": "l1"},
        },
        {"idempotency_key": "k"},
    )

    assert (note.type, note.post_payment_amount, note.out_of_band_amount) == ("post_payment", 1500, 100)
    refund = shop.v1.refunds.retrieve(str(note.refunds[0].refund))
    assert (refund.amount, refund.metadata and refund.metadata["line_id"]) == (1000, "l1")
    assert shop.v1.customers.retrieve(customer).balance == -400
    after = shop.v1.invoices.retrieve(invoice.id)
    assert (after.status, after.post_payment_credit_notes_amount) == ("paid", 1500)
    assert shop.events_about(note.id) == ["credit_note.created"]


def test_credit_note_links_earlier_refund_or_counts_it_as_credited(shop: Shop) -> None:
    invoice = shop.v1.invoices.pay(shop.open_invoice().id)
    refund = shop.double.touch_invoice(invoice.id, "refund", 600)["id"]

    with pytest.raises(stripe.InvalidRequestError, match="creditable 900"):
        shop.v1.credit_notes.create({"invoice": invoice.id, "amount": 1500, "refund_amount": 1500})
    note = shop.v1.credit_notes.create(
        {
            "invoice": invoice.id,
            "amount": 1500,
            "refund_amount": 900,
            "refunds": [{"refund": refund, "amount_refunded": 600}],
        }
    )

    assert [one.amount_refunded for one in note.refunds] == [600, 900]


def test_credit_note_is_mixed_when_invoice_is_partly_paid(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.touch_invoice(invoice.id, "pay_part", 600)

    note = shop.double.touch_invoice(invoice.id, "credit_note")

    assert (note["type"], note["pre_payment_amount"], note["post_payment_amount"]) == ("mixed", 900, 600)
    assert shop.v1.invoices.retrieve(invoice.id).status == "paid"


def test_dashboard_credit_note_returns_money_as_it_was_paid(shop: Shop) -> None:
    customer = shop.customer(balance=-500)
    elsewhere = shop.v1.invoices.pay(shop.open_invoice(customer).id, {"paid_out_of_band": True})

    note = shop.double.touch_invoice(elsewhere.id, "credit_note")

    assert (note["out_of_band_amount"], note["refunds"]) == (1000, [])
    assert shop.v1.customers.retrieve(customer).balance == -500


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "One of amount"),
        ({"amount": 1501, "refund_amount": 1501}, "creditable 1500"),
        ({"amount": 1500}, "must equal"),
        ({"amount": 1500, "refund_amount": 1499}, "must equal"),
        ({"lines": [{"type": "invoice_line_item", "invoice_line_item": "il_1", "amount": 1}]}, "No such"),
    ],
)
def test_credit_note_refused_when_amounts_do_not_add_up(
    shop: Shop, params: stripe.params.CreditNoteCreateParams, message: str
) -> None:
    invoice = shop.v1.invoices.pay(shop.open_invoice().id)

    with pytest.raises(stripe.InvalidRequestError, match=message):
        shop.v1.credit_notes.create({**params, "invoice": invoice.id})


def test_credit_note_preview_changes_nothing(shop: Shop) -> None:
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False}).id
    draft = shop.draft(amount=None)
    customer = str(shop.v1.invoices.retrieve(draft).customer)
    shop.v1.invoice_items.create({"customer": customer, "invoice": draft, "amount": 1000, "tax_rates": [rate]})
    invoice = shop.v1.invoices.finalize_invoice(draft)

    preview = shop.v1.credit_notes.preview(
        {
            "invoice": invoice.id,
            "lines": [{"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id, "quantity": 1}],
        }
    )

    assert (preview.subtotal, preview.total, preview.pre_payment_amount) == (1000, 1200, 1200)
    assert shop.v1.credit_notes.list({"customer": customer}).data == []
    assert shop.v1.invoices.retrieve(invoice.id).amount_remaining == 1200


def test_credit_note_refused_on_draft_or_void_invoice(shop: Shop) -> None:
    void = shop.v1.invoices.void_invoice(shop.open_invoice().id)

    for invoice_id in (shop.draft(), void.id):
        with pytest.raises(stripe.InvalidRequestError, match="cannot issue"):
            shop.v1.credit_notes.create({"invoice": invoice_id, "amount": 1})
