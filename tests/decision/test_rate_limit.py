"""The request budget, driven as the store drives it: read, admit, move the window."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain.errors import RateLimited
from line_requests.domain.rate_limit import RateLimit
from tests.decision.examples import NOW_MS

limits = st.builds(RateLimit, st.integers(1, 600), st.integers(1, 80))
USUAL = RateLimit(per_minute=120, burst=60)


@dataclass
class Window:
    """One workspace's rate window: applies `rate_move` as DynamoDB would."""

    limit: RateLimit
    tat_ms: int | None = None
    admitted: list[int] = field(default_factory=list)

    def ask(self, now_ms: int) -> int | None:
        """None when admitted, else how long to wait."""
        try:
            self.limit.admit(self.tat_ms, now_ms)
        except RateLimited as refusal:
            return refusal.retry_after_ms
        update, condition, values = rate_move(self.tat_ms, self.limit, now_ms)
        if update == "#tat = :tat":
            assert condition == "(attribute_not_exists(#tat) OR #tat < :now)"
            assert self.tat_ms is None or self.tat_ms < values["now"]
            self.tat_ms = values["tat"]
        else:
            assert (update, condition) == ("#tat = #tat + :interval", "#tat BETWEEN :now AND :latest")
            assert self.tat_ms is not None
            assert values["now"] <= self.tat_ms <= values["latest"], "what is admitted must pass the condition"
            self.tat_ms += values["interval"]
        self.admitted.append(now_ms)
        return None


@given(limits, st.integers(0, 300))
def test_at_one_moment_exactly_the_burst_is_admitted(limit: RateLimit, more: int) -> None:
    """[35]"""
    window = Window(limit)
    asked = [window.ask(NOW_MS) for _ in range(limit.burst + more)]
    assert asked.count(None) == limit.burst
    assert all(wait is None for wait in asked[: limit.burst])


@given(limits, st.lists(st.integers(0, 5000), min_size=1, max_size=200))
def test_waiting_as_long_as_told_is_enough_and_the_wait_is_positive(limit: RateLimit, pauses: list[int]) -> None:
    """[35]"""
    window, now_ms = Window(limit), NOW_MS
    for pause_ms in pauses:
        now_ms += pause_ms // 50
        wait_ms = window.ask(now_ms)
        if wait_ms is not None:
            assert wait_ms > 0
            assert window.ask(now_ms + wait_ms - 1) is not None, "not a millisecond longer than needed"
            now_ms += wait_ms
            assert window.ask(now_ms) is None


@given(limits, st.lists(st.integers(0, 3000), min_size=2, max_size=200))
def test_over_any_time_no_more_than_the_burst_and_the_rate_is_admitted(limit: RateLimit, pauses: list[int]) -> None:
    """[35]"""
    window, now_ms = Window(limit), NOW_MS
    for pause_ms in pauses:
        now_ms += pause_ms
        window.ask(now_ms)
    admitted = window.admitted
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            elapsed_ms = admitted[last] - admitted[first]
            assert last - first + 1 <= limit.burst + elapsed_ms * limit.per_minute / 60_000


def test_a_refusal_does_not_move_the_window() -> None:
    """[35]"""
    window = Window(USUAL)
    for _ in range(60):
        assert window.ask(NOW_MS) is None
    assert [window.ask(NOW_MS) for _ in range(5)] == [500] * 5


def test_after_a_pause_the_whole_burst_is_there_again() -> None:
    """[35]"""
    window = Window(USUAL)
    for _ in range(61):
        window.ask(NOW_MS)
    later = NOW_MS + 60 * 500
    assert [window.ask(later) for _ in range(61)] == [None] * 60 + [500]


@pytest.mark.parametrize(
    ("per_minute", "interval_ms"),
    [(120, 500), (60, 1000), (7, 8572), (700, 86), (45_000, 2), (60_000, 1), (100_000, 1)],
)
def test_a_request_costs_its_share_of_a_minute(per_minute: int, interval_ms: int) -> None:
    """[35]"""
    assert RateLimit(per_minute, 1).interval_ms == interval_ms
