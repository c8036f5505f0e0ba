"""Writes that leave a line in its state: what was heard of refunds, and when the reconciler checks it next."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from line_requests.domain.model import Line, Status
from line_requests.domain.reversals import Reversal
from line_requests.storage import records
from line_requests.storage.attributes import Item
from line_requests.storage.operator_index import entry_update, same_flag
from line_requests.storage.table import ConditionFailed, Table, Write

# A line that waits for its provisioner is published again after ten minutes, then less and less often.
REPUBLISH_AFTER_MS = 10 * 60_000


class Marks:
    """Notes on a deployment's lines, none of which changes a state."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def save_reversals(
        self, line: Line, heard: Sequence[Reversal], *, refund_due: bool, refund_invoice_id: str | None = None
    ) -> Line | None:
        """Adds what was heard of, and sets or clears the refund flag; None when the line has changed since it was read.

        `refund_invoice_id`: the invoice that the flag is about, if another one than is stored. Stripe was read after
        the line: another caller that has read more since then has written, too.
        """
        known = "size(#reversals) = :known" if line.reversals else "attribute_not_exists(#reversals)"
        invoice, read = same_invoice(line)
        values: Item = {"sequence": line.sequence, "yes": True, "refund_due": refund_due}
        values |= {"known": len(line.reversals)} if line.reversals else {}
        sets, removes, entry = ["#refund_due = :refund_due"], list[str](), Item()
        if refund_due is not line.refund_due:
            # A line in provisioning may be late by now: an entry too early raises no alarm, a missing one hides it.
            entry_sets, removes, entry = entry_update(replace(line, refund_due=refund_due), late=True)
            sets += entry_sets
        if refund_invoice_id is not None:
            sets.append("#refund_invoice_id = :refund_invoice_id")
            values["refund_invoice_id"] = refund_invoice_id
        if heard:
            sets.append("#reversals = list_append(if_not_exists(#reversals, :none), :heard)")
            values |= {"none": [], "heard": [records.reversal_item(reversal) for reversal in heard]}
        write = Write(
            records.line_key(line.workspace_id, line.id),
            update=f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removes)}" if removes else ""),
            condition=f"size(#history) = :sequence AND {known} AND {invoice} AND {same_flag(line)}",
            values=values | read | entry,
        )
        try:
            return records.line(self._table.write(write))
        except ConditionFailed:
            return None

    def forget_replaced(self, line: Line) -> None:
        """Notes that the replaced invoice is settled; the line is due again only if it waits for its provisioner."""
        values: Item = {"sequence": line.sequence, "invoice": line.replaced_invoice_id}
        update = "REMOVE #replaced_invoice_id, #due_at, #due_shard"
        if line.status is Status.PROVISIONING:
            update = "SET #due_at = :due, #due_shard = :shard REMOVE #replaced_invoice_id"
            values |= due_values(line, line.history[-1].at_ms + REPUBLISH_AFTER_MS)
        condition = "size(#history) = :sequence AND #replaced_invoice_id = :invoice"
        key = records.line_key(line.workspace_id, line.id)
        with suppress(ConditionFailed):
            self._table.write(Write(key, update=update, condition=condition, values=values))

    def set_due(self, line: Line, at_ms: int | None, *, late: bool = False) -> None:
        """Has the reconciler check the line then, or never again, unless it has moved on.

        `late`: its provisioner is, so operators find it.
        """
        entry = records.operator_entry(line, late=True) if late else {}
        sets = ["#due_at = :due", "#due_shard = :shard", *(f"#{name} = :{name}" for name in entry)]
        write = Write(
            records.line_key(line.workspace_id, line.id),
            update="REMOVE #due_at, #due_shard" if at_ms is None else f"SET {', '.join(sets)}",
            condition="size(#history) = :sequence" + (f" AND {same_flag(line)}" if late else ""),
            values={"sequence": line.sequence}
            | ({} if at_ms is None else due_values(line, at_ms) | entry)
            | ({"yes": True} if late else {}),
        )
        try:
            self._table.write(write)
        except ConditionFailed as failure:
            # With the same sequence only the refund flag has changed.
            if late and failure.item and (stored := records.line(failure.item)).sequence == line.sequence:
                self.set_due(stored, at_ms, late=True)


def same_invoice(line: Line) -> tuple[str, Item]:
    """The condition that the line's invoice is still what was read, and its values."""
    if line.invoice_id is None:
        return "attribute_not_exists(#invoice_id)", {}
    return "#invoice_id = :invoice_read", {"invoice_read": line.invoice_id}


def due_values(line: Line, at_ms: int) -> Item:
    """The values of `#due_at = :due, #due_shard = :shard`."""
    return {"due": at_ms, "shard": records.due_shard(line.id)}
