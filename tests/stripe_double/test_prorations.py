"""Changes within a period: credits and debits by the second, and what restarts the period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.stripe_double.shop import DAY, HOUR, START

if TYPE_CHECKING:
    import stripe

    from tests.stripe_double.shop import Shop

HALF_JANUARY = 31 * DAY // 2


def item_of(subscription: stripe.Subscription) -> stripe.SubscriptionItem:
    item: stripe.SubscriptionItem = subscription["items"].data[0]
    return item


def test_quantity_change_is_prorated_by_the_second(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=3100)
    shop.double.advance(HALF_JANUARY + 1)

    shop.v1.subscription_items.update(item_of(subscription).id, {"quantity": 2})

    left = (HALF_JANUARY - 1) / (31 * DAY)
    assert shop.pending(subscription) == [-round(3100 * left), round(6200 * left)]
    credit, debit = reversed(shop.v1.invoice_items.list({"pending": True}).data)
    assert credit.description == "Unused time on 1 x Extra phone line after 16 Jan 2027"
    assert debit.description == "Remaining time on 2 x Extra phone line after 16 Jan 2027"
    assert (credit.proration, credit.discountable) == (True, False)
    assert (debit.period.start, debit.period.end) == (START + HALF_JANUARY + 1, START + 31 * DAY)


def test_prorations_go_on_next_renewal(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=3100)
    shop.double.advance(HALF_JANUARY)
    shop.v1.subscription_items.update(item_of(subscription).id, {"quantity": 2})

    shop.double.advance(HALF_JANUARY + HOUR)

    (invoice,) = shop.invoices(subscription)
    assert [line.amount for line in invoice.lines.data] == [6200, -1550, 3100]
    details = [line.parent.subscription_item_details for line in invoice.lines.data if line.parent]
    assert [one.proration for one in details if one] == [False, True, True]
    assert invoice.total == 7750


def test_always_invoice_charges_prorations_at_once(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=3100)
    shop.double.advance(HALF_JANUARY)

    shop.v1.subscription_items.create(
        {
            "subscription": subscription.id,
            "price": shop.price(1000),
            "proration_behavior": "always_invoice",
        }
    )

    (invoice,) = shop.invoices(subscription)
    assert (invoice.total, invoice.status, invoice.billing_reason) == (500, "paid", "subscription_update")
    assert shop.pending(subscription) == []


def test_deleted_item_is_credited_for_unused_time(shop: Shop) -> None:
    subscription = shop.subscription()
    added = shop.v1.subscription_items.create({"subscription": subscription.id, "price": shop.price(3100)})
    shop.double.advance(HALF_JANUARY)

    shop.v1.subscription_items.delete(added.id)

    assert shop.pending(subscription) == [3100, -1550]


def test_proration_date_replaces_now(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=3100)
    shop.double.advance(20 * DAY)

    shop.v1.subscription_items.update(item_of(subscription).id, {"quantity": 2, "proration_date": START + HALF_JANUARY})

    assert shop.pending(subscription) == [-1550, 3100]


def test_no_proration_in_trial(shop: Shop) -> None:
    subscription = shop.subscription(trial_days=14)
    shop.double.advance(DAY)

    shop.v1.subscription_items.update(item_of(subscription).id, {"quantity": 2})

    assert shop.pending(subscription) == []


def test_interval_change_restarts_period_and_credits_unused_time(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=3100)
    yearly = shop.price(12000, interval="year")
    shop.double.advance(HALF_JANUARY)

    items: list[stripe.params.SubscriptionUpdateParamsItem] = [{"id": item_of(subscription).id, "price": yearly}]
    changed = shop.v1.subscriptions.update(subscription.id, {"items": items})

    (invoice,) = shop.invoices(subscription)
    assert (invoice.status, invoice.total) == ("paid", 12000 - 1550)
    assert item_of(changed).current_period_start == changed.billing_cycle_anchor == START + HALF_JANUARY
    assert item_of(changed).current_period_end == START + HALF_JANUARY + 365 * DAY


def test_free_subscription_that_becomes_paid_charges_at_once(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=0)
    shop.double.advance(DAY)

    shop.v1.subscription_items.create(
        {"subscription": subscription.id, "price": shop.price(), "proration_behavior": "none"}
    )

    (invoice,) = shop.invoices(subscription)
    assert (invoice.status, invoice.total, invoice.billing_reason) == ("paid", 1500, "subscription_update")
    assert shop.retrieve(subscription).billing_cycle_anchor == START + DAY


def test_billing_cycle_anchor_now_restarts_period(shop: Shop) -> None:
    subscription = shop.subscription(unit_amount=3100)
    shop.double.advance(HALF_JANUARY)

    reset = shop.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": {"type": "now"}})

    assert (reset.billing_cycle_anchor, shop.invoices(subscription)[0].total) == (START + HALF_JANUARY, 3100 - 1550)


@pytest.mark.parametrize(
    ("prorate", "invoice_now", "pending", "invoiced"),
    [(False, False, [], []), (True, False, [3100, -1550, -1550], []), (True, True, [], [0])],
)
def test_immediate_cancel_keeps_invoices_or_drops_prorations(
    shop: Shop,
    *,
    prorate: bool,
    invoice_now: bool,
    pending: list[int],
    invoiced: list[int],
) -> None:
    subscription = shop.subscription(unit_amount=3100)
    shop.v1.subscription_items.create({"subscription": subscription.id, "price": shop.price(3100)})
    shop.double.advance(HALF_JANUARY)

    shop.v1.subscriptions.cancel(subscription.id, {"prorate": prorate, "invoice_now": invoice_now})

    assert shop.pending(subscription) == pending
    assert [invoice.total for invoice in shop.invoices(subscription)] == invoiced
