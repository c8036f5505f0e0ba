"""The create flow without a table: what it decides, writes and counts, and what it starts again from after a race."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.bodies import created_body
from line_requests.domain.errors import (
    BillingRefused,
    BillingUnavailable,
    Contended,
    RateLimited,
    RequestInProgress,
    SubscriptionRequired,
    TableUnavailable,
    Unauthorized,
)
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import Change, IdempotencyRecord, Line, PaymentStatus, Status, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.flows.create import Created, Creation, fingerprint
from line_requests.flows.leases import LEASE_MS, Until
from line_requests.storage.lines import REPUBLISH_AFTER_MS, Conflict
from tests.decision.examples import LINE_ID, NOW_MS, SUBMISSIONS, counts, payable, subscription, workspace
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from line_requests.clock import Clock

PHONE = SUBMISSIONS[Kind.PURCHASED_PHONE]
LIMIT = RateLimit(60, 10)
ROOMY, FULL = workspace(), workspace(held=counts(purchased_phone=1), unpaid=counts(purchased_phone=1))
LOCKED = replace(ROOMY, lock=LINE_ID)
UNSUBSCRIBED = workspace(subscription=subscription("canceled"))
HOLDER = payable()
CANCELED = replace(HOLDER, status=Status.CANCELED, history=(*HOLDER.history, Change(NOW_MS, Status.CANCELED, "voided")))
RELEASED = replace(
    HOLDER,
    status=Status.CANCELED,
    history=(*HOLDER.history, *(Change(NOW_MS, status, "then") for status in (Status.ACTIVE, Status.CANCELED))),
)
RECORD = IdempotencyRecord(LINE_ID, fingerprint(PHONE))
ATTEMPTS_MAX = 30


class Desk:
    """Takes requests; its table and its lifecycle answer what a test says, and keep what they are asked."""

    def __init__(self, budget_s: float = 18.0) -> None:
        self.at = WaitingClock(NOW_MS, budget_s)
        self.did: list[Any] = []
        self.inserted: list[Line] = []
        self.recorded: list[IdempotencyRecord] = []
        self.conflicts: list[Conflict] = []
        self.finalized: list[Callable[[Line], Line]] = []
        """What becomes of new lines that have to be paid for."""
        self.advanced: Line = HOLDER
        self.lines: dict[str, list[Line | None]] = {}
        """What reads of a line return, one after the other."""
        self.record: IdempotencyRecord | None = None
        self.found: list[tuple[Workspace | None, IdempotencyRecord | None]] = []
        """What the reads before another attempt return."""
        self.frozen: list[tuple[str, bool] | None] = []
        self.checked: Line | Exception = HOLDER
        self.out_of_budget = False
        stub: Any = self
        stores: Any = SimpleNamespace(lines=self, workspaces=self)
        self.creation = Creation(stores, stub, self.at, limit=LIMIT, window_ms=0)

    def create(self, seen: Workspace, record: IdempotencyRecord | None = None, key: str | None = None) -> Created:
        return self.creation.create(seen, record, PHONE, key)

    # --- the table ----------------------------------------------------------------------------------

    def insert_line(
        self, seen: Workspace, line: Line, record: IdempotencyRecord, *, limit: RateLimit | None, now_ms: int
    ) -> Conflict | None:
        self.did.append(("insert", seen, limit, now_ms))
        assert len(self.inserted) < ATTEMPTS_MAX
        self.inserted.append(line)
        self.recorded.append(record)
        return self.conflicts.pop(0) if self.conflicts else None

    def get(self, workspace_id: str, line_id: str) -> Line | None:
        assert workspace_id == "acme"
        self.did.append(("get", line_id))
        return self.lines[line_id].pop(0)

    def idempotency_record(self, workspace_id: str, key: str) -> IdempotencyRecord | None:
        assert workspace_id == "acme"
        self.did.append(("record", key))
        return self.record

    def workspace_and_record(self, _: str, key: str | None) -> tuple[Workspace | None, IdempotencyRecord | None]:
        self.did.append(("again", key))
        return self.found.pop(0)

    def freeze_response(self, line: Line, body: str) -> tuple[str, bool] | None:
        self.did.append(("freeze", line.id))
        return self.frozen.pop(0) if self.frozen else (body, False)

    def consume_rate(self, seen: Workspace, limit: RateLimit, now_ms: int) -> None:
        self.did.append(("count", limit, now_ms))
        if self.out_of_budget:
            raise RateLimited(7)
        assert seen.id == "acme"

    # --- the lifecycle ------------------------------------------------------------------------------

    def finalize_new(self, _: Clock, line: Line) -> Line:
        self.did.append("finalize")
        return self.finalized.pop(0)(line) if self.finalized else line

    def advance(self, _: Clock, line: Line, until: Until, *, wait: bool) -> Line:
        self.did.append(("advance", line.id, until, wait))
        return self.advanced

    def check_holder(self, _: Clock, line: Line, seen: Workspace) -> Line:
        self.did.append(("check", line.id, seen.id))
        if isinstance(self.checked, Exception):
            raise self.checked
        return self.checked

    def names(self) -> list[str]:
        """What was done, in order; what is done at the same time is sorted."""
        return [one if isinstance(one, str) else one[0] for one in self.did]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def body_of(line: Line) -> str:
    return json.dumps(created_body(line, 0))


def test_included_line_is_inserted_with_its_answer(desk: Desk) -> None:
    """[15][29]"""
    created = desk.create(ROOMY, key="hash")
    [line] = desk.inserted
    assert created == Created(body_of(line), replayed=False, mismatch=False)
    assert Created("") == Created("", replayed=False, mismatch=False)
    assert desk.did == [("insert", ROOMY, LIMIT, NOW_MS)]
    assert desk.recorded == [IdempotencyRecord(line.id, fingerprint(PHONE), created.body)]
    assert line == Line(
        id=line.id,
        workspace_id="acme",
        submission=PHONE,
        status=Status.PROVISIONING,
        payment_status=PaymentStatus.NOT_REQUIRED,
        created_at_ms=NOW_MS,
        history=(Change(NOW_MS, Status.PROVISIONING, "requested"),),
        charge=None,
        idempotency_key_hash="hash",
        stripe_keyed_at_ms=NOW_MS,
        lease_until_ms=0,
        due_at_ms=NOW_MS + REPUBLISH_AFTER_MS,
    )
    desk.creation.count(ROOMY)
    assert desk.names() == ["insert"], "it counted the request"


def test_payable_line_is_inserted_with_its_lease_and_answered_once_it_has_its_invoice(desk: Desk) -> None:
    """[16][33]"""
    desk.frozen = [("another caller's answer", True)]
    assert desk.create(FULL) == Created("another caller's answer", replayed=True)
    [line] = desk.inserted
    assert (line.status, line.payment_status) == (Status.AWAITING_PAYMENT, PaymentStatus.AWAITING_PAYMENT)
    assert line.history == (Change(NOW_MS, Status.AWAITING_PAYMENT, "requested"),)
    assert line.charge is not None
    assert (line.lease_until_ms, line.due_at_ms) == (NOW_MS + LEASE_MS, NOW_MS)
    assert desk.recorded == [IdempotencyRecord(line.id, fingerprint(PHONE), None)]
    assert desk.names() == ["insert", "finalize", "freeze"]


@pytest.mark.parametrize("how", ["canceled", "its key was freed"])
def test_line_that_was_canceled_before_its_answer_is_made_again(desk: Desk, how: str) -> None:
    """[32] As for a key that is free; the request was counted by the first."""
    desk.finalized = [lambda line: replace(CANCELED, id=line.id)] if how == "canceled" else []
    desk.frozen = [] if how == "canceled" else [None]
    desk.found = [(FULL, None)]
    created = desk.create(FULL, key="hash")
    assert created.body == body_of(desk.inserted[1])
    freezes = ["freeze"] if how != "canceled" else []
    assert desk.names() == ["insert", "finalize", *freezes, "again", "insert", "finalize", "freeze"]
    assert [one[2] for one in desk.did if one[0] == "insert"] == [LIMIT, None]


def test_line_that_was_released_by_now_keeps_its_answer(desk: Desk) -> None:
    """[29]"""
    desk.finalized = [lambda _: RELEASED]
    assert desk.create(FULL) == Created(body_of(RELEASED))


def test_failure_after_the_line_was_written_names_it(desk: Desk) -> None:
    """[34]"""

    def fail(_: Line) -> Line:
        raise TableUnavailable("throttled")

    desk.finalized = [fail]
    with pytest.raises(TableUnavailable) as trouble:
        desk.create(FULL)
    assert trouble.value.line_id == desk.inserted[0].id


@pytest.mark.parametrize("same", [True, False])
def test_answer_of_a_key_is_repeated(desk: Desk, *, same: bool) -> None:
    """[29][35]"""
    record = IdempotencyRecord(LINE_ID, fingerprint(PHONE) if same else "other", "answer")
    assert desk.create(ROOMY, record, "hash") == Created("answer", replayed=True, mismatch=not same)
    assert desk.did == [("count", LIMIT, NOW_MS)]


@pytest.mark.parametrize("same", [True, False])
def test_key_without_an_answer_is_finished_first(desk: Desk, *, same: bool) -> None:
    """[31][33]"""
    desk.lines = {LINE_ID: [HOLDER]}
    record = RECORD if same else replace(RECORD, fingerprint="other")
    assert desk.create(FULL, record, "hash") == Created(body_of(HOLDER), replayed=False, mismatch=not same)
    assert desk.names() == ["count", "get", "advance", "freeze"]
    assert ("advance", LINE_ID, Until.FINALIZED, True) in desk.did


@pytest.mark.parametrize("how", ["no line", "canceled", "freed"])
def test_key_that_is_free_makes_a_line(desk: Desk, how: str) -> None:
    """[32]"""
    desk.lines = {LINE_ID: [None if how == "no line" else HOLDER]}
    desk.advanced = CANCELED if how == "canceled" else HOLDER
    desk.frozen = [None] if how == "freed" else []
    desk.found = [(ROOMY, None)]
    created = desk.create(ROOMY, RECORD, "hash")
    assert created == Created(body_of(desk.inserted[0]))
    assert desk.names()[-2:] == ["again", "insert"]
    assert desk.names().count("count") == 1
    assert desk.did[-2:] == [("again", "hash"), ("insert", ROOMY, None, NOW_MS)]


def test_used_up_budget_comes_before_every_decision(desk: Desk) -> None:
    """[35]"""
    with pytest.raises(RateLimited):
        desk.create(replace(UNSUBSCRIBED, tat_ms=NOW_MS + 3_600_000))
    assert desk.did == []


@pytest.mark.parametrize("key", ["hash", None])
def test_refused_request_is_counted_and_its_key_read_again(desk: Desk, key: str | None) -> None:
    """[22][31]"""
    with pytest.raises(SubscriptionRequired):
        desk.create(UNSUBSCRIBED, key=key)
    assert sorted(desk.names()) == (["count", "record"] if key else ["count"])
    assert desk.inserted == []


def test_request_that_cannot_be_charged_in_its_currency_is_counted(desk: Desk) -> None:
    """[35][51] A request that awaits payment comes first."""
    in_euros = replace(FULL, subscription=replace(subscription(), currency="eur"))
    with pytest.raises(BillingRefused):
        desk.create(in_euros, key="hash")
    assert sorted(desk.names()) == ["count", "record"]
    desk.lines = {LINE_ID: [HOLDER]}
    with pytest.raises(RequestInProgress):
        desk.create(replace(in_euros, lock=LINE_ID))


def test_refused_request_whose_key_was_used_meanwhile_is_answered(desk: Desk) -> None:
    """[31]"""
    desk.record = RECORD
    desk.found = [(UNSUBSCRIBED, replace(RECORD, response_body="answer"))]
    assert desk.create(UNSUBSCRIBED, key="hash") == Created("answer", replayed=True)
    assert desk.names().count("count") == 1


def test_refused_request_beyond_the_budget_is_told_so(desk: Desk) -> None:
    """[35]"""
    desk.out_of_budget = True
    with pytest.raises(RateLimited):
        desk.create(UNSUBSCRIBED)
    desk.lines = {LINE_ID: [HOLDER]}
    with pytest.raises(RateLimited):
        desk.create(LOCKED)


@pytest.mark.parametrize("key", ["hash", None])
def test_request_is_refused_while_the_holder_awaits_payment(desk: Desk, key: str | None) -> None:
    """[23][25]"""
    desk.lines = {LINE_ID: [HOLDER]}
    desk.checked = replace(HOLDER, payment_url="https://fresh")
    with pytest.raises(RequestInProgress) as refusal:
        desk.create(LOCKED, key=key)
    assert refusal.value.holder == desk.checked
    assert sorted(desk.names()) == ["check", "count", "get", *(["record"] if key else [])]


def test_request_is_refused_when_stripe_cannot_say_what_became_of_the_holder(desk: Desk) -> None:
    """[23] With the holder as it is now."""
    now = replace(HOLDER, payment_url="https://now")
    desk.lines = {LINE_ID: [HOLDER, now]}
    desk.checked = BillingUnavailable("no answer")
    with pytest.raises(RequestInProgress) as refusal:
        desk.create(LOCKED)
    assert refusal.value.holder == now


def test_request_goes_on_when_the_holder_is_deleted_while_stripe_cannot_say(desk: Desk) -> None:
    """[23] What is gone holds no lock."""
    desk.lines = {LINE_ID: [HOLDER, None]}
    desk.checked, desk.found = BillingUnavailable("no answer"), [(ROOMY, None)]
    desk.create(LOCKED)
    assert desk.names() == ["count", "get", "check", "get", "again", "insert"]


@pytest.mark.parametrize("why", ["paid", "paid before the check", "gone", "own key"])
def test_request_goes_on_when_nothing_holds_the_lock_any_more(desk: Desk, why: str) -> None:
    """[24][25][31]"""
    paid = replace(HOLDER, status=Status.PROVISIONING)
    desk.lines = {LINE_ID: [{"paid": HOLDER, "paid before the check": paid, "gone": None, "own key": HOLDER}[why]]}
    desk.checked = paid
    desk.record = RECORD if why == "own key" else None
    desk.found = [(ROOMY, replace(RECORD, response_body="answer") if why == "own key" else None)]
    created = desk.create(LOCKED, key="hash")
    assert created.replayed is (why == "own key")
    assert ("check" in desk.names()) is (why == "paid")


def test_conflict_says_what_the_next_attempt_starts_from(desk: Desk) -> None:
    """[31] It spares a read."""
    changed = replace(ROOMY, revision=9)
    desk.conflicts = [
        Conflict(changed, None),
        Conflict(changed, None),
        Conflict(changed, replace(RECORD, response_body="a")),
    ]
    assert desk.create(ROOMY, key="hash") == Created("a", replayed=True)
    assert desk.did == [
        ("insert", ROOMY, LIMIT, NOW_MS),
        ("insert", changed, LIMIT, NOW_MS),
        ("insert", changed, LIMIT, NOW_MS),
        ("count", LIMIT, NOW_MS),
    ]
    assert desk.at.waited_s == []


@pytest.mark.parametrize(("budget_s", "waited_s"), [(0.1, []), (0.15, [0.1]), (2.0, [0.1, 0.2, 0.5, 0.5, 0.5])])
def test_request_that_loses_every_race_waits_longer_and_reads_again(budget_s: float, waited_s: list[float]) -> None:
    """[34] While time is left for another attempt."""
    desk = Desk(budget_s)
    changed = replace(ROOMY, revision=9)
    desk.conflicts = [Conflict(changed, None)] * ATTEMPTS_MAX
    desk.found = [(replace(ROOMY, revision=number), None) for number in range(20, 40)]
    with pytest.raises(Contended):
        desk.create(ROOMY, key="hash")
    assert desk.at.waited_s == waited_s
    seen = [one[1].revision for one in desk.did if one[0] == "insert"]
    assert seen == [ROOMY.revision, 9, 9, 9, *([20, 21, 22, 23, 24][: len(waited_s)])]


def test_request_of_a_workspace_that_is_deleted_meanwhile_is_unauthorized(desk: Desk) -> None:
    """[1] As the next request would be: it is not tried until its time is over."""
    desk.lines, desk.checked, desk.found = {LINE_ID: [HOLDER]}, CANCELED, [(None, None)]
    with pytest.raises(Unauthorized):
        desk.create(LOCKED)


def test_fingerprint_is_of_the_fields_that_are_there() -> None:
    """[29] A new optional field changes none; those that are stored are compared with it."""
    text = '{"channel_type": "phone", "first_name": "Ada", "last_name": "Lovelace", "line_type": "purchased"}'
    assert fingerprint(PHONE) == sha256_hex(text)
