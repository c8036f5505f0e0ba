"""Many requests of one workspace at the same moment, through the real intake, on an atomic engine."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import Contended, ForbiddenLineType, RequestInProgress
from line_requests.domain.model import Status
from line_requests.domain.submission import Kind
from line_requests.flows.create import Created
from tests.decision.examples import SUBMISSIONS
from tests.support.shop import Shop, WaitingClock, of_type, together

THREADS = 32


@pytest.mark.parametrize("included", [1, 7])
def test_last_included_places_are_each_taken_once(shop: Shop, included: int) -> None:
    """[19]"""
    shop.workspace(included, for_sale=False)
    results = together(*[shop.submit] * THREADS)
    assert len(of_type(results, Created)) == included
    assert len(of_type(results, ForbiddenLineType)) == THREADS - included
    assert len(shop.consistent()) == included


def test_one_of_many_payable_requests_gets_an_invoice(shop: Shop) -> None:
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
    (line,) = shop.consistent()
    assert line.awaiting


def test_included_requests_pass_beside_a_payable_one(shop: Shop) -> None:
    """[19][23]"""
    shop.workspace(6)
    results = together(*[shop.submit] * 16)
    bodies = [json.loads(answer.body) for answer in of_type(results, Created)]
    assert Counter(body["status"] for body in bodies) == {"provisioning": 6, "awaiting_payment": 1}
    assert len(of_type(results, RequestInProgress)) == 9
    assert len(shop.line_invoices()) == 1
    shop.consistent()


@pytest.mark.parametrize(("included", "threads"), [(0, 16), (3, THREADS)])
def test_requests_with_one_key_get_the_same_201(shop: Shop, included: int, threads: int) -> None:
    """[29][31]"""
    shop.workspace(included)
    results = together(*[lambda: shop.submit("line-req-001")] * threads)
    answers = of_type(results, Created)
    assert len(answers) == threads, results
    assert len({answer.body for answer in answers}) == 1
    assert not any(answer.mismatch for answer in answers)
    (line,) = shop.consistent()
    body = json.loads(answers[0].body)
    assert body["line"]["_id"] == line.id
    links = [invoice["hosted_invoice_url"] for invoice in shop.line_invoices()]
    assert links == ([] if included else [body["paymentUrl"]])


def test_requests_covered_by_credit_follow_each_other(shop: Shop) -> None:
    """[21][25][34]"""
    workspace = shop.workspace(0)
    shop.stripe.v1.customers.update(workspace.customer, {"balance": -1_000_000})
    answers = of_type(together(*[shop.submit] * 24), Created)
    assert len(answers) == 24
    assert {json.loads(answer.body)["line"]["paymentStatus"] for answer in answers} == {"paid"}
    assert len(shop.line_invoices()) == len(shop.consistent()) == 24


def test_request_that_loses_every_attempt_raises_contended(shop: Shop) -> None:
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
    assert shop.consistent() == []
    assert shop.world.now().tat_ms is None


def test_requests_with_one_key_and_two_bodies_make_one_line(shop: Shop) -> None:
    """[29][31]"""
    shop.workspace(0)
    other = replace(SUBMISSIONS[Kind.PURCHASED_PHONE], first_name="Grace")
    asks = [lambda: shop.submit("k"), lambda: shop.submit("k", other)] * 4
    answers = of_type(together(*asks), Created)
    assert len(answers) == 8
    assert len({answer.body for answer in answers}) == 1
    assert sum(answer.mismatch for answer in answers) == 4, "all those with the other body"
    assert len(shop.line_invoices()) == len(shop.consistent()) == 1


def test_requests_with_different_keys_make_different_lines(shop: Shop) -> None:
    """[5][29]"""
    shop.workspace(8, for_sale=False)
    results = together(*[lambda number=number: shop.submit(f"key-{number % 8}") for number in range(24)])
    answers = of_type(results, Created)
    assert len(answers) == 24
    assert len({answer.body for answer in answers}) == 8
    assert len(shop.consistent()) == 8


def test_freed_places_of_failed_lines_are_each_taken_once(shop: Shop) -> None:
    """[19]"""
    shop.workspace(4, for_sale=False)
    together(*[shop.submit] * 4)
    for line in shop.consistent()[:2]:
        shop.world.lines.mark_failed(line, "no numbers left", 1)
    results = together(*[shop.submit] * 16)
    assert len(of_type(results, Created)) == 2
    lines = shop.consistent()
    assert Counter(line.status for line in lines) == {Status.PROVISIONING: 4, Status.FAILED: 2}
