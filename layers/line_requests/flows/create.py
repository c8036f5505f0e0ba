"""A new request: judged, inserted with its capacity, its lock and its key in one transaction, then invoiced."""

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, fields
from typing import TypeVar

from line_requests.clock import Clock
from line_requests.domain import decision
from line_requests.domain.bodies import created_body
from line_requests.domain.errors import Contended, LineRequestError, RequestInProgress, TableUnavailable, Unauthorized
from line_requests.domain.ids import new_line_id, sha256_hex
from line_requests.domain.model import Change, IdempotencyRecord, Line, PaymentStatus, Status, Workspace
from line_requests.domain.prices import AddOn
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Submission
from line_requests.flows.leases import LEASE_MS, Until
from line_requests.flows.lifecycle import Lifecycle
from line_requests.storage.lines import REPUBLISH_AFTER_MS, Conflict
from line_requests.storage.stores import Stores
from line_requests.telemetry import logger

# Back-off after lost races; the last pause repeats.
PAUSES_S: tuple[float, ...] = (0.0, 0.0, 0.0, 0.1, 0.2, 0.5)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Created:
    """A 201: its JSON body, and whether it repeats the answer of an idempotency key, or of another body's key."""

    body: str
    replayed: bool = False
    mismatch: bool = False


class Creation:
    """One request for a line, from the decision to the answer."""

    def __init__(
        self,
        stores: Stores,
        lifecycle: Lifecycle,
        clock: Clock,
        *,
        limit: RateLimit,
        window_ms: int,
    ) -> None:
        self._lines = stores.lines
        self._workspaces = stores.workspaces
        self._lifecycle = lifecycle
        self._clock = clock
        self._limit: RateLimit | None = limit
        """None once the request was counted."""
        self._window_ms = window_ms

    def count(self, workspace: Workspace) -> None:
        """Counts the request against the workspace's rate limit, once; raises RateLimited."""
        if self._limit is not None:
            self._workspaces.consume_rate(workspace, self._limit, self._clock.now_ms())
            self._limit = None

    def create(
        self,
        workspace: Workspace,
        record: IdempotencyRecord | None,
        submission: Submission,
        idempotency_key_hash: str | None,
    ) -> Created:
        """Decides and carries out the request; `workspace` and `record` were just read.

        Raises what `decision.judge` raises, RateLimited, RequestInProgress, BillingRefused, BillingUnavailable,
        TableUnavailable, Contended, and Unauthorized when the workspace was deleted meanwhile.
        """
        request_fingerprint = fingerprint(submission)
        for attempt in itertools.count():
            if record is not None:
                self.count(workspace)
                outcome: Created | Conflict | None = self._replay(workspace, record, request_fingerprint)
            else:
                outcome = self._insert(workspace, submission, idempotency_key_hash, request_fingerprint)
            if isinstance(outcome, Created):
                return outcome
            pause_s = PAUSES_S[min(attempt, len(PAUSES_S) - 1)]
            if self._clock.remaining_s() <= pause_s:
                break
            workspace, record = self._read_again(workspace.id, idempotency_key_hash, outcome, pause_s)
        logger.warning("concurrent requests won every attempt")
        raise Contended

    def _insert(
        self, workspace: Workspace, submission: Submission, idempotency_key_hash: str | None, request_fingerprint: str
    ) -> Created | Conflict | None:
        """A request whose key, if any, is new; no Created when what was read is out of date."""
        if self._limit is not None:
            self._limit.check(workspace.tat_ms, self._clock.now_ms())
        try:
            add_on = decision.judge(workspace, submission.kind)
            line = self._new_line(workspace, submission, idempotency_key_hash, add_on) if not workspace.lock else None
        except LineRequestError:
            if self._count_and_read(workspace, idempotency_key_hash, None)[0] is not None:
                return None
            raise
        if line is None:
            self._refuse_while_locked(workspace, idempotency_key_hash)
            return None
        body = json.dumps(created_body(line, self._window_ms))
        conflict = self._lines.insert_line(
            workspace,
            line,
            IdempotencyRecord(line.id, request_fingerprint, None if line.awaiting else body),
            limit=self._limit,
            now_ms=self._clock.now_ms(),
        )
        if conflict is not None:
            return conflict
        self._limit = None
        if not line.awaiting:
            return Created(body)
        with _kept(line.id):
            return self._freeze(self._lifecycle.finalize_new(self._clock, line))

    def _replay(self, workspace: Workspace, record: IdempotencyRecord, request_fingerprint: str) -> Created | None:
        """The key's answer, after helping to finish it if need be; None when the key is free."""
        mismatch = record.fingerprint != request_fingerprint
        if record.response_body is not None:
            return Created(record.response_body, replayed=True, mismatch=mismatch)
        line = self._lines.get(workspace.id, record.line_id)
        if line is None:
            return None
        with _kept(line.id):
            created = self._freeze(self._lifecycle.advance(self._clock, line, Until.FINALIZED, wait=True))
        return Created(created.body, created.replayed, mismatch) if created is not None else None

    def _freeze(self, line: Line) -> Created | None:
        """Freezes the 201; None when the line was canceled before it could be answered."""
        if line.status is Status.CANCELED and line.history[-2].status is Status.AWAITING_PAYMENT:
            return None
        frozen = self._lines.freeze_response(line, json.dumps(created_body(line, self._window_ms)))
        return Created(*frozen) if frozen is not None else None

    def _refuse_while_locked(self, workspace: Workspace, idempotency_key_hash: str | None) -> None:
        """Raises RequestInProgress if the lock's holder, checked at Stripe, still awaits payment."""
        record, holder = self._count_and_read(workspace, idempotency_key_hash, workspace.lock)
        if record is not None or holder is None or not holder.awaiting:
            return
        try:
            holder = self._lifecycle.check_holder(self._clock, holder, workspace)
        except LineRequestError:
            holder = self._lines.get(workspace.id, holder.id)
        if holder is not None and holder.awaiting:
            raise RequestInProgress(holder)

    def _count_and_read(
        self, workspace: Workspace, idempotency_key_hash: str | None, holder_id: str | None
    ) -> tuple[IdempotencyRecord | None, Line | None]:
        """Counts a request that is about to be refused; reads at the same time what could still save it.

        A batch is no snapshot: without reading its own key again, a request could be told that it is blocked by itself.
        """
        with ThreadPoolExecutor(max_workers=3) as pool:
            counted = _start(pool, lambda: self.count(workspace))
            record = (
                _start(pool, lambda: self._lines.idempotency_record(workspace.id, idempotency_key_hash))
                if idempotency_key_hash
                else None
            )
            holder = _start(pool, lambda: self._lines.get(workspace.id, holder_id)) if holder_id else None
        counted.result()
        return record.result() if record else None, holder.result() if holder else None

    def _read_again(
        self, workspace_id: str, idempotency_key_hash: str | None, conflict: Conflict | None, pause_s: float
    ) -> tuple[Workspace, IdempotencyRecord | None]:
        """What the next attempt starts from: the items that the failed transaction returned spare a read.

        Raises Unauthorized when the workspace was deleted meanwhile.
        """
        if pause_s:
            self._clock.sleep(pause_s)
        elif conflict is not None:
            return conflict.workspace, conflict.idempotency_record
        workspace, record = self._lines.workspace_and_record(workspace_id, idempotency_key_hash)
        if workspace is None:
            raise Unauthorized
        return workspace, record

    def _new_line(
        self, workspace: Workspace, submission: Submission, idempotency_key_hash: str | None, add_on: AddOn | None
    ) -> Line:
        now_ms = self._clock.now_ms()
        status = Status.PROVISIONING if add_on is None else Status.AWAITING_PAYMENT
        return Line(
            id=new_line_id(now_ms),
            workspace_id=workspace.id,
            submission=submission,
            status=status,
            payment_status=PaymentStatus.NOT_REQUIRED if add_on is None else PaymentStatus.AWAITING_PAYMENT,
            created_at_ms=now_ms,
            history=(Change(now_ms, status, "requested"),),
            charge=decision.charge_for(workspace, submission, add_on, now_ms) if add_on else None,
            idempotency_key_hash=idempotency_key_hash,
            stripe_keyed_at_ms=now_ms,
            lease_until_ms=now_ms + LEASE_MS if add_on else 0,
            # Half-made until its invoice is finalized: due at once, though the lease comes first.
            due_at_ms=now_ms if add_on else now_ms + REPUBLISH_AFTER_MS,
        )


def fingerprint(submission: Submission) -> str:
    """Tells one request body from another; absent fields do not count, so a new optional field changes none."""
    values = {field.name: getattr(submission, field.name) for field in fields(submission)}
    present = {name: value for name, value in values.items() if value is not None}
    return sha256_hex(json.dumps(present, sort_keys=True))


@contextmanager
def _kept(line_id: str) -> Iterator[None]:
    """Lets the table's failures name the line, which was written before them."""
    try:
        yield
    except TableUnavailable as trouble:
        trouble.line_id = line_id
        raise


def _start(pool: ThreadPoolExecutor, call: Callable[[], T]) -> "Future[T]":
    """Runs beside the caller, with the caller's context."""
    return pool.submit(copy_context().run, call)
