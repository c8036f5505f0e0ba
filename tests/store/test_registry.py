"""Workspaces, plans, keys, and what the reconciler looks at: each write and what it can lose by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from line_requests.domain.model import Allowance, Plan, Status
from line_requests.domain.submission import Kind
from line_requests.storage import records as items
from line_requests.storage.due import Due
from line_requests.storage.plans import PLANS_MAX
from line_requests.storage.table import ConditionFailed
from line_requests.storage.workspaces import QUANTITIES_LEASE_MS
from tests.decision.examples import ADD_ONS, NOW_MS, counts, subscription
from tests.store.world import World, new_line

FOR_SALE = Allowance(0, add_on=ADD_ONS[Kind.EMAIL])


def test_a_workspace_is_tied_to_one_customer_and_a_customer_to_one_workspace(world: World) -> None:
    """[46]"""
    assert world.registry.create_workspace("acme", "cus_1", livemode=False)
    before = world.everything()
    assert not world.registry.create_workspace("acme", "cus_2", livemode=False)
    assert not world.registry.create_workspace("other", "cus_1", livemode=False)
    assert world.everything() == before
    assert world.registry.workspace_of_customer("cus_1") == "acme"
    assert world.registry.workspace_of_customer("cus_2") is None
    assert list(world.registry.workspace_ids()) == ["acme"]
    assert world.registry.workspace("other") is None


def test_an_organisation_acts_for_one_workspace(world: World) -> None:
    """[3]"""
    assert world.store.workspace_of_organisation("org_1") is None
    assert world.registry.map_organisation("org_1", "acme")
    assert world.registry.map_organisation("org_1", "acme")
    assert not world.registry.map_organisation("org_1", "other")
    assert world.store.workspace_of_organisation("org_1") == "acme"


def test_a_snapshot_is_stored_unless_another_was_stored_since_it_was_asked_for(world: World) -> None:
    """[46]"""
    seen = world.workspace()
    newer = world.registry.save_subscription(seen, subscription("past_due"), NOW_MS)
    assert newer == world.now()
    assert newer is not None
    assert newer.revision == seen.revision + 1
    assert world.registry.save_subscription(seen, subscription("active"), NOW_MS) is None
    assert world.now() == newer
    without = world.registry.save_subscription(newer, None, NOW_MS)
    assert without is not None
    assert without.subscription is None


def test_a_changed_plan_makes_the_quantities_due(world: World) -> None:
    """[46][50]"""
    workspace = world.workspace()
    assert "due_at" not in world.raw(workspace)
    changed = world.registry.save_subscription(workspace, subscription("past_due"), NOW_MS + 7)
    assert changed is not None
    assert changed.quantities_revision == workspace.quantities_revision + 1
    assert world.raw(changed)["due_at"] == NOW_MS + 7


def test_keys_are_stored_revoked_and_unknown(world: World) -> None:
    """[1][2][5]"""
    world.workspace()
    world.registry.save_api_key("acme", "a" * 64, "first", NOW_MS)
    world.registry.save_api_key("acme", "b" * 64, "second", NOW_MS)
    world.registry.revoke_api_key("acme", "a" * 64, NOW_MS + 1)
    assert world.registry.api_keys("acme") == {
        "a" * 64: {"label": "first", "created_at": NOW_MS, "revoked_at": NOW_MS + 1},
        "b" * 64: {"label": "second", "created_at": NOW_MS},
    }
    with pytest.raises(ConditionFailed):
        world.registry.save_api_key("unknown", "a" * 64, "first", NOW_MS)
    for workspace_id, token_hash in (("acme", "c" * 64), ("unknown", "a" * 64)):
        with pytest.raises(ConditionFailed):
            world.registry.revoke_api_key(workspace_id, token_hash, NOW_MS)
    assert world.registry.api_keys("unknown") == {}


def test_plans_are_replaced_and_removed_at_once(world: World) -> None:
    """[17][18]"""
    starter = Plan("starter", ("price_1",), {Kind.EMAIL: FOR_SALE}, automatic_tax=True, tax_rates=("txr_1",))
    scale = Plan("scale", ("price_2", "price_3"), {kind: Allowance(2, cap=9) for kind in Kind})
    world.registry.save_plans([starter, scale])
    assert sorted(world.registry.plans(), key=lambda plan: plan.name) == [scale, starter]
    changed = replace(scale, base_prices=("price_2",))
    world.registry.save_plans([changed], remove=["starter"])
    assert world.registry.plans() == [changed]


def test_as_many_plans_as_fit_into_one_transaction_are_all_read(world: World) -> None:
    """[17]"""
    plans = [Plan(f"plan-{number:03}", (f"price_{number}",), {Kind.EMAIL: FOR_SALE}) for number in range(PLANS_MAX)]
    world.registry.save_plans(plans)
    assert world.registry.plans() == plans


# --- what is due --------------------------------------------------------------------------------------


def due(world: World, now_ms: int) -> list[Due]:
    found: list[Due] = []
    for shard in range(items.DUE_SHARDS):
        page, start = world.registry.due(shard, now_ms)
        assert start is None
        found += page
    return found


def test_what_is_due_is_found_by_its_time_and_nothing_else_is(world: World) -> None:
    """[47]"""
    world.workspace(email=FOR_SALE, purchased_phone=Allowance(1))
    included = world.added()
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, due_at_ms=NOW_MS + 5)
    assert due(world, NOW_MS + 4) == []
    assert due(world, NOW_MS + 5) == [Due("acme", line.id, NOW_MS + 5)]
    world.store.due_at(included, NOW_MS)
    assert {found.line_id for found in due(world, NOW_MS + 5)} == {included.id, line.id}
    world.store.promote(line, NOW_MS, invoice_id="in_1", url=None)
    world.store.provisioned(world.line(line), NOW_MS)
    world.store.provisioned(included, NOW_MS)
    assert due(world, NOW_MS + 2**40) == [Due("acme", None, NOW_MS)], "the workspace's quantities"


def test_what_is_longest_overdue_comes_first(world: World) -> None:
    """[47]"""
    lines = [new_line(status=Status.AWAITING_PAYMENT, due_at_ms=NOW_MS - number % 7) for number in range(40)]
    world.put_lines(lines)
    page, _ = world.registry.due(int(items.due_shard(lines[0].id)), NOW_MS)
    assert len(page) > 1
    assert [found.due_at_ms for found in page] == sorted(found.due_at_ms for found in page)


# --- quantities -----------------------------------------------------------------------------------------


def test_one_writer_at_a_time_sets_a_workspace_s_quantities(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=FOR_SALE)
    assert world.registry.lease_quantities("acme", NOW_MS) is None, "nothing is due"
    world.paid(Kind.EMAIL)
    leased = world.registry.lease_quantities("acme", NOW_MS)
    assert leased == world.now()
    assert leased is not None
    assert leased.held == counts(email=1)
    assert world.registry.lease_quantities("acme", NOW_MS + QUANTITIES_LEASE_MS - 1) is None
    assert world.registry.lease_quantities("acme", NOW_MS + QUANTITIES_LEASE_MS) is not None
    world.registry.quantities_set(leased, asked_at_ms=NOW_MS)
    assert "due_at" not in world.raw(workspace)
    assert "quantities_until" not in world.raw(workspace)
    assert world.registry.lease_quantities("unknown", NOW_MS) is None


def test_quantities_that_moved_while_they_were_set_stay_due(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(Kind.EMAIL)
    leased = world.registry.lease_quantities("acme", NOW_MS)
    assert leased is not None
    world.paid(Kind.EMAIL)
    world.registry.quantities_set(leased, asked_at_ms=NOW_MS)
    assert "due_at" in world.raw(workspace)
    assert world.registry.lease_quantities("acme", NOW_MS) is not None


def test_after_trouble_the_quantities_are_left_due(world: World) -> None:
    """[47][50]"""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(Kind.EMAIL)
    leased = world.registry.lease_quantities("acme", NOW_MS)
    assert leased is not None
    world.registry.quantities_left(leased)
    assert world.raw(workspace)["due_at"] == NOW_MS
    assert world.registry.lease_quantities("acme", NOW_MS) is not None


def test_a_writer_who_outlived_its_lease_leaves_the_quantities_due(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(Kind.EMAIL)
    slow = world.registry.lease_quantities("acme", NOW_MS)
    world.paid(Kind.EMAIL)
    fast = world.registry.lease_quantities("acme", NOW_MS + QUANTITIES_LEASE_MS)
    assert slow is not None
    assert fast is not None
    world.registry.quantities_set(fast, asked_at_ms=NOW_MS)
    assert "due_at" not in world.raw(workspace)
    world.registry.quantities_set(slow, asked_at_ms=NOW_MS)
    assert "due_at" in world.raw(workspace), "Stripe may hold what the slow one set"


# --- the feed's mark --------------------------------------------------------------------------------------


def test_the_mark_moves_on_only_from_where_the_run_saw_it(world: World) -> None:
    """[47]"""
    assert world.registry.watermark_s() is None
    world.registry.move_watermark(seen_s=5, to_s=9)
    assert world.registry.watermark_s() is None
    world.registry.move_watermark(seen_s=None, to_s=100)
    world.registry.move_watermark(seen_s=None, to_s=50)
    assert world.registry.watermark_s() == 100
    world.registry.move_watermark(seen_s=100, to_s=200)
    world.registry.move_watermark(seen_s=100, to_s=150)
    assert world.registry.watermark_s() == 200
