"""Workspaces, plans, API keys and the due index: each write, and each condition that can fail it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from line_requests.domain.model import ApiKey, Status
from line_requests.domain.prices import Allowance, Plan
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.due import Due, Feed
from line_requests.storage.plans import PLANS_MAX
from line_requests.storage.table import ConditionFailed
from line_requests.storage.workspaces import QUANTITIES_LEASE_MS
from tests.decision.examples import ADD_ONS, NOW_MS, subscription
from tests.support.wire import next_page
from tests.support.world import World, counts, new_line

FOR_SALE = Allowance(0, add_on=ADD_ONS[Kind.EMAIL])


def test_workspace_and_customer_are_tied_one_to_one(world: World) -> None:
    """[46]"""
    assert world.workspaces.insert("acme", "cus_1", livemode=False)
    before = world.everything()
    assert not world.workspaces.insert("acme", "cus_2", livemode=False)
    assert not world.workspaces.insert("other", "cus_1", livemode=False)
    assert world.everything() == before
    assert world.workspaces.of_customer("cus_1") == "acme"
    assert world.workspaces.of_customer("cus_2") is None
    assert list(world.workspaces.ids()) == ["acme"]
    assert world.workspaces.get("other") is None


def test_organisation_is_mapped_to_one_workspace(world: World) -> None:
    """[3]"""
    assert world.workspaces.of_organisation("org_1") is None
    assert world.workspaces.map_organisation("org_1", "acme")
    assert world.workspaces.map_organisation("org_1", "acme")
    assert not world.workspaces.map_organisation("org_1", "other")
    assert world.workspaces.of_organisation("org_1") == "acme"


def test_subscription_is_saved_unless_another_was_saved_since(world: World) -> None:
    """[46]"""
    seen = world.workspace()
    newer = world.workspaces.save_subscription(seen, subscription("past_due"), NOW_MS)
    assert newer == world.now()
    assert newer is not None
    assert newer.revision == seen.revision + 1
    assert world.workspaces.save_subscription(seen, subscription("active"), NOW_MS) is None
    assert world.now() == newer
    without = world.workspaces.save_subscription(newer, None, NOW_MS)
    assert without is not None
    assert without.subscription is None


def test_saved_subscription_makes_quantities_due(world: World) -> None:
    """[46][50]"""
    workspace = world.workspace()
    assert "due_at" not in world.raw(workspace)
    changed = world.workspaces.save_subscription(workspace, subscription("past_due"), NOW_MS + 7)
    assert changed is not None
    assert changed.quantities_revision == workspace.quantities_revision + 1
    assert world.raw(changed)["due_at"] == NOW_MS + 7


def test_api_keys_are_inserted_revoked_once_and_listed(world: World) -> None:
    """[1][2][5]"""
    world.workspace()
    second, first = ApiKey("b" * 64, "second", NOW_MS + 1), ApiKey("c" * 64, "first", NOW_MS)
    for key in (second, first):
        world.api_keys.insert("acme", key)
    with pytest.raises(ConditionFailed):
        world.api_keys.insert("acme", replace(second, label="third"))
    revoked = replace(second, revoked_at_ms=NOW_MS + 2)
    assert world.api_keys.revoke("acme", second.hash, NOW_MS + 2) == revoked
    assert world.api_keys.revoke("acme", second.hash, NOW_MS + 3) == revoked, "the first revocation counts"
    assert world.api_keys.list("acme") == [first, revoked]
    assert world.snapshot("acme", api_key_hash=second.hash).api_key == revoked
    assert world.snapshot("acme", api_key_hash="d" * 64).api_key is None
    assert world.snapshot("other", api_key_hash=first.hash).api_key is None
    for workspace_id, token_hash in (("acme", "d" * 64), ("unknown", first.hash)):
        with pytest.raises(ConditionFailed):
            world.api_keys.revoke(workspace_id, token_hash, NOW_MS)
    assert world.api_keys.list("unknown") == []


def test_plans_are_replaced_and_removed_in_one_transaction(world: World) -> None:
    """[17][18]"""
    starter = Plan("starter", ("price_1",), {Kind.EMAIL: FOR_SALE}, automatic_tax=True, tax_rates=("txr_1",))
    scale = Plan("scale", ("price_2", "price_3"), {kind: Allowance(2, cap=9) for kind in Kind})
    world.plans.save([starter, scale])
    assert world.plans.all() == [scale, starter]
    changed = replace(scale, base_prices=("price_2",))
    world.plans.save([changed], remove=["starter"])
    assert world.plans.all() == [changed]


def test_plans_of_a_full_transaction_are_all_read(world: World) -> None:
    """[17] Page after page."""
    world.wire.instead("Query", next_page({"pk": "PLAN", "sk": "PLAN#"}))
    plans = [Plan(f"plan-{number:03}", (f"price_{number}",), {Kind.EMAIL: FOR_SALE}) for number in range(PLANS_MAX)]
    world.plans.save(plans)
    assert (len(plans), world.plans.all()) == (100, plans), "what DynamoDB takes"


# --- what is due --------------------------------------------------------------------------------------


def due(world: World, now_ms: int) -> list[Due]:
    found: list[Due] = []
    for shard in range(records.DUE_SHARDS):
        page, start = world.due.page(shard, now_ms)
        assert start is None
        found += page
    return found


def test_due_index_finds_what_is_due_and_nothing_else(world: World) -> None:
    """[47]"""
    world.workspace(email=FOR_SALE, purchased_phone=Allowance(1))
    included = world.added()
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT, due_at_ms=NOW_MS + 5)
    assert due(world, NOW_MS + 4) == []
    assert due(world, NOW_MS + 5) == [Due("acme", line.id)]
    world.lines.set_due(included, NOW_MS)
    assert {found.line_id for found in due(world, NOW_MS + 5)} == {included.id, line.id}
    world.lines.mark_paid(line, NOW_MS, invoice_id="in_1", url=None)
    world.lines.mark_active(world.line(line), NOW_MS)
    world.lines.mark_active(included, NOW_MS)
    assert due(world, NOW_MS + 2**40) == [Due("acme", None)], "the workspace's quantities"


def test_line_of_which_nothing_is_due_any_more_leaves_the_due_index(world: World) -> None:
    """[47]"""
    world.workspace(purchased_phone=Allowance(1))
    line = world.added(due_at_ms=NOW_MS)
    world.lines.set_due(line, None)
    assert due(world, NOW_MS) == []
    assert world.line(line).due_at_ms is None


def test_lines_until_a_moment_are_those_of_every_shard_and_page(world: World) -> None:
    """[47]"""
    lines = [new_line(status=Status.AWAITING_PAYMENT, due_at_ms=NOW_MS + number) for number in range(12)]
    world.put_lines(lines)
    world.workspaces.insert("acme", "cus_1", livemode=False, due_at_ms=NOW_MS)
    world.wire.watch()
    world.wire.instead("Query", next_page({"pk": "W#", "sk": "LINE#", "due_shard": "0", "due_at": 0}))
    assert set(world.due.lines_until(NOW_MS + 9)) == {("acme", line.id) for line in lines[:10]}
    assert world.wire.operations == {"Query": 5}


def test_due_index_starts_with_the_longest_overdue(world: World) -> None:
    """[47]"""
    lines = [new_line(status=Status.AWAITING_PAYMENT, due_at_ms=NOW_MS - number % 7) for number in range(40)]
    world.put_lines(lines)
    page, _ = world.due.page(int(records.due_shard(lines[0].id)), NOW_MS)
    assert len(page) > 1
    due_at_ms = {line.id: line.due_at_ms or 0 for line in lines}
    times = [due_at_ms[found.line_id or ""] for found in page]
    assert times == sorted(times)


# --- quantities -----------------------------------------------------------------------------------------


def test_quantities_lease_has_one_holder(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=FOR_SALE)
    assert world.workspaces.lease_quantities("acme", NOW_MS) is None, "nothing is due"
    world.paid(Kind.EMAIL)
    leased = world.workspaces.lease_quantities("acme", NOW_MS)
    assert leased == world.now()
    assert leased is not None
    assert Counter(leased.held) == counts(email=1)
    assert world.workspaces.lease_quantities("acme", NOW_MS + QUANTITIES_LEASE_MS - 1) is None
    assert world.workspaces.lease_quantities("acme", NOW_MS + QUANTITIES_LEASE_MS) is not None
    world.workspaces.finish_quantities(leased, asked_at_ms=NOW_MS)
    assert "due_at" not in world.raw(workspace)
    assert "quantities_lease_until_ms" not in world.raw(workspace)
    assert world.workspaces.lease_quantities("unknown", NOW_MS) is None


def test_quantities_stay_due_when_counts_changed_meanwhile(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(Kind.EMAIL)
    leased = world.workspaces.lease_quantities("acme", NOW_MS)
    assert leased is not None
    world.paid(Kind.EMAIL)
    world.workspaces.finish_quantities(leased, asked_at_ms=NOW_MS)
    assert "due_at" in world.raw(workspace)
    assert world.workspaces.lease_quantities("acme", NOW_MS) is not None


def test_abandoned_quantities_stay_due(world: World) -> None:
    """[47][50]"""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(Kind.EMAIL)
    leased = world.workspaces.lease_quantities("acme", NOW_MS)
    assert leased is not None
    world.workspaces.abandon_quantities(leased)
    assert (world.raw(workspace)["due_at"], world.raw(workspace)["due_shard"]) == (0, records.due_shard("acme"))
    assert world.workspaces.lease_quantities("acme", NOW_MS) is not None


def test_quantities_are_due_again_after_a_writer_outlived_its_lease(world: World) -> None:
    """[50]"""
    workspace = world.workspace(email=FOR_SALE)
    world.paid(Kind.EMAIL)
    slow = world.workspaces.lease_quantities("acme", NOW_MS)
    world.paid(Kind.EMAIL)
    fast = world.workspaces.lease_quantities("acme", NOW_MS + QUANTITIES_LEASE_MS)
    assert slow is not None
    assert fast is not None
    world.workspaces.finish_quantities(fast, asked_at_ms=NOW_MS)
    assert "due_at" not in world.raw(workspace)
    world.workspaces.finish_quantities(slow, asked_at_ms=NOW_MS)
    assert "due_at" in world.raw(workspace), "Stripe may hold what the slow one set"


# --- the feed's mark --------------------------------------------------------------------------------------


def test_watermark_moves_only_from_where_the_run_saw_it(world: World) -> None:
    """[47]"""
    assert world.due.watermark_s() is None
    world.due.move_watermark(seen_s=5, to_s=9)
    assert world.due.watermark_s() is None
    world.due.move_watermark(seen_s=None, to_s=100)
    world.due.move_watermark(seen_s=None, to_s=50)
    assert world.due.watermark_s() == 100
    world.due.save_reversals(seen_s=100, to_s=130)
    world.due.save_reversals(seen_s=100, to_s=120)
    world.due.save_reversals(seen_s=90, to_s=140)
    assert world.due.feed() == Feed(100, 130)
    world.due.move_watermark(seen_s=100, to_s=200)
    assert world.due.feed() == Feed(200)
    world.due.move_watermark(seen_s=100, to_s=150)
    assert world.due.watermark_s() == 200
