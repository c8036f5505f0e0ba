"""Each request counts once against its budget, in the write it makes anyway, and a batch is no snapshot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from line_requests.clock import Clock, wall_time_ms
from line_requests.domain.errors import ForbiddenLineType, RateLimited, RequestInProgress
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from tests.decision.examples import SUBMISSIONS

if TYPE_CHECKING:
    from tests.support.shop import Shop

EMAIL = SUBMISSIONS[Kind.EMAIL]


@dataclass(frozen=True, slots=True)
class FrozenClock(Clock):
    """All of a test's requests come at one moment."""

    def now_ms(self) -> int:
        return self.started_at_ms


def test_every_outcome_counts_one_request(shop: Shop) -> None:
    """[22][35]"""
    shop.workspace(1)
    clock = FrozenClock(wall_time_ms(), 18.0)

    def counted() -> float:
        tat_ms = shop.world.now().tat_ms
        assert tat_ms is not None
        return (tat_ms - clock.started_at_ms) / shop.product.settings.limit.interval_ms

    shop.submit("k1", at=clock)
    assert counted() == 1, "created"
    shop.submit("k1", at=clock)
    assert counted() == 2, "replayed"
    with pytest.raises(ForbiddenLineType):
        shop.submit("k2", EMAIL, clock)
    assert counted() == 3, "refused"
    shop.submit("k3", at=clock)
    assert counted() == 4, "awaiting payment"
    shop.submit("k3", at=clock)
    assert counted() == 5, "replayed while it awaits payment"
    with pytest.raises(RequestInProgress):
        shop.submit("k4", at=clock)
    assert counted() == 6, "blocked"
    with pytest.raises(RequestInProgress):
        shop.submit(at=clock)
    assert counted() == 7, "blocked without a key"
    shop.creation(clock).count(shop.world.now())
    assert counted() == 8, "malformed"
    assert shop.submit("k1", at=clock, torn=True).replayed
    assert counted() == 9, "found by the second read"


def test_used_up_rate_limit_precedes_every_other_outcome(shop: Shop) -> None:
    """[35]"""
    shop.workspace(1)
    once = RateLimit(1, 1)
    clock = FrozenClock(wall_time_ms(), 18.0)
    phone = SUBMISSIONS[Kind.PURCHASED_PHONE]
    shop.submit("k1", at=clock)
    seen = shop.world.now()
    before = shop.world.everything()
    known = shop.world.snapshot(
        "acme",
        idempotency_key_hash=next(
            i["sk"]["S"].split("#")[1] for i in before if i["sk"]["S"].startswith("IDEMPOTENCY#")
        ),
    )
    assert known.idempotency_record is not None
    with pytest.raises(RateLimited):
        shop.creation(clock, once).create(seen, known.idempotency_record, phone, "k")
    for submission in (phone, EMAIL):
        with pytest.raises(RateLimited):
            shop.creation(clock, once).create(seen, None, submission, None)
    with pytest.raises(RateLimited):
        shop.creation(clock, once).count(seen)
    assert shop.world.everything() == before


@pytest.mark.parametrize("included", [0, 1])
def test_request_is_never_blocked_or_refused_by_itself(shop: Shop, included: int) -> None:
    """[29][31]"""
    shop.workspace(included, for_sale=not included)
    first = shop.submit("k")
    # The workspace as the first attempt left it, locked or full, and no record of the key.
    again = shop.submit("k", torn=True)
    assert (again.body, again.replayed) == (first.body, True)
    (line,) = shop.consistent()
    assert json.loads(again.body)["line"]["_id"] == line.id


def test_each_outcome_costs_one_read_and_one_write(shop: Shop) -> None:
    """[19][29][35]"""
    shop.workspace(1)
    wire = shop.world.wire

    def calls() -> list[str]:
        made = [operation for operation, _ in wire.calls]
        wire.watch()
        return made

    wire.watch()
    shop.submit("k1")
    assert calls() == ["BatchGetItem", "TransactWriteItems"]
    shop.submit("k1")
    assert calls() == ["BatchGetItem", "UpdateItem"]
    with pytest.raises(ForbiddenLineType):
        shop.submit(submission=EMAIL)
    assert calls() == ["BatchGetItem", "UpdateItem"]
    with pytest.raises(ForbiddenLineType):
        shop.submit("k2", EMAIL)
    assert sorted(calls()) == ["BatchGetItem", "GetItem", "UpdateItem"], "the key beside the count"
    shop.submit("k3")
    calls()
    with pytest.raises(RequestInProgress):
        shop.submit("k4")
    assert sorted(calls()) == ["BatchGetItem", "GetItem", "GetItem", "UpdateItem"], "key and holder beside the count"
