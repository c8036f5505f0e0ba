"""Line requests in the table: each method is one read or one conditional write.

Every transition of a line and what it means for its workspace (lock, places) is one transaction,
so that a lock exists exactly while one line awaits payment, and names it.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from line_requests import items, places
from line_requests.errors import ForbiddenLineType
from line_requests.items import Item
from line_requests.model import (
    Change,
    Closing,
    IdempotencyRecord,
    Line,
    PaymentStatus,
    Status,
    Workspace,
)
from line_requests.rate_limit import RateLimit
from line_requests.table import ConditionFailed, Table, TransactionLost, Write

# A line that waits for its provisioner is told again after ten minutes, then ever more rarely.
RETELL_AFTER_MS = 10 * 60_000


@dataclass(frozen=True, slots=True)
class Opening:
    """What a request reads first: its workspace, the workspace's keys, and one item of its own."""

    workspace: Workspace | None
    api_keys: Mapping[str, Any]
    record: IdempotencyRecord | None = None
    line: Line | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a new line was not written: what the conditions met instead."""

    workspace: Workspace | None
    record: IdempotencyRecord | None


class Store:
    """The table of one deployment, as line requests see it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def opening(self, workspace_id: str, *, key_hash: str | None = None, line_id: str | None = None) -> Opening:
        """One consistent batch: what a create (with a key) or a poll (of a line) starts from."""
        own = [items.workspace_key(workspace_id)] if line_id is None else []
        keys = [*own, items.keys_key(workspace_id)]
        if key_hash is not None:
            keys.append(items.record_key(workspace_id, key_hash))
        if line_id is not None:
            keys.append(items.line_key(workspace_id, line_id))
        workspace = record = line = None
        api_keys: Mapping[str, Any] = {}
        for (_, sort_key), item in self._table.batch_get(keys).items():
            if sort_key == "WORKSPACE":
                workspace = items.workspace(item)
            elif sort_key == "KEYS":
                api_keys = item["keys"]
            elif sort_key.startswith("KEY#"):
                record = items.record(item)
            else:
                line = items.line(item)
        return Opening(workspace, api_keys, record, line)

    def workspace_of_organisation(self, organisation: str) -> str | None:
        """The workspace that an operator mapped this Clerk organisation to."""
        item = self._table.get(items.organisation_key(organisation))
        return item["workspace_id"] if item else None

    def line(self, workspace_id: str, line_id: str) -> Line | None:
        """The line as it is now."""
        item = self._table.get(items.line_key(workspace_id, line_id))
        return items.line(item) if item else None

    def lines(self, ids: Iterable[tuple[str, str]]) -> list[Line]:
        """Many lines as they are now, by (workspace id, line id)."""
        found = self._table.batch_get(items.line_key(*names) for names in ids)
        return [items.line(item) for item in found.values()]

    def record(self, workspace_id: str, key_hash: str) -> IdempotencyRecord | None:
        """The idempotency record as it is now."""
        item = self._table.get(items.record_key(workspace_id, key_hash))
        return items.record(item) if item else None

    def lines_page(
        self, workspace_id: str, *, limit: int, before: str | None, status: Status | None
    ) -> tuple[list[Line], str | None]:
        """Up to `limit` lines, newest first, older than line `before`; and where to go on.

        A filtered page reads a bounded number of items, so it may be short and still have a next.
        """
        start = None if before is None else items.line_key(workspace_id, before)
        found: list[Line] = []
        values: Item = {"pk": f"W#{workspace_id}", "prefix": "LINE#"}
        if status is not None:
            values["status"] = str(status)
        for _ in range(10):
            page, start = self._table.query(
                "#pk = :pk AND begins_with(#sk, :prefix)",
                values=values,
                descending=True,
                # One more than asked tells whether there is a next page; a filter reads wider.
                limit=limit + 1 if status is None else 250,
                filter_expression=None if status is None else "#status = :status",
                start=start,
            )
            found += map(items.line, page)
            if start is None or len(found) > limit:
                break
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
        return found, start["sk"].removeprefix("LINE#") if start else None

    # --- a new request -------------------------------------------------------------------------

    def charge_rate(self, workspace: Workspace, limit: RateLimit, now_ms: int) -> None:
        """Moves the rate window by one request that changes nothing else; raises RateLimited."""
        tat_ms = workspace.tat_ms
        while True:
            limit.admit(tat_ms, now_ms)
            update, condition, values = places.rate_move(tat_ms, limit, now_ms)
            key = items.workspace_key(workspace.id)
            try:
                self._table.write(Write(key, update=f"SET {update}", condition=condition, values=values))
            except ConditionFailed as failure:
                if failure.item is None:
                    return
                tat_ms = items.workspace(failure.item).tat_ms
            else:
                return

    def admit(  # noqa: PLR0913 - what one transaction is made of
        self,
        workspace: Workspace,
        line: Line,
        *,
        fingerprint: str,
        answer: str | None,
        limit: RateLimit | None,
        now_ms: int,
    ) -> Lost | None:
        """Writes a new line with its place, its lock and its idempotency record, or nothing.

        The conditions repeat what `decision.judge` relied on, so that two of one workspace cannot
        both take the last place; `limit` is None when the request was already counted.
        """
        writes = [
            places.take_place(workspace, line, limit, now_ms),
            Write(
                items.line_key(workspace.id, line.id),
                put=items.line_item(line),
                condition="attribute_not_exists(#pk)",
            ),
        ]
        if line.key_hash is not None:
            writes.append(
                Write(
                    items.record_key(workspace.id, line.key_hash),
                    put={"line_id": line.id, "fingerprint": fingerprint}
                    | ({} if answer is None else {"answer": answer}),
                    condition="attribute_not_exists(#pk)",
                )
            )
        try:
            self._table.transact(writes)
        except TransactionLost as lost:
            now = lost.items[0] if 0 in lost.failed else None
            record = lost.items[-1] if line.key_hash and len(writes) - 1 in lost.failed else None
            return Lost(items.workspace(now) if now else None, items.record(record) if record else None)
        return None

    def freeze_answer(self, line: Line, answer: str) -> tuple[str, bool] | None:
        """Makes `answer` the one answer of the line's idempotency key.

        Returns the key's answer and whether it had been given before; None when the key no longer
        stands for this line.
        """
        if line.key_hash is None:
            return answer, False
        write = Write(
            items.record_key(line.workspace_id, line.key_hash),
            update="SET #answer = :answer",
            condition="#line_id = :line AND attribute_not_exists(#answer)",
            values={"answer": answer, "line": line.id},
        )
        try:
            self._table.write(write)
        except ConditionFailed as failure:
            record = items.record(failure.item) if failure.item else None
            if record is None or record.line_id != line.id or record.answer is None:
                return None
            return record.answer, True
        return answer, False

    # --- the invoice of a line that awaits payment ----------------------------------------------

    def take_lease(self, line: Line, *, free_by_ms: int, until_ms: int) -> Line | None:
        """Lets one caller work on this line at Stripe; None when somebody else does or just did."""
        return self._while_awaiting(
            line,
            "SET #look_after = :until",
            {"until": until_ms, "free_by": free_by_ms},
            condition="#look_after <= :free_by",
        )

    def end_lease(self, line: Line, *, look_after_ms: int, due_at_ms: int) -> Line:
        """Gives the lease back, unless it has passed to another; says when to look again."""
        write = {
            "mine": line.look_after_ms,
            "after": look_after_ms,
            "due": due_at_ms,
            "shard": items.due_shard(line.id),
        }
        update = "SET #look_after = :after, #due_at = :due, #due_shard = :shard"
        return self._while_awaiting(line, update, write, condition="#look_after = :mine") or line

    def save_invoice(self, line: Line, invoice_id: str) -> Line | None:
        """Remembers the draft; None when the line has another invoice or is no longer awaiting."""
        condition = "attribute_not_exists(#invoice_id) OR #invoice_id = :invoice"
        return self._while_awaiting(line, "SET #invoice_id = :invoice", {"invoice": invoice_id}, condition=condition)

    def rest(self, line: Line, *, url: str | None, look_after_ms: int, due_at_ms: int) -> Line | None:
        """Remembers where to pay and when to look again: the invoice is finished, for now."""
        update = "SET #look_after = :after, #due_at = :due, #due_shard = :shard"
        values = {"after": look_after_ms, "due": due_at_ms, "shard": items.due_shard(line.id)}
        if url is not None:
            update += ", #payment_url = :url"
            values["url"] = url
        return self._while_awaiting(line, update, values)

    def next_key_version(self, line: Line, now_ms: int, *, forget_invoice: bool = False) -> Line | None:
        """Moves to fresh Stripe idempotency keys, stored before any is used."""
        return self._while_awaiting(
            line,
            "SET #key_version = #key_version + :one, #keyed_at = :now"
            + (" REMOVE #invoice_id" if forget_invoice else ""),
            {"one": 1, "now": now_ms, "version": line.key_version},
            condition="#key_version = :version",
        )

    def intend(self, line: Line, closing: Closing, now_ms: int) -> Line | None:
        """Stores why the invoice is about to be voided; None when another reason came first."""
        return self._while_awaiting(
            line,
            "SET #closing = :closing, #due_at = :now, #due_shard = :shard",
            {"closing": str(closing), "now": now_ms, "shard": items.due_shard(line.id)},
            condition="attribute_not_exists(#closing)",
        )

    def _while_awaiting(self, line: Line, update: str, values: Item, condition: str | None = None) -> Line | None:
        guard = "#status = :awaiting" + (f" AND ({condition})" if condition else "")
        write = Write(
            items.line_key(line.workspace_id, line.id),
            update=update,
            condition=guard,
            values=values | {"awaiting": str(Status.AWAITING_PAYMENT)},
        )
        try:
            return items.line(self._table.write(write))
        except ConditionFailed:
            return None

    # --- transitions ----------------------------------------------------------------------------

    def promote(self, line: Line, now_ms: int, *, invoice_id: str, url: str | None) -> Line:
        """From awaiting_payment to provisioning, paid: frees the lock; the place is paid for."""
        found = {"invoice_id": invoice_id} | ({"payment_url": url} if url else {})
        freed = places.free_lock(line, paid=True, now_ms=now_ms)
        paid = replace(line, payment_status=PaymentStatus.PAID)
        return self._transition(paid, Status.PROVISIONING, "invoice_paid", now_ms, freed, attributes=found)

    def include(self, line: Line, now_ms: int) -> Line:
        """From awaiting_payment to provisioning, not_required: the plan has come to include it."""
        freed = places.free_lock(line, now_ms=now_ms)
        free = replace(line, payment_status=PaymentStatus.NOT_REQUIRED)
        return self._transition(free, Status.PROVISIONING, "plan_includes_line", now_ms, freed, guard_closing=True)

    def cancel(self, line: Line, cause: str, now_ms: int) -> Line:
        """From awaiting_payment to canceled: frees lock and place, and the key unless it has answered."""
        freed = places.free_lock(line, gone=True, now_ms=now_ms)
        gone = replace(line, payment_status=PaymentStatus.CANCELED)
        unanswered = self._unanswered_record(line)
        canceled = self._transition(gone, Status.CANCELED, cause, now_ms, freed, extra=unanswered, guard_closing=True)
        if canceled.awaiting and unanswered and not self._unanswered_record(line):
            # The key has just answered, so it stays: once more without it.
            canceled = self._transition(gone, Status.CANCELED, cause, now_ms, freed, guard_closing=True)
        return canceled

    def _unanswered_record(self, line: Line) -> list[Write]:
        """The deletion of the line's idempotency record, if it has one that has not answered yet."""
        record = self.record(line.workspace_id, line.key_hash) if line.key_hash else None
        if record is None or record.line_id != line.id or record.answer is not None:
            return []
        return [
            Write(
                items.record_key(line.workspace_id, line.key_hash or ""),
                condition="#line_id = :line AND attribute_not_exists(#answer)",
                values={"line": line.id},
            )
        ]

    def provisioned(self, line: Line, now_ms: int) -> Line:
        """From provisioning to active."""
        return self._transition(line, Status.ACTIVE, "provisioned", now_ms, None)

    def provisioning_failed(self, line: Line, reason: str, now_ms: int) -> Line:
        """From provisioning to failed: gives the place back."""
        return self._transition(line, Status.FAILED, reason, now_ms, places.give_back(line, now_ms))

    def retry_provisioning(self, workspace: Workspace, line: Line, cause: str, now_ms: int) -> Line:
        """From failed back to provisioning, taking a place again; raises ForbiddenLineType without one."""
        place = places.take_again(workspace, line, now_ms)
        try:
            return self._transition(line, Status.PROVISIONING, cause, now_ms, place)
        except TransactionLost as lost:
            raise ForbiddenLineType("The plan has no place left for this line.") from lost

    def release(self, line: Line, cause: str, now_ms: int) -> Line:
        """From active or failed to canceled; an active line gives its place back."""
        place = places.give_back(line, now_ms) if line.status is Status.ACTIVE else None
        return self._transition(line, Status.CANCELED, cause, now_ms, place)

    def _transition(  # noqa: PLR0913 - a transition has this many parts
        self,
        line: Line,
        status: Status,
        cause: str,
        now_ms: int,
        workspace: Write | None,
        *,
        attributes: Item | None = None,
        extra: list[Write] | None = None,
        guard_closing: bool = False,
    ) -> Line:
        """Moves a line on, once; returns it as it then is, moved by this call or by another."""
        change = Change(now_ms, status, cause)
        due_at_ms = now_ms + RETELL_AFTER_MS if status is Status.PROVISIONING else None
        values: Item = {
            "status": str(status),
            "payment": str(line.payment_status),
            "change": [items.change_item(change)],
            "sequence": line.sequence,
        }
        update = "SET #status = :status, #payment_status = :payment, #history = list_append(#history, :change)"
        for name, value in (attributes or {}).items():
            update += f", #{name} = :{name}"
            values[name] = value
        if due_at_ms is not None:
            update += ", #due_at = :due, #due_shard = :shard"
            values |= {"due": due_at_ms, "shard": items.due_shard(line.id)}
        update += " REMOVE #closing" + ("" if due_at_ms is not None else ", #due_at, #due_shard")
        condition = "size(#history) = :sequence"
        if guard_closing and line.closing is not None:
            condition += " AND #closing = :closing"
            values["closing"] = str(line.closing)
        elif guard_closing:
            condition += " AND attribute_not_exists(#closing)"
        key = items.line_key(line.workspace_id, line.id)
        writes = [Write(key, update=update, condition=condition, values=values)]
        writes += [workspace] if workspace else []
        try:
            self._table.transact(writes + (extra or []))
        except TransactionLost as lost:
            current = self.line(line.workspace_id, line.id)
            # Either the line has moved on, which settles it, or its workspace does not allow the move.
            if current is None or (current.sequence == line.sequence and lost.failed == {1}):
                raise
            return current
        attributes = attributes or {}
        return replace(
            line,
            status=status,
            history=(*line.history, change),
            closing=None,
            due_at_ms=due_at_ms,
            invoice_id=attributes.get("invoice_id", line.invoice_id),
            payment_url=attributes.get("payment_url", line.payment_url),
        )

    def flag_refund(self, line: Line, invoice_id: str) -> None:
        """Marks a canceled line whose invoice was paid."""
        write = Write(
            items.line_key(line.workspace_id, line.id),
            update="SET #refund_due = :yes, #invoice_id = :invoice REMOVE #due_at, #due_shard",
            condition="#payment_status = :canceled AND attribute_not_exists(#refund_due)",
            values={"yes": True, "invoice": invoice_id, "canceled": str(PaymentStatus.CANCELED)},
        )
        with suppress(ConditionFailed):
            self._table.write(write)

    def due_at(self, line: Line, at_ms: int | None) -> None:
        """Has the reconciler look at the line then, or never again, unless it has moved on."""
        values: Item = {"sequence": line.sequence}
        if at_ms is not None:
            values |= {"due": at_ms, "shard": items.due_shard(line.id)}
        write = Write(
            items.line_key(line.workspace_id, line.id),
            update="REMOVE #due_at, #due_shard" if at_ms is None else "SET #due_at = :due, #due_shard = :shard",
            condition="size(#history) = :sequence",
            values=values,
        )
        with suppress(ConditionFailed):
            self._table.write(write)
