"""Every object of the double has the fields that the SDK's own classes declare, of their types, and no others."""

from __future__ import annotations

import types
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Union, get_args, get_origin

import stripe
from stripe import billing_portal, tax

from tests.stripe_double.shop import DAY

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop

NAMES = """
Account Charge Coupon CreditNote Customer Discount Dispute Event Invoice InvoiceItem InvoiceLineItem InvoicePayment
PaymentIntent Price Product Refund Subscription SubscriptionItem TaxRate WebhookEndpoint
"""
CLASSES: dict[str, type[stripe.StripeObject]] = {
    str(one.OBJECT_NAME): one
    for one in (*(getattr(stripe, name) for name in NAMES.split()), billing_portal.Configuration, tax.Settings)
}


PLAIN: dict[object, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    bool: (bool,),
    Decimal: (str,),
    types.NoneType: (types.NoneType,),
}


def faults(value: object, declared: object, path: str) -> list[str]:
    """What is missing, undeclared or of another type, as far down as the SDK declares it."""
    origin, members = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        # `Literal[…] | str` is the SDK's open enumeration: the double sends only what is known.
        closed = any(get_origin(member) is Literal for member in members)
        choices = [member for member in members if not (closed and member is str)]
        return min((faults(value, choice, path) for choice in choices), key=len)
    if origin is Literal:
        return [] if value in members else [f"{path} is {value!r}, none of {members}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path} is no list: {value!r}"]
        return [fault for index, one in enumerate(value) for fault in faults(one, members[0], f"{path}[{index}]")]
    if isinstance(declared, type) and issubclass(declared, stripe.StripeObject):
        return object_faults(value, declared, path)
    # What is neither is a reference to another object, which is expanded nowhere here.
    fits = isinstance(value, PLAIN.get(declared, object)) and (declared is bool or not isinstance(value, bool))
    return [] if fits else [f"{path} is {value!r}, not {declared}"]


def object_faults(value: object, declared: type[stripe.StripeObject], path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is no object: {value!r}"]
    fields = {name: hint for name, hint in declared.__annotations__.items() if name != "OBJECT_NAME"}
    required = {name for name, hint in fields.items() if types.NoneType not in get_args(hint)}
    found = [f"{path}.{name} is missing" for name in required - value.keys()]
    if fields:  # else any key is allowed
        found += [f"{path}.{name} is not declared" for name in value.keys() - fields.keys()]
    for name in value.keys() & fields.keys():
        found += faults(value[name], fields[name], f"{path}.{name}")
    return found


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
    found = {fault for one in objects for fault in object_faults(one, CLASSES[one["object"]], one["object"])}
    assert not found, "\n".join(sorted(found))
