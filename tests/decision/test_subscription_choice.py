"""Which of a customer's subscriptions is selected."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.billing.subscriptions import StripeItem, StripeSubscription
from line_requests.domain.prices import Allowance, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.subscriptions import select
from tests.decision.examples import ADD_ONS, SUBSCRIPTION_STATUSES

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription

STARTER = Plan("starter", ("price_starter", "price_starter_yearly"), {Kind.EMAIL: Allowance(1)})
SCALE = Plan("scale", ("price_scale",), {Kind.EMAIL: Allowance(5)}, automatic_tax=True, tax_rates=("txr_1",))
PLANS = [STARTER, SCALE]


def at_stripe(
    name: str, status: str = "active", created_s: int = 1, price: str = "price_starter"
) -> StripeSubscription:
    extra = StripeItem(f"si_{name}_extra", 3, ours=True)
    items = {price: StripeItem(f"si_{name}", 1, ours=False), ADD_ONS[Kind.EMAIL].price: extra}
    return StripeSubscription(f"sub_{name}", status, created_s, items, "usd", 0)


def chosen_of(*listed: StripeSubscription) -> Subscription:
    chosen = select(listed, PLANS)
    assert chosen is not None
    return chosen


def test_select_copies_entitlements_of_plan_named_by_base_price() -> None:
    """[46]"""
    chosen = chosen_of(at_stripe("1", price="price_scale"))
    assert (chosen.id, chosen.status, chosen.plan) == ("sub_1", "active", "scale")
    assert (chosen.allowances, chosen.automatic_tax, chosen.tax_rates) == (SCALE.allowances, True, ("txr_1",))
    assert chosen_of(at_stripe("1", price="price_starter_yearly")).plan == "starter"


def test_select_grants_nothing_for_a_base_price_with_quantity_0() -> None:
    """[17]"""
    none = {"price_starter": StripeItem("si_1", 0, ours=False, entitles=False)}
    chosen = chosen_of(StripeSubscription("sub_1", "active", 1, none, "usd", 0))
    assert (chosen.plan, chosen.allowances, chosen.active) == (None, {}, False)
    one = none | {"price_scale": StripeItem("si_2", 1, ours=False)}
    assert chosen_of(StripeSubscription("sub_1", "active", 1, one, "usd", 0)).plan == "scale"


@pytest.mark.parametrize("first", ["starter", "scale"])
def test_select_takes_the_first_plan_of_the_file_for_two_base_prices(first: str) -> None:
    """[17] Whatever the order of the items; without a stored order the first name counts."""
    items = {price: StripeItem(f"si_{price}", 1, ours=False) for price in ("price_starter", "price_scale")}
    plans = [replace(plan, position=0 if plan.name == first else 1) for plan in PLANS]
    for order in itertools.permutations(items):
        two = StripeSubscription("sub_1", "active", 1, {price: items[price] for price in order}, "usd", 0)
        chosen, unordered = select([two], plans), select([two], PLANS)
        assert chosen is not None
        assert unordered is not None
        assert (chosen.plan, unordered.plan) == (first, "scale")


def test_select_returns_none_without_subscriptions() -> None:
    """[17]"""
    assert select([], PLANS) is None


def test_select_returns_no_plan_for_unknown_base_price() -> None:
    """[17]"""
    chosen = chosen_of(at_stripe("1", price="price_old"))
    assert (chosen.plan, chosen.active) == (None, False)


@pytest.mark.parametrize("status", ["active", "trialing"])
@pytest.mark.parametrize("other", sorted(set(SUBSCRIPTION_STATUSES) - {"active", "trialing"}))
def test_select_prefers_active_over_newer_inactive(status: str, other: str) -> None:
    """[46]"""
    assert chosen_of(at_stripe("new", other, 9, "price_scale"), at_stripe("old", status, 1)).id == "sub_old"


def test_select_prefers_newest_active_on_known_plan() -> None:
    """[46]"""
    old, new = at_stripe("old"), at_stripe("new", created_s=9, price="price_scale")
    foreign = at_stripe("foreign", created_s=99, price="price_of_something_else")
    assert chosen_of(old, foreign, new).id == "sub_new"


def test_select_prefers_active_on_unknown_plan_over_ended() -> None:
    """[17] Otherwise its waiting request is canceled, and the unknown price raises no alarm."""
    ended, foreign = at_stripe("ended", "canceled", 9), at_stripe("foreign", price="price_of_something_else")
    chosen = chosen_of(ended, foreign)
    assert (chosen.id, chosen.plan, chosen.ended) == ("sub_foreign", None, False)


def test_select_takes_newest_on_known_plan_without_active() -> None:
    """[46]"""
    foreign = at_stripe("foreign", "unpaid", 9, "price_of_something_else")
    for status in ("canceled", "past_due"):
        chosen = chosen_of(at_stripe("old", status, 1), at_stripe("new", status, 5), foreign)
        assert (chosen.id, chosen.ended) == ("sub_new", status == "canceled")


@pytest.mark.parametrize("over", ["incomplete", "incomplete_expired", "canceled"])
@pytest.mark.parametrize("living", ["past_due", "unpaid", "paused"])
def test_select_prefers_a_living_subscription_over_a_newer_one_that_was_given_up(living: str, over: str) -> None:
    """[46][54] A customer in dunning may begin another checkout."""
    assert chosen_of(at_stripe("old", living, 1), at_stripe("new", over, 5, "price_scale")).id == "sub_old"


@given(
    st.lists(
        st.builds(
            at_stripe,
            st.sampled_from("abcdef"),
            st.sampled_from(SUBSCRIPTION_STATUSES),
            st.integers(1, 3),
            st.sampled_from(["price_starter", "price_scale", "price_of_something_else"]),
        ),
        max_size=4,
        unique_by=lambda subscription: subscription.id,
    )
)
def test_select_ignores_listing_order(listed: list[StripeSubscription]) -> None:
    """[46]"""
    first = select(listed, PLANS)
    assert all(select(order, PLANS) == first for order in itertools.permutations(listed))
    assert all(select(listed, plans) == first for plans in itertools.permutations(PLANS))
