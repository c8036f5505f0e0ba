"""What a line costs for part of a period, and which places are charged until when (contract 51, 52).

Times are epoch seconds, as at Stripe; amounts are minor units of their currency.
"""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dateutil.relativedelta import relativedelta

from line_requests.domain.model import Subscription
from line_requests.domain.prices import Coverage, Period
from line_requests.domain.submission import Kind

# Stripe takes only multiples of these: https://docs.stripe.com/currencies#special-cases and #three-decimal
SMALLEST_STEP = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}


def prorate(unit_amount: int, seconds: int, period_s: int, currency: str) -> int:
    """The part of a unit amount that falls to so many seconds, rounded half up to an amount that Stripe accepts."""
    step = SMALLEST_STEP.get(currency, 1)
    exact = unit_amount * max(0, seconds)
    return (2 * exact + period_s * step) // (2 * period_s * step) * step


def period_at(subscription: Subscription, now_s: int) -> Period:
    """The subscription's period at that time: the stored one, or the one that follows it by the calendar.

    Period k ends k intervals after the anchor: https://docs.stripe.com/billing/subscriptions/billing-cycle
    """
    period = subscription.period
    if now_s < period.end_s:
        return period
    elapsed = 1
    while (end_s := add_intervals(subscription, period.end_s, elapsed)) <= now_s:
        elapsed += 1
    return Period(add_intervals(subscription, period.end_s, elapsed - 1), end_s)


def add_intervals(subscription: Subscription, start_s: int, count: int) -> int:
    """So many base intervals after a period's start, on the day of the month that the billing cycle is anchored to."""
    unit, size = subscription.interval, subscription.interval_count
    step = relativedelta(**{f"{unit}s": size * count})  # type: ignore[arg-type] # Stripe's units are its names
    moved = datetime.datetime.fromtimestamp(start_s, tz=datetime.UTC) + step
    if unit in {"month", "year"}:
        anchor_day = datetime.datetime.fromtimestamp(subscription.anchor_s or start_s, tz=datetime.UTC).day
        moved += relativedelta(day=anchor_day)  # past the month's end: its last day
    return int(moved.timestamp())


def first_charge(subscription: Subscription, unit_amount: int, currency: str, now_s: int) -> tuple[int, Period]:
    """What a new line pays, and the time that it covers: from the request to the subscription's next billing."""
    period = period_at(subscription, now_s)
    if subscription.first_charge == "full":
        return unit_amount, Period(now_s, period.end_s)
    # A trial is not charged for, so its length says nothing about the price: one interval from its end does.
    in_trial = subscription.status == "trialing" and now_s < subscription.period.end_s
    length_s = (
        add_intervals(subscription, period.end_s, 1) - period.end_s if in_trial else period.end_s - period.start_s
    )
    amount = prorate(unit_amount, period.end_s - now_s, length_s, currency)
    return min(amount, unit_amount), Period(now_s, period.end_s)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Places of a kind that are owed and not charged to the end of the period: from when each."""

    kind: Kind
    from_s: tuple[int, ...]

    def amount(self, unit_amount: int, period: Period, currency: str) -> int:
        """What all of them cost to the end of the period, rounded once."""
        seconds = sum(period.end_s - start_s for start_s in self.from_s)
        return prorate(unit_amount, seconds, period.end_s - period.start_s, currency)


def covered(coverages: Iterable[Coverage], until_s: int) -> int:
    """How many places are charged to that time or beyond."""
    return sum(coverage.places for coverage in coverages if coverage.until_s >= until_s)


def shortage(kind: Kind, owed: int, coverages: Iterable[Coverage], period_end_s: int, now_s: int) -> Shortage | None:
    """What is owed beyond what is charged."""
    coverages = list(coverages)
    short = owed - covered(coverages, period_end_s)
    return Shortage(kind, starts(coverages, short, period_end_s, now_s)) if short > 0 else None


def starts(coverages: Iterable[Coverage], places: int, until_s: int, now_s: int) -> tuple[int, ...]:
    """From when more places are charged until then: one that is charged for part of the time starts where that ends."""
    partly = sorted(
        (c.until_s for c in coverages for _ in range(c.places) if now_s < c.until_s < until_s), reverse=True
    )
    return tuple((partly + [now_s] * places)[:places])


def cover(
    coverages: Iterable[Coverage], places: int, until_s: int, *, replacing: Iterable[int] = ()
) -> tuple[Coverage, ...]:
    """With so many places charged until then; `replacing` names the ends of coverages that this extends."""
    counts: dict[int, int] = {}
    for coverage in (*coverages, Coverage(until_s, places)):
        counts[coverage.until_s] = counts.get(coverage.until_s, 0) + coverage.places
    for end_s in replacing:
        if counts.get(end_s):
            counts[end_s] -= 1
    return tuple(Coverage(end_s, count) for end_s, count in sorted(counts.items()) if count > 0)


def without_past(coverages: Iterable[Coverage], now_s: int) -> tuple[Coverage, ...]:
    """Without what has ended."""
    return cover([coverage for coverage in coverages if coverage.until_s > now_s], 0, 0)


def split_by_kind(quantity: int, owed: Mapping[Kind, int]) -> dict[Kind, int]:
    """A price's quantity, shared among its kinds: each gets what it owes, the first also the rest."""
    shares: dict[Kind, int] = {}
    for kind, count in owed.items():
        shares[kind] = min(quantity, count)
        quantity -= shares[kind]
    for kind in owed:
        shares[kind] += quantity
        break
    return shares
