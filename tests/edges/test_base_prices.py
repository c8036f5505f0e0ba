"""Subscriptions with several base prices, or with one at quantity 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from line_requests.domain.prices import Allowance, Plan
from line_requests.domain.submission import Kind
from tests.support.shop import clock

if TYPE_CHECKING:
    import pytest

    from tests.support.shop import Shop


def test_first_of_two_base_prices_counts_with_an_alarm_and_one_at_quantity_0_does_not(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[17]"""
    subscription = shop.workspace(1).subscription
    assert subscription is not None
    v1 = shop.stripe.v1
    price = shop.account.price(9900)
    first = Plan("zzz", (price,), {Kind.EMAIL: Allowance(3)}, position=0)
    [plan] = shop.world.plans.all()
    shop.world.plans.save([first, Plan("plan", plan.base_prices, plan.allowances, position=1)])
    item = v1.subscription_items.create({"subscription": subscription.id, "price": price, "quantity": 1})

    synced = shop.lifecycle.sync_subscription(clock(), "acme")
    assert synced is not None
    assert synced.subscription is not None
    assert synced.subscription.plan == "zzz"
    assert '"AmbiguousBasePrice":[1.0]' in capsys.readouterr().out

    v1.subscription_items.update(item.id, {"quantity": 0})
    synced = shop.lifecycle.sync_subscription(clock(), "acme")
    assert synced is not None
    assert synced.subscription is not None
    assert (synced.subscription.plan, synced.subscription.active) == ("plan", True)
    assert capsys.readouterr().out == ""
