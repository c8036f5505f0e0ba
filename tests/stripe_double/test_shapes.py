"""Every object of the double has the fields that the SDK's own classes declare, and no others."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import stripe
from stripe import billing_portal, tax

from tests.stripe_double.shop import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stripe_double.shop import Shop

CLASSES: dict[str, type[stripe.StripeObject]] = {
    str(one.OBJECT_NAME): one
    for one in (
        stripe.Account,
        stripe.Charge,
        stripe.Coupon,
        stripe.CreditNote,
        stripe.Customer,
        stripe.Discount,
        stripe.Dispute,
        stripe.Event,
        stripe.Invoice,
        stripe.InvoiceItem,
        stripe.InvoiceLineItem,
        stripe.InvoicePayment,
        stripe.PaymentIntent,
        stripe.Price,
        stripe.Product,
        stripe.Refund,
        stripe.Subscription,
        stripe.SubscriptionItem,
        stripe.TaxRate,
        stripe.WebhookEndpoint,
        billing_portal.Configuration,
        tax.Settings,
    )
}


def faults(value: object, declared: object, path: str) -> Iterator[str]:
    """Missing and undeclared fields, as far down as the classes say; ids and plain values have none."""
    if get_origin(declared) in (Union, types.UnionType):
        for member in get_args(declared):
            yield from faults(value, member, path)
    elif get_origin(declared) is list and isinstance(value, list):
        for index, element in enumerate(value):
            yield from faults(element, get_args(declared)[0], f"{path}[{index}]")
    elif isinstance(declared, type) and issubclass(declared, stripe.StripeObject) and isinstance(value, dict):
        fields: dict[str, Any] = {
            name: hint for name, hint in declared.__annotations__.items() if name != "OBJECT_NAME"
        }
        yield from (f"{path}.{name} is not declared" for name in value.keys() - fields.keys() if fields)
        yield from (
            f"{path}.{name} is missing"
            for name, hint in fields.items()
            if name not in value and type(None) not in get_args(hint)
        )
        for name in value.keys() & fields.keys():
            yield from faults(value[name], fields[name], f"{path}.{name}")


def test_objects_have_the_fields_of_the_sdks_classes(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"amount_off": 100, "currency": "usd"}).id
    rate = shop.v1.tax_rates.create({"display_name": "VAT", "percentage": 20, "inclusive": False}).id
    subscription = shop.v1.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": shop.price()}], "discounts": [{"coupon": coupon}]}
    )
    shop.v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    shop.double.advance(10 * DAY)
    shop.v1.subscription_items.update(subscription["items"].data[0].id, {"quantity": 2})
    shop.double.advance(30 * DAY)
    invoice = shop.open_invoice()
    draft = shop.v1.invoices.create({"customer": str(invoice.customer), "default_tax_rates": [rate]}).id
    shop.v1.invoice_items.create({"customer": str(invoice.customer), "invoice": draft, "amount": 100})
    shop.v1.invoices.finalize_invoice(draft)
    shop.double.pay_invoice(invoice.id)
    shop.double.touch_invoice(invoice.id, "dispute")
    shop.double.touch_invoice(invoice.id, "credit_note")
    shop.double.discount_customer(str(invoice.customer), percent_off=5)
    shop.v1.webhook_endpoints.create({"url": "https://example.com/hook", "enabled_events": ["invoice.paid"]})
    shop.v1.billing_portal.configurations.list()
    objects = [one for kind in shop.double.kinds() for one in shop.double.all_of(kind)]
    objects += [shop.v1.tax.settings.retrieve().to_dict(), shop.v1.accounts.retrieve_current().to_dict()]

    assert {one["object"] for one in objects} == set(CLASSES)
    found = {fault for one in objects for fault in faults(one, CLASSES[one["object"]], one["object"])}
    assert not found, "\n".join(sorted(found))
