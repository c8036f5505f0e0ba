"""What a line became is stored with its transition; the lines in use are listed in bounded pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from line_requests.domain.model import Delivered, ReasonCode, Status
from tests.decision.examples import NOW_MS
from tests.decision.examples import line as a_line

if TYPE_CHECKING:
    from tests.support.world import World

DELIVERED = Delivered(phone="+14155550100", reference="ord_1")


def test_delivered_is_stored_with_the_transition(world: World) -> None:
    """[60] One write; a second answer changes neither."""
    world.workspace()
    line = world.added()
    world.wire.watch()
    active = world.lines.mark_active(line, NOW_MS, DELIVERED)
    assert world.wire.operations == {"TransactWriteItems": 1}
    assert active == world.line(line)
    assert (active.status, active.delivered) == (Status.ACTIVE, DELIVERED)
    late = world.lines.mark_active(line, NOW_MS + 1, Delivered(phone="+14155550199"))
    assert late == world.line(line) == active


def test_reason_is_stored_with_the_failure(world: World) -> None:
    """[60]"""
    world.workspace()
    failed = world.lines.mark_failed(world.added(), "No number is left.", NOW_MS, ReasonCode.UNAVAILABLE)
    assert failed == world.line(failed)
    last = failed.history[-1]
    assert (last.cause, last.reason_code, last.reason) == ("provisioning_failed", "unavailable", "No number is left.")


def test_lines_in_use_are_provisioning_and_active_newest_first(world: World) -> None:
    """[59] Page after page, each once."""
    statuses = list(Status) * 3
    lines = [a_line(status=status, id=f"{number:024x}") for number, status in enumerate(statuses)]
    world.put_lines([*lines, a_line(status=Status.ACTIVE, workspace_id="acme-2", id="f" * 24)])
    expected = [line.id for line in reversed(lines) if line.status in {Status.PROVISIONING, Status.ACTIVE}]
    found, before = list[str](), None
    for _ in range(3):
        page, before = world.lines.in_use("acme", limit=2, before=before)
        found += [line.id for line in page]
    assert (found, before) == (expected, None)
