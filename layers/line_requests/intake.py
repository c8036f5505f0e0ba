"""A new request: judged, written with its place, its lock and its key in one go, then billed."""

import json
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar

from line_requests import decision, items, responses
from line_requests.clock import Clock
from line_requests.errors import Contended, LineRequestError, RequestInProgress
from line_requests.lifecycle import LEASE_MS, Lifecycle
from line_requests.model import (
    AddOn,
    Change,
    IdempotencyRecord,
    Line,
    PaymentStatus,
    Status,
    Submission,
    Workspace,
)
from line_requests.rate_limit import RateLimit
from line_requests.store import Lost, Store
from line_requests.telemetry import logger

# Each round follows a change by somebody else; who has lost a few lets others go first, the last pause for good.
PAUSES_S = (0.0, 0.0, 0.0, 0.1, 0.2, 0.5)
_SORTED = json.JSONEncoder(sort_keys=True)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A 201: its JSON body, and whether an idempotency key had it before, or for another body."""

    body: str
    replayed: bool = False
    mismatch: bool = False


class Intake:
    """What one invocation can do with a request for a line."""

    def __init__(self, store: Store, lifecycle: Lifecycle, clock: Clock, limit: RateLimit, window_ms: int) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._clock = clock
        self._limit: RateLimit | None = limit
        self._window_ms = window_ms

    def refuse(self, workspace: Workspace, error: LineRequestError) -> LineRequestError:
        """Counts a request that is refused for its form; raises RateLimited when that comes first."""
        self._count(workspace)
        return error

    def submit(
        self,
        workspace: Workspace,
        record: IdempotencyRecord | None,
        submission: Submission,
        key_hash: str | None,
    ) -> Answer:
        """Decides and carries out one request; `workspace` and `record` are what was just read.

        Raises what `decision.judge` raises, RateLimited, RequestInProgress, BillingRefused,
        BillingUnavailable, Contended.
        """
        fingerprint = items.hash_of(_SORTED.encode(items.submission_item(submission)))
        for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
            if record is not None:
                self._count(workspace)
                outcome: Answer | Lost | None = self._join(workspace, record, fingerprint)
            else:
                outcome = self._begin(workspace, submission, key_hash, fingerprint)
            if isinstance(outcome, Answer):
                return outcome
            if self._clock.remaining_s() <= pause_s:
                break
            workspace, record = self._next_round(workspace, key_hash, outcome, pause_s)
        logger.warning("others came first for as long as there was time")
        raise Contended

    def _begin(
        self, workspace: Workspace, submission: Submission, key_hash: str | None, fingerprint: str
    ) -> Answer | Lost | None:
        """A request whose key, if any, is new; no Answer when what was read is out of date."""
        if self._limit is not None:
            self._limit.admit(workspace.tat_ms, self._clock.now_ms())
        try:
            add_on = decision.judge(workspace, submission.kind)
        except LineRequestError:
            if self._count_and_find(workspace, key_hash, None)[0] is not None:
                return None
            raise
        if workspace.lock is not None:
            self._conflict(workspace, key_hash, workspace.lock)
            return None
        line = self._line(workspace, submission, key_hash, add_on)
        body = json.dumps(responses.created_body(line, self._window_ms))
        lost = self._store.admit(
            workspace,
            line,
            fingerprint=fingerprint,
            answer=None if line.awaiting else body,
            limit=self._limit,
            now_ms=self._clock.now_ms(),
        )
        if lost is not None:
            return lost
        self._limit = None
        return self._answer(self._lifecycle.make(line)) if line.awaiting else Answer(body)

    def _join(self, workspace: Workspace, record: IdempotencyRecord, fingerprint: str) -> Answer | None:
        """Gives the key's answer, after helping to finish it if need be; None when the key is free."""
        mismatch = record.fingerprint != fingerprint
        if record.answer is not None:
            return Answer(record.answer, replayed=True, mismatch=mismatch)
        line = self._store.line(workspace.id, record.line_id)
        answer = self._answer(self._lifecycle.finish(line)) if line is not None else None
        return Answer(answer.body, answer.replayed, mismatch) if answer is not None else None

    def _answer(self, line: Line) -> Answer | None:
        """Freezes the 201; None when the line was canceled before it could be answered."""
        if line.status is Status.CANCELED and line.history[-2].status is Status.AWAITING_PAYMENT:
            return None
        body = json.dumps(responses.created_body(line, self._window_ms))
        frozen = self._store.freeze_answer(line, body)
        return Answer(*frozen) if frozen is not None else None

    def _conflict(self, workspace: Workspace, key_hash: str | None, lock: str) -> None:
        """Raises RequestInProgress if the lock's holder, looked at again, still awaits payment."""
        record, holder = self._count_and_find(workspace, key_hash, lock)
        if record is not None or holder is None or not holder.awaiting:
            return
        try:
            holder = self._lifecycle.peek(holder, workspace)
        except LineRequestError:
            holder = self._store.line(workspace.id, lock) or holder
        if holder.awaiting:
            raise RequestInProgress(holder)

    def _count(self, workspace: Workspace) -> None:
        if self._limit is not None:
            self._store.charge_rate(workspace, self._limit, self._clock.now_ms())
            self._limit = None

    def _count_and_find(
        self, workspace: Workspace, key_hash: str | None, holder: str | None
    ) -> tuple[IdempotencyRecord | None, Line | None]:
        """Counts a request that will be refused, and reads beside it what could still save it.

        A batch is no snapshot: without another look at its own key a request could be told that
        it is blocked by itself.
        """
        with ThreadPoolExecutor(max_workers=3) as pool:
            counted = _start(pool, lambda: self._count(workspace))
            found = _start(pool, lambda: self._store.record(workspace.id, key_hash)) if key_hash else None
            held = _start(pool, lambda: self._store.line(workspace.id, holder)) if holder else None
        counted.result()
        return found.result() if found else None, held.result() if held else None

    def _next_round(
        self, workspace: Workspace, key_hash: str | None, lost: Lost | None, pause_s: float
    ) -> tuple[Workspace, IdempotencyRecord | None]:
        """What the next round begins with: what the losing side of a transaction was shown spares another read."""
        if pause_s:
            self._clock.sleep(pause_s)
        elif lost is not None:
            return lost.workspace or workspace, lost.record
        opening = self._store.opening(workspace.id, key_hash=key_hash)
        return opening.workspace or workspace, opening.record

    def _line(self, workspace: Workspace, submission: Submission, key_hash: str | None, add_on: AddOn | None) -> Line:
        now_ms = self._clock.now_ms()
        status = Status.PROVISIONING if add_on is None else Status.AWAITING_PAYMENT
        return Line(
            # Sortable by time, so that a page of the newest lines is one query.
            id=f"{now_ms:012x}{secrets.token_hex(6)}",
            workspace_id=workspace.id,
            submission=submission,
            status=status,
            payment_status=(PaymentStatus.NOT_REQUIRED if add_on is None else PaymentStatus.AWAITING_PAYMENT),
            created_at_ms=now_ms,
            history=(Change(now_ms, status, "requested"),),
            charge=decision.charge_for(workspace, add_on) if add_on else None,
            key_hash=key_hash,
            keyed_at_ms=now_ms,
            look_after_ms=now_ms + LEASE_MS if add_on else 0,
            # Half-made until its invoice is finished: due at once, though the lease comes first.
            due_at_ms=now_ms if add_on else None,
        )


def _start(pool: ThreadPoolExecutor, call: Callable[[], T]) -> "Future[T]":
    """Runs beside the caller, with the caller's context."""
    return pool.submit(copy_context().run, call)
