"""Lines that customers had before this service: written as active, with what they mean for their workspace."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from line_requests.domain.model import Line, PaymentStatus, Subscription, Workspace
from line_requests.domain.prices import Counted, Coverage
from line_requests.storage import records
from line_requests.storage.table import ConditionFailed, Table, Write
from line_requests.storage.workspaces import Workspaces

if TYPE_CHECKING:
    from line_requests.storage.attributes import Item

# While it lasts the reconciler does not touch the workspace's quantities, which its lines do not explain yet.
HOLD_MS = 3_600_000
# A hold that lasts longer than this is an earlier import's, which may have been interrupted: the reconciler's lease is
# shorter, even if this clock is minutes behind.
TAKEN_OVER_MS = 600_000
# DynamoDB takes 100 writes in a transaction, one of them the workspace's.
LINES_MAX = 99


class Imports:
    """Writes one workspace's lines while no other process sets its quantities."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._workspaces = Workspaces(table)

    def create_held(self, workspace: Workspace, subscription: Subscription, until_ms: int) -> bool:
        """Ties a new workspace to its customer, held from its first moment; False when one of them is tied already."""
        return self._workspaces.insert(
            workspace.id,
            workspace.customer,
            livemode=workspace.livemode,
            subscription=subscription,
            quantities_lease_until_ms=until_ms,
        )

    def hold(self, workspace_id: str, now_ms: int, until_ms: int) -> bool:
        """Holds a workspace, in place of an earlier import; False while the reconciler sets its quantities."""
        free = (
            "attribute_not_exists(#quantities_lease_until_ms)"
            " OR NOT #quantities_lease_until_ms BETWEEN :soon AND :taken_over"
        )
        write = Write(
            records.workspace_key(workspace_id),
            update="SET #quantities_lease_until_ms = :until",
            condition=f"attribute_exists(#pk) AND ({free})",
            values={"until": until_ms, "soon": now_ms + 1, "taken_over": now_ms + TAKEN_OVER_MS},
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            return False
        return True

    def insert(self, lines: Sequence[Line], *, charged: Coverage, counted: Counted | None, held_until_ms: int) -> None:
        """Writes up to LINES_MAX lines of one kind and workspace with their places, all or none.

        `charged` says which of their places are charged until when (contract 52), `counted` that what Stripe's renewal
        charged for them is counted with that. Raises TransactionCanceled when a line exists, or when the workspace is
        no longer held.
        """
        first, paid = lines[0], sum(line.payment_status is PaymentStatus.PAID for line in lines)
        sets = [
            "#held.#kind = if_not_exists(#held.#kind, :zero) + :held",
            "#unpaid.#kind = if_not_exists(#unpaid.#kind, :zero) + :unpaid",
            "#quantities_revision = #quantities_revision + :one",
        ]
        values: Item = {"zero": 0, "one": 1, "held": len(lines), "unpaid": len(lines) - paid, "until": held_until_ms}
        if charged.places:
            sets.append("#charged.#kind = list_append(if_not_exists(#charged.#kind, :none), :charged)")
            values |= {"none": [], "charged": [{"until_s": charged.until_s, "places": charged.places}]}
        if counted is not None:
            sets.append("#counted = :counted")
            values["counted"] = records.counted_item(counted)
        workspace = Write(
            records.workspace_key(first.workspace_id),
            update=f"SET {', '.join(sets)}",
            condition="#quantities_lease_until_ms = :until",
            values=values,
            names={"kind": str(first.submission.kind)},
        )
        absent = "attribute_not_exists(#pk)"
        self._table.transact(
            [workspace, *(Write(records.key_of(line), put=records.line_item(line), condition=absent) for line in lines)]
        )

    def release(self, workspace_id: str, held_until_ms: int) -> None:
        """Has the reconciler look at the workspace next, unless another import holds it by now."""
        write = Write(
            records.workspace_key(workspace_id),
            update="SET #due_shard = :shard, #due_at = :overdue REMOVE #quantities_lease_until_ms",
            condition="#quantities_lease_until_ms = :until",
            values={"shard": records.due_shard(workspace_id), "overdue": 0, "until": held_until_ms},
        )
        with suppress(ConditionFailed):
            self._table.write(write)
