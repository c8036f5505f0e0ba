"""The quantities that a settled workspace's renewals charge, on its subscription and on others of its customer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from line_requests.billing.subscriptions import StripeItem, StripeSubscription
from tests.edges.add_on_ledger import FOR_SALE, SET, Ledger, covered, holding, item

LEFT = -1


@pytest.mark.parametrize(
    ("price", "there", "counts_price", "expected"),
    [
        ("price_email", item("x", 2), True, 1),
        ("price_email", item("x", 2, ours=False), True, 1),
        ("price_old", item("x", 2), True, None),
        ("price_old", item("x", 2, ours=False), True, LEFT),
        ("price_email", item("x", 2), False, None),
        ("price_email", item("x", 2, ours=False), False, LEFT),
        ("price_email", item("x", 0, ours=False), True, 1),
    ],
)
def test_quantities_are_set_on_the_subscription_that_counts_and_removed_elsewhere(
    price: str, there: StripeItem, expected: int | None, *, counts_price: bool
) -> None:
    """[50] Items that people added are left alone, unless they are of an add-on's price."""
    ledger = Ledger(holding(charged=covered(1)), *([(price, there)] if counts_price else []))
    if not counts_price:
        items = {price: there, "price_other": item("other", 1, ours=False)}
        ledger.listed.append(StripeSubscription("sub_2", "active", 1, items, "usd", 0))
    _, changed = ledger.settle()
    name = "sub_1" if counts_price else "sub_2"
    there_set: list[Any] = [] if expected == LEFT else [(name, price, "si_x", expected)]
    own: list[Any] = [] if (price, counts_price) == ("price_email", True) else [SET]
    assert sorted(ledger.of("sub_1", "sub_2"), key=str) == sorted(own + there_set, key=str)
    assert changed == len(own) + len(there_set)


def test_ended_subscriptions_are_left_alone() -> None:
    """[50]"""
    ledger = Ledger(holding(charged=covered(1)), ("price_email", item("email", 1)))
    ledger.listed.append(StripeSubscription("sub_2", "canceled", 1, {"price_email": item("old", 3)}, "usd", 0))
    ledger.listed.append(StripeSubscription("sub_3", "unpaid", 1, {"price_email": item("late", 3)}, "usd", 0))
    ledger.settle()
    assert ledger.of("sub_1", "sub_2", "sub_3") == [("sub_3", "price_email", "si_late", 0)]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ({"price_a": item("a", 2)}, [("price_a", "si_a", 0)]),
        ({"price_a": item("a", 0)}, []),
        ({"price_a": item("a", 2), "price_b": item("b", 1)}, [("price_a", "si_a", None), ("price_b", "si_b", 0)]),
        ({"price_a": item("a", 2), "price_b": item("b", 0)}, [("price_a", "si_a", None)]),
        ({"price_a": item("a", 2), "price_c": item("c", 1, ours=False)}, [("price_a", "si_a", None)]),
    ],
)
def test_last_item_of_a_subscription_stays_with_quantity_0(items: dict[str, StripeItem], expected: list[Any]) -> None:
    """[50] Stripe refuses to delete it."""
    ledger = Ledger(holding(0))
    ledger.listed.append(StripeSubscription("sub_2", "active", 1, items, "usd", 0))
    ledger.settle()
    assert ledger.of("sub_2") == [("sub_2", *one) for one in expected]


@pytest.mark.parametrize(
    ("places", "status", "sets"), [(0, "active", True), (1, "active", False), (0, "canceled", False)]
)
def test_without_a_known_plan_nothing_is_owed_once_no_line_holds_a_place(
    places: int, status: str, *, sets: bool
) -> None:
    """[50][54]"""
    unknown = replace(FOR_SALE, status=status, plan=None, allowances={})
    ledger = Ledger(holding(places, subscription=unknown), ("price_email", item("email", 2)))
    ledger.listed[0] = replace(ledger.listed[0], status=status)
    ledger.settle()
    assert ledger.of("sub_1") == ([("sub_1", "price_email", "si_email", 0)] if sets else [])


@pytest.mark.parametrize("former", ["price_a", "price_z"])
def test_item_of_a_former_price_is_removed_before_that_of_the_present_one_is_added(former: str) -> None:
    """[52] A renewal between the two calls must not charge a place by both prices."""
    ledger = Ledger(holding(charged=covered(1)), (former, item("former", 1)))
    ledger.settle()
    assert ledger.of("sub_1") == [("sub_1", former, "si_former", None), SET]
