"""What part of a period costs, which places are charged until when, and what a client is told of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain import money
from line_requests.domain.bodies import allowance_body
from line_requests.domain.decision import Next, price_of
from line_requests.domain.errors import BillingRefused
from line_requests.domain.prices import Allowance, Coverage, Period
from line_requests.domain.submission import Kind
from tests.decision.examples import ADD_ONS, LINE_ID, NOW_MS, PERIOD, counts, subscription, workspace

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription

ROOT = Path(__file__).parents[2]
DAY_S = 86_400
MONTH_S = PERIOD.end_s - PERIOD.start_s
NOW_S = NOW_MS // 1000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def subscribed(start: str, end: str, **changes: Any) -> Subscription:  # noqa: ANN401 - any of its fields
    """A subscription with this period; as at Stripe, the billing cycle is anchored to its start or the trial's end."""
    period = Period(at(start), at(end))
    anchor_s = period.end_s if changes.get("status") == "trialing" else period.start_s
    return replace(subscription(), period=period, anchor_s=anchor_s, currency="usd", **changes)


@pytest.mark.parametrize(
    ("unit_amount", "seconds", "currency", "amount"),
    [
        (1500, MONTH_S, "usd", 1500),
        (1500, 0, "usd", 0),
        (10**9, 0, "usd", 0),
        (1500, -5, "usd", 0),
        (1, MONTH_S // 2, "usd", 1),  # half a cent is rounded up
        (1, MONTH_S // 2 - 1, "usd", 0),
        (4610, MONTH_S // 2, "kwd", 2310),  # three decimals: Stripe takes multiples of ten
        (200_000, MONTH_S // 3, "isk", 66_700),  # multiples of a hundred
        (2200, MONTH_S // 3, "jpy", 733),
    ],
)
def test_prorate_rounds_half_up_to_what_stripe_accepts(
    unit_amount: int, seconds: int, currency: str, amount: int
) -> None:
    """[51]"""
    assert money.prorate(unit_amount, seconds, MONTH_S, currency) == amount


@pytest.mark.parametrize(
    ("currency", "step"),
    [("isk", 100), ("ugx", 100), ("bhd", 10), ("jod", 10), ("kwd", 10), ("omr", 10), ("tnd", 10)],
)
def test_prorate_rounds_half_a_step_of_the_currency_up(currency: str, step: int) -> None:
    """[51] The steps are Stripe's: https://docs.stripe.com/currencies#special-cases"""
    assert money.prorate(7 * step + step // 2, MONTH_S, MONTH_S, currency) == 8 * step


@given(st.integers(0, 10**6), st.integers(0, MONTH_S))
def test_prorate_of_both_parts_is_within_one_unit_of_the_whole(unit_amount: int, seconds: int) -> None:
    """[51]"""
    parts = [money.prorate(unit_amount, part, MONTH_S, "usd") for part in (seconds, MONTH_S - seconds)]
    assert 0 <= sum(parts) - unit_amount <= 1


@pytest.mark.parametrize(
    ("start", "end", "interval", "now", "expected"),
    [
        ("2026-01-31", "2026-02-28", "month", "2026-02-10", ("2026-01-31", "2026-02-28")),
        ("2026-01-31", "2026-02-28", "month", "2026-02-28", ("2026-02-28", "2026-03-31")),
        ("2026-01-31", "2026-02-28", "month", "2026-03-01", ("2026-02-28", "2026-03-31")),
        ("2026-01-31", "2026-02-28", "month", "2026-03-31", ("2026-03-31", "2026-04-30")),
        ("2026-01-31", "2026-02-28", "month", "2026-05-30", ("2026-04-30", "2026-05-31")),
        ("2026-01-05", "2026-01-12", "week", "2026-01-20", ("2026-01-19", "2026-01-26")),
        ("2024-02-29", "2025-02-28", "year", "2027-06-01", ("2027-02-28", "2028-02-29")),
    ],
)
def test_period_that_has_ended_is_followed_by_the_calendar(
    start: str, end: str, interval: str, now: str, expected: tuple[str, str]
) -> None:
    """[51] On the day that the billing cycle is anchored to, or the month's last."""
    found = money.period_at(subscribed(start, end, interval=interval), at(now))
    assert (found.start_s, found.end_s) == (at(expected[0]), at(expected[1]))


def test_first_charge_covers_the_rest_of_the_period() -> None:
    """[51]"""
    half = subscribed("2026-04-01", "2026-05-01")
    assert money.first_charge(half, 3000, "usd", at("2026-04-16")) == (1500, Period(at("2026-04-16"), at("2026-05-01")))
    full = replace(half, first_charge="full")
    assert money.first_charge(full, 3000, "usd", at("2026-04-16"))[0] == 3000


def test_first_charge_in_a_trial_is_measured_by_the_interval_after_it() -> None:
    """[51] Four days of a trial that ends on 1 March are four of the 31 days of March."""
    trial = subscribed("2026-02-15", "2026-03-01", status="trialing")
    amount, period = money.first_charge(trial, 3100, "usd", at("2026-02-25"))
    assert (amount, period.end_s) == (400, at("2026-03-01"))
    # A trial that is longer than an interval costs no more than one.
    assert money.first_charge(replace(trial, interval="day"), 3100, "usd", at("2026-02-25"))[0] == 3100


def test_first_charge_of_a_trial_that_has_ended_is_measured_by_its_own_period() -> None:
    """[51] Until the snapshot is refreshed it still says trialing."""
    trial = subscribed("2026-01-20", "2026-02-01", status="trialing")
    assert money.first_charge(trial, 2800, "usd", at("2026-02-01"))[0] == 2800
    assert money.first_charge(trial, 2800, "usd", at("2026-02-15"))[0] == 1400


def test_shortage_starts_where_a_partly_charged_place_ends() -> None:
    """[52]"""
    until = PERIOD.end_s
    charged = (Coverage(NOW_S + DAY_S, 1), Coverage(until, 2))
    assert money.shortage(Kind.EMAIL, 2, charged, until, NOW_S) is None
    short = money.shortage(Kind.EMAIL, 4, charged, until, NOW_S)
    assert short is not None
    assert short.from_s == (NOW_S + DAY_S, NOW_S)
    last = money.shortage(Kind.EMAIL, 3, charged, until, NOW_S)
    assert last is not None
    assert last.from_s == (NOW_S + DAY_S,)
    left_s = until - NOW_S
    assert short.amount(1500, PERIOD, "usd") == money.prorate(1500, 2 * left_s - DAY_S, MONTH_S, "usd")


def test_shortage_extends_the_place_that_is_charged_longest() -> None:
    """[52] So that the least is charged."""
    charged = (Coverage(NOW_S + DAY_S, 1), Coverage(NOW_S + 2 * DAY_S, 1))
    short = money.shortage(Kind.EMAIL, 1, charged, PERIOD.end_s, NOW_S)
    assert short is not None
    assert short.from_s == (NOW_S + 2 * DAY_S,)


def test_cover_extends_what_was_charged_for_part_of_the_period() -> None:
    """[52]"""
    charged = money.cover((Coverage(10, 2), Coverage(20, 1)), 1, 30, replacing=[10])
    assert charged == (Coverage(10, 1), Coverage(20, 1), Coverage(30, 1))
    assert money.cover(charged, 2, 30) == (Coverage(10, 1), Coverage(20, 1), Coverage(30, 3))
    assert money.cover((), 1, 30, replacing=[10]) == (Coverage(30, 1),)
    assert money.without_past(charged, 10) == (Coverage(20, 1), Coverage(30, 1))


def test_quantity_of_a_shared_price_is_split_by_what_each_kind_owes() -> None:
    """[52]"""
    owed = {Kind.PURCHASED_PHONE: 1, Kind.EMAIL: 2}
    assert money.split_by_kind(2, owed) == {Kind.PURCHASED_PHONE: 1, Kind.EMAIL: 1}
    assert money.split_by_kind(5, owed) == {Kind.PURCHASED_PHONE: 3, Kind.EMAIL: 2}


def test_add_on_without_the_subscriptions_currency_is_refused_by_name() -> None:
    """[51]"""
    with pytest.raises(BillingRefused, match="price_email has no amount in eur"):
        price_of(ADD_ONS[Kind.EMAIL], "eur")


def test_allowance_says_what_one_more_line_would_be_and_cost() -> None:
    """[62]"""
    asked = workspace(
        held=counts(email=2, byon_phone=1),
        unpaid=counts(email=1, byon_phone=1),
        subscription=subscription(
            email=Allowance(1, add_on=ADD_ONS[Kind.EMAIL]), byon_phone=Allowance(1), purchased_phone=Allowance(1)
        ),
    )
    body: Any = allowance_body(asked, NOW_MS)
    assert (body["plan"], body["subscriptionStatus"]) == ("starter", "active")
    assert body["kinds"]["email"] == {
        "included": 1,
        "used": 1,
        "held": 2,
        "cap": None,
        "next": "payable",
        "addOn": {"unitAmount": 500, "currency": "usd", "interval": "month", "firstCharge": 333},
    }
    assert [body["kinds"][kind]["next"] for kind in ("byon_phone", "purchased_phone")] == ["forbidden", "included"]
    locked: Any = allowance_body(replace(asked, lock=LINE_ID, lock_kind=Kind.EMAIL), NOW_MS)
    assert {kind: one["next"] for kind, one in locked["kinds"].items()} == {
        "email": "locked",
        "byon_phone": "forbidden",
        "purchased_phone": "locked",
    }
    assert Next.of(replace(asked, subscription=None), Kind.EMAIL) is Next.FORBIDDEN
    foreign = replace(asked, subscription=replace(subscription(), currency="eur"))
    unpriced: Any = allowance_body(foreign, NOW_MS)
    assert unpriced["kinds"]["email"]["addOn"] is None


def test_allowance_of_a_workspace_that_has_nothing() -> None:
    """[62] Neither a subscription nor a line; or a plan without the kind."""
    nothing = {"included": 0, "used": 0, "held": 0, "cap": None, "next": "forbidden", "addOn": None}
    assert allowance_body(workspace(subscription=None, held={}, unpaid={}), NOW_MS) == {
        "success": True,
        "plan": None,
        "subscriptionStatus": None,
        "kinds": dict.fromkeys(Kind, nothing),
    }
    body: Any = allowance_body(workspace(held={}, unpaid={}, subscription=subscription(email=Allowance(2, 3))), NOW_MS)
    offered = {"included": 2, "used": 0, "held": 0, "cap": 3, "next": "included", "addOn": None}
    assert body["kinds"] == {"email": offered, "purchased_phone": nothing, "byon_phone": nothing}


@pytest.mark.parametrize(("count", "text"), [(1, "month"), (3, "3 months")])
def test_price_of_several_months_does_not_read_as_that_of_one(count: int, text: str) -> None:
    """[62]"""
    offered = subscription(email=Allowance(1, add_on=ADD_ONS[Kind.EMAIL]))
    body: Any = allowance_body(workspace(subscription=replace(offered, interval_count=count)), NOW_MS)
    assert body["kinds"]["email"]["addOn"]["interval"] == text
    pattern = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]["AddOn"]["properties"]
    assert re.fullmatch(pattern["interval"]["pattern"], text)
