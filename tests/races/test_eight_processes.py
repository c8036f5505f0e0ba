"""Eight processes of four threads each on one workspace: nothing oversold, no two winners, no torn or lost write."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import PaymentStatus, Status
from line_requests.domain.submission import Kind
from tests.races import one_of_eight
from tests.support.shop import Shop, assert_consistent

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.races.one_of_eight import Outcome

PROCESSES = 8
ACTS = int(os.environ.get("RACE_ACTS", "4"))  # of each of the 32 threads
INCLUDED, CAP = 3, 10


def test_eight_processes_leave_one_truth(shop: Shop, endpoint: str) -> None:
    """[16][19][23][24][26][31][49]"""
    shop.workspace(INCLUDED, cap=CAP)
    outcomes = _live(shop, endpoint)
    refusals = Counter(outcome[0] for outcome in outcomes if len(outcome) == 1)
    assert set(refusals) <= {"RequestInProgress", "ForbiddenLineType"}
    answers = [outcome for outcome in outcomes if len(outcome) > 1]

    lines = {line.id: line for line in assert_consistent(shop.world)}
    workspace = shop.world.now()
    assert workspace.held[Kind.PURCHASED_PHONE] <= CAP
    assert workspace.unpaid[Kind.PURCHASED_PHONE] <= INCLUDED + (workspace.lock is not None)
    made = [str(line_id) for _, line_id, replayed, _ in answers if not replayed]
    assert len(made) == len(set(made)), "a line was answered as new twice"
    assert set(made) <= set(lines), "a line that was answered is lost"
    _assert_one_line_per_key(shop, answers)
    _assert_one_invoice_per_line(shop, lines)
    assert len(lines) > INCLUDED, "hardly a contest"


def _live(shop: Shop, endpoint: str) -> list[Outcome]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([one_of_eight.__name__])  # the imports are most of a process's start
    start = context.Barrier(PROCESSES)
    deployment = (endpoint, shop.world.table_name, shop.double.url)
    with context.Pool(PROCESSES, one_of_eight.start_together, [start]) as pool:
        shares = [(*deployment, seed, ACTS) for seed in range(PROCESSES)]
        lived = pool.starmap_async(one_of_eight.live, shares, chunksize=1).get(timeout=100)
    return [outcome for outcomes in lived for outcome in outcomes]


def _assert_one_line_per_key(shop: Shop, answers: list[Outcome]) -> None:
    by_key = defaultdict[object, set[tuple[object, object]]](set)
    for key, line_id, _, body in answers:
        if key is not None:
            by_key[key].add((line_id, body))
    for used, given in by_key.items():
        assert len(given) == 1, f"{used} was answered in several ways"
        record = shop.world.lines.idempotency_record("acme", sha256_hex(str(used)))
        assert record is not None
        assert (record.line_id, record.response_body) in given


def _assert_one_invoice_per_line(shop: Shop, lines: dict[str, Line]) -> None:
    invoices = shop.line_invoices()
    named = Counter(str(invoice["metadata"]["line_id"]) for invoice in invoices)  # type: ignore[index] # JSON
    assert set(named.values()) <= {1}, "a line has two invoices"
    assert sum(invoice["status"] == "open" for invoice in invoices) == (shop.world.now().lock is not None)
    paid = {str(i["metadata"]["line_id"]) for i in invoices if i["status"] == "paid"}  # type: ignore[index] # JSON
    assert paid == {line.id for line in lines.values() if line.payment_status is PaymentStatus.PAID}
    assert not any(line.refund_due for line in lines.values())
    assert {lines[line_id].status for line_id in paid} <= {Status.PROVISIONING, Status.ACTIVE, Status.FAILED}
