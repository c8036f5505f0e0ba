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


@pytest.mark.parametrize(
    ("status", "instead"),
    [(Status.PROVISIONING, "Wait until it is active or failed"), (Status.AWAITING_PAYMENT, "Cancel the request")],
)
def test_release_of_an_unsettled_line_is_refused_and_says_what_to_do(
    world: World, status: Status, instead: str
) -> None:
    """[63]"""
    world.workspace(email=world_allowance(status))
    line = world.added(Kind.EMAIL, status)
    with pytest.raises(NotInThisStatus, match=instead):
        release(world.lines, line, NOW_MS + 1)
    assert world.line(line) == line


@pytest.mark.parametrize(("status", "paid"), [(Status.FAILED, True), (Status.FAILED, False), (Status.ACTIVE, True)])
def test_release_of_a_failed_paid_line_leaves_a_refund_due_with_an_alarm(
    world: World, capsys: pytest.CaptureFixture[str], status: Status, *, paid: bool
) -> None:
    """[55] Not of one that was free or became active; the clock of who releases may be behind."""
    world.workspace(email=Allowance(0 if paid else 1, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.paid(Kind.EMAIL) if paid else world.added(Kind.EMAIL)
    lines = world.lines
    settled = (
        lines.mark_active(line, NOW_MS + 9) if status is Status.ACTIVE else lines.mark_failed(line, "no", NOW_MS + 9)
    )
    released = release(lines, settled, NOW_MS)
    due = paid and status is Status.FAILED
    assert (released.status, released.history[-1].at_ms) == (Status.CANCELED, NOW_MS + 9)
    assert world.line(released).refund_due is due
    assert capsys.readouterr().out.count('"RefundDue":[1.0]') == due
