"""The sparse index `operator`: every line that an operator may have to look at, and every workspace.

A line is in it while it awaits payment, has failed, is to be refunded, or its provisioner is late; the write that moves
the line keeps the entry. Entries are eventually consistent, so a reader reads the items next.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from line_requests.domain.errors import UnreadableRecord
from line_requests.domain.model import Line, PaymentStatus, Status, Workspace
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.attributes import Item
from line_requests.storage.table import ConditionFailed, Table, Write

_SCANNED = (
    "#pk, #sk, #op_status, #status, #payment_status, #refund_due, #submission.#channel_type, #submission.#line_type"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, or a workspace when `line_id` is None, as the index has it."""

    workspace_id: str
    line_id: str | None
    op_status: str
    since_ms: int


def entry_update(line: Line, *, late: bool = False) -> tuple[list[str], list[str], Item]:
    """What a write that moves a line sets, removes and passes as values, so that its entry follows."""
    entry = records.operator_entry(line, late=late)
    return [f"#{name} = :{name}" for name in entry], [] if entry else ["#op_status", "#since_ms"], entry


def same_flag(line: Line) -> str:
    """The condition that the refund flag is still what was read, because the entry depends on it; `yes` is True."""
    return "#refund_due = :yes" if line.refund_due else "#refund_due <> :yes"


class OperatorIndex:
    """The index's entries; for operators, and for what the reconciler reports."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def entries(
        self, op_statuses: Iterable[str], *, until_ms: int | None = None, newest: bool = False, page: int | None = None
    ) -> Iterator[Entry]:
        """The entries of some statuses, in order of time, read page after page while they are taken.

        `until_ms`: in their status since then or longer. Raises IndexMissing.
        """
        found = [self._of_status(str(one), until_ms, newest=newest, page=page) for one in op_statuses]
        return heapq.merge(*found, key=lambda entry: entry.since_ms, reverse=newest)

    def workspace_ids(self) -> list[str]:
        """Every workspace."""
        return [entry.workspace_id for entry in self.entries([records.WORKSPACE_ENTRY])]

    def _of_status(self, op_status: str, until_ms: int | None, *, newest: bool, page: int | None) -> Iterator[Entry]:
        condition, values = "#op_status = :op_status", Item(op_status=op_status)
        if until_ms is not None:
            condition += " AND #since_ms <= :until"
            values["until"] = until_ms
        start: Item | None = None
        while True:
            items, start = self._table.query(
                condition, values=values, index="operator", descending=newest, limit=page, start=start
            )
            for item in items:
                ids = records.workspace_id_of(item), records.line_id_of(item)
                yield Entry(*ids, op_status, item["since_ms"])
            if start is None:
                return

    def scan(self) -> Iterator["Scanned"]:
        """Every line and workspace, as little of each as tells what they are; it reads the whole table."""
        values = {"workspace": records.workspace_key("")["sk"], "line": "LINE#"}
        items = self._table.scan("#sk = :workspace OR begins_with(#sk, :line)", values, projection=_SCANNED)
        for item in items:
            yield from records.readable(_scanned, [item])

    def repair(self, record: Line | Workspace) -> None:
        """Sets the entry of what an older release or an operator wrote, unless it has moved on."""
        if isinstance(record, Line):
            wanted = records.operator_entry(record, late=True)
            condition = f"size(#history) = :sequence AND {same_flag(record)}"
            values = Item(sequence=record.sequence, yes=True)
        else:
            wanted, condition, values = records.workspace_entry(), "attribute_exists(#pk)", Item()
        sets = ", ".join(f"#{name} = :{name}" for name in wanted)
        update = f"SET {sets}" if wanted else "REMOVE #op_status, #since_ms"
        with suppress(ConditionFailed):
            self._table.write(Write(records.key_of(record), update=update, condition=condition, values=values | wanted))


@dataclass(frozen=True, slots=True)
class Scanned:
    """A line as a scan sees it, or a workspace when `line` is None; `op_status` is its entry."""

    workspace_id: str
    op_status: str | None
    line: "ScannedLine | None" = None

    @property
    def is_stale(self) -> bool:
        """Whether lists do not show it as it is."""
        if self.line is None:
            return self.op_status != records.WORKSPACE_ENTRY
        if self.line.refund_due:
            return self.op_status != records.REFUND_ENTRY
        status = self.line.status
        shown = {str(status)} if status in {Status.AWAITING_PAYMENT, Status.FAILED} else {None}
        # A line in provisioning gets its entry when its provisioner is late, not when it starts.
        return self.op_status not in (shown | {str(status)} if status is Status.PROVISIONING else shown)


@dataclass(frozen=True, slots=True)
class ScannedLine:
    """What counts of a line."""

    id: str
    kind: Kind
    status: Status
    payment_status: PaymentStatus
    refund_due: bool

    @property
    def awaiting(self) -> bool:
        """Whether it waits for its payment, and so holds the workspace's lock."""
        return self.status is Status.AWAITING_PAYMENT


def _scanned(item: Mapping[str, Any]) -> Scanned:
    line_id, workspace_id, entry = records.line_id_of(item), records.workspace_id_of(item), item.get("op_status")
    if line_id is None:
        return Scanned(workspace_id, entry)
    try:
        kind = Kind.of(**item["submission"])
        status, payment_status = Status(item["status"]), PaymentStatus(item["payment_status"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableRecord(f"{item['pk']} {item['sk']}: {error}") from None
    return Scanned(
        workspace_id, entry, ScannedLine(line_id, kind, status, payment_status, item.get("refund_due") is True)
    )
