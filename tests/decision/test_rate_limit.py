"""The request budget, used as the table uses it: read, check, move the window."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain.errors import RateLimited
from line_requests.domain.rate_limit import RateLimit
from line_requests.storage.capacity import rate_update
from tests.decision.examples import NOW_MS

limits = st.builds(RateLimit, st.integers(1, 600), st.integers(1, 80))
USUAL = RateLimit(per_minute=120, burst=60)


@dataclass
class Window:
    """One workspace's rate window; applies `rate_update` as DynamoDB would."""

    limit: RateLimit
    tat_ms: int | None = None
    allowed: list[int] = field(default_factory=list)

    def request(self, now_ms: int) -> int | None:
        """None when allowed, else the milliseconds to wait."""
        try:
            self.limit.check(self.tat_ms, now_ms)
        except RateLimited as refusal:
            return refusal.retry_after_ms
        update, condition, values = rate_update(self.tat_ms, self.limit, now_ms)
        if update == "#tat_ms = :tat":
            assert condition == "(attribute_not_exists(#tat_ms) OR #tat_ms < :now)"
            assert self.tat_ms is None or self.tat_ms < values["now"]
            self.tat_ms = values["tat"]
        else:
            assert (update, condition) == ("#tat_ms = #tat_ms + :interval", "#tat_ms BETWEEN :now AND :latest")
            assert self.tat_ms is not None
            assert values["now"] <= self.tat_ms <= values["latest"], "an allowed request must meet the condition"
            self.tat_ms += values["interval"]
        self.allowed.append(now_ms)
        return None


@given(limits, st.integers(0, 300))
def test_rate_limit_allows_exactly_the_burst_at_once(limit: RateLimit, more: int) -> None:
    """[35]"""
    window = Window(limit)
    waits_ms = [window.request(NOW_MS) for _ in range(limit.burst + more)]
    assert waits_ms.count(None) == limit.burst
    assert all(wait is None for wait in waits_ms[: limit.burst])


@given(limits, st.lists(st.integers(0, 5000), min_size=1, max_size=200))
def test_rate_limit_wait_is_positive_and_just_enough(limit: RateLimit, pauses: list[int]) -> None:
    """[35]"""
    window, now_ms = Window(limit), NOW_MS
    for pause_ms in pauses:
        now_ms += pause_ms // 50
        wait_ms = window.request(now_ms)
        if wait_ms is not None:
            assert wait_ms > 0
            assert window.request(now_ms + wait_ms - 1) is not None, "not a millisecond longer than needed"
            now_ms += wait_ms
            assert window.request(now_ms) is None


def test_window_that_is_used_up_by_a_millisecond_waits_for_it() -> None:
    """[35]"""
    full_ms = NOW_MS + USUAL.tolerance_ms
    USUAL.check(full_ms, NOW_MS)
    with pytest.raises(RateLimited) as refusal:
        USUAL.check(full_ms + 1, NOW_MS)
    assert refusal.value.retry_after_ms == 1


@given(limits, st.lists(st.integers(0, 3000), min_size=2, max_size=200))
def test_rate_limit_allows_at_most_burst_plus_rate_over_any_time(limit: RateLimit, pauses: list[int]) -> None:
    """[35]"""
    window, now_ms = Window(limit), NOW_MS
    for pause_ms in pauses:
        now_ms += pause_ms
        window.request(now_ms)
    allowed = window.allowed
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            elapsed_ms = allowed[last] - allowed[first]
            assert last - first + 1 <= limit.burst + elapsed_ms * limit.per_minute / 60_000


def test_rate_limit_restores_burst_after_pause() -> None:
    """[35]"""
    window = Window(USUAL)
    for _ in range(61):
        window.request(NOW_MS)
    later = NOW_MS + 60 * 500
    assert [window.request(later) for _ in range(61)] == [None] * 60 + [500]


@pytest.mark.parametrize(
    ("per_minute", "interval_ms"),
    [(120, 500), (60, 1000), (7, 8572), (700, 86), (45_000, 2), (60_000, 1), (100_000, 1)],
)
def test_rate_limit_interval_is_share_of_a_minute_rounded_up(per_minute: int, interval_ms: int) -> None:
    """[35]"""
    assert RateLimit(per_minute, 1).interval_ms == interval_ms
