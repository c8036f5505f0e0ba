"""A run of the reconciler that its time cuts short says so, with an alarm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from line_requests.clock import Clock, wall_time_ms
from line_requests.flows.event_feed import FEED_SLICE_S
from tests.support.shop import clock

if TYPE_CHECKING:
    import pytest

    from tests.support.shop import Shop


@dataclass(frozen=True, slots=True)
class TickingClock(Clock):
    """A clock of which each look at what is left takes a second."""

    looks: list[None] = field(default_factory=list)

    def remaining_s(self) -> float:
        self.looks.append(None)
        return self.budget_s - len(self.looks)


def alarms(capsys: pytest.CaptureFixture[str]) -> int:
    return capsys.readouterr().out.count('"ReconcilerBacklog":[1.0]')


def test_run_that_ends_before_everything_due_is_done_alarms(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[47]"""
    shop.workspace(0)
    shop.submit()
    shop.product.reconciler(clock(0)).run()
    assert alarms(capsys) == 1
    shop.product.reconciler(clock()).run()
    assert alarms(capsys) == 0


def test_run_that_does_not_follow_the_feed_to_its_end_alarms(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[47] Half of the run is for what is due, however far behind the feed is; the next run goes on."""
    shop.workspace(0)
    behind_s = wall_time_ms() // 1000 - 20 * FEED_SLICE_S
    shop.world.due.move_watermark(seen_s=None, to_s=behind_s)
    ticking = TickingClock(wall_time_ms(), 40)
    shop.product.reconciler(ticking).run()
    assert ticking.remaining_s() > 0
    assert alarms(capsys) == 1
    assert (shop.world.due.watermark_s() or 0) > behind_s
    shop.product.reconciler(clock()).run()
    assert alarms(capsys) == 0
