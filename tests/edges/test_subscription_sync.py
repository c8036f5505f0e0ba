"""How a workspace's snapshot of its subscription follows Stripe, and which base prices raise an alarm."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.subscriptions import StripeItem, StripeSubscription
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.prices import NO_PERIOD, Plan
from line_requests.flows.subscriptions import REFRESH_ATTEMPTS, SubscriptionSync, select
from tests.decision.examples import NOW_MS, PERIOD, workspace

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription, Workspace

STARTER, SCALE = Plan("starter", ("price_starter",), {}), Plan("scale", ("price_scale",), {})
YEARLY = StripeItem("si_1", 1, ours=False, period=PERIOD, interval="year", interval_count=2)


def at_stripe(*prices: str, status: str = "active", name: str = "sub_1") -> StripeSubscription:
    return StripeSubscription(name, status, 1, dict.fromkeys(prices, YEARLY), "usd", 7)


class Ground:
    """A workspace's item, and its customer's subscriptions at Stripe."""

    def __init__(self, stored: Workspace | None, *listed: StripeSubscription) -> None:
        self.stored = stored
        self.listed = list(listed)
        self.reads = self.saves = 0
        self.overtaken = 0
        """So many writes find that another caller came first."""
        stub: Any = self
        self.sync = SubscriptionSync(stub, stub)
        self.billing: Any = SimpleNamespace(subscriptions=self)

    def all(self) -> list[Plan]:
        return [STARTER, SCALE]

    def of_customer(self, customer: str) -> list[StripeSubscription]:
        assert customer == "cus_acme"
        self.reads += 1
        return self.listed

    def get(self, _: str) -> Workspace | None:
        return self.stored

    def save_subscription(self, seen: Workspace, current: Subscription | None, _: int) -> Workspace | None:
        self.saves += 1
        if self.saves <= self.overtaken:
            self.stored = replace(seen, revision=seen.revision + 1) if self.stored else None
            return None
        self.stored = replace(seen, subscription=current)
        return self.stored


def test_snapshot_is_saved_when_stripe_s_differs_and_not_again() -> None:
    """[46]"""
    ground = Ground(workspace(subscription=None), at_stripe("price_starter"))
    current = select(ground.listed, ground.all())
    refreshed = workspace(subscription=current)
    for _ in range(2):
        assert ground.sync.refresh(ground.billing, "acme", NOW_MS) == refreshed
    assert ground.saves == 1
    assert ground.sync.refresh_and_list(ground.billing, refreshed, NOW_MS) == (refreshed, ground.listed, ground.all())
    assert ground.sync.current(ground.billing, "cus_acme") == current


def test_unknown_workspace_is_none_and_asks_stripe_nothing() -> None:
    """[46]"""
    ground = Ground(None)
    assert ground.sync.refresh(ground.billing, "acme", NOW_MS) is None
    assert ground.reads == 0


@pytest.mark.parametrize("deleted", [True, False])
def test_answer_that_was_overtaken_is_discarded(*, deleted: bool) -> None:
    """[46] Stripe is read once more, for the workspace as it is then."""
    seen = workspace(subscription=None)
    ground = Ground(None if deleted else seen, at_stripe("price_starter"))
    ground.overtaken = 1
    refreshed, listed, _ = ground.sync.refresh_and_list(ground.billing, seen, NOW_MS)
    assert (ground.reads, listed) == (2, ground.listed)
    assert refreshed.revision == seen.revision + (not deleted)


def test_subscription_that_keeps_changing_gives_up() -> None:
    """[46]"""
    ground = Ground(workspace(subscription=None), at_stripe("price_starter"))
    ground.overtaken = 99
    with pytest.raises(BillingUnavailable, match="kept changing"):
        ground.sync.refresh(ground.billing, "acme", NOW_MS)
    assert ground.reads == REFRESH_ATTEMPTS


@pytest.mark.parametrize(
    ("listed", "alarm"),
    [
        ([at_stripe("price_starter")], None),
        ([at_stripe("price_old")], "UnknownBasePrice"),
        ([at_stripe("price_old", status="trialing")], "UnknownBasePrice"),
        ([at_stripe("price_old", status="past_due")], None),
        ([at_stripe("price_starter", "price_scale")], "AmbiguousBasePrice"),
        ([at_stripe("price_starter", "price_scale", status="unpaid")], None),
        ([at_stripe("price_starter"), at_stripe("price_starter", "price_scale", status="unpaid", name="sub_2")], None),
        ([], None),
    ],
)
def test_active_subscription_without_exactly_one_base_price_alarms(
    capsys: pytest.CaptureFixture[str], listed: list[StripeSubscription], alarm: str | None
) -> None:
    """[17] One that is not active, or does not count, may have any."""
    ground = Ground(workspace(), *listed)
    ground.sync.refresh(ground.billing, "acme", NOW_MS)
    printed = capsys.readouterr().out
    names = ("UnknownBasePrice", "AmbiguousBasePrice")
    assert [name for name in names if f'"{name}":[1.0]' in printed] == ([alarm] if alarm else [])


@pytest.mark.parametrize("price", ["price_starter", "price_old"])
def test_period_and_interval_are_the_base_item_s(price: str) -> None:
    """[51] Without a known one, the first item's."""
    other = replace(YEARLY, period=NO_PERIOD, interval="week", interval_count=3)
    items = {price: YEARLY, "price_extra": other} if price == "price_old" else {"price_extra": other, price: YEARLY}
    chosen = select([StripeSubscription("sub_1", "active", 1, items, "usd", 7)], [STARTER])
    assert chosen is not None
    assert (chosen.period, chosen.interval, chosen.interval_count) == (PERIOD, "year", 2)
    assert (chosen.currency, chosen.anchor_s) == ("usd", 7)


def test_subscription_without_items_is_monthly_without_a_period() -> None:
    """[17]"""
    chosen = select([at_stripe()], [STARTER])
    assert chosen is not None
    assert (chosen.plan, chosen.period, chosen.interval, chosen.interval_count) == (None, NO_PERIOD, "month", 1)
