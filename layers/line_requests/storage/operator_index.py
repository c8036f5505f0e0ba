"""The sparse index `operator`: every line that an operator may have to look at, and every workspace.

A line is in it while it awaits payment, has failed, is to be refunded, or its provisioner is late; the write that moves
the line keeps the entry. Entries are eventually consistent, so a reader reads the items next.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from line_requests.domain.model import Line, Status, Workspace
from line_requests.storage import records
from line_requests.storage.table import ConditionFailed, Item, Table, Write


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, or a workspace when `line_id` is None, as the index has it."""

    workspace_id: str
    line_id: str | None
    op_status: str
    since_ms: int


def entry_update(line: Line) -> tuple[list[str], list[str], Item]:
    """What a write that moves a line sets, removes and passes as values, so that its entry follows."""
    entry = records.operator_entry(line)
    return [f"#{name} = :{name}" for name in entry], [] if entry else ["#op_status", "#since_ms"], entry


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
                yield Entry(*ids, op_status, int(item["since_ms"]))
            if start is None:
                return

    def scan(self) -> Iterator[tuple[Line | Workspace, bool]]:
        """Every line and workspace, and whether its entry is stale; it reads the whole table."""
        values = {"workspace": records.workspace_key("")["sk"], "line": "LINE#"}
        for item in self._table.scan("#sk = :workspace OR begins_with(#sk, :line)", values):
            found: list[Line | Workspace] = []
            if records.line_id_of(item) is None:
                found += records.readable(records.workspace, [item])
            else:
                found += records.readable(records.line, [item])
            for record in found:
                yield record, is_stale(item, record)

    def repair(self, record: Line | Workspace) -> None:
        """Sets the entry of what an older release or somebody else wrote, unless it has moved on."""
        wanted, condition, values = expected(record), "attribute_exists(#pk)", Item()
        if isinstance(record, Line):
            condition, values = "size(#history) = :sequence", {"sequence": record.sequence}
        sets = ", ".join(f"#{name} = :{name}" for name in wanted)
        update = f"SET {sets}" if wanted else "REMOVE #op_status, #since_ms"
        with suppress(ConditionFailed):
            self._table.write(Write(records.key_of(record), update=update, condition=condition, values=values | wanted))


def is_stale(item: Mapping[str, Any], record: Line | Workspace) -> bool:
    """Whether an item's entry is not what the item means."""
    entry = {name: item[name] for name in ("op_status", "since_ms") if name in item}
    # A line in provisioning gets its entry when its provisioner is late, not when it starts.
    may_lack = isinstance(record, Line) and record.status is Status.PROVISIONING and not record.refund_due
    return entry != expected(record) and (bool(entry) or not may_lack)


def expected(record: Line | Workspace) -> Item:
    """The entry of a line or workspace; of a line in provisioning as if its provisioner were late."""
    return records.workspace_entry() if isinstance(record, Workspace) else records.operator_entry(record, late=True)
