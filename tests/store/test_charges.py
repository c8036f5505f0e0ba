"""What a workspace is charged for: places until when, the charge that is about to be made, and when to read Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from line_requests.domain.model import Status
from line_requests.domain.prices import Allowance, Counted, Coverage
from line_requests.domain.submission import Kind
from line_requests.storage.due import Due
from line_requests.storage.records import due_shard
from tests.decision.examples import ADD_ONS, NOW_MS, PENDING_CHARGE, PERIOD

if TYPE_CHECKING:
    from tests.support.world import World

EMAIL = Kind.EMAIL
FOR_SALE = Allowance(0, add_on=ADD_ONS[EMAIL])


def test_payment_charges_a_place_to_the_end_of_its_invoices_period(world: World) -> None:
    """[52]"""
    world.workspace(email=FOR_SALE)
    for places in (1, 2):
        world.paid(EMAIL)
        assert world.now().charged == {EMAIL: (Coverage(PERIOD.end_s, 1),) * places}
    world.paid(EMAIL, charge=None)
    assert world.now().charged == {EMAIL: (Coverage(PERIOD.end_s, 1),) * 2}


def test_cancel_and_waiver_charge_nothing(world: World) -> None:
    """[52]"""
    world.workspace(email=FOR_SALE)
    world.lines.cancel(world.added(EMAIL, Status.AWAITING_PAYMENT), "canceled", NOW_MS)
    world.lines.waive(world.added(EMAIL, Status.AWAITING_PAYMENT), NOW_MS)
    assert world.now().charged == {}


def test_charge_is_stored_before_it_is_made_and_forgotten_after(world: World) -> None:
    """[52]"""
    workspace = world.workspace(email=FOR_SALE)
    charged, counted = {EMAIL: (Coverage(9, 2),)}, Counted("sub_1", 5, 3)
    stored = world.workspaces.save_charged(workspace, charged, counted=counted, pending_charge=PENDING_CHARGE)
    assert stored is not None
    assert stored == world.now()
    assert (stored.charged, stored.counted) == (charged, counted)
    assert (stored.pending_charge, stored.charge_number) == (PENDING_CHARGE, 1)
    made = world.workspaces.save_charged(stored, {}, counted=None, pending_charge=None)
    assert made is not None
    assert made == world.now()
    assert (made.charged, made.counted, made.pending_charge, made.charge_number) == ({}, counted, None, 1)
    assert "pending_charge" not in world.raw(made)


def test_charges_are_not_stored_over_a_payment_that_was_not_seen(world: World) -> None:
    """[52] It would be charged twice."""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(EMAIL)
    before = world.everything()
    assert world.workspaces.save_charged(workspace, {}, counted=None, pending_charge=PENDING_CHARGE) is None
    assert world.everything() == before


def test_writer_that_lost_gets_the_workspace_as_it_is_now(world: World) -> None:
    """[50]"""
    world.workspace(email=FOR_SALE)
    world.paid(EMAIL)
    leased = world.workspaces.lease_quantities("acme", NOW_MS)
    assert leased is not None
    world.paid(EMAIL)
    assert world.workspaces.finish_quantities(leased, asked_at_ms=NOW_MS) == world.now() != leased


def test_workspace_is_due_again_when_its_writer_says(world: World) -> None:
    """[52] At the end of its period."""
    world.workspace(email=FOR_SALE)
    world.paid(EMAIL)
    leased = world.workspaces.lease_quantities("acme", NOW_MS)
    assert leased is not None
    world.workspaces.finish_quantities(leased, asked_at_ms=NOW_MS, due_at_ms=NOW_MS + 9)
    assert [world.workspaces.is_due("acme", now_ms) for now_ms in (NOW_MS + 8, NOW_MS + 9)] == [False, True]
    assert not world.workspaces.is_due("unknown", NOW_MS)
    assert world.workspaces.lease_quantities("acme", NOW_MS + 8) is None
    assert world.workspaces.lease_quantities("acme", NOW_MS + 9) is not None


def test_new_workspace_is_due_when_its_operator_says(world: World) -> None:
    """[46] Then the reconciler reads its subscription."""
    assert world.workspaces.insert("acme", "cus_acme", livemode=False)
    assert world.workspaces.insert("beta", "cus_beta", livemode=False, due_at_ms=NOW_MS)
    assert [world.workspaces.is_due(name, NOW_MS) for name in ("acme", "beta")] == [False, True]
    assert "subscription" not in world.raw(world.now())
    assert world.due.page(int(due_shard("beta")), NOW_MS) == ([Due("beta", None)], None)
    assert world.workspaces.lease_quantities("beta", NOW_MS) is not None


def test_change_of_a_subscription_makes_its_workspace_due_unless_it_was_read_since(world: World) -> None:
    """[46][58]"""
    read = world.workspaces.finish_quantities(world.workspace(email=FOR_SALE), asked_at_ms=NOW_MS)
    assert not world.workspaces.is_due("acme", NOW_MS + 9)
    world.workspaces.mark_subscription_due("acme", changed_by_ms=NOW_MS - 1, now_ms=NOW_MS + 9)
    assert "due_at" not in world.raw(read)
    world.workspaces.mark_subscription_due("acme", changed_by_ms=NOW_MS, now_ms=NOW_MS + 9)
    assert world.raw(read)["due_at"] == NOW_MS + 9
    before = world.everything()
    world.workspaces.mark_subscription_due("unknown", changed_by_ms=NOW_MS, now_ms=NOW_MS)
    assert world.everything() == before
