"""What only operators write: keys that expire, rebuilt counts, imports, erased and deleted data."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.model import ApiKey, Line, PaymentStatus, Status
from line_requests.domain.prices import Allowance, Counted, Coverage
from line_requests.domain.submission import Kind
from line_requests.storage import lines as line_store
from line_requests.storage.erasure import Erasure, is_erased
from line_requests.storage.imports import HOLD_MS, LINES_MAX, TAKEN_OVER_MS, Imports
from line_requests.storage.table import ConditionFailed, TransactionCanceled
from line_requests.storage.workspaces import QUANTITIES_LEASE_MS
from tests.decision.examples import ADD_ONS, NOW_MS
from tests.store.test_pages import fill
from tests.support.world import LIMIT, World, new_line

if TYPE_CHECKING:
    from line_requests.domain.model import Workspace

EMAIL = Kind.EMAIL
FOR_SALE = Allowance(0, add_on=ADD_ONS[EMAIL])


def test_key_expires_never_later_than_it_would(world: World) -> None:
    """[1][2]"""
    key = ApiKey("a" * 64, "website", NOW_MS)
    world.api_keys.insert("acme", key)
    for at_ms in (NOW_MS + 9, NOW_MS + 5):
        assert world.api_keys.expire("acme", key.hash, at_ms) == replace(key, expires_at_ms=at_ms)
    with pytest.raises(ConditionFailed):
        world.api_keys.expire("acme", key.hash, NOW_MS + 6)
    world.api_keys.revoke("acme", key.hash, NOW_MS)
    with pytest.raises(ConditionFailed):
        world.api_keys.expire("acme", key.hash, NOW_MS + 4)
    assert world.api_keys.list("acme") == [replace(key, expires_at_ms=NOW_MS + 5, revoked_at_ms=NOW_MS)]


def test_organisation_is_tied_with_its_workspace_and_untied_from_its_own_only(world: World) -> None:
    """[3]"""
    assert world.workspaces.insert("acme", "cus_1", livemode=False, organisation="org_2")
    assert not world.workspaces.insert("beta", "cus_2", livemode=False, organisation="org_2")
    assert world.workspaces.get("beta") is None
    assert world.workspaces.map_organisation("org_1", "acme")
    assert world.workspaces.map_organisation("org_3", "gamma")
    assert world.workspaces.organisations_of("acme") == ["org_1", "org_2"]
    assert not world.workspaces.unmap_organisation("org_1", "gamma")
    assert world.workspaces.unmap_organisation("org_1", "acme")
    assert not world.workspaces.unmap_organisation("org_1", "acme")
    assert world.workspaces.of_organisation("org_1") is None


def test_scans_find_every_workspace_and_the_lines_of_a_status(world: World) -> None:
    """[53]"""
    acme, beta = world.workspace("acme"), world.workspace("beta")
    assert sorted(world.workspaces.all(), key=lambda workspace: workspace.id) == [acme, beta]
    line = world.added()
    active = world.lines.mark_active(world.added(workspace_id="beta"), NOW_MS)
    assert {found.id for found in world.lines.scan()} == {line.id, active.id}
    assert list(world.lines.scan(Status.ACTIVE)) == [active]


def test_filtered_page_ends_after_ten_reads_and_says_where_to_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[42]"""
    monkeypatch.setattr(line_store, "FILTERED_PAGE", 3)
    newest, *_, oldest = fill(world, 41, active_every=40)
    world.wire.watch()
    page, before = world.lines.page("acme", limit=2, before=None, status=Status.ACTIVE)
    assert (page, before, world.wire.operations) == ([newest], f"{12:024x}", {"Query": 10})
    page, before = world.lines.page("acme", limit=2, before=before, status=Status.ACTIVE)
    assert (page, before) == ([oldest], None)


# --- counts that are rebuilt ------------------------------------------------------------------------------


def recounted(world: World, workspace: Workspace) -> Workspace | None:
    rebuilt = replace(workspace, held={EMAIL: 2}, unpaid={EMAIL: 1}, lock=None, lock_kind=None)
    return world.workspaces.recount(workspace, rebuilt, NOW_MS + 7)


def test_recount_sets_counts_and_lock_and_makes_quantities_due(world: World) -> None:
    """[19][24][50]"""
    seen = world.workspace(email=FOR_SALE)
    wrong = replace(seen, held={EMAIL: 2}, unpaid={EMAIL: 1}, lock="f" * 24, lock_kind=EMAIL)
    set_back = world.workspaces.recount(seen, wrong, NOW_MS)
    assert set_back == world.now() == replace(wrong, quantities_revision=seen.quantities_revision + 1)
    world.workspaces.finish_quantities(world.now(), asked_at_ms=NOW_MS)
    freed = recounted(world, world.now())
    assert freed is not None
    assert freed == world.now()
    assert (freed.held, freed.unpaid, freed.lock, freed.lock_kind) == ({EMAIL: 2}, {EMAIL: 1}, None, None)
    assert world.raw(freed)["due_at"] == NOW_MS + 7
    assert world.raw(freed).keys().isdisjoint({"lock", "lock_kind"}), "or no request takes the lock any more"


@pytest.mark.parametrize("moved", ["held", "unpaid", "locked", "another lock"])
def test_recount_changes_nothing_when_a_line_moved_meanwhile(world: World, moved: str) -> None:
    """[19][24]"""
    world.workspace(email=FOR_SALE)
    now = world.now()
    if moved == "another lock":
        world.added(EMAIL, Status.AWAITING_PAYMENT)
        now = world.now()
    stale = {
        "held": replace(now, held={EMAIL: 9}),
        "unpaid": replace(now, unpaid={EMAIL: 9}),
        "locked": replace(now, lock="f" * 24),
        "another lock": replace(now, lock=None, lock_kind=None),
    }
    before = world.everything()
    assert recounted(world, stale[moved]) is None
    assert recounted(world, replace(now, lock="e" * 24)) is None
    assert world.everything() == before
    assert recounted(world, now) is not None


# --- imports ----------------------------------------------------------------------------------------------


def imported(payment_status: PaymentStatus) -> Line:
    return new_line(EMAIL, Status.ACTIVE, payment_status=payment_status)


def test_import_counts_its_lines_and_charges_the_paid_ones_only(world: World) -> None:
    """[50][52]"""
    assert LINES_MAX + 1 == 100, "with the workspace, what DynamoDB takes"
    imports = Imports(world.table)
    seen = world.workspace(email=FOR_SALE)
    assert imports.hold("acme", NOW_MS, NOW_MS + 9)
    assert not imports.hold("acme", NOW_MS + 8, NOW_MS + 20)
    assert not imports.hold("unknown", NOW_MS, NOW_MS + 9)
    free = [imported(PaymentStatus.NOT_REQUIRED) for _ in range(2)]
    imports.insert(free, charged=Coverage(5, 0), counted=None, held_until_ms=NOW_MS + 9)
    after = world.now()
    assert (after.held, after.unpaid, after.charged, after.counted) == ({EMAIL: 2}, {EMAIL: 2}, {}, None)
    assert after.quantities_revision == seen.quantities_revision + 1
    assert "counted" not in world.raw(after)
    paid, counted = imported(PaymentStatus.PAID), Counted("sub_1", 5)
    imports.insert([paid], charged=Coverage(5, 1), counted=counted, held_until_ms=NOW_MS + 9)
    after = world.now()
    assert (after.held, after.unpaid, after.counted) == ({EMAIL: 3}, {EMAIL: 2}, counted)
    assert after.charged == {EMAIL: (Coverage(5, 1),)}
    assert world.lines.of_workspace("acme") == sorted([*free, paid], key=lambda line: line.id)
    before = world.everything()
    for lines, held_until_ms in ([paid], NOW_MS + 9), ([imported(PaymentStatus.PAID)], NOW_MS + 8):
        with pytest.raises(TransactionCanceled):
            imports.insert(lines, charged=Coverage(5, 1), counted=None, held_until_ms=held_until_ms)
    imports.release("unknown", NOW_MS + 9)
    imports.release("acme", NOW_MS + 8)
    assert world.everything() == before
    imports.release("acme", NOW_MS + 9)
    assert world.raw(after)["due_at"] == 0
    assert imports.hold("acme", NOW_MS, NOW_MS + 9)
    assert imports.hold("acme", NOW_MS + 9, NOW_MS + 20)


def test_import_takes_over_the_hold_of_an_interrupted_one(world: World) -> None:
    """[50] The reconciler's lease is shorter, so it is never taken over."""
    imports = Imports(world.table)
    world.workspace(email=FOR_SALE)
    first, second = NOW_MS + HOLD_MS, NOW_MS + 5 + HOLD_MS
    assert imports.hold("acme", NOW_MS, first)
    assert imports.hold("acme", NOW_MS + 5, second)
    with pytest.raises(TransactionCanceled):
        imports.insert([imported(PaymentStatus.PAID)], charged=Coverage(5, 1), counted=None, held_until_ms=first)
    imports.release("acme", first)
    assert world.raw(world.now())["quantities_lease_until_ms"] == second
    assert not imports.hold("acme", second - TAKEN_OVER_MS, second + HOLD_MS)
    assert TAKEN_OVER_MS > QUANTITIES_LEASE_MS


# --- erased and deleted -----------------------------------------------------------------------------------


def test_only_a_canceled_or_failed_line_is_erased(world: World) -> None:
    """[19] Another one is in use."""
    world.workspace(purchased_phone=Allowance(2))
    erasure = Erasure(world.table)
    line, failed = world.added(), world.lines.mark_failed(world.added(), "none left", NOW_MS)
    assert [erasure.erase_line(line), erasure.erase_line(failed)] == [False, True]
    assert world.line(line) == line
    erased = world.line(failed)
    assert [is_erased(line.submission), is_erased(erased.submission)] == [False, True]
    assert (erased.kind, erased.history[-1]) == (failed.kind, replace(failed.history[-1], reason=None))
    released = world.lines.release(world.lines.mark_active(line, NOW_MS), "operator", NOW_MS)
    assert erasure.erase_line(released)


def test_erasing_a_line_erases_the_name_in_its_charge(world: World) -> None:
    """[51]"""
    world.workspace(email=FOR_SALE)
    waiting = world.added(EMAIL, Status.AWAITING_PAYMENT)
    canceled = world.lines.cancel(waiting, "canceled", NOW_MS)
    assert waiting.charge is not None
    assert Erasure(world.table).erase_line(canceled)
    assert world.line(canceled).charge == replace(waiting.charge, description="erased")
    assert "Lovelace" not in str(world.raw(canceled))


def test_answers_are_erased_and_a_key_that_was_not_answered_is_left(world: World) -> None:
    """[29]"""
    world.workspace(purchased_phone=Allowance(2), email=FOR_SALE)
    body = json.dumps({"line": {"firstName": "Ada", "lastName": "Lovelace", "_id": "1"}})
    answered, half = (new_line(idempotency_key_hash=name) for name in ("a", "h"))
    for line, answer in ((answered, body), (half, None)):
        assert world.insert(world.now(), line, answer=answer) is None
    assert Erasure(world.table).erase_responses("acme") == 2
    record = world.record("a")
    assert json.loads(record.response_body or "") == {
        "line": {"firstName": "erased", "lastName": "erased", "_id": "1"},
    }
    assert record.fingerprint == "erased"
    assert world.record("h").response_body is None


def test_workspace_is_deleted_only_without_places_and_its_lines_apart(world: World) -> None:
    """[19]"""
    world.workspace(purchased_phone=Allowance(2))
    other = world.workspace("beta")
    line = world.added(idempotency_key_hash="k")
    key = ApiKey("a" * 64, "website", NOW_MS)
    world.api_keys.insert("acme", key)
    world.workspaces.map_organisation("org_1", "acme")
    tied = "acme", "cus_acme", ["org_1"], [key]
    assert not Erasure(world.table).delete_workspace(*tied)
    assert world.now().customer == "cus_acme"
    seen = world.lines.release(world.lines.mark_active(line, NOW_MS), "operator", NOW_MS)
    left = world.now()
    assert Erasure(world.table).delete_workspace(*tied)
    assert (world.workspaces.get("acme"), world.workspaces.of_customer("cus_acme")) == (None, None)
    assert (world.workspaces.of_organisation("org_1"), world.api_keys.list("acme")) == (None, [])
    assert world.line(seen) == seen
    before = world.everything()
    world.workspaces.consume_rate(left, LIMIT, NOW_MS)
    world.workspaces.finish_quantities(left, asked_at_ms=NOW_MS)
    assert world.everything() == before, "a request or a reconciler that was under way creates nothing"
    Erasure(world.table).delete_lines("acme")
    assert world.lines.get("acme", line.id) is None
    assert world.lines.idempotency_record("acme", "k") is None
    assert world.now("beta") == other
