"""A client's release of a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from line_requests.domain.errors import NotInThisStatus
from line_requests.domain.model import Status
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from line_requests.flows.provisioning import release
from tests.decision.examples import ADD_ONS, NOW_MS

if TYPE_CHECKING:
    from tests.support.world import World


def world_allowance(status: Status) -> Allowance:
    """A plan under which a new line has this status."""
    return Allowance(1 if status is Status.PROVISIONING else 0, add_on=ADD_ONS[Kind.EMAIL])


def test_release_of_an_active_line_cancels_it_and_repeats_the_answer(world: World) -> None:
    """[49][63]"""
    world.workspace()
    active = world.lines.mark_active(world.added(Kind.EMAIL), NOW_MS)
    released = release(world.lines, active, NOW_MS + 1)
    assert (released.status, released.history[-1].cause) == (Status.CANCELED, "released_by_client")
    assert world.now().held[Kind.EMAIL] == 0
    assert release(world.lines, released, NOW_MS + 2) == released


@pytest.mark.parametrize("status", [Status.PROVISIONING, Status.AWAITING_PAYMENT])
def test_release_of_an_unsettled_line_is_refused_and_says_what_to_do(world: World, status: Status) -> None:
    """[63]"""
    world.workspace(email=world_allowance(status))
    line = world.added(Kind.EMAIL, status)
    with pytest.raises(NotInThisStatus, match=r"Cancel the request|Wait until it is active or failed"):
        release(world.lines, line, NOW_MS + 1)
    assert world.line(line) == line


def test_release_of_a_failed_paid_line_leaves_a_refund_due_with_an_alarm(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """[55]"""
    world.workspace(email=world_allowance(Status.AWAITING_PAYMENT))
    failed = world.lines.mark_failed(world.paid(Kind.EMAIL), "no number", NOW_MS)
    released = release(world.lines, failed, NOW_MS + 1)
    assert released.status is Status.CANCELED
    assert world.line(released).refund_due
    assert "RefundDue" in capsys.readouterr().out
