"""Billing periods by the calendar."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import Json

DAY_S = 86_400
_FIXED_S = {"day": DAY_S, "week": 7 * DAY_S}


def add_intervals(anchor: int, recurring: Json, number: int) -> int:
    """Return the moment so many intervals after the anchor.

    "If a month doesn't have the anchor date, the subscription is billed on the last day of the month":
    docs.stripe.com/billing/subscriptions/billing-cycle; in UTC, by the anchor's own time of day.
    """
    number *= recurring["interval_count"]
    if fixed_s := _FIXED_S.get(recurring["interval"]):
        return anchor + number * fixed_s
    at = datetime.fromtimestamp(anchor, UTC)
    months = at.month - 1 + number * (12 if recurring["interval"] == "year" else 1)
    year, month = at.year + months // 12, months % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())


def period_at(anchor: int, recurring: Json, moment: int) -> tuple[int, int]:
    """Return start and end of the period that holds a moment at or after the anchor."""
    number = next(n for n in count(1) if add_intervals(anchor, recurring, n) > moment)
    return add_intervals(anchor, recurring, number - 1), add_intervals(anchor, recurring, number)
