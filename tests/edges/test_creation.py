"""One request for a line, attempt after attempt: what is read, counted, inserted and answered."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.bodies import created_body
from line_requests.domain.errors import (
    BillingUnavailable,
    Contended,
    ForbiddenLineType,
    RateLimited,
    RequestInProgress,
    TableUnavailable,
)
from line_requests.domain.model import Change, IdempotencyRecord, PaymentStatus, Status
from line_requests.domain.prices import Allowance
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.flows.create import Created, Creation, fingerprint
from line_requests.flows.leases import LEASE_MS
from line_requests.storage.lines import REPUBLISH_AFTER_MS, Conflict
from tests.decision import examples
from tests.decision.examples import ADD_ONS, LINE_ID, NOW_MS, SUBMISSIONS, counts, subscription, workspace
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from line_requests.domain.model import Line, Workspace

PHONE = SUBMISSIONS[Kind.PURCHASED_PHONE]
PRINT = fingerprint(PHONE)
LIMIT = RateLimit(per_minute=60, burst=2)
ROOM = workspace(subscription=subscription(purchased_phone=Allowance(1, add_on=ADD_ONS[Kind.PURCHASED_PHONE])))
FULL = replace(ROOM, held=counts(purchased_phone=1), unpaid=counts(purchased_phone=1))
CLOSED = replace(FULL, subscription=subscription(purchased_phone=Allowance(1)))
LOCKED = replace(ROOM, lock=LINE_ID)
HOLDER = examples.line()
ANSWERED = IdempotencyRecord(LINE_ID, PRINT, '{"answer": 1}')
HALF = IdempotencyRecord(LINE_ID, PRINT, None)


class Counter:
    """The stores and the lifecycle behind one request, and what they were told."""

    def __init__(self, **found: Any) -> None:  # noqa: ANN401 - what each call answers
        self.found = found
        self.did: list[str] = []
        self.inserted: list[tuple[Line, IdempotencyRecord, RateLimit | None]] = []
        self.clock = WaitingClock(NOW_MS, found.pop("budget_s", 18.0))
        stub: Any = SimpleNamespace(lines=self, workspaces=self)
        lifecycle: Any = self
        self.creation = Creation(stub, lifecycle, self.clock, limit=LIMIT, window_ms=0)

    def create(self, seen: Workspace = ROOM, record: IdempotencyRecord | None = None, key: str | None = "k") -> Created:
        return self.creation.create(seen, record, PHONE, key)

    def _told(self, name: str, usual: Any = None) -> Any:  # noqa: ANN401 - what the call answers
        self.did.append(name)
        assert len(self.did) < 999, "it does not end"
        answer = self.found.get(name, usual)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else usual
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- stores and lifecycle -------------------------------------------------------------------

    def consume_rate(self, *_: object) -> None:
        self._told("count")

    def idempotency_record(self, *_: object) -> Any:  # noqa: ANN401 - found
        return self._told("record")

    def get(self, _: str, line_id: str) -> Any:  # noqa: ANN401 - found
        assert line_id == LINE_ID
        return self._told("get")

    def workspace_and_record(self, *_: object) -> Any:  # noqa: ANN401 - found
        return self._told("again", (ROOM, None))

    def insert_line(self, _: Workspace, line: Line, record: IdempotencyRecord, **options: Any) -> Any:  # noqa: ANN401 - found
        self.inserted.append((line, record, options["limit"]))
        return self._told("insert")

    def freeze_response(self, _: Line, body: str) -> Any:  # noqa: ANN401 - found
        return self._told("freeze", (body, False))

    def finalize_new(self, _: object, line: Line) -> Any:  # noqa: ANN401 - found
        return self._told("finalize", line)

    def advance(self, _: object, line: Line, __: object, *, wait: bool) -> Any:  # noqa: ANN401 - found
        assert wait
        return self._told("advance", line)

    def check_holder(self, _: object, holder: Line, __: Workspace) -> Any:  # noqa: ANN401 - found
        return self._told("check", holder)


def test_included_request_is_one_write_that_counts_it() -> None:
    """[15][35]"""
    made = Counter()
    answer = made.create()
    [(line, record, limit)] = made.inserted
    assert made.did == ["insert"]
    assert answer.body == json.dumps(created_body(line, 0))
    assert (answer.replayed, answer.mismatch) == (False, False)
    assert (record, limit) == (IdempotencyRecord(line.id, PRINT, answer.body), LIMIT)
    assert (line.status, line.payment_status) == (Status.PROVISIONING, PaymentStatus.NOT_REQUIRED)
    assert (line.charge, line.lease_until_ms, line.due_at_ms) == (None, 0, NOW_MS + REPUBLISH_AFTER_MS)
    assert line.history == (Change(NOW_MS, Status.PROVISIONING, "requested"),)


def test_payable_request_is_inserted_with_its_lease_then_finished_and_frozen() -> None:
    """[16][27]"""
    made = Counter()
    answer = made.create(FULL)
    [(line, record, _)] = made.inserted
    assert made.did == ["insert", "finalize", "freeze"]
    assert json.loads(answer.body)["status"] == "awaiting_payment"
    assert (record.response_body, line.payment_status) == (None, PaymentStatus.AWAITING_PAYMENT)
    assert (line.lease_until_ms, line.due_at_ms, line.charge is not None) == (NOW_MS + LEASE_MS, NOW_MS, True)


@pytest.mark.parametrize("failing", ["finalize", "freeze"])
def test_failure_of_the_table_names_the_line_that_is_kept(failing: str) -> None:
    """[64]"""
    made = Counter(**{failing: TableUnavailable("throttled")})
    with pytest.raises(TableUnavailable) as trouble:
        made.create(FULL)
    assert trouble.value.line_id == made.inserted[0][0].id


def test_used_up_rate_limit_refuses_before_anything_else() -> None:
    """[35]"""
    made = Counter()
    with pytest.raises(RateLimited):
        made.create(replace(CLOSED, tat_ms=NOW_MS + 9_000))
    assert made.did == []


@pytest.mark.parametrize("key", ["k", None])
def test_refused_request_is_counted_while_its_key_is_read_again(key: str | None) -> None:
    """[22][31]"""
    made = Counter()
    with pytest.raises(ForbiddenLineType):
        made.create(CLOSED, key=key)
    assert sorted(made.did) == (["count", "record"] if key else ["count"])


def test_refused_request_whose_key_has_an_answer_by_now_repeats_it() -> None:
    """[29][31] It is counted once."""
    made = Counter(record=ANSWERED, again=(CLOSED, ANSWERED))
    assert made.create(CLOSED) == Created(ANSWERED.response_body or "", replayed=True)
    assert made.did.count("count") == 1


def test_failure_to_count_a_refused_request_is_raised() -> None:
    """[35]"""
    with pytest.raises(RateLimited):
        Counter(count=RateLimited(1)).create(CLOSED)


# --- an idempotency key ---------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_known_key_repeats_its_answer_and_says_whether_the_body_differs(*, same: bool) -> None:
    """[29]"""
    made = Counter()
    record = ANSWERED if same else replace(ANSWERED, fingerprint="another")
    assert made.create(record=record) == Created('{"answer": 1}', replayed=True, mismatch=not same)
    assert made.did == ["count"]


@pytest.mark.parametrize("same", [True, False])
def test_key_of_a_half_made_line_is_finished(*, same: bool) -> None:
    """[31][33]"""
    made = Counter(get=HOLDER, freeze=("{}", True))
    answer = made.create(record=HALF if same else replace(HALF, fingerprint="another"))
    assert answer == Created("{}", replayed=True, mismatch=not same)
    assert made.did == ["count", "get", "advance", "freeze"]


def canceled(*before: Status) -> Line:
    changes = tuple(Change(NOW_MS, status, "x") for status in (*before, Status.CANCELED))
    return replace(HOLDER, status=Status.CANCELED, history=changes)


@pytest.mark.parametrize(
    ("found", "free"),
    [
        ({"get": None}, True),
        ({"get": HOLDER, "advance": canceled(Status.AWAITING_PAYMENT)}, True),
        ({"get": HOLDER, "freeze": [None]}, True),
        ({"get": HOLDER, "advance": canceled(Status.AWAITING_PAYMENT, Status.PROVISIONING, Status.ACTIVE)}, False),
    ],
)
def test_key_whose_line_ended_before_its_answer_is_free(found: dict[str, Any], *, free: bool) -> None:
    """[32] A line that became active and was released is answered."""
    made = Counter(**found)
    answer = made.create(record=HALF)
    assert (made.did[-1] == "insert") is free
    assert ("again" in made.did) is free
    assert json.loads(answer.body)["status"] == "provisioning"


# --- the lock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["still", "unknown", "in trouble"])
def test_request_is_refused_while_the_holder_waits(after: str) -> None:
    """[23][25]"""
    checked = {"still": HOLDER, "unknown": HOLDER, "in trouble": BillingUnavailable("timed out")}[after]
    fresh = replace(HOLDER, payment_url="https://pay/fresh")
    made = Counter(get=[HOLDER, fresh], check=checked)
    with pytest.raises(RequestInProgress) as refusal:
        made.create(LOCKED)
    assert refusal.value.holder == (fresh if after == "in trouble" else HOLDER)
    assert sorted(made.did[:3]) == ["count", "get", "record"]


@pytest.mark.parametrize(
    "found",
    [
        {"get": HOLDER, "check": canceled(Status.AWAITING_PAYMENT)},
        {"get": None},
        {"get": canceled(Status.AWAITING_PAYMENT)},
        {"get": [HOLDER, canceled(Status.AWAITING_PAYMENT)], "check": BillingUnavailable("timed out")},
    ],
)
def test_request_goes_on_when_the_holder_is_gone(found: dict[str, Any]) -> None:
    """[24][25] It reads again, and is counted once."""
    made = Counter(**found)
    assert json.loads(made.create(LOCKED).body)["status"] == "provisioning"
    assert made.did[-2:] == ["again", "insert"] or made.did[-1] == "insert"
    assert (made.did.count("count"), made.inserted[0][2]) == (1, None)
    assert ("check" in made.did) is ("check" in found)


def test_request_is_not_refused_by_its_own_line() -> None:
    """[29][31]"""
    made = Counter(record=ANSWERED, get=HOLDER, again=(LOCKED, ANSWERED))
    assert made.create(LOCKED).replayed
    assert "check" not in made.did


# --- lost races -----------------------------------------------------------------------------------


def test_lost_race_starts_from_what_it_met() -> None:
    """[31] The items that the transaction returned spare a read."""
    made = Counter(insert=[Conflict(FULL, None)])
    assert json.loads(made.create().body)["status"] == "awaiting_payment"
    assert made.did == ["insert", "insert", "finalize", "freeze"]
    made = Counter(insert=[Conflict(None, ANSWERED)])
    assert made.create().replayed
    made = Counter(insert=[Conflict(None, None)])
    assert not made.create(FULL).replayed
    assert made.did == ["insert", "insert", "finalize", "freeze"]


def test_request_that_loses_every_race_pauses_then_gives_up() -> None:
    """[34] After a pause it reads again, and a workspace that is gone is as it was."""
    made = Counter(insert=Conflict(None, None), again=(None, None), budget_s=0.8)
    with pytest.raises(Contended):
        made.create()
    assert made.clock.waited_s == [0.1, 0.2]
    assert made.did.count("again") == 2
    made = Counter(insert=Conflict(None, None), budget_s=0.1)
    with pytest.raises(Contended):
        made.create()
    assert made.clock.waited_s == []


def test_fingerprint_ignores_absent_fields_and_the_order() -> None:
    """[29]"""
    fields = PHONE.model_dump(exclude_none=True)
    backwards = type(PHONE)(**dict(reversed(fields.items())))
    assert fingerprint(backwards) == fingerprint(PHONE.model_copy(update={"zipcode": None})) == PRINT
    assert fingerprint(PHONE.model_copy(update={"first_name": "Grace"})) != PRINT
