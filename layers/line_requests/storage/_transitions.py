"""Every write to a line after its first: each method is one conditional write or one transaction.

A transition and what it means for the workspace (lock, capacity) is one transaction, so that a lock exists exactly
while one line awaits payment, and names it.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from line_requests.domain.errors import ForbiddenLineType
from line_requests.domain.model import (
    Change,
    Delivered,
    IdempotencyRecord,
    Line,
    PaymentStatus,
    ReasonCode,
    Status,
    VoidReason,
    Workspace,
)
from line_requests.storage import capacity, records
from line_requests.storage._marks import REPUBLISH_AFTER_MS, Marks, due_values, same_invoice
from line_requests.storage.attributes import Item
from line_requests.storage.operator_index import entry_update, same_flag
from line_requests.storage.table import ConditionFailed, TransactionCanceled, Write


class Transitions(Marks):
    """The states of a deployment's lines."""

    def get(self, workspace_id: str, line_id: str) -> Line | None:
        """The line as it is now."""
        item = self._table.get(records.line_key(workspace_id, line_id))
        return records.line(item) if item else None

    def idempotency_record(self, workspace_id: str, idempotency_key_hash: str) -> IdempotencyRecord | None:
        """The idempotency record as it is now."""
        item = self._table.get(records.idempotency_key(workspace_id, idempotency_key_hash))
        return records.idempotency_record(item) if item else None

    # --- the invoice of a line that awaits payment ----------------------------------------------

    def take_lease(self, line: Line, *, now_ms: int, until_ms: int, throttled: bool) -> Line | None:
        """Lets one caller work on this line at Stripe; None while another does, or before a poll's turn."""
        return self._update_awaiting(
            line,
            "SET #lease_until_ms = :until",
            {"until": until_ms, "now": now_ms},
            "#lease_until_ms <= :now" + (" AND #next_poll_at_ms <= :now" if throttled else ""),
        )

    def release_lease(self, line: Line, *, next_poll_at_ms: int, due_at_ms: int) -> None:
        """Gives the lease back, unless another caller holds it by now; says when to check next."""
        values = {"mine": line.lease_until_ms, "free": 0, "next": next_poll_at_ms} | due_values(line, due_at_ms)
        update = "SET #lease_until_ms = :free, #next_poll_at_ms = :next, #due_at = :due, #due_shard = :shard"
        self._update_awaiting(line, update, values, "#lease_until_ms = :mine")

    def save_invoice(self, line: Line, invoice_id: str) -> Line | None:
        """Stores the draft's id; None when the line has another invoice or no longer awaits payment."""
        condition = "attribute_not_exists(#invoice_id) OR #invoice_id = :invoice"
        return self._update_awaiting(line, "SET #invoice_id = :invoice", {"invoice": invoice_id}, condition)

    def save_payment_url(
        self, line: Line, *, url: str | None, next_poll_at_ms: int, due_at_ms: int, amount_paid: int = 0
    ) -> Line | None:
        """Stores where to pay, what of it is paid and when to check next, and gives the lease back.

        None when the reason to void changed meanwhile, which decides when the line is due, or when the invoice did.
        """
        update = "SET #lease_until_ms = :free, #next_poll_at_ms = :next, #due_at = :due, #due_shard = :shard"
        update += ", #amount_paid = :paid"
        values: Item = {"free": 0, "next": next_poll_at_ms, "paid": amount_paid, "invoice": line.invoice_id}
        values |= due_values(line, due_at_ms)
        if url is not None:
            update += ", #payment_url = :url"
            values["url"] = url
        condition, reason = _same_void_reason(line)
        condition += " AND (attribute_not_exists(#invoice_id) OR #invoice_id = :invoice)"
        return self._update_awaiting(line, update, values | reason, condition)

    def follow_revision(self, line: Line, invoice_id: str, url: str | None) -> Line | None:
        """Makes a revision the line's invoice; None when the line has another invoice or no longer awaits payment."""
        update = "SET #invoice_id = :revision, #payment_url = :url"
        values: Item = {"revision": invoice_id, "original": line.invoice_id, "url": url or line.payment_url}
        return self._update_awaiting(line, update, values, "#invoice_id = :original")

    def rotate_stripe_keys(self, line: Line, now_ms: int, *, forget_invoice: bool = False) -> Line | None:
        """Moves to new Stripe idempotency keys, stored before any is used; None when another caller did.

        A deleted draft is forgotten, to be made again, only while there is no reason to void.
        """
        return self._update_awaiting(
            line,
            "SET #stripe_key_version = #stripe_key_version + :one, #stripe_keyed_at_ms = :now"
            + (" REMOVE #invoice_id" if forget_invoice else ""),
            {"one": 1, "now": now_ms, "version": line.stripe_key_version},
            "#stripe_key_version = :version" + (" AND attribute_not_exists(#void_reason)" if forget_invoice else ""),
        )

    def record_void_reason(self, line: Line, reason: VoidReason, now_ms: int) -> Line | None:
        """Stores why the invoice is about to be voided; None when another reason came first."""
        return self._update_awaiting(
            line,
            "SET #void_reason = :reason, #due_at = :due, #due_shard = :shard",
            {"reason": str(reason)} | due_values(line, now_ms),
            "attribute_not_exists(#void_reason)",
        )

    def _update_awaiting(self, line: Line, update: str, values: Item, condition: str) -> Line | None:
        """The line after the update; None when it no longer awaits payment or the condition does not hold."""
        write = Write(
            records.line_key(line.workspace_id, line.id),
            update=update,
            condition=f"#status = :awaiting AND ({condition})",
            values=values | {"awaiting": str(Status.AWAITING_PAYMENT)},
        )
        with suppress(ConditionFailed):
            return records.line(self._table.write(write))
        return None

    # --- transitions ----------------------------------------------------------------------------

    def mark_paid(
        self, line: Line, now_ms: int, *, invoice_id: str, url: str | None, replaced: str | None = None
    ) -> Line:
        """From awaiting_payment to provisioning, paid: frees the lock; the place is paid for.

        `replaced`: the line's invoice when a copy of it was paid; the line is due until it is void.
        """
        found = {"invoice_id": invoice_id} | ({"payment_url": url} if url else {})
        found |= {"replaced_invoice_id": replaced} if replaced else {}
        freed = capacity.release_lock(line, paid=True, now_ms=now_ms)
        paid = replace(line, payment_status=PaymentStatus.PAID)
        change = Change(now_ms, Status.PROVISIONING, "invoice_paid")
        return self._transition(paid, change, freed, attributes=found, unchanged=[same_invoice(line)])

    def waive(self, line: Line, now_ms: int) -> Line:
        """From awaiting_payment to provisioning, not_required: the plan includes it by now."""
        freed = capacity.release_lock(line, now_ms=now_ms)
        free = replace(line, payment_status=PaymentStatus.NOT_REQUIRED)
        change = Change(now_ms, Status.PROVISIONING, "plan_includes_line")
        return self._transition(free, change, freed, unchanged=[_same_void_reason(line), same_invoice(line)])

    def cancel(self, line: Line, cause: str, now_ms: int) -> Line:
        """From awaiting_payment to canceled: frees lock and place, and the idempotency key unless it was answered."""
        freed = capacity.release_lock(line, canceled=True, now_ms=now_ms)
        gone = replace(line, payment_status=PaymentStatus.CANCELED)
        change = Change(now_ms, Status.CANCELED, cause)
        unanswered = self._delete_unanswered_record(line)
        unchanged = [_same_void_reason(line), same_invoice(line)]
        canceled = self._transition(gone, change, freed, extra=unanswered, unchanged=unchanged)
        if canceled.awaiting and unanswered and not self._delete_unanswered_record(line):
            # The key was answered meanwhile, so its record stays: cancel without deleting it.
            canceled = self._transition(gone, change, freed, unchanged=unchanged)
        return canceled

    def _delete_unanswered_record(self, line: Line) -> list[Write]:
        """The deletion of the line's idempotency record, if it has one that was not answered yet."""
        idempotency_key_hash = line.idempotency_key_hash
        record = self.idempotency_record(line.workspace_id, idempotency_key_hash) if idempotency_key_hash else None
        if record is None or record.line_id != line.id or record.response_body is not None:
            return []
        return [
            Write(
                records.idempotency_key(line.workspace_id, idempotency_key_hash or ""),
                condition="#line_id = :line AND attribute_not_exists(#response_body)",
                values={"line": line.id},
            )
        ]

    def mark_active(self, line: Line, now_ms: int, delivered: Delivered | None = None) -> Line:
        """From provisioning to active, with what was delivered."""
        found = {} if delivered is None else {"delivered": delivered}
        return self._transition(line, Change(now_ms, Status.ACTIVE, "provisioned"), None, attributes=found)

    def mark_failed(self, line: Line, reason: str | None, now_ms: int, code: ReasonCode = ReasonCode.OTHER) -> Line:
        """From provisioning to failed: gives the place back."""
        change = Change(now_ms, Status.FAILED, "provisioning_failed", code, reason)
        return self._transition(line, change, capacity.give_back(line, now_ms))

    def retry(self, workspace: Workspace, line: Line, cause: str, now_ms: int) -> Line:
        """From failed back to provisioning, taking a place again; raises ForbiddenLineType without one."""
        place = capacity.take_again(workspace, line, now_ms)
        try:
            return self._transition(line, Change(now_ms, Status.PROVISIONING, cause), place)
        except TransactionCanceled as canceled:
            raise ForbiddenLineType("The plan has no place left for this line.") from canceled

    def release(self, line: Line, cause: str, now_ms: int) -> Line:
        """From active or failed to canceled: an active line gives its place back, a failed paid one is to refund."""
        failed = line.status is Status.FAILED
        place = None if failed else capacity.give_back(line, now_ms)
        refund = {"refund_due": True} if failed and line.payment_status is PaymentStatus.PAID else None
        # Due, because it may have been refunded already; then the reconciler clears the flag.
        due_at_ms = now_ms if refund else None
        change = Change(now_ms, Status.CANCELED, cause)
        return self._transition(line, change, place, attributes=refund, due_at_ms=due_at_ms)

    def _transition(  # noqa: PLR0913 - a transition has this many parts
        self,
        line: Line,
        change: Change,
        workspace_write: Write | None,
        *,
        attributes: dict[str, Any] | None = None,
        extra: list[Write] | None = None,
        unchanged: Iterable[tuple[str, Item]] = (),
        due_at_ms: int | None = None,
    ) -> Line:
        """Moves a line to its next state, once; returns the line as stored, moved by this call or by another."""
        attributes, flag = attributes or {}, same_flag(line)
        line = replace(line, **attributes)
        stored = records.line_item(line)
        if change.status is Status.PROVISIONING:
            due_at_ms = change.at_ms + REPUBLISH_AFTER_MS
        if line.replaced_invoice_id is not None:
            due_at_ms = change.at_ms
        moved = replace(
            line, status=change.status, history=(*line.history, change), void_reason=None, due_at_ms=due_at_ms
        )
        values: Item = {
            "status": str(change.status),
            "payment_status": str(line.payment_status),
            "change": [records.change_item(change)],
            "sequence": line.sequence,
            "yes": True,
        }
        sets = ["#status = :status", "#payment_status = :payment_status", "#history = list_append(#history, :change)"]
        sets += [f"#{name} = :{name}" for name in attributes]
        values |= {name: stored[name] for name in attributes}
        entry_sets, entry_removes, entry = entry_update(moved)
        sets += entry_sets
        values |= entry
        removes = ["#void_reason", *entry_removes]
        if due_at_ms is None:
            removes += ["#due_at", "#due_shard"]
        else:
            sets += ["#due_at = :due", "#due_shard = :shard"]
            values |= due_values(line, due_at_ms)
        condition = "size(#history) = :sequence"
        for same, read in unchanged:
            condition += f" AND {same}"
            values |= read
        condition += f" AND {flag}"
        key = records.line_key(line.workspace_id, line.id)
        update = f"SET {', '.join(sets)} REMOVE {', '.join(removes)}"
        writes = [Write(key, update=update, condition=condition, values=values)]
        writes += [workspace_write] if workspace_write else []
        try:
            self._table.transact(writes + (extra or []))
        except TransactionCanceled as canceled:
            current = self.get(line.workspace_id, line.id)
            # Either the line has moved on, which settles it, or its workspace does not allow the move.
            if current is None or (current.sequence == line.sequence and canceled.failed == {1}):
                raise
            if current.sequence == line.sequence and not current.awaiting:
                # Only the refund flag has changed, on which the operators' entry depends.
                return self._transition(current, change, workspace_write, attributes=attributes, due_at_ms=due_at_ms)
            return current
        return moved

    def flag_refund(self, line: Line, invoice_id: str) -> bool:
        """Marks a settled line to have this invoice refunded; False if it is, or if something went back meanwhile."""
        if line.awaiting or (line.payment_status is PaymentStatus.PAID and line.invoice_id == invoice_id):
            return False
        entry_sets, _, entry = entry_update(replace(line, refund_due=True))
        if line.refundable:
            sets, removes = ["#invoice_id = :invoice"], " REMOVE #due_at, #due_shard"
            condition = "#refund_due <> :yes"
        else:
            sets, removes = ["#refund_invoice_id = :invoice"], ""
            condition = "attribute_not_exists(#refund_invoice_id) OR #refund_invoice_id <> :invoice"
        write = Write(
            records.line_key(line.workspace_id, line.id),
            update=f"SET {', '.join(['#refund_due = :yes', *sets, *entry_sets])}{removes}",
            condition=f"#payment_status = :status AND attribute_not_exists(#reversals) AND ({condition})",
            values={"yes": True, "invoice": invoice_id, "status": str(line.payment_status)} | entry,
        )
        with suppress(ConditionFailed):
            self._table.write(write)
            return True
        return False


def _same_void_reason(line: Line) -> tuple[str, Item]:
    """The condition that the reason to void is still what was read, and its values."""
    if line.void_reason is None:
        return "attribute_not_exists(#void_reason)", {}
    return "#void_reason = :void_reason", {"void_reason": str(line.void_reason)}
