from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_line_names_its_item_amount_and_product(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product()
    invoice = shop.v1.invoices.create({"customer": customer, "currency": "usd"})
    item = shop.v1.invoice_items.create(
        {
            "customer": customer,
            "invoice": invoice.id,
            "quantity": 2,
            "price_data": {"currency": "usd", "product": product, "unit_amount": 1500},
            "metadata": {"line_id": "l1"},
        }
    )

    line = shop.v1.invoices.retrieve(invoice.id).lines.data[0]

    assert (line.amount, line.quantity, line.currency) == (3000, 2, "usd")
    assert line.pricing is not None
    assert line.pricing.price_details is not None
    assert line.pricing.price_details.product == product
    assert line.parent is not None
    assert line.parent.invoice_item_details is not None
    assert line.parent.invoice_item_details.invoice_item == item.id
    assert line.metadata["line_id"] == "l1"


def test_deleted_item_leaves_draft_which_can_be_deleted(shop: Shop) -> None:
    draft = shop.draft()
    item = shop.v1.invoice_items.list({"invoice": draft}).data[0]

    assert shop.v1.invoice_items.delete(item.id).deleted

    invoice = shop.v1.invoices.retrieve(draft)
    assert (invoice.lines.data, invoice.total) == ([], 0)
    assert shop.v1.invoices.delete(draft).deleted
    assert shop.events_about(draft)[-1] == "invoice.deleted"


def test_pending_items_are_included_on_request(shop: Shop) -> None:
    customer = shop.customer()
    shop.v1.invoice_items.create({"customer": customer, "amount": 900, "currency": "usd"})

    invoice = shop.v1.invoices.create(
        {"customer": customer, "currency": "usd", "pending_invoice_items_behavior": "include"}
    )

    assert len(invoice.lines.data) == 1


def test_invoice_item_takes_one_time_price(shop: Shop) -> None:
    price = shop.price(700, interval=None)

    assert shop.v1.invoice_items.create({"customer": shop.customer(), "pricing": {"price": price}}).amount == 700
