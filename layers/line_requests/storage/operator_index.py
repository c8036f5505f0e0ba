"""The sparse index `operator`: every line that an operator may have to look at, and every workspace.

A line is in it while it awaits payment, has failed, is to be refunded, or its provisioner is late; the write that moves
the line keeps the entry. Entries are eventually consistent, so whoever reads them reads the items next.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from line_requests.domain.model import Line, Status
from line_requests.storage import records
from line_requests.storage.table import Item, Table, Write


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

    def repair(self, item: Mapping[str, Any]) -> None:
        """Sets the entry of an item that an older release or other hands wrote, unless it has moved on."""
        wanted, key = expected(item), {"pk": item["pk"], "sk": item["sk"]}
        line_id = records.line_id_of(item)
        condition = "attribute_exists(#pk)" + (" AND size(#history) = :sequence" if line_id else "")
        values = wanted | ({"sequence": len(item["history"])} if line_id else {})
        sets = ", ".join(f"#{name} = :{name}" for name in wanted)
        update = f"SET {sets}" if wanted else "REMOVE #op_status, #since_ms"
        self._table.write(Write(key, update=update, condition=condition, values=values))


def is_stale(item: Mapping[str, Any]) -> bool:
    """Whether the entry of a line's or workspace's item is not what the item means."""
    entry = {name: item[name] for name in ("op_status", "since_ms") if name in item}
    # A provisioning line gets its entry when its provisioner is late, not when it starts.
    late_only = item.get("status") == Status.PROVISIONING and not item.get("refund_due")
    return entry != expected(item) and (bool(entry) or not late_only)


def expected(item: Mapping[str, Any]) -> Item:
    """The entry that an item means; of a provisioning line as if its provisioner were late."""
    if records.line_id_of(item) is None:
        return records.workspace_entry()
    return records.operator_entry(records.line(item), late=True)
