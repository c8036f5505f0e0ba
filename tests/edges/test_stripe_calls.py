"""What each call sends to Stripe, parameter by parameter: all of it is money, a filter, or found again by metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.events import (
    FEED_INVOICE_EVENTS,
    FEED_REVERSAL_EVENTS,
    SUBSCRIPTION_EVENTS,
    WEBHOOK_EVENTS,
    Hint,
)
from line_requests.billing.subscriptions import StripeItem
from line_requests.domain.model import Invoice
from line_requests.domain.reversals import Credit, PaidInvoice, Refund
from line_requests.domain.submission import Kind
from tests.decision.examples import CHARGE, LINE_ID, NOW_MS, PENDING_CHARGE, PERIOD, line, workspace
from tests.edges.scripted_stripe import an_invoice, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from line_requests.billing.operator_account import OperatorBilling
    from tests.edges.scripted_stripe import ScriptedStripe

Json = dict[str, Any]
Form = dict[str, str]

LINE = line()
ADDRESS = {
    "address[line1]": "354 Oyster Point Blvd",
    "address[city]": "South San Francisco",
    "address[state]": "CA",
    "address[postal_code]": "94080",
    "address[country]": "US",
}
RICH = line(charge=replace(CHARGE, memo="Thanks", footer="VAT", automatic_tax=True, tax_rates=("txr_1", "txr_2")))
NOW_S = NOW_MS // 1000
METADATA = {"metadata[workspace_id]": "acme", "metadata[line_id]": LINE_ID}
DRAFT = {
    "customer": "cus_acme",
    "currency": "usd",
    "auto_advance": "false",
    "collection_method": "charge_automatically",
    "pending_invoice_items_behavior": "exclude",
    "automatic_tax[enabled]": "false",
    **METADATA,
}
ITEM = {
    "customer": "cus_acme",
    "invoice": "in_1",
    "price_data[currency]": "usd",
    "price_data[product]": "prod_phone",
    "price_data[unit_amount]": "1500",
    "price_data[tax_behavior]": "unspecified",
    "quantity": "1",
    "description": "Purchased phone line: Ada Lovelace",
    "period[start]": str(PERIOD.start_s),
    "period[end]": str(PERIOD.end_s),
    **METADATA,
}
TAX_RATES = {"tax_rates[0]": "txr_1", "tax_rates[1]": "txr_2"}
OWED = replace(
    PENDING_CHARGE,
    number=7,
    kind=Kind.BYON_PHONE,
    product="prod_byon",
    currency="eur",
    amount=450,
    tax_behavior="inclusive",
    tax_rates=(),
)
OWED_ITEM = {
    "customer": "cus_acme",
    "subscription": "sub_1",
    "price_data[currency]": "eur",
    "price_data[product]": "prod_byon",
    "price_data[unit_amount]": "450",
    "price_data[tax_behavior]": "inclusive",
    "quantity": "1",
    "description": "1 byon phone line",
    "period[start]": str(PERIOD.start_s),
    "period[end]": str(PERIOD.end_s),
    "metadata[workspace_id]": "acme",
    "metadata[charge]": "7",
    "metadata[kind]": "byon_phone",
    "metadata[places]": "1",
}
WORKSPACE = workspace()
SUB_ITEM = StripeItem("si_1", 2, ours=True)
PAID = PaidInvoice("in_1", "paid", "usd", 1500, 1500, 0, 0, {"pi_1": 1500})
REFUNDED = replace(
    PAID, refunds=tuple(Refund("re_1", "failed", 9, intent, ours=True) for intent in ("pi_1", "pi_1", "pi"))
)


def issue(invoice: PaidInvoice, credit: Credit) -> Callable[[OperatorBilling], None]:
    return lambda billing: billing.credit_notes.issue(LINE, invoice, credit, attempt=3)


def types(names: Sequence[str], of: str = "types") -> Form:
    return {f"{of}[{number}]": name for number, name in enumerate(names)}


def no_hint(**fields: str) -> Hint:
    return Hint("refund.created", 7, livemode=False, object_id="", customer="", workspace_id="", line_id="", **fields)


# Whatever a call may read of one object.
OBJECT = an_invoice("open") | {
    "url": "https://lines.example",
    "enabled_events": [],
    "api_version": None,
    "secret": "whsec_1",
    "charges_enabled": True,
    "defaults": {"tax_behavior": "exclusive"},
    "active": True,
    "livemode": True,
}
OBJECTS: dict[str, tuple[Callable[[OperatorBilling], object], str, Form]] = {
    "draft": (lambda billing: billing.invoices.create_draft(LINE), "POST /v1/invoices", DRAFT),
    "draft with texts and tax": (
        lambda billing: billing.invoices.create_draft(RICH),
        "POST /v1/invoices",
        DRAFT | {"automatic_tax[enabled]": "true", "description": "Thanks", "footer": "VAT"},
    ),
    "item": (lambda billing: billing.invoices.add_item(LINE, "in_1"), "POST /v1/invoiceitems", ITEM),
    "item with tax rates": (
        lambda billing: billing.invoices.add_item(RICH, "in_1"),
        "POST /v1/invoiceitems",
        ITEM | TAX_RATES,
    ),
    "finalize": (
        lambda billing: billing.invoices.finalize(LINE, "in_1"),
        "POST /v1/invoices/in_1/finalize",
        {"auto_advance": "false"},
    ),
    "void": (
        lambda billing: billing.invoices.void_or_delete(Invoice("in_1", "open")),
        "POST /v1/invoices/in_1/void",
        {},
    ),
    "delete": (
        lambda billing: billing.invoices.void_or_delete(Invoice("in_1", "draft")),
        "DELETE /v1/invoices/in_1",
        {},
    ),
    "new quantity": (
        lambda billing: billing.subscriptions.set_quantity("sub_1", "price_1", None, 2),
        "POST /v1/subscription_items",
        {
            "subscription": "sub_1",
            "price": "price_1",
            "quantity": "2",
            "proration_behavior": "none",
            "metadata[line_requests]": "add_on",
        },
    ),
    "other quantity": (
        lambda billing: billing.subscriptions.set_quantity("sub_1", "price_1", SUB_ITEM, 3),
        "POST /v1/subscription_items/si_1",
        {"quantity": "3", "proration_behavior": "none"},
    ),
    "no quantity": (
        lambda billing: billing.subscriptions.set_quantity("sub_1", "price_1", SUB_ITEM, None),
        "DELETE /v1/subscription_items/si_1",
        {"proration_behavior": "none"},
    ),
    "charge": (
        lambda billing: billing.subscriptions.create_pending_item(WORKSPACE, OWED),
        "POST /v1/invoiceitems",
        OWED_ITEM,
    ),
    "charge of two lines with tax rates": (
        lambda billing: billing.subscriptions.create_pending_item(
            WORKSPACE, replace(OWED, from_s=(1, 2), tax_rates=("txr_1", "txr_2"))
        ),
        "POST /v1/invoiceitems",
        OWED_ITEM | TAX_RATES | {"description": "2 byon phone lines", "metadata[places]": "2"},
    ),
    "credit note of one payment": (
        issue(PAID, Credit(1500, {"pi_1": 900}, to_balance=400, out_of_band=200)),
        "POST /v1/credit_notes",
        {
            "invoice": "in_1",
            "amount": "1500",
            "refund_amount": "900",
            "credit_amount": "400",
            "out_of_band_amount": "200",
            **METADATA,
        },
    ),
    "credit note of an earlier refund": (
        issue(PAID, Credit(1500, linked={"re_1": 1500})),
        "POST /v1/credit_notes",
        {
            "invoice": "in_1",
            "amount": "1500",
            "refunds[0][refund]": "re_1",
            "refunds[0][amount_refunded]": "1500",
            **METADATA,
        },
    ),
    "refund": (
        issue(REFUNDED, Credit(0, {"pi_1": 1500})),
        "POST /v1/refunds",
        {"payment_intent": "pi_1", "amount": "1500", **METADATA},
    ),
    "endpoint": (
        lambda billing: billing.setup.create_webhook_endpoint("https://lines.example"),
        "POST /v1/webhook_endpoints",
        {
            "url": "https://lines.example",
            "api_version": "2026-10-28.endive",
            **types(sorted(WEBHOOK_EVENTS), "enabled_events"),
        },
    ),
    "endpoint's events": (
        lambda billing: billing.setup.update_webhook_endpoint("we_1"),
        "POST /v1/webhook_endpoints/we_1",
        {"disabled": "false", **types(sorted(WEBHOOK_EVENTS), "enabled_events")},
    ),
    "no endpoint": (
        lambda billing: billing.setup.delete_webhook_endpoint("we_1"),
        "DELETE /v1/webhook_endpoints/we_1",
        {},
    ),
    "customer": (
        lambda billing: billing.setup.create_customer("Ada"),
        "POST /v1/customers",
        {"name": "Ada", **ADDRESS},
    ),
    "no customer": (lambda billing: billing.setup.delete_customer("cus_1"), "DELETE /v1/customers/cus_1", {}),
    "trial": (
        lambda billing: billing.setup.start_trial("cus_1", "price_1"),
        "POST /v1/subscriptions",
        {
            "customer": "cus_1",
            "items[0][price]": "price_1",
            "trial_period_days": "730",
            "trial_settings[end_behavior][missing_payment_method]": "cancel",
        },
    ),
    "payment": (
        lambda billing: billing.setup.pay_out_of_band("in_1"),
        "POST /v1/invoices/in_1/pay",
        {"paid_out_of_band": "true"},
    ),
    "product": (lambda billing: billing.catalogue.product_active("prod_1"), "GET /v1/products/prod_1", {}),
    "tax rate": (lambda billing: billing.catalogue.tax_rate_active("txr_1"), "GET /v1/tax_rates/txr_1", {}),
    "tax settings": (lambda billing: billing.catalogue.default_tax_behavior(), "GET /v1/tax/settings", {}),
    "livemode": (lambda billing: billing.catalogue.customer_livemode("cus_1"), "GET /v1/customers/cus_1", {}),
    "invoice": (lambda billing: billing.invoices.retrieve("in_1"), "GET /v1/invoices/in_1", {}),
}
LISTS: dict[str, tuple[Callable[[OperatorBilling], object], str, Form]] = {
    "line's invoices": (
        lambda billing: billing.invoices.find_by_metadata(LINE),
        "GET /v1/invoices",
        {"customer": "cus_acme", "created[gte]": str(NOW_S - 3600), "limit": "100"},
    ),
    "line's paid invoices": (
        lambda billing: billing.reversals.of_line(LINE),
        "GET /v1/invoices",
        {"customer": "cus_acme", "created[gte]": str(NOW_S - 3600), "limit": "100"},
    ),
    "pending items": (
        lambda billing: billing.invoices.delete_pending_items(LINE),
        "GET /v1/invoiceitems",
        {"customer": "cus_acme", "pending": "true", "limit": "100"},
    ),
    "invoices": (
        lambda billing: list(billing.invoices.since(since_s=7)),
        "GET /v1/invoices",
        {"created[gte]": "7", "limit": "100"},
    ),
    "customer's subscriptions": (
        lambda billing: billing.subscriptions.of_customer("cus_1"),
        "GET /v1/subscriptions",
        {"customer": "cus_1", "status": "all", "limit": "100"},
    ),
    "subscriptions": (
        lambda billing: list(billing.subscriptions.listed()),
        "GET /v1/subscriptions",
        {"limit": "100"},
    ),
    "renewals": (
        lambda billing: billing.subscriptions.renewals_after("cus_1", 86_407),
        "GET /v1/invoices",
        {"customer": "cus_1", "created[gte]": "7", "limit": "100"},
    ),
    "charge's item": (
        lambda billing: billing.subscriptions.has_item(WORKSPACE, replace(OWED, stored_at_ms=86_407_000)),
        "GET /v1/invoiceitems",
        {"customer": "cus_acme", "created[gte]": "7", "limit": "100"},
    ),
    "charges": (
        lambda billing: billing.subscriptions.charges_after(WORKSPACE, 86_407),
        "GET /v1/invoiceitems",
        {"customer": "cus_acme", "created[gte]": "7", "limit": "100"},
    ),
    "events": (
        lambda billing: list(billing.events.between(since_s=7, until_s=9)),
        "GET /v1/events",
        {
            "created[gte]": "7",
            "created[lte]": "9",
            "limit": "100",
            **types([*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS, *FEED_REVERSAL_EVENTS]),
        },
    ),
    "payment's invoices": (
        lambda billing: billing.reversals.invoices_of(no_hint(payment_intent="pi_1")),
        "GET /v1/invoice_payments",
        {"payment[type]": "payment_intent", "payment[payment_intent]": "pi_1", "limit": "100"},
    ),
    "endpoints": (
        lambda billing: billing.setup.webhook_endpoints("https://lines.example"),
        "GET /v1/webhook_endpoints",
        {"limit": "100"},
    ),
    "portal": (
        lambda billing: billing.setup.portal_updates(),
        "GET /v1/billing_portal/configurations",
        {"is_default": "true", "active": "true"},
    ),
}


@pytest.mark.parametrize("name", OBJECTS | LISTS)
def test_call_sends_exactly_these_parameters(stripe: ScriptedStripe, name: str) -> None:
    """[16][33][50][51][55]"""
    call, where, form = (OBJECTS | LISTS)[name]
    stripe.answer(200, OBJECT if name in OBJECTS else listed())
    call(stripe.billing())
    assert stripe.sent == [(where, form)]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("draft", f"{LINE_ID}:invoice:v1"),
        ("item", f"{LINE_ID}:item:v1"),
        ("finalize", f"{LINE_ID}:finalize:v1"),
        ("charge", "acme:charge:7"),
        ("refund", f"{LINE_ID}:refund:pi_1:2:1500:v3"),
        ("credit note of one payment", f"{LINE_ID}:credit_note:in_1:0:d56ec2a3f45cbfef:v3"),
    ],
)
def test_idempotency_key_stays_as_earlier_releases_made_it(stripe: ScriptedStripe, name: str, key: str) -> None:
    """[33][55] With another key, a retry after a deploy would charge or refund twice."""
    stripe.answer(200, OBJECT)
    OBJECTS[name][0](stripe.billing())
    assert [made for _, _, made in stripe.calls] == [key]


PAID_TWICE = replace(PAID, by_card={"pi_1": 1000, "pi_2": 500})


def test_rest_of_several_payments_is_refunded_before_the_credit_note_too(stripe: ScriptedStripe) -> None:
    """[55] The charge that Stripe would choose for `refund_amount` may be the one that went back before."""
    stripe.answer(200, {"id": "re_2", "object": "refund"})
    stripe.answer(200, {"id": "cn_1", "object": "credit_note"})
    issue(PAID_TWICE, Credit(1500, {"pi_2": 500}, linked={"re_1": 1000}))(stripe.billing())
    refund, (_, note) = stripe.sent
    assert refund == ("POST /v1/refunds", {"payment_intent": "pi_2", "amount": "500", **METADATA})
    assert "refund_amount" not in note
    assert note["refunds[1][refund]"] == "re_2"


def test_refunds_of_several_payments_are_made_before_the_credit_note_that_names_them(stripe: ScriptedStripe) -> None:
    """[55] `refund_amount` is for one charge."""
    for number in (1, 2):
        stripe.answer(200, {"id": f"re_{number}", "object": "refund"})
    stripe.answer(200, {"id": "cn_1", "object": "credit_note"})
    issue(PAID_TWICE, Credit(1500, {"pi_1": 900, "pi_2": 500}, linked={"re_0": 100}))(stripe.billing())
    refunds = {"re_0": 100, "re_1": 900, "re_2": 500}
    linked = [
        {f"refunds[{n}][refund]": k, f"refunds[{n}][amount_refunded]": str(v)}
        for n, (k, v) in enumerate(refunds.items())
    ]
    assert stripe.sent == [
        ("POST /v1/refunds", {"payment_intent": "pi_1", "amount": "900", **METADATA}),
        ("POST /v1/refunds", {"payment_intent": "pi_2", "amount": "500", **METADATA}),
        (
            "POST /v1/credit_notes",
            {"invoice": "in_1", "amount": "1500", **METADATA, **linked[0], **linked[1], **linked[2]},
        ),
    ]
