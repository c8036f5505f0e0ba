from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

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


def test_invoice_item_refused_unless_draft(shop: Shop) -> None:
    invoice = shop.open_invoice()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoice_items.create({"customer": str(invoice.customer), "invoice": invoice.id, "amount": 5})

    assert (refused.value.code, refused.value.param) == ("invoice_not_editable", "invoice")


def test_invoice_item_refuses_recurring_price(shop: Shop) -> None:
    customer = shop.customer()

    with pytest.raises(stripe.InvalidRequestError, match="type=recurring"):
        shop.v1.invoice_items.create({"customer": customer, "pricing": {"price": shop.price()}})
    one_time = shop.v1.invoice_items.create(
        {"customer": customer, "pricing": {"price": shop.price(recurring=False, unit_amount=700)}}
    )

    assert one_time.amount == 700


def test_invoice_item_refuses_other_currency_than_invoice(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product()
    invoice = shop.v1.invoices.create({"customer": customer, "currency": "usd"})

    with pytest.raises(stripe.InvalidRequestError, match="currency"):
        shop.v1.invoice_items.create(
            {
                "customer": customer,
                "invoice": invoice.id,
                "price_data": {"currency": "eur", "product": product, "unit_amount": 1},
            }
        )


def test_deleted_item_leaves_draft(shop: Shop) -> None:
    draft = shop.draft()
    item = shop.v1.invoice_items.list({"invoice": draft}).data[0]

    assert shop.v1.invoice_items.delete(item.id).deleted

    invoice = shop.v1.invoices.retrieve(draft)
    assert (invoice.lines.data, invoice.total) == ([], 0)


@pytest.mark.parametrize(("behavior", "lines"), [("include", 1), ("exclude", 0)])
def test_pending_items_included_only_on_request(shop: Shop, behavior: str, lines: int) -> None:
    customer = shop.customer()
    shop.v1.invoice_items.create({"customer": customer, "amount": 900, "currency": "usd"})

    invoice = shop.v1.invoices.create(
        {
            "customer": customer,
            "currency": "usd",
            "pending_invoice_items_behavior": "include" if behavior == "include" else "exclude",
        }
    )

    assert len(invoice.lines.data) == lines
