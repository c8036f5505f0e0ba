"""Many requests of one workspace at the same moment, through the real intake, on an atomic engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import Contended, ForbiddenLineType, RequestInProgress
from line_requests.domain.model import Status
from line_requests.domain.submission import Kind
from line_requests.flows.create import Created
from tests.decision.examples import SUBMISSIONS
from tests.local.ministack import ROOT
from tests.support.shop import Shop, WaitingClock, assert_consistent, of_type, together

if TYPE_CHECKING:
    from tests.support.world import World

THREADS = 32


@pytest.mark.parametrize("included", [1, 7])
def test_the_last_included_places_are_each_taken_once(shop: Shop, included: int) -> None:
    """[19]"""
    shop.workspace(included, for_sale=False)
    results = together(*[shop.submit] * THREADS)
    assert len(of_type(results, Created)) == included
    assert len(of_type(results, ForbiddenLineType)) == THREADS - included
    assert len(assert_consistent(shop.world)) == included


def test_processes_do_not_oversell_either(world: World, endpoint: str, shop: Shop) -> None:
    """[19]"""
    shop.workspace(5, for_sale=False)
    command = [sys.executable, "-m", "tests.races.contender", endpoint, world.table_name, "8"]
    contenders = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'layers'}", "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outcomes = Counter[str]()
    try:
        for contender in contenders:
            assert contender.stdout is not None
            assert contender.stdout.readline() == "ready\n"
        for contender in contenders:
            assert contender.stdin is not None
            contender.stdin.write("\n")
            contender.stdin.flush()
        for contender in contenders:
            outcomes += Counter(json.loads(contender.communicate(timeout=60)[0]))
    finally:
        for contender in contenders:
            contender.kill()
            contender.communicate()
    assert outcomes == {"created": 5, "ForbiddenLineType": 19}
    assert len(assert_consistent(world)) == 5


def test_of_many_payable_requests_one_gets_an_invoice_and_the_others_its_link(shop: Shop) -> None:
    """[23][26]"""
    shop.workspace(0)
    results = together(*[shop.submit] * 16)
    (winner,) = of_type(results, Created)
    refused = of_type(results, RequestInProgress)
    assert len(refused) == 15
    (invoice,) = shop.line_invoices()
    created = json.loads(winner.body)
    assert created["paymentUrl"] == invoice["hosted_invoice_url"]
    for refusal in refused:
        assert (refusal.holder.id, refusal.holder.payment_url) == (created["line"]["_id"], created["paymentUrl"])
    (line,) = assert_consistent(shop.world)
    assert line.awaiting


def test_a_payable_request_beside_included_ones_blocks_none_that_came_first(shop: Shop) -> None:
    """[19][23]"""
    shop.workspace(6)
    results = together(*[shop.submit] * 16)
    bodies = [json.loads(answer.body) for answer in of_type(results, Created)]
    assert Counter(body["status"] for body in bodies) == {"provisioning": 6, "awaiting_payment": 1}
    assert len(of_type(results, RequestInProgress)) == 9
    assert len(shop.line_invoices()) == 1
    assert_consistent(shop.world)


@pytest.mark.parametrize(("included", "threads"), [(0, 16), (3, THREADS)])
def test_one_key_is_one_line_and_everybody_gets_the_same_201(shop: Shop, included: int, threads: int) -> None:
    """[29][31]"""
    shop.workspace(included)
    results = together(*[lambda: shop.submit("line-req-001")] * threads)
    answers = of_type(results, Created)
    assert len(answers) == threads, results
    assert len({answer.body for answer in answers}) == 1
    assert not any(answer.mismatch for answer in answers)
    (line,) = assert_consistent(shop.world)
    body = json.loads(answers[0].body)
    assert body["line"]["_id"] == line.id
    links = [invoice["hosted_invoice_url"] for invoice in shop.line_invoices()]
    assert links == ([] if included else [body["paymentUrl"]])


def test_requests_that_credit_pays_for_follow_each_other(shop: Shop) -> None:
    """[21][25][34]"""
    workspace = shop.workspace(0)
    shop.stripe.v1.customers.update(workspace.customer, {"balance": -1_000_000})
    answers = of_type(together(*[shop.submit] * 24), Created)
    assert len(answers) == 24
    assert {json.loads(answer.body)["line"]["paymentStatus"] for answer in answers} == {"paid"}
    assert len(shop.line_invoices()) == len(assert_consistent(shop.world)) == 24


def test_a_request_that_others_always_come_before_writes_nothing_and_says_so(shop: Shop) -> None:
    """[34] Each time that it is about to write, the subscription has changed."""
    shop.workspace(1)
    clock = WaitingClock(wall_time_ms(), 2.0)

    def change() -> None:
        now = shop.world.now()
        assert now.subscription is not None
        another = replace(now.subscription, id=f"sub_{now.revision}")
        shop.world.workspaces.save_subscription(now, another, wall_time_ms())

    for _ in range(100):
        shop.world.wire.before("TransactWriteItems", change)
    with pytest.raises(Contended):
        shop.submit("line-req-001", at=clock)
    assert clock.waited_s == [0.1, 0.2, 0.5, 0.5, 0.5], "it lets others go first"
    assert assert_consistent(shop.world) == []
    assert shop.world.now().tat_ms is None


def test_one_key_with_different_bodies_is_one_line_too(shop: Shop) -> None:
    """[29][31]"""
    shop.workspace(0)
    other = SUBMISSIONS[Kind.PURCHASED_PHONE].model_copy(update={"first_name": "Grace"})
    asks = [lambda: shop.submit("k"), lambda: shop.submit("k", other)] * 4
    answers = of_type(together(*asks), Created)
    assert len(answers) == 8
    assert len({answer.body for answer in answers}) == 1
    assert sum(answer.mismatch for answer in answers) == 4, "all those with the other body"
    assert len(shop.line_invoices()) == len(assert_consistent(shop.world)) == 1


def test_different_keys_are_different_requests(shop: Shop) -> None:
    """[5][29]"""
    shop.workspace(8, for_sale=False)
    results = together(*[lambda number=number: shop.submit(f"key-{number % 8}") for number in range(24)])
    answers = of_type(results, Created)
    assert len(answers) == 24
    assert len({answer.body for answer in answers}) == 8
    assert len(assert_consistent(shop.world)) == 8


def test_a_failed_line_s_place_is_taken_once_again(shop: Shop) -> None:
    """[19]"""
    shop.workspace(4, for_sale=False)
    together(*[shop.submit] * 4)
    for line in assert_consistent(shop.world)[:2]:
        shop.world.lines.mark_failed(line, "no numbers left", 1)
    results = together(*[shop.submit] * 16)
    assert len(of_type(results, Created)) == 2
    lines = assert_consistent(shop.world)
    assert Counter(line.status for line in lines) == {Status.PROVISIONING: 4, Status.FAILED: 2}
