from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def items_of(subscription: stripe.Subscription) -> list[stripe.SubscriptionItem]:
    return subscription.items.data


def test_new_subscription_is_active_with_paid_invoice(shop: Shop) -> None:
    subscription = shop.subscription()

    invoices = shop.v1.invoices.list({"subscription": subscription.id}).data

    assert subscription.status == "active"
    assert [(i.status, i.billing_reason, i.total) for i in invoices] == [("paid", "subscription_create", 1500)]
    assert invoices[0].parent is not None
    assert invoices[0].parent.subscription_details is not None
    assert invoices[0].parent.subscription_details.subscription == subscription.id
    assert shop.events_about(subscription.id) == ["customer.subscription.created"]
    assert "invoice.paid" in shop.events_about(invoices[0].id)


def test_trial_is_trialing_with_zero_invoice(shop: Shop) -> None:
    subscription = shop.v1.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": shop.price()}], "trial_period_days": 14}
    )

    assert subscription.status == "trialing"
    assert shop.v1.invoices.list({"subscription": subscription.id}).data[0].total == 0


def test_subscription_list_omits_canceled_by_default(shop: Shop) -> None:
    customer = shop.customer()
    kept, gone = shop.subscription(customer), shop.subscription(customer)
    assert shop.v1.subscriptions.cancel(gone.id).status == "canceled"

    listed = shop.v1.subscriptions.list({"customer": customer}).data
    everything = shop.v1.subscriptions.list({"customer": customer, "status": "all"}).data

    assert [s.id for s in listed] == [kept.id]
    assert [s.id for s in everything] == [gone.id, kept.id]
    assert shop.events_about(gone.id)[-1] == "customer.subscription.deleted"


def test_cancel_refused_when_already_canceled(shop: Shop) -> None:
    subscription = shop.subscription()
    shop.v1.subscriptions.cancel(subscription.id)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.subscriptions.cancel(subscription.id)

    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


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


def test_subscription_item_needs_recurring_price(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        shop.v1.subscription_items.create(
            {"subscription": shop.subscription().id, "price": shop.price(recurring=False)}
        )


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


def test_subscription_refuses_same_price_twice_and_removal_of_last_item(shop: Shop) -> None:
    subscription = shop.subscription()
    item = items_of(subscription)[0]

    with pytest.raises(stripe.InvalidRequestError, match="same price"):
        shop.v1.subscription_items.create({"subscription": subscription.id, "price": item.price.id})
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        shop.v1.subscription_items.delete(item.id)


def test_plan_is_changed_through_its_item(shop: Shop) -> None:
    subscription, price = shop.subscription(), shop.price()

    changed = shop.v1.subscriptions.update(
        subscription.id, {"items": [{"id": items_of(subscription)[0].id, "price": price}]}
    )

    assert [item.price.id for item in items_of(changed)] == [price]
    assert shop.events_about(subscription.id)[-1] == "customer.subscription.updated"


def test_customer_expands_subscriptions(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)

    shown = shop.v1.customers.retrieve(customer, {"expand": ["subscriptions"]})

    assert shown.subscriptions is not None
    assert [s.id for s in shown.subscriptions.data] == [subscription.id]


def test_deleted_customer_cancels_its_subscriptions(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)

    assert shop.v1.customers.delete(customer).deleted

    assert shop.v1.customers.retrieve(customer).deleted
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        shop.v1.invoices.create({"customer": customer})


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
                    {"price": shop.price(recurring=False)},
                ]
            },
        )

    listed = shop.v1.subscription_items.list({"subscription": subscription.id}).data
    assert [(one.id, one.quantity) for one in listed] == [(item, 1)]
    assert [(one.id, one.quantity) for one in items_of(shop.retrieve(subscription))] == [(item, 1)]
