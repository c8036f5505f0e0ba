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


@dataclass(frozen=True, slots=True)
class Feed:
    """How far Stripe's event feed was followed, epoch seconds."""

    watermark_s: int
    reversals_s: int = 0
    """How far beyond that the reversals were worked through."""


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
        feed = self.feed()
        return feed.watermark_s if feed else None

    def feed(self) -> Feed | None:
        """The same, with what was worked through of the next slice."""
        item = self._table.get(records.FEED_KEY)
        return Feed(int(item["watermark_s"]), int(item.get("reversals_s", 0))) if item else None

    def move_watermark(self, *, seen_s: int | None, to_s: int) -> None:
        """Moves it after a whole slice, unless another run did."""
        condition = "attribute_not_exists(#pk)" if seen_s is None else "#watermark_s = :seen"
        values = {"to": to_s} | ({} if seen_s is None else {"seen": seen_s})
        update = "SET #watermark_s = :to REMOVE #reversals_s"
        with suppress(ConditionFailed):
            self._table.write(Write(records.FEED_KEY, update=update, condition=condition, values=values))

    def save_reversals(self, *, seen_s: int, to_s: int) -> None:
        """Stores how far the reversals of the slice after the watermark were worked through, unless another run did."""
        condition = "#watermark_s = :seen AND (attribute_not_exists(#reversals_s) OR #reversals_s < :to)"
        values = {"seen": seen_s, "to": to_s}
        with suppress(ConditionFailed):
            self._table.write(Write(records.FEED_KEY, "SET #reversals_s = :to", condition=condition, values=values))
