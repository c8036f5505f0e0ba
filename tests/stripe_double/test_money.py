"""What an invoice comes to: balance, minimum amounts, discounts, currencies, tax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

from tests.stripe_double.shop import DAY, HOUR

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def test_negative_renewal_becomes_balance_that_next_renewal_uses(shop: Shop) -> None:
    subscription = shop.subscription()
    customer = str(subscription.customer)
    shop.v1.invoice_items.create({"customer": customer, "amount": -2000, "currency": "usd"})

    shop.double.advance(31 * DAY + HOUR)

    (invoice,) = shop.invoices(subscription)
    assert (invoice.total, invoice.amount_due, invoice.status) == (-500, 0, "paid")
    assert shop.v1.customers.retrieve(customer).balance == -500
    shop.double.advance(28 * DAY)
    assert shop.invoices(subscription)[0].amount_paid == 1000


def test_customer_discount_applies_to_renewal_and_once_to_prorations(shop: Shop) -> None:
    subscription = shop.subscription()
    customer = str(subscription.customer)
    shop.double.discount_customer(customer, percent_off=25)
    shop.v1.subscription_items.create({"subscription": subscription.id, "price": shop.price(3100)})
    shop.double.advance(31 * DAY)

    renewal = shop.invoices(subscription)[0]

    assert renewal.total == round(0.75 * 4600) + 2325
    assert renewal.total_discount_amounts is not None
    assert [one.amount for one in renewal.total_discount_amounts] == [1150]


def test_coupon_discounts_invoice_and_subscription(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"amount_off": 1000, "currency": "usd", "duration": "forever"}).id
    customer = shop.customer()

    invoice = shop.v1.invoices.create({"customer": customer, "discounts": [{"coupon": coupon}]})
    shop.v1.invoice_items.create({"customer": customer, "invoice": invoice.id, "amount": 700, "currency": "usd"})
    subscribed = shop.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": shop.price()}], "discounts": [{"coupon": coupon}]}
    )

    assert shop.v1.invoices.retrieve(invoice.id).total == 0
    assert shop.v1.invoices.retrieve(str(subscribed.latest_invoice)).total == 500


def test_price_has_tax_behavior_in_each_currency_option(shop: Shop) -> None:
    in_euros = {"eur": {"unit_amount": 1400, "tax_behavior": "inclusive"}}
    price = shop.price(tax_behavior="exclusive", currency_options=in_euros)
    shown = shop.v1.prices.retrieve(price, {"expand": ["currency_options"]}).to_dict()["currency_options"]
    assert [shown[name]["tax_behavior"] for name in ("usd", "eur")] == ["exclusive", "inclusive"]

    subscription = shop.v1.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": price}], "currency": "eur"}
    )
    with pytest.raises(stripe.InvalidRequestError, match="supports currencies"):
        shop.v1.subscription_items.create({"subscription": subscription.id, "price": shop.price()})
    with pytest.raises(stripe.InvalidRequestError, match="currency"):
        shop.v1.invoice_items.create(
            {"customer": str(subscription.customer), "subscription": subscription.id, "amount": 5, "currency": "usd"}
        )


def taxed_draft(shop: Shop) -> tuple[str, str]:
    customer = shop.v1.customers.create({"address": {"country": "US", "postal_code": "94110"}}).id
    return customer, shop.v1.invoices.create({"customer": customer, "automatic_tax": {"enabled": True}}).id


def test_automatic_tax_refuses_unspecified_behavior_without_account_default(shop: Shop) -> None:
    customer, draft = taxed_draft(shop)
    params: stripe.params.InvoiceItemCreateParams = {
        "customer": customer,
        "invoice": draft,
        "price_data": {"currency": "usd", "product": shop.product(), "unit_amount": 1500},
    }

    with pytest.raises(stripe.InvalidRequestError, match="tax_behavior"):
        shop.v1.invoice_items.create(params)
    assert shop.double.all_of("invoiceitem") == []

    assert shop.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}}).status == "active"
    assert shop.v1.tax.settings.retrieve().defaults.tax_behavior == "exclusive"
    assert shop.v1.invoice_items.create(params).amount == 1500


def test_automatic_tax_accepts_specified_behavior_and_refuses_tax_rates(shop: Shop) -> None:
    customer, draft = taxed_draft(shop)
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False}).id
    params: stripe.params.InvoiceItemCreateParams = {
        "customer": customer,
        "invoice": draft,
        "amount": 1500,
        "currency": "usd",
        "tax_behavior": "exclusive",
    }

    assert shop.v1.invoice_items.create(params).amount == 1500
    with pytest.raises(stripe.InvalidRequestError, match="tax rates"):
        shop.v1.invoice_items.create({**params, "tax_rates": [rate]})


def test_finalize_fails_and_leaves_draft_without_tax_location(shop: Shop) -> None:
    customer, draft = taxed_draft(shop)
    assert shop.v1.invoices.retrieve(draft).automatic_tax.status == "complete"
    shop.v1.customers.update(customer, {"address": ""})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.finalize_invoice(draft)

    assert (refused.value.http_status, refused.value.code) == (400, "customer_tax_location_invalid")
    invoice = shop.v1.invoices.retrieve(draft)
    assert (invoice.status, invoice.automatic_tax.status) == ("draft", "requires_location_inputs")
    assert invoice.last_finalization_error is not None
    assert shop.events_about(draft)[-1] == "invoice.finalization_failed"


def test_renewal_stays_draft_without_tax_location(shop: Shop) -> None:
    shop.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    customer = shop.v1.customers.create({"address": {"country": "US"}}).id
    subscription = shop.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": shop.price()}], "automatic_tax": {"enabled": True}}
    )
    shop.v1.customers.update(customer, {"address": ""})

    shop.double.advance(32 * DAY)

    assert [(i.status, i.auto_advance) for i in shop.invoices(subscription)] == [("draft", False)]


def test_subscription_with_automatic_tax_is_refused_without_location_or_behavior(shop: Shop) -> None:
    nowhere, somewhere = shop.customer(), shop.v1.customers.create({"address": {"country": "US"}}).id
    params: stripe.params.SubscriptionCreateParams = {
        "items": [{"price": shop.price()}],
        "automatic_tax": {"enabled": True},
    }

    with pytest.raises(stripe.InvalidRequestError) as unplaced:
        shop.v1.subscriptions.create({**params, "customer": nowhere})
    with pytest.raises(stripe.InvalidRequestError, match="tax_behavior"):
        shop.v1.subscriptions.create({**params, "customer": somewhere})

    assert unplaced.value.code == "customer_tax_location_invalid"
    assert shop.double.all_of("subscription") == []
