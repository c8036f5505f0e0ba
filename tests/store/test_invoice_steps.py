"""What is stored of a line's invoice while it awaits payment: lease, id, link, keys, intent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.model import Allowance, Line, Status, VoidReason
from line_requests.domain.submission import Kind
from tests.decision.examples import ADD_ONS, NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.world import World


@pytest.fixture
def line(world: World) -> Line:
    """The one line of a workspace, waiting, nobody's lease."""
    world.workspace(purchased_phone=Allowance(0, add_on=ADD_ONS[Kind.PURCHASED_PHONE]))
    return world.added(status=Status.AWAITING_PAYMENT)


def test_a_lease_is_one_caller_s_until_it_ends(world: World, line: Line) -> None:
    """[31][39]"""
    leased = world.store.take_lease(line, free_by_ms=NOW_MS, until_ms=NOW_MS + 22_000)
    assert leased == replace(line, look_after_ms=NOW_MS + 22_000) == world.line(line)
    assert world.store.take_lease(line, free_by_ms=NOW_MS + 21_999, until_ms=NOW_MS + 50_000) is None
    assert world.line(line) == leased
    assert world.store.take_lease(line, free_by_ms=NOW_MS + 22_000, until_ms=NOW_MS + 50_000) is not None


def test_only_the_holder_of_a_lease_gives_it_back(world: World, line: Line) -> None:
    """[27]"""
    mine = world.store.take_lease(line, free_by_ms=NOW_MS, until_ms=NOW_MS + 1000)
    assert mine is not None
    theirs = world.store.take_lease(line, free_by_ms=NOW_MS + 1000, until_ms=NOW_MS + 2000)
    assert theirs is not None
    assert world.store.end_lease(mine, look_after_ms=NOW_MS, due_at_ms=NOW_MS) == mine
    assert world.line(line) == theirs
    ended = world.store.end_lease(theirs, look_after_ms=NOW_MS + 3000, due_at_ms=NOW_MS + 7)
    assert ended == world.line(line)
    assert (ended.look_after_ms, ended.due_at_ms) == (NOW_MS + 3000, NOW_MS + 7)


def test_the_first_invoice_that_is_saved_counts(world: World, line: Line) -> None:
    """[16][33]"""
    saved = world.store.save_invoice(line, "in_1")
    assert saved is not None
    assert world.store.save_invoice(line, "in_1") == saved
    assert world.store.save_invoice(line, "in_2") is None
    assert world.line(line).invoice_id == "in_1"


def test_a_resting_line_has_its_link_and_when_to_look_again(world: World, line: Line) -> None:
    """[39][47]"""
    rested = world.store.rest(line, url="https://pay", look_after_ms=NOW_MS + 3, due_at_ms=NOW_MS + 9)
    assert rested == world.line(line)
    assert (rested.payment_url, rested.look_after_ms, rested.due_at_ms) == ("https://pay", NOW_MS + 3, NOW_MS + 9)
    again = world.store.rest(line, url=None, look_after_ms=NOW_MS + 4, due_at_ms=NOW_MS + 10)
    assert again is not None
    assert again.payment_url == "https://pay", "a link is never lost"


def test_new_keys_are_stored_once_however_many_ask(world: World, line: Line) -> None:
    """[33]"""
    second = world.store.next_key_version(line, NOW_MS + 5)
    assert second is not None
    assert (second.stripe_key_version, second.stripe_keyed_at_ms) == (2, NOW_MS + 5)
    assert world.store.next_key_version(line, NOW_MS + 6) is None
    assert world.line(line) == second


def test_the_first_intent_counts_and_is_due_at_once(world: World, line: Line) -> None:
    """[39][41]"""
    world.store.rest(line, url="https://pay", look_after_ms=NOW_MS, due_at_ms=NOW_MS + 9_999)
    intended = world.store.intend(line, VoidReason.INCLUDED, NOW_MS + 1)
    assert intended is not None
    assert (intended.void_reason, intended.due_at_ms) == (VoidReason.INCLUDED, NOW_MS + 1)
    assert world.store.intend(line, VoidReason.CANCELED, NOW_MS + 2) is None
    assert world.line(line) == intended


@pytest.mark.parametrize("settle", ["promote", "cancel"])
def test_none_of_it_touches_a_line_that_no_longer_waits(world: World, line: Line, settle: str) -> None:
    """[44]"""
    if settle == "promote":
        world.store.promote(line, NOW_MS, invoice_id="in_1", url=None)
    else:
        world.store.cancel(line, "canceled", NOW_MS)
    before = world.everything()
    steps: list[Callable[[], Line | None]] = [
        lambda: world.store.take_lease(line, free_by_ms=NOW_MS, until_ms=NOW_MS + 1),
        lambda: world.store.save_invoice(line, "in_1"),
        lambda: world.store.rest(line, url="https://pay", look_after_ms=NOW_MS, due_at_ms=NOW_MS),
        lambda: world.store.next_key_version(line, NOW_MS),
        lambda: world.store.intend(line, VoidReason.CANCELED, NOW_MS),
    ]
    assert [step() for step in steps] == [None] * 5
    assert world.store.end_lease(line, look_after_ms=NOW_MS, due_at_ms=NOW_MS) == line
    assert world.everything() == before
