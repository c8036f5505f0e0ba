"""What the reconciler works through: the index of due items, and how far Stripe's event feed was followed."""

from contextlib import suppress
from dataclasses import dataclass

from line_requests.storage import records
from line_requests.storage.attributes import Item
from line_requests.storage.table import ConditionFailed, Table, Write


@dataclass(frozen=True, slots=True)
class Due:
    """Something that the reconciler has to check: a line, or a workspace when `line_id` is None."""

    workspace_id: str
    line_id: str | None


class DueIndex:
    """The sparse index `due`, and the feed's watermark."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def page(self, shard: int, now_ms: int, start: Item | None = None) -> tuple[list[Due], Item | None]:
        """One page of what is due in a shard, longest overdue first, and where the next page starts."""
        items, last = self._table.query(
            "#due_shard = :shard AND #due_at <= :now",
            values={"shard": str(shard), "now": now_ms},
            index="due",
            start=start,
        )
        return [Due(records.workspace_id_of(item), records.line_id_of(item)) for item in items], last

    def lines_until(self, until_ms: int) -> list[tuple[str, str]]:
        """The (workspace id, line id) of every line that is due by then."""
        found = list[tuple[str, str]]()
        for shard in range(records.DUE_SHARDS):
            start: Item | None = None
            while True:
                page, start = self.page(shard, until_ms, start)
                found += [(due.workspace_id, due.line_id) for due in page if due.line_id is not None]
                if start is None:
                    break
        return found

    def watermark_s(self) -> int | None:
        """Up to where the event feed was followed, epoch seconds; None before the first run."""
        item = self._table.get(records.FEED_KEY)
        return int(item["watermark_s"]) if item else None

    def move_watermark(self, *, seen_s: int | None, to_s: int) -> None:
        """Moves it after a whole slice, unless another run did."""
        condition = "attribute_not_exists(#pk)" if seen_s is None else "#watermark_s = :seen"
        values = {"to": to_s} | ({} if seen_s is None else {"seen": seen_s})
        write = Write(records.FEED_KEY, update="SET #watermark_s = :to", condition=condition, values=values)
        with suppress(ConditionFailed):
            self._table.write(write)
