"""Line requests in the table: reads, new lines, and the frozen answer of an idempotency key."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from line_requests.domain.model import IdempotencyRecord, Line, Status, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.storage import capacity, records
from line_requests.storage._marks import REPUBLISH_AFTER_MS
from line_requests.storage._transitions import Transitions
from line_requests.storage.attributes import Item
from line_requests.storage.snapshot import load_snapshot
from line_requests.storage.table import ConditionFailed, TransactionCanceled, Write

__all__ = ["REPUBLISH_AFTER_MS", "Conflict", "Lines"]

# A filtered page stops after so many queries, so that one call stays bounded.
FILTERED_QUERIES_MAX = 10
FILTERED_PAGE = 250


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a new line was not inserted: the items that the conditions found instead."""

    workspace: Workspace
    """As it is now; if its own condition held, as the caller had read it."""
    idempotency_record: IdempotencyRecord | None


class Lines(Transitions):
    """The line requests of a deployment; the base class has every write after the first."""

    def get_many(self, ids: Iterable[tuple[str, str]]) -> list[Line]:
        """Many lines as they are now, by (workspace id, line id)."""
        found = self._table.batch_get(records.line_key(*names) for names in ids)
        return records.readable(records.line, found.values())

    def page(
        self, workspace_id: str, *, limit: int, before: str | None, status: Status | None
    ) -> tuple[list[Line], str | None]:
        """Up to `limit` lines, newest first, older than line `before`; and the line to go on from.

        A filtered page reads a bounded number of items, so it may be short and still have a next page.
        """
        return self._page(workspace_id, limit, before, [] if status is None else [status])

    def in_use(self, workspace_id: str, *, limit: int, before: str | None) -> tuple[list[Line], str | None]:
        """Like `page`, the lines in provisioning or active alone."""
        return self._page(workspace_id, limit, before, [Status.PROVISIONING, Status.ACTIVE])

    def _page(
        self, workspace_id: str, limit: int, before: str | None, statuses: Sequence[Status]
    ) -> tuple[list[Line], str | None]:
        start = None if before is None else records.line_key(workspace_id, before)
        found: list[Line] = []
        values: Item = {"pk": f"W#{workspace_id}", "prefix": "LINE#"}
        values |= {f"status_{number}": str(status) for number, status in enumerate(statuses)}
        wanted = ", ".join(f":status_{number}" for number in range(len(statuses)))
        for _ in range(FILTERED_QUERIES_MAX):
            page, start = self._table.query(
                "#pk = :pk AND begins_with(#sk, :prefix)",
                values=values,
                descending=True,
                # One more than asked for shows whether there is a next page; a filter reads wider.
                limit=FILTERED_PAGE if statuses else limit + 1,
                filter_expression=f"#status IN ({wanted})" if statuses else None,
                start=start,
            )
            found += records.readable(records.line, page)
            if start is None or len(found) > limit:
                break
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
        return found, records.line_id_of(start) if start else None

    def of_workspace(self, workspace_id: str) -> list[Line]:
        """Every line of a workspace, oldest first; for operators only.

        Raises UnreadableRecord for a line that only a newer release can read.
        """
        return [records.line(item) for item in self._items_of(workspace_id)]

    def readable_of_workspace(self, workspace_id: str) -> list[Line]:
        """Like `of_workspace`, without the lines that only a newer release can read."""
        return records.readable(records.line, self._items_of(workspace_id))

    def _items_of(self, workspace_id: str) -> list[Item]:
        values = {"pk": f"W#{workspace_id}", "prefix": "LINE#"}
        return self._table.query_all("#pk = :pk AND begins_with(#sk, :prefix)", values=values)

    def scan(self, status: Status | None = None) -> Iterator[Line]:
        """The deployment's lines in a status; for operators only, it reads the whole table."""
        condition, values = "begins_with(#sk, :prefix)", Item(prefix="LINE#")
        if status is not None:
            condition += " AND #status = :status"
            values["status"] = str(status)
        for item in self._table.scan(condition, values):
            yield from records.readable(records.line, [item])

    def find(self, line_id: str, workspace_ids: Iterable[str]) -> Line | None:
        """The line of one of these workspaces; for operators only, it asks for a key in each of them."""
        found = self._table.batch_get(records.line_key(workspace_id, line_id) for workspace_id in workspace_ids)
        return next((records.line(item) for item in found.values()), None)

    def workspace_and_record(
        self, workspace_id: str, idempotency_key_hash: str | None
    ) -> tuple[Workspace | None, IdempotencyRecord | None]:
        """What an attempt to insert a line starts from, in one batch."""
        snapshot = load_snapshot(self._table, workspace_id, idempotency_key_hash=idempotency_key_hash)
        return snapshot.workspace, snapshot.idempotency_record

    # --- a new line -----------------------------------------------------------------------------

    def insert_line(
        self,
        workspace: Workspace,
        line: Line,
        record: IdempotencyRecord,
        *,
        limit: RateLimit | None,
        now_ms: int,
    ) -> Conflict | None:
        """Writes a new line with its capacity, its lock and its idempotency record, all or none.

        The conditions repeat what `decision.judge` relied on, so that two requests cannot take the last place; `limit`
        is None when the request was counted already. `record` is stored when the line has an idempotency key.
        """
        absent = "attribute_not_exists(#pk)"
        writes = [
            capacity.take(workspace, line, limit, now_ms),
            Write(records.line_key(workspace.id, line.id), put=records.line_item(line), condition=absent),
        ]
        if line.idempotency_key_hash is not None:
            key = records.idempotency_key(workspace.id, line.idempotency_key_hash)
            writes.append(Write(key, put=records.idempotency_item(record), condition=absent))
        try:
            self._table.transact(writes)
        except TransactionCanceled as canceled:
            met = canceled.items[0] if 0 in canceled.failed else None
            keyed = canceled.items[2] if 2 in canceled.failed else None  # noqa: PLR2004 - the third write
            return Conflict(
                records.workspace(met) if met else workspace, records.idempotency_record(keyed) if keyed else None
            )
        return None

    def freeze_response(self, line: Line, body: str) -> tuple[str, bool] | None:
        """Makes `body` the one answer of the line's idempotency key.

        Returns the key's answer and whether it was given before; None when the key no longer belongs to this line.
        """
        if line.idempotency_key_hash is None:
            return body, False
        write = Write(
            records.idempotency_key(line.workspace_id, line.idempotency_key_hash),
            update="SET #response_body = :body",
            condition="#line_id = :line AND attribute_not_exists(#response_body)",
            values={"body": body, "line": line.id},
        )
        try:
            self._table.write(write)
        except ConditionFailed as failure:
            record = records.idempotency_record(failure.item) if failure.item else None
            if record is None or record.line_id != line.id or record.response_body is None:
                return None
            return record.response_body, True
        return body, False
