"""Lists of a workspace's lines: newest first, complete, in pages of a bounded read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from line_requests.domain.model import Line, Status
from line_requests.domain.submission import Kind
from tests.decision.examples import line as a_line

if TYPE_CHECKING:
    from tests.support.world import World


def fill(world: World, number: int, *, active_every: int = 0) -> list[Line]:
    """That many lines of one workspace, newest first, and a foreign one around each end."""
    lines = [
        a_line(
            Kind.EMAIL,
            Status.ACTIVE if active_every and position % active_every == 0 else Status.CANCELED,
            id=f"{position + 1:024x}",
        )
        for position in range(number)
    ]
    foreign = [a_line(status=Status.ACTIVE, workspace_id=name, id="f" * 24) for name in ("acm", "acme-2")]
    world.put_lines(lines + foreign)
    return lines[::-1]


def walk(world: World, limit: int, status: Status | None = None) -> list[list[Line]]:
    pages, before = list[list[Line]](), None
    while True:
        page, before = world.lines.page("acme", limit=limit, before=before, status=status)
        pages.append(page)
        if before is None:
            return pages


@pytest.mark.parametrize(("number", "limit", "sizes"), [(0, 3, [0]), (3, 3, [3]), (4, 3, [3, 1]), (7, 2, [2, 2, 2, 1])])
def test_pages_are_full_and_newest_first(world: World, number: int, limit: int, sizes: list[int]) -> None:
    """[42]"""
    lines = fill(world, number)
    world.workspace()
    world.wire.watch()
    pages = walk(world, limit)
    first, *others = [call for _, call in world.wire.calls]
    assert "ExclusiveStartKey" not in first
    assert {call["Limit"] for call in (first, *others)} == {limit + 1}, "one more shows whether there is a next page"
    assert [len(page) for page in pages] == sizes
    assert [line for page in pages for line in page] == lines


def test_pages_of_one_status_have_all_its_lines_and_no_others(world: World) -> None:
    """[42]"""
    active = [line for line in fill(world, 30, active_every=4) if line.status is Status.ACTIVE]
    pages = walk(world, 3, Status.ACTIVE)
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [line for page in pages for line in page] == active
    assert walk(world, 3, Status.PROVISIONING) == [[]]


def test_last_page_of_a_status_says_so_however_many_other_lines_follow(world: World) -> None:
    """[42]"""
    newest = a_line(Kind.EMAIL, Status.ACTIVE, id="e" * 24)
    fill(world, 260)
    world.put_lines([newest])
    world.wire.watch()
    assert walk(world, 1, Status.ACTIVE) == [[newest]]
    assert [call["Limit"] for _, call in world.wire.calls] == [250, 250]


def test_page_of_a_rare_status_reads_a_bounded_number_of_times(world: World) -> None:
    """[42]"""
    lines = fill(world, 600, active_every=590)
    world.wire.watch()
    pages = walk(world, 20, Status.ACTIVE)
    assert [line for page in pages for line in page] == [line for line in lines if line.status is Status.ACTIVE]
    assert world.wire.operations["Query"] <= 4
