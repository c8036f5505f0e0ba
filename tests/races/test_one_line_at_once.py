"""Many callers at one line, or at one workspace's counters, at the same moment."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import pytest

from line_requests.domain.errors import RateLimited
from line_requests.domain.model import ApiKey, PaymentStatus, Status, VoidReason
from line_requests.domain.prices import Allowance
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from tests.decision.examples import ADD_ONS, NOW_MS, subscription
from tests.support.oracle import assert_consistent
from tests.support.shop import of_type, together
from tests.support.world import LIMIT, World, new_line

THREADS = 32
EXTRA = ADD_ONS[Kind.PURCHASED_PHONE]
FOR_SALE = Allowance(0, add_on=EXTRA)


@pytest.mark.parametrize("answered", [True, False])
def test_line_is_paid_or_canceled_once(world: World, *, answered: bool) -> None:
    """[24][44][49]"""
    world.workspace(purchased_phone=FOR_SALE)
    lines = world.lines
    outcomes = Counter[Status]()
    for attempt in range(6):
        line = world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash=f"k{attempt}")
        if answered:
            lines.freeze_response(line, "{}")
        promote = partial(lines.mark_paid, line, NOW_MS, invoice_id="in_1", url=None)
        cancel = partial(lines.cancel, line, "invoice_voided", NOW_MS)
        acts = [promote, cancel] * 5
        random.Random(attempt).shuffle(acts)
        seen = of_type(together(*acts), type(line))
        now = world.line(line)
        outcomes[now.status] += 1
        assert {known.status for known in seen} == {now.status}, "every caller gets the state that it reached"
        assert now.sequence == 2
        record = lines.idempotency_record("acme", f"k{attempt}")
        assert (record is not None) is (answered or now.status is Status.PROVISIONING)
        assert_consistent(world.table)
        assert world.now().lock is None
    assert outcomes.total() == 6


def test_response_is_frozen_or_its_key_deleted(world: World) -> None:
    """[29][32]"""
    world.workspace(purchased_phone=FOR_SALE)
    lines = world.lines
    for attempt in range(8):
        line = world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash=f"k{attempt}")
        freeze, cancel = partial(lines.freeze_response, line, "{}"), partial(lines.cancel, line, "canceled", NOW_MS)
        answered, _ = together(freeze, cancel)
        assert world.line(line).status is Status.CANCELED
        record = lines.idempotency_record("acme", f"k{attempt}")
        assert (record is None) is (answered is None), "answered and kept, or neither"
    assert_consistent(world.table)


def test_one_of_many_void_reasons_is_stored(world: World) -> None:
    """[39]"""
    world.workspace(purchased_phone=FOR_SALE)
    for _ in range(4):
        line = world.added(status=Status.AWAITING_PAYMENT)
        record = partial(world.lines.record_void_reason, line)
        intents = together(*[partial(record, reason, NOW_MS) for reason in VoidReason] * 2)
        (first,) = of_type(intents, type(line))
        assert world.line(line).void_reason is first.void_reason
        world.lines.cancel(world.line(line), str(first.void_reason), NOW_MS)


def test_one_of_many_callers_gets_the_lease(world: World) -> None:
    """[31][39]"""
    world.workspace(purchased_phone=FOR_SALE)
    line = world.added(status=Status.AWAITING_PAYMENT)
    take = [
        lambda until=until: world.lines.take_lease(line, now_ms=NOW_MS, until_ms=NOW_MS + 1 + until, throttled=False)
        for until in range(THREADS)
    ]
    (leased,) = of_type(together(*take), type(line))
    assert world.line(line) == leased


def test_one_of_many_callers_rotates_the_stripe_keys(world: World) -> None:
    """[33]"""
    world.workspace(purchased_phone=FOR_SALE)
    line = world.added(status=Status.AWAITING_PAYMENT)
    together(*[lambda: world.lines.rotate_stripe_keys(line, NOW_MS)] * THREADS)
    assert world.line(line).stripe_key_version == 2


def test_concurrent_releases_are_each_counted_once(world: World) -> None:
    """[19][48]"""
    world.workspace(purchased_phone=Allowance(24))
    added = [world.added() for _ in range(16)]
    lines = world.lines
    answers = [
        (lambda line=line: lines.mark_failed(line, "failed", NOW_MS))
        if (position + twice) % 2
        else (lambda line=line: lines.mark_active(line, NOW_MS))
        for twice in range(2)
        for position, line in enumerate(added)
    ]
    together(*answers)
    settled = assert_consistent(world.table)
    assert {line.status for line in settled} <= {Status.ACTIVE, Status.FAILED}
    assert {line.sequence for line in settled} == {2}
    active = [line for line in settled if line.status is Status.ACTIVE]
    together(*[lambda line=line: lines.release(line, "operator", NOW_MS) for line in active for _ in range(2)])
    assert_consistent(world.table)
    assert world.now().held[Kind.PURCHASED_PHONE] == 0


def test_counts_survive_concurrent_transitions_of_every_sort(world: World) -> None:
    """[19][24][49]"""
    world.workspace(purchased_phone=Allowance(6, cap=12, add_on=EXTRA))
    lines = world.lines

    def live(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(6):
            workspace = world.now()
            held = workspace.unpaid.get(Kind.PURCHASED_PHONE, 0)
            line = new_line(status=Status.PROVISIONING if held < 6 else Status.AWAITING_PAYMENT)
            if world.insert(workspace, line, limit=LIMIT) is not None:
                continue
            if line.awaiting:
                settle = chance.choice(["promote", "cancel", "include"])
                if settle == "promote":
                    line = lines.mark_paid(line, NOW_MS, invoice_id="in_1", url=None)
                elif settle == "include":
                    line = lines.waive(line, NOW_MS)
                else:
                    line = lines.cancel(line, "canceled", NOW_MS)
            if line.status is Status.PROVISIONING and chance.random() < 0.7:
                lines.mark_failed(line, "failed", NOW_MS)

    together(*[lambda seed=seed: live(seed) for seed in range(16)])
    settled = assert_consistent(world.table)
    assert len(settled) > 4, "a storm, though how many get through is the engine's"
    assert all(line.payment_status is not PaymentStatus.AWAITING_PAYMENT for line in settled)


def test_rate_limit_admits_the_burst_and_no_more(world: World) -> None:
    """[35]"""
    workspace = world.workspace(purchased_phone=Allowance(100))
    limit = RateLimit(per_minute=60, burst=10)
    refused = together(*[lambda: world.workspaces.consume_rate(workspace, limit, NOW_MS)] * THREADS)
    assert len(of_type(refused, RateLimited)) == THREADS - 10
    assert world.now().tat_ms == NOW_MS + 10_000
    refused = together(*[lambda: world.workspaces.consume_rate(world.now(), limit, NOW_MS + 3000)] * THREADS)
    assert len(of_type(refused, RateLimited)) == THREADS - 3


def test_created_and_refused_requests_share_the_rate_limit(world: World) -> None:
    """[5][35]"""
    workspace = world.workspace(purchased_phone=Allowance(100))
    limit = RateLimit(per_minute=60, burst=10)
    world.workspaces.consume_rate(workspace, limit, NOW_MS)
    seen = world.now()
    create = [lambda: world.insert(seen, new_line(), limit=limit, now_ms=NOW_MS)] * 16
    refuse = [lambda: world.workspaces.consume_rate(seen, limit, NOW_MS)] * 16
    outcomes = together(*create, *refuse)
    created = outcomes[:16].count(None)
    counted = outcomes[16:].count(None)
    assert created + counted == 9
    assert len(assert_consistent(world.table)) == created


def test_one_of_many_subscriptions_of_one_revision_is_saved(world: World) -> None:
    """[46]"""
    seen = world.workspace()
    statuses = ["past_due", "unpaid", "canceled", "trialing"] * 4
    saves = [lambda s=s: world.workspaces.save_subscription(seen, subscription(s), NOW_MS) for s in statuses]
    (saved,) = of_type(together(*saves), type(seen))
    assert world.now() == saved


def test_one_of_many_callers_gets_the_quantities_lease(world: World) -> None:
    """[50]"""
    world.workspace(purchased_phone=FOR_SALE)
    world.paid()
    leases = together(*[lambda: world.workspaces.lease_quantities("acme", NOW_MS)] * THREADS)
    assert len([lease for lease in leases if lease is not None]) == 1


def test_concurrently_issued_api_keys_are_all_stored(world: World) -> None:
    """[5]"""
    world.workspace()
    hashes = [f"{number:064x}" for number in range(16)]
    together(*[lambda h=h: world.api_keys.insert("acme", ApiKey(h, "key", NOW_MS)) for h in hashes])
    assert {key.hash for key in world.api_keys.list("acme")} == set(hashes)


def test_customer_is_tied_to_one_of_many_workspaces(world: World) -> None:
    """[46]"""
    names = [f"acme-{number}" for number in range(16)]
    tied = together(*[lambda n=n: world.workspaces.insert(n, "cus_1", livemode=False) for n in names])
    assert tied.count(True) == 1
    assert world.workspaces.of_customer("cus_1") == names[tied.index(True)]
