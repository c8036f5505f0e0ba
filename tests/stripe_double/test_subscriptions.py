from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def items_of(subscription: stripe.Subscription) -> list[stripe.SubscriptionItem]:
    return subscription.items.data


@pytest.mark.parametrize(
    "status",
    ["active", "trialing", "past_due", "unpaid", "paused", "incomplete", "incomplete_expired", "canceled"],
)
def test_every_status_can_be_forced(shop: Shop, status: str) -> None:
    subscription = shop.subscription()

    shop.double.set_subscription_status(subscription.id, status)

    assert shop.v1.subscriptions.retrieve(subscription.id).status == status


def test_pause_and_resume_emit_their_events(shop: Shop) -> None:
    subscription = shop.subscription()

    shop.double.set_subscription_status(subscription.id, "paused")
    shop.double.set_subscription_status(subscription.id, "active")

    assert {"customer.subscription.paused", "customer.subscription.resumed"} < set(shop.events_about(subscription.id))


def test_subscription_stays_active_with_cancel_at_period_end_and_paused_collection(shop: Shop) -> None:
    subscription = shop.subscription()

    shop.double.set_subscription_status(
        subscription.id, cancel_at_period_end=True, pause_collection={"behavior": "void"}
    )

    found = shop.v1.subscriptions.retrieve(subscription.id)
    assert (found.status, found.cancel_at_period_end) == ("active", True)
    assert found.pause_collection is not None
    resumed = shop.v1.subscriptions.update(subscription.id, {"pause_collection": ""})
    assert resumed.pause_collection is None


def test_subscription_item_is_added_changed_and_removed(shop: Shop) -> None:
    subscription, price = shop.subscription(), shop.price()

    item = shop.v1.subscription_items.create(
        {"subscription": subscription.id, "price": price, "quantity": 1, "proration_behavior": "none"}
    )
    shop.v1.subscription_items.update(item.id, {"quantity": 3, "proration_behavior": "none"})
    listed = shop.v1.subscription_items.list({"subscription": subscription.id}).data
    assert (listed[0].price.id, listed[0].quantity) == (price, 3)

    assert shop.v1.subscription_items.delete(item.id, {"proration_behavior": "none"}).deleted
    assert len(items_of(shop.v1.subscriptions.retrieve(subscription.id))) == 1
    assert shop.events_about(subscription.id).count("customer.subscription.updated") == 3


def test_customer_expands_subscriptions(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)

    shown = shop.v1.customers.retrieve(customer, {"expand": ["subscriptions"]})

    assert shown.subscriptions is not None
    assert [s.id for s in shown.subscriptions.data] == [subscription.id]


def test_prices_keep_tiers_and_metering(shop: Shop) -> None:
    product = shop.product()
    tiered = shop.v1.prices.create(
        {
            "product": product,
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": [{"up_to": 5, "unit_amount": 100}, {"up_to": "inf", "unit_amount": 50}],
            "recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_1"},
        }
    )

    shown = shop.v1.prices.retrieve(tiered.id, {"expand": ["tiers"]})

    assert (tiered.billing_scheme, tiered.unit_amount, "tiers" in tiered) == ("tiered", None, False)
    assert shown.recurring is not None
    assert shown.recurring.usage_type == "metered"
    assert [(tier.up_to, tier.unit_amount) for tier in shown.tiers or []] == [(5, 100), (None, 50)]
    assert [p.id for p in shop.v1.prices.list({"product": product, "type": "recurring"}).data] == [tiered.id]


def test_subscription_update_with_one_bad_item_changes_nothing(shop: Shop) -> None:
    subscription = shop.subscription()
    item = items_of(subscription)[0].id

    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        shop.v1.subscriptions.update(
            subscription.id,
            {
                "items": [
                    {"id": item, "quantity": 7},
                    {"price": shop.price()},
                    {"price": shop.price(interval=None)},
                ]
            },
        )

    listed = shop.v1.subscription_items.list({"subscription": subscription.id}).data
    assert [(one.id, one.quantity) for one in listed] == [(item, 1)]
    assert [(one.id, one.quantity) for one in items_of(shop.retrieve(subscription))] == [(item, 1)]
