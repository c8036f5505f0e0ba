"""What is read of subscriptions, their items and invoice lines, and of what plans name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.catalogue import StripePrice
from line_requests.billing.subscriptions import StripeCharge, StripeItem, StripeRenewal, StripeSubscription
from line_requests.domain.errors import BillingMisconfigured, BillingRefused
from line_requests.domain.prices import Amount, Period
from line_requests.domain.submission import Kind
from tests.decision.examples import workspace
from tests.edges.scripted_stripe import listed
from tests.edges.test_stripe_calls import OWED

if TYPE_CHECKING:
    from tests.edges.scripted_stripe import ScriptedStripe

Json = dict[str, Any]


def subscription_item(item_id: str, price: Json, **fields: object) -> Json:
    times = {"current_period_start": 3, "current_period_end": 9}
    return {"id": item_id, "object": "subscription_item", "price": price, **times, **fields}


YEARLY = {"id": "price_1", "object": "price", "recurring": {"interval": "year", "interval_count": 2}}
ITEMS = [
    subscription_item("si_1", YEARLY, quantity=4, metadata={"line_requests": "add_on", "note": "by hand"}),
    subscription_item("si_2", {"id": "price_2", "recurring": None}, metadata=None),
    subscription_item("si_3", {"id": "price_3", "recurring": {}}, quantity=0, metadata={"line_requests": "other"}),
    subscription_item("si_4", {"id": "price_4"}, quantity=1, metadata={"line_requests": "add_on"}),
]
SUBSCRIPTION: Json = {
    "id": "sub_1",
    "object": "subscription",
    "status": "active",
    "created": 5,
    "currency": "usd",
    "billing_cycle_anchor": 6,
    "latest_invoice": "in_1",
}
READ_ITEMS = {
    "price_1": StripeItem("si_1", 4, ours=True, period=Period(3, 9), interval="year", interval_count=2),
    "price_2": StripeItem("si_2", 0, ours=False, period=Period(3, 9)),
    "price_3": StripeItem("si_3", 0, ours=False, period=Period(3, 9), entitles=False),
    "price_4": StripeItem("si_4", 1, ours=True, period=Period(3, 9), interval="month", interval_count=1, entitles=True),
}


def test_subscription_is_read_field_by_field(stripe: ScriptedStripe) -> None:
    """[17][50]"""
    stripe.answer(200, listed(SUBSCRIPTION | {"items": listed(*ITEMS)}))
    read = [StripeSubscription("sub_1", "active", 5, READ_ITEMS, "usd", 6, "in_1")]
    assert stripe.billing().subscriptions.of_customer("cus_1") == read
    assert list(stripe.billing().subscriptions.listed()) == read
    assert len(stripe.calls) == 2


def test_all_items_of_a_subscription_with_many_are_read(stripe: ScriptedStripe) -> None:
    """[50]"""
    stripe.answer(200, listed(SUBSCRIPTION | {"items": listed(ITEMS[0]) | {"has_more": True}}))
    stripe.answer(200, listed(*ITEMS))
    (read,) = stripe.billing().subscriptions.of_customer("cus_1")
    assert read.items == READ_ITEMS
    assert stripe.sent[1:] == [("GET /v1/subscription_items", {"subscription": "sub_1", "limit": "100"})]


@pytest.mark.parametrize("deleted", [True, False])
def test_deleted_customer_has_no_subscription_and_an_unknown_one_is_a_misconfiguration(
    stripe: ScriptedStripe, *, deleted: bool
) -> None:
    """[57]"""
    stripe.refuse(400, "resource_missing")
    if deleted:
        stripe.answer(200, {"id": "cus_1", "object": "customer", "deleted": True})
        assert stripe.billing().subscriptions.of_customer("cus_1") == []
    else:
        stripe.answer(200, {"id": "cus_1", "object": "customer"})
        with pytest.raises(BillingMisconfigured) as refusal:
            stripe.billing().subscriptions.of_customer("cus_1")
        assert isinstance(refusal.value.__cause__, BillingRefused)
        assert "resource_missing" in str(refusal.value)


def invoice_line(price: str | None, quantity: int | None, start: int = 3, **details: object) -> Json:
    return {
        "parent": {"subscription_item_details": {"proration": False} | details},
        "pricing": {"price_details": {"price": price}},
        "period": {"start": start, "end": 9},
        "quantity": quantity,
        "amount": 500,
    }


def test_renewals_are_the_invoice_lines_of_subscription_items_that_charge_something(stripe: ScriptedStripe) -> None:
    """[52]"""
    lines = [
        invoice_line("price_1", 2),
        invoice_line("price_1", 3),
        invoice_line("price_2", None),
        invoice_line("price_3", 1, start=2),
        invoice_line("price_3", 1, proration=True),
        invoice_line(None, 1),
        invoice_line("price_3", 1) | {"amount": 0},
        invoice_line("price_3", 1) | {"parent": None},
        invoice_line("price_3", 1) | {"parent": {"subscription_item_details": None}},
        invoice_line("price_3", 1) | {"pricing": None},
        invoice_line("price_3", 1) | {"pricing": {"price_details": None}},
    ]
    stripe.answer(200, listed({"id": "in_1", "lines": listed(*lines)}))
    assert stripe.billing().subscriptions.renewals_after("cus_1", 2) == [
        StripeRenewal("price_1", 2, Period(3, 9)),
        StripeRenewal("price_1", 3, Period(3, 9)),
        StripeRenewal("price_2", 0, Period(3, 9)),
    ]
    assert len(stripe.calls) == 1


@pytest.mark.parametrize(("latest", "reads"), [(["in_1"], 1), (["in_1", "in_2"], 2), ([], 1)])
def test_latest_invoice_that_the_list_does_not_show_is_read_by_its_id(
    stripe: ScriptedStripe, latest: list[str], reads: int
) -> None:
    """[52]"""
    stripe.answer(200, listed({"id": "in_1", "lines": listed(invoice_line("price_1", 2))}))
    stripe.answer(200, {"id": "in_2", "lines": listed(invoice_line("price_1", 3))})
    renewals = stripe.billing().subscriptions.renewals_after("cus_1", 2, latest)
    assert [renewal.quantity for renewal in renewals] == [2, 3][:reads]
    assert stripe.sent[1:] == [("GET /v1/invoices/in_2", {})][: reads - 1]


def test_latest_invoice_that_stripe_does_not_know_renews_nothing(stripe: ScriptedStripe) -> None:
    """[52] It was a draft, and is deleted by now."""
    stripe.answer(200, listed())
    stripe.refuse(404, "resource_missing")
    assert stripe.billing().subscriptions.renewals_after("cus_1", 2, ["in_1"]) == []


def test_all_lines_of_a_long_invoice_are_counted(stripe: ScriptedStripe) -> None:
    """[52]"""
    stripe.answer(200, listed({"id": "in_1", "lines": listed(invoice_line("price_1", 2)) | {"has_more": True}}))
    stripe.answer(200, listed(invoice_line("price_1", 2), invoice_line("price_1", 3)))
    renewals = stripe.billing().subscriptions.renewals_after("cus_1", 2)
    assert [renewal.quantity for renewal in renewals] == [2, 3]
    assert stripe.sent[1:] == [("GET /v1/invoices/in_1/lines", {"limit": "100"})]


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"workspace_id": "acme", "charge": "7"}, True),
        ({"workspace_id": "acme", "charge": "7", "note": "by hand"}, True),
        ({"workspace_id": "acme", "charge": "8"}, False),
        ({"workspace_id": "another", "charge": "7"}, False),
        (None, False),
    ],
)
def test_item_of_a_charge_is_found_by_its_metadata(
    stripe: ScriptedStripe,
    metadata: Json | None,
    found: bool,  # noqa: FBT001 - a column
) -> None:
    """[51]"""
    stripe.answer(200, listed({"id": "ii_1", "metadata": {}}, {"id": "ii_2", "metadata": metadata}))
    assert stripe.billing().subscriptions.has_item(workspace(), OWED) is found


def test_charges_that_the_workspace_does_not_know_are_read_in_their_order(stripe: ScriptedStripe) -> None:
    """[52]"""

    def item(number: int, **changes: str) -> Json:
        ours = {"workspace_id": "acme", "charge": str(number), "kind": "email", "places": str(2 * number)}
        return {"id": f"ii_{number}", "metadata": ours | changes, "period": {"start": 3, "end": 9}, "date": 5}

    foreign = [item(11, workspace_id="another"), item(12, kind="fax"), {"id": "ii_13", "metadata": None}]
    by_hand = {"id": "ii_14", "metadata": {"workspace_id": "acme"}}
    stripe.answer(200, listed(item(9), *foreign, by_hand, item(8), item(7)))
    charges = stripe.billing().subscriptions.charges_after(workspace(charge_number=7), 86_407)
    assert charges == [StripeCharge(8, Kind.EMAIL, 16, 9, 5), StripeCharge(9, Kind.EMAIL, 18, 9, 5)]


# --- the catalogue --------------------------------------------------------------------------------

PRICE: Json = {
    "id": "price_1",
    "object": "price",
    "product": {"id": "prod_1", "object": "product"},
    "currency": "usd",
    "unit_amount": 1500,
    "tax_behavior": "inclusive",
    "currency_options": {
        "usd": {"unit_amount": 1500, "tax_behavior": "inclusive"},
        "eur": {"unit_amount": 0, "tax_behavior": None},
        "jpy": {"unit_amount": None},
    },
    "recurring": {"interval": "month", "interval_count": 3, "usage_type": "metered"},
    "active": True,
    "billing_scheme": "tiered",
    "transform_quantity": {"divide_by": 10, "round": "up"},
}
BARE_PRICE = PRICE | {
    "product": "prod_1",
    "unit_amount": None,
    "tax_behavior": None,
    "currency_options": None,
    "recurring": None,
    "active": False,
    "billing_scheme": "per_unit",
    "transform_quantity": None,
}
READ_PRICE = StripePrice(
    id="price_1",
    product="prod_1",
    currency="usd",
    unit_amount=1500,
    tax_behavior="inclusive",
    amounts={"usd": Amount(1500, "inclusive"), "eur": Amount(0, "unspecified")},
    interval="3 month",
    active=True,
    metered=True,
    tiered=True,
    per_package=True,
)
READ_BARE_PRICE = StripePrice(
    "price_1",
    "prod_1",
    "usd",
    None,
    "unspecified",
    {},
    None,
    active=False,
    metered=False,
    tiered=False,
    per_package=False,
)


@pytest.mark.parametrize(("price", "read"), [(PRICE, READ_PRICE), (BARE_PRICE, READ_BARE_PRICE)])
def test_price_is_read_field_by_field(stripe: ScriptedStripe, price: Json, read: StripePrice) -> None:
    stripe.answer(200, price)
    assert stripe.billing().catalogue.price("price_1") == read
    assert stripe.sent == [("GET /v1/prices/price_1", {"expand[0]": "currency_options"})]
    licensed = {"recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}
    stripe.answers.clear()
    stripe.answer(200, price | licensed)
    assert stripe.billing().catalogue.price("price_1") == replace(read, interval="1 month", metered=False)


@pytest.mark.parametrize(
    ("interval", "longer"),
    [
        (None, False),
        ("31 day", False),
        ("32 day", True),
        ("4 week", False),
        ("5 week", True),
        ("1 month", False),
        ("2 month", True),
        ("1 year", True),
    ],
)
def test_price_that_renews_less_often_than_monthly_is_known(
    interval: str | None,
    longer: bool,  # noqa: FBT001 - a column
) -> None:
    assert replace(READ_PRICE, interval=interval).longer_than_a_month is longer


@pytest.mark.parametrize("active", [True, False])
def test_product_and_tax_rate_are_usable_while_they_are_active(stripe: ScriptedStripe, *, active: bool) -> None:
    catalogue = stripe.billing().catalogue
    stripe.answer(200, {"id": "x_1", "object": "product", "active": active})
    assert (catalogue.product_active("x_1"), catalogue.tax_rate_active("x_1")) == (active, active)
    stripe.answers.clear()
    stripe.refuse(404, "resource_missing")
    assert (catalogue.product_active("x_1"), catalogue.tax_rate_active("x_1")) == (False, False)
    assert catalogue.price("x_1") is None


@pytest.mark.parametrize("livemode", [True, False])
def test_customer_lives_in_a_mode_until_it_is_deleted(stripe: ScriptedStripe, *, livemode: bool) -> None:
    customer = {"id": "cus_1", "object": "customer"}
    stripe.answer(200, customer | {"livemode": livemode})
    stripe.answer(200, customer | {"deleted": True})
    catalogue = stripe.billing().catalogue
    assert [catalogue.customer_livemode("cus_1") for _ in range(2)] == [livemode, None]


@pytest.mark.parametrize("tax_behavior", ["exclusive", None])
def test_tax_behavior_of_the_account_is_read(stripe: ScriptedStripe, tax_behavior: str | None) -> None:
    stripe.answer(200, {"object": "tax.settings", "defaults": {"tax_behavior": tax_behavior}})
    assert stripe.billing().catalogue.default_tax_behavior() == tax_behavior
