"""A workspace's subscription snapshot, brought up to date without a table: what is stored, and which alarms come."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.subscriptions import StripeItem, StripeSubscription
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.prices import NO_PERIOD, Allowance, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.subscriptions import REFRESH_ATTEMPTS, SubscriptionSync, select
from tests.decision.examples import NOW_MS, PERIOD, workspace

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription, Workspace

PLANS = [
    Plan("starter", ("price_starter",), {Kind.EMAIL: Allowance(1)}, position=0),
    Plan("scale", ("price_scale",), {Kind.EMAIL: Allowance(5)}, position=1),
]


def item(name: str, **changes: Any) -> StripeItem:  # noqa: ANN401 - any of its fields
    return StripeItem(f"si_{name}", 1, ours=False, **changes)


def at_stripe(*prices: str, status: str = "active", name: str = "1") -> StripeSubscription:
    return StripeSubscription(f"sub_{name}", status, 1, {price: item(price) for price in prices})


class Account:
    """A workspace as it is stored, beside its subscriptions at Stripe."""

    def __init__(self, *listed: StripeSubscription) -> None:
        self.listed = list(listed)
        self.stored: Workspace | None = workspace(subscription=select(listed, PLANS))
        self.changes = 0
        """How often another caller stores a snapshot first."""
        self.did: list[object] = []
        stub: Any = self
        self.sync = SubscriptionSync(stub, stub)
        self.billing: Any = SimpleNamespace(subscriptions=self)

    def all(self) -> list[Plan]:
        return PLANS

    def of_customer(self, customer: str) -> list[StripeSubscription]:
        self.did.append(customer)
        return self.listed

    def get(self, workspace_id: str) -> Workspace | None:
        self.did.append(("get", workspace_id))
        return self.stored

    def save_subscription(self, seen: Workspace, current: Subscription | None, now_ms: int) -> Workspace | None:
        self.did.append(("save", seen.revision, now_ms))
        if self.changes:
            self.changes -= 1
            self.stored = replace(self.stored, revision=seen.revision + 1) if self.stored else None
            return None
        return replace(seen, subscription=current)


def alarms(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr().out
    return [name for name in ("UnknownBasePrice", "AmbiguousBasePrice") if f'"{name}":[1.0]' in printed]


def test_snapshot_that_is_true_is_not_written() -> None:
    """[46]"""
    account = Account(at_stripe("price_starter"))
    assert account.sync.refresh(account.billing, "acme", NOW_MS) == account.stored
    assert account.did == [("get", "acme"), "cus_acme"]


def test_unknown_workspace_asks_stripe_nothing() -> None:
    """[46]"""
    account = Account()
    account.stored = None
    assert account.sync.refresh(account.billing, "acme", NOW_MS) is None
    assert account.did == [("get", "acme")]


def test_customer_without_a_workspace_has_a_subscription() -> None:
    account = Account(at_stripe("price_starter"))
    assert account.sync.current(account.billing, "cus_new") == select(account.listed, PLANS)
    assert account.did == ["cus_new"]


@pytest.mark.parametrize("changes", [0, 1, REFRESH_ATTEMPTS - 1])
@pytest.mark.parametrize("known", [True, False])
def test_snapshot_that_was_overtaken_is_read_again(changes: int, *, known: bool) -> None:
    """[46] With the workspace as it is now."""
    account = Account(at_stripe("price_starter"))
    account.listed = [at_stripe("price_scale")]
    account.changes = changes
    seen = account.stored
    assert seen is not None
    account.stored = seen if known else None
    saved, listed = account.sync.refresh_and_list(account.billing, seen, NOW_MS)
    assert saved.subscription == select(account.listed, PLANS)
    assert listed == account.listed
    revisions = [one[1] for one in account.did if isinstance(one, tuple) and one[0] == "save"]
    assert revisions == [seen.revision + (number if known else 0) for number in range(changes + 1)]
    assert account.did.count("cus_acme") == changes + 1


def test_snapshot_that_keeps_changing_is_left_to_the_next_call() -> None:
    """[46]"""
    account = Account(at_stripe("price_starter"))
    account.listed = [at_stripe("price_scale")]
    account.changes = REFRESH_ATTEMPTS
    with pytest.raises(BillingUnavailable, match="kept changing"):
        account.sync.refresh(account.billing, "acme", NOW_MS)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], []),
        ([at_stripe("price_starter")], []),
        ([at_stripe("price_starter", "price_other")], []),
        ([at_stripe("price_other")], ["UnknownBasePrice"]),
        ([at_stripe("price_other", status="past_due")], []),
        ([at_stripe("price_starter", "price_scale")], ["AmbiguousBasePrice"]),
        ([at_stripe("price_starter", "price_scale", status="past_due")], []),
        ([at_stripe("price_starter"), at_stripe("price_starter", "price_scale", status="canceled", name="0")], []),
        ([at_stripe("price_starter", "price_scale"), at_stripe("price_starter", name="0")], ["AmbiguousBasePrice"]),
    ],
)
def test_active_subscription_alarms_unless_exactly_one_base_price_is_known(
    listed: list[StripeSubscription], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """[17]"""
    account = Account(*listed)
    account.sync.refresh(account.billing, "acme", NOW_MS)
    assert alarms(capsys) == expected


def test_period_is_that_of_the_base_price() -> None:
    """[51] Of an unknown plan it is the first item's; a subscription may have none."""
    yearly = item("base", period=PERIOD, interval="year", interval_count=2)
    weekly = item("add_on", period=replace(PERIOD, end_s=9), interval="week", interval_count=3)

    def chosen(**items: StripeItem) -> tuple[object, str, int]:
        found = select([StripeSubscription("sub_1", "active", 1, items)], PLANS)
        assert found is not None
        return found.period, found.interval, found.interval_count

    assert chosen(price_add_on=weekly, price_starter=yearly) == (PERIOD, "year", 2)
    assert chosen(price_old=yearly, price_add_on=weekly) == (PERIOD, "year", 2)
    assert chosen() == (NO_PERIOD, "month", 1)
