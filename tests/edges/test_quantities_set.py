"""The quantities that a settled workspace's renewals charge, on its subscription and on others of its customer."""

from __future__ import annotations

from typing import Any

import pytest

from line_requests.billing.subscriptions import StripeItem, StripeSubscription
from tests.edges.add_on_ledger import SET, Ledger, covered, holding, item


@pytest.mark.parametrize(
    ("price", "there", "counts_price", "expected"),
    [
        ("price_email", item("x", 2), True, 1),
        ("price_email", item("x", 2, ours=False), True, 1),
        ("price_old", item("x", 2), True, 0),
        ("price_old", item("x", 2, ours=False), True, None),
        ("price_email", item("x", 2), False, 0),
        ("price_email", item("x", 2, ours=False), False, None),
        ("price_email", item("x", 0, ours=False), True, 1),
    ],
)
def test_quantities_are_set_on_the_subscription_that_counts_and_removed_elsewhere(
    price: str, there: StripeItem, expected: int | None, *, counts_price: bool
) -> None:
    """[50] Items that people added are left alone, unless they are of an add-on's price."""
    ledger = Ledger(holding(charged=covered(1)), *([(price, there)] if counts_price else []))
    if not counts_price:
        ledger.listed.append(StripeSubscription("sub_2", "active", 1, {price: there}, "usd", 0))
    _, changed = ledger.settle()
    name = "sub_1" if counts_price else "sub_2"
    there_set: list[Any] = [] if expected is None else [(name, price, "si_x", expected)]
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
