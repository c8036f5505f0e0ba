"""Eight processes of four threads each on one workspace: nothing is oversold, no write is torn or lost."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from line_requests.domain.ids import sha256_hex
from tests.races import one_of_eight
from tests.support.oracle import tenants, violations

if TYPE_CHECKING:
    from tests.races.one_of_eight import Outcome
    from tests.support.oracle import Tenant
    from tests.support.shop import Shop

PROCESSES = 8
ACTS = int(os.environ.get("RACE_ACTS", "4"))  # of each of the 32 threads
INCLUDED, CAP = 3, 6


def test_eight_processes_leave_a_consistent_workspace(shop: Shop, endpoint: str) -> None:
    """[16][19][23][24][26][31][49]"""
    shop.workspace(INCLUDED, cap=CAP)
    outcomes = _live(shop, endpoint)
    refusals = Counter(outcome[0] for outcome in outcomes if len(outcome) == 1)
    assert set(refusals) <= {"RequestInProgress", "CapReached"}
    answers = [outcome for outcome in outcomes if len(outcome) > 1]

    (tenant,) = tenants(shop.world.table.scan("begins_with(#pk, :prefix)", {"prefix": "W#"}), shop.line_invoices())
    assert list(violations(tenant, settled=False)) == []
    made = [str(line_id) for _, line_id, replayed, _ in answers if not replayed]
    assert len(made) == len(set(made)), "a line was answered as new twice"
    assert set(made) <= set(tenant.lines), "a line that was answered is lost"
    _assert_one_line_per_key(tenant, answers)
    assert len(tenant.lines) > INCLUDED, "hardly a contest"


def _live(shop: Shop, endpoint: str) -> list[Outcome]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([one_of_eight.__name__])  # the imports are most of a process's start
    start = context.Barrier(PROCESSES)
    deployment = (endpoint, shop.world.table_name, shop.double.url)
    with context.Pool(PROCESSES, one_of_eight.start_together, [start]) as pool:
        shares = [(*deployment, seed, ACTS) for seed in range(PROCESSES)]
        lived = pool.starmap_async(one_of_eight.live, shares, chunksize=1).get(timeout=100)
    return [outcome for outcomes in lived for outcome in outcomes]


def _assert_one_line_per_key(tenant: Tenant, answers: list[Outcome]) -> None:
    by_key = defaultdict[object, set[tuple[object, object]]](set)
    for key, line_id, _, body in answers:
        if key is not None:
            by_key[key].add((line_id, body))
    for used, given in by_key.items():
        record = tenant.records[sha256_hex(str(used))]
        assert given == {(record.line_id, record.response_body)}, f"{used} was answered in several ways"
