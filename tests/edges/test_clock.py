"""Time as an invocation sees it: the event's, never the future, and what is left of the budget."""

from __future__ import annotations

from line_requests.clock import Clock, wall_time_ms


def test_clock_counts_event_time_in_the_future_as_now() -> None:
    """[58]"""
    before_ms = wall_time_ms()
    clock = Clock.at_event(before_ms + 86_400_000, budget_s=5)
    assert before_ms <= clock.now_ms() <= wall_time_ms() + 1


def test_clock_starts_at_event_time_in_the_past() -> None:
    """[58] A late event does not make what happened before it look younger or older."""
    event_ms = wall_time_ms() - 3_600_000
    clock = Clock.at_event(event_ms, budget_s=5)
    assert event_ms <= clock.now_ms() < event_ms + 60_000


def test_limited_clock_ends_earlier_and_leaves_the_other_alone() -> None:
    """[34]"""
    clock = Clock.start(budget_s=20)
    limited = clock.limited(4)
    assert limited.remaining_s() <= 4
    assert 19 < clock.remaining_s() <= 20
    assert clock.limited(60).remaining_s() <= 20
    assert limited.started_at_ms == clock.started_at_ms
