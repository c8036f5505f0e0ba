"""What is stored of a line's invoice while it awaits payment: lease, id, payment URL, Stripe keys, void reason."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.model import Line, Status, VoidReason
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from tests.decision.examples import ADD_ONS, NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World


@pytest.fixture
def line(world: World) -> Line:
    """The one line of a workspace, awaiting payment, without a lease."""
    world.workspace(purchased_phone=Allowance(0, add_on=ADD_ONS[Kind.PURCHASED_PHONE]))
    return world.added(status=Status.AWAITING_PAYMENT)


def test_lease_has_one_holder_until_it_expires(world: World, line: Line) -> None:
    """[31][39]"""
    leased = world.lines.take_lease(line, now_ms=NOW_MS, until_ms=NOW_MS + 22_000, throttled=False)
    assert leased == replace(line, lease_until_ms=NOW_MS + 22_000) == world.line(line)
    assert world.lines.take_lease(line, now_ms=NOW_MS + 21_999, until_ms=NOW_MS + 50_000, throttled=False) is None
    assert world.line(line) == leased
    assert world.lines.take_lease(line, now_ms=NOW_MS + 22_000, until_ms=NOW_MS + 50_000, throttled=False) is not None


def test_lease_is_released_only_by_its_holder(world: World, line: Line) -> None:
    """[27]"""
    mine = world.lines.take_lease(line, now_ms=NOW_MS, until_ms=NOW_MS + 1000, throttled=False)
    assert mine is not None
    theirs = world.lines.take_lease(line, now_ms=NOW_MS + 1000, until_ms=NOW_MS + 2000, throttled=False)
    assert theirs is not None
    world.lines.release_lease(mine, next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS)
    assert world.line(line) == theirs
    world.lines.release_lease(theirs, next_poll_at_ms=NOW_MS + 3000, due_at_ms=NOW_MS + 7)
    ended = world.line(line)
    assert (ended.lease_until_ms, ended.next_poll_at_ms, ended.due_at_ms) == (0, NOW_MS + 3000, NOW_MS + 7)


def test_poll_takes_the_lease_only_after_its_interval(world: World, line: Line) -> None:
    """[39]"""
    world.lines.release_lease(line, next_poll_at_ms=NOW_MS + 3000, due_at_ms=NOW_MS)
    take = world.lines.take_lease
    assert take(line, now_ms=NOW_MS + 2999, until_ms=NOW_MS + 9000, throttled=True) is None
    assert take(line, now_ms=NOW_MS + 2999, until_ms=NOW_MS + 4000, throttled=False) is not None, "others do not wait"
    assert take(line, now_ms=NOW_MS + 3500, until_ms=NOW_MS + 9000, throttled=True) is None, "leased"
    assert take(line, now_ms=NOW_MS + 4000, until_ms=NOW_MS + 9000, throttled=True) is not None


def test_first_saved_invoice_id_wins(world: World, line: Line) -> None:
    """[16][33]"""
    saved = world.lines.save_invoice(line, "in_1")
    assert saved is not None
    assert world.lines.save_invoice(line, "in_1") == saved
    assert world.lines.save_invoice(line, "in_2") is None
    assert world.line(line).invoice_id == "in_1"


def test_payment_url_is_saved_with_the_next_check_and_frees_the_lease(world: World, line: Line) -> None:
    """[39][47]"""
    rested = world.lines.save_payment_url(line, url="https://pay", next_poll_at_ms=NOW_MS + 3, due_at_ms=NOW_MS + 9)
    assert rested == world.line(line)
    assert (rested.payment_url, rested.next_poll_at_ms, rested.due_at_ms) == ("https://pay", NOW_MS + 3, NOW_MS + 9)
    assert (rested.lease_until_ms, rested.amount_paid) == (0, 0)
    again = world.lines.save_payment_url(line, url=None, next_poll_at_ms=NOW_MS + 4, due_at_ms=NOW_MS + 10)
    assert again is not None
    assert again.payment_url == "https://pay", "a link is never lost"


@pytest.mark.parametrize("seen", [None, VoidReason.INCLUDED])
def test_payment_url_is_not_saved_when_the_reason_to_void_changed(
    world: World, line: Line, seen: VoidReason | None
) -> None:
    """[41][47] The line would stop being due at once, with a reason to void it."""
    stored = world.lines.record_void_reason(line, VoidReason.CANCELED, NOW_MS + 1)
    assert stored is not None
    unseen = replace(stored, void_reason=seen)
    save = partial(world.lines.save_payment_url, url="https://pay", next_poll_at_ms=NOW_MS + 3, due_at_ms=NOW_MS + 9)
    assert save(unseen) is None
    assert world.line(line) == stored
    saved = save(stored)
    assert saved is not None
    assert (saved.payment_url, saved.due_at_ms) == ("https://pay", NOW_MS + 9)


def test_payment_url_is_not_saved_when_the_invoice_was_revised(world: World, line: Line) -> None:
    """[56] It would lead to the page of the original, which is void."""
    saved = world.lines.save_invoice(line, "in_1")
    assert saved is not None
    revised = world.lines.follow_revision(saved, "in_2", "https://pay/2")
    save = partial(world.lines.save_payment_url, url="https://pay/1", next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS)
    assert save(saved) is None
    assert world.line(line) == revised


def test_part_payment_is_saved_with_the_payment_url(world: World, line: Line) -> None:
    """[56]"""
    save = partial(world.lines.save_payment_url, url="https://pay", next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS)
    part = save(line, amount_paid=500)
    assert part is not None
    assert (part.amount_paid, world.line(line)) == (500, part)


def test_stripe_keys_are_rotated_once(world: World, line: Line) -> None:
    """[33]"""
    saved = world.lines.save_invoice(line, "in_1")
    assert saved is not None
    second = world.lines.rotate_stripe_keys(saved, NOW_MS + 5)
    assert second == replace(saved, stripe_key_version=2, stripe_keyed_at_ms=NOW_MS + 5)
    assert world.lines.rotate_stripe_keys(line, NOW_MS + 6) is None
    assert world.line(line) == second
    third = world.lines.rotate_stripe_keys(second, NOW_MS + 7, forget_invoice=True)
    assert third == replace(second, stripe_key_version=3, stripe_keyed_at_ms=NOW_MS + 7, invoice_id=None)


def test_draft_is_not_forgotten_once_a_reason_to_void_is_stored(world: World, line: Line) -> None:
    """[27] Who voids the line would look for the draft that was deleted, not for the next one."""
    saved = world.lines.save_invoice(line, "in_1")
    assert saved is not None
    void = world.lines.record_void_reason(saved, VoidReason.CANCELED, NOW_MS)
    assert void is not None
    assert world.lines.rotate_stripe_keys(saved, NOW_MS, forget_invoice=True) is None
    assert world.line(line) == void
    assert world.lines.rotate_stripe_keys(saved, NOW_MS) is not None


def test_first_void_reason_wins_and_makes_the_line_due(world: World, line: Line) -> None:
    """[39][41]"""
    world.lines.save_payment_url(line, url="https://pay", next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS + 9_999)
    intended = world.lines.record_void_reason(line, VoidReason.INCLUDED, NOW_MS + 1)
    assert intended is not None
    assert (intended.void_reason, intended.due_at_ms) == (VoidReason.INCLUDED, NOW_MS + 1)
    assert world.lines.record_void_reason(line, VoidReason.CANCELED, NOW_MS + 2) is None
    assert world.line(line) == intended


@pytest.mark.parametrize("settle", ["promote", "cancel"])
def test_invoice_steps_change_nothing_once_the_line_is_settled(world: World, line: Line, settle: str) -> None:
    """[44]"""
    if settle == "promote":
        world.lines.mark_paid(line, NOW_MS, invoice_id="in_1", url=None)
    else:
        world.lines.cancel(line, "canceled", NOW_MS)
    before = world.everything()
    steps: list[Callable[[], Line | None]] = [
        lambda: world.lines.take_lease(line, now_ms=NOW_MS, until_ms=NOW_MS + 1, throttled=False),
        lambda: world.lines.save_invoice(line, "in_1"),
        lambda: world.lines.save_payment_url(line, url="https://pay", next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS),
        lambda: world.lines.rotate_stripe_keys(line, NOW_MS),
        lambda: world.lines.record_void_reason(line, VoidReason.CANCELED, NOW_MS),
    ]
    assert [step() for step in steps] == [None] * 5
    world.lines.release_lease(line, next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS)
    assert world.everything() == before
