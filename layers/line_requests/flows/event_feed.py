"""Follows Stripe's event feed, for the webhooks that were lost."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from line_requests.billing.events import Hint
from line_requests.clock import Clock
from line_requests.domain.errors import BillingMisconfigured, BillingRefused, BillingUnavailable
from line_requests.domain.model import Invoice, Line
from line_requests.flows import webhook
from line_requests.flows.lifecycle import Lifecycle
from line_requests.flows.progress import Progress
from line_requests.storage.due import Feed
from line_requests.storage.stores import Stores
from line_requests.telemetry import alarm, logger

DAY_S = 24 * 3600
# Stripe keeps events for 30 days; each line's own recheck finds what is older.
FEED_MAX_S = 29 * DAY_S
# A new deployment has no watermark yet; it cannot have missed more than a day.
FEED_START_S = DAY_S
# A slice is read whole, so it has to fit into one run; one that holds more events than this is shortened.
FEED_SLICE_S = 6 * 3600
FEED_SLICE_EVENTS = 5_000
# Each needs a few calls, also when it is about no line of ours.
FEED_SLICE_REVERSALS = 200
# Events may become visible out of order: the last minute stays open, and five are read again.
FEED_OPEN_S = 60
FEED_OVERLAP_S = 300
# Two clocks, of ours or Stripe's, may differ by this much. A change is read again by the runs of a minute at most.
SKEW_S = 60
# From so many invoices on, lists of a hundred are cheaper than single reads.
LIST_FROM = 20
# As many as the table's client has connections, for work that reads only the table.
THREADS = 10


class EventFeed:
    """One run along the feed, up to now or until half the run's time is used."""

    def __init__(self, stores: Stores, lifecycle: Lifecycle, clock: Clock, progress: Progress) -> None:
        self._lines = stores.lines
        self._workspaces = stores.workspaces
        self._due = stores.due
        self._lifecycle = lifecycle
        self._billing = lifecycle.connect(clock)
        self._clock = clock
        self._progress = progress
        self._half_s = clock.remaining_s() / 2

    def follow(self) -> None:
        """Reads slice after slice; the watermark moves after each whole one."""
        now_s = self._clock.now_ms() // 1000
        feed = self._due.feed()
        if feed is None:
            # Stored before it is read: the first runs may fail for more than a day.
            feed = Feed(now_s - FEED_START_S)
            self._due.move_watermark(seen_s=None, to_s=feed.watermark_s)
        mark_s, reversals_s = feed.watermark_s, feed.reversals_s
        start_s, slice_s = max(mark_s, now_s - FEED_MAX_S), FEED_SLICE_S
        while start_s < now_s and self._has_time:
            end_s = min(start_s + slice_s, now_s)
            events = self._billing.events.between(since_s=start_s - FEED_OVERLAP_S, until_s=end_s)
            hints = list(islice(events, FEED_SLICE_EVENTS))
            reversals = {(hint.invoice_id, hint.payment_intent) for hint in hints if hint.about_reversal}
            too_many = len(hints) == FEED_SLICE_EVENTS or len(reversals) > FEED_SLICE_REVERSALS
            if too_many and end_s - start_s > FEED_OVERLAP_S:
                # Half of what these reach back: a busy account's slice, halved again and again, takes the whole run.
                reached_s = end_s - hints[-1].created_s
                slice_s = min((end_s - start_s) // 2, max(reached_s // 2, FEED_OVERLAP_S))
                continue
            hints += events
            self._progress.count("events", len(hints))
            self._apply(hints)
            done_s = self._apply_reversals(hints, reversals_s)
            if self._clock.remaining_s() <= 0:
                return  # Some may not have been applied: the next run reads the slice again.
            if done_s is not None:
                self._due.save_reversals(seen_s=mark_s, to_s=done_s)  # The next run goes on with the rest.
                break
            to_s = min(end_s, now_s - FEED_OPEN_S)
            if to_s > mark_s:
                self._due.move_watermark(seen_s=mark_s, to_s=to_s)
                mark_s = to_s
            start_s, reversals_s = end_s, 0
        if start_s < now_s:
            alarm("ReconcilerBacklog", "Stripe's event feed was not followed to its end", behind_s=now_s - start_s)

    @property
    def _has_time(self) -> bool:
        """Whether half the run's time is left: that is for what is due."""
        return self._clock.remaining_s() > self._half_s

    def _apply(self, hints: Iterable[Hint]) -> None:
        # By invoice, because anyone can copy the metadata of ours and must not hide it.
        invoices: dict[str, tuple[str, str]] = {}
        named: dict[tuple[str, str], Hint] = {}
        paid = set[str]()  # invoices
        customers: dict[str, int] = {}
        for hint in hints:
            if hint.about_our_invoice and webhook.names_a_line(hint):
                ids = invoices[hint.object_id] = hint.workspace_id, hint.line_id
                named[ids] = hint
                paid |= {hint.object_id} if hint.about_payment else set()
            elif hint.about_subscription and hint.customer:
                customers[hint.customer] = max(hint.created_s, customers.get(hint.customer, 0))
        self._mark_subscriptions_due(customers)
        lines = {(line.workspace_id, line.id): line for line in self._lines.get_many(named)}
        for ids in named.keys() - lines.keys():
            self._progress.guard(named[ids].line_id, self._report_without_line, named[ids])
        self._apply_invoices(
            {
                invoice: lines[ids]
                for invoice, ids in invoices.items()
                if ids in lines and (lines[ids].awaiting or (invoice in paid and _is_news(invoice, lines[ids])))
            }
        )

    def _apply_reversals(self, hints: Iterable[Hint], from_s: int) -> int | None:
        """Last, and one by one, oldest first: they change no state. Returns how far it came, or None: it did all.

        When Stripe is unavailable the next run reads the slice again; a key without the scopes must not stop the feed.
        """
        unavailable: list[BillingUnavailable] = []
        newest = {
            (hint.invoice_id, hint.payment_intent): hint
            for hint in sorted(hints, key=lambda hint: hint.created_s)
            if hint.about_reversal and hint.created_s >= from_s
        }
        for hint in sorted(newest.values(), key=lambda hint: hint.created_s):
            if not self._has_time and hint.created_s > from_s:
                return hint.created_s
            self._progress.guard(hint.type, self._apply_reversal, hint, unavailable)
            if unavailable:
                raise unavailable[0]
        return None

    def _apply_reversal(self, hint: Hint, unavailable: list[BillingUnavailable]) -> None:
        try:
            if self._lifecycle.reversals.apply(self._clock, hint):
                self._progress.count("lines")
        except BillingUnavailable as trouble:
            if not isinstance(trouble, BillingMisconfigured):
                unavailable.append(trouble)
            raise

    def _report_without_line(self, hint: Hint) -> None:
        # A line that this release cannot read is no lost one.
        if self._lines.get(hint.workspace_id, hint.line_id) is None:
            webhook.report_without_line(self._workspaces, hint)

    def _mark_subscriptions_due(self, customers: dict[str, int]) -> None:
        """Only marks them due: this never stalls the feed, and a failure is retried."""
        with ThreadPoolExecutor(THREADS) as pool:
            marked = [pool.submit(self._mark_subscription_due, *changed) for changed in customers.items()]
        for one in marked:
            one.result()  # a failure leaves the slice to the next run

    def _mark_subscription_due(self, customer: str, changed_s: int) -> None:
        workspace_id = self._workspaces.of_customer(customer)
        if workspace_id is not None:
            changed_by_ms = (changed_s + 1 + SKEW_S) * 1000
            now_ms = self._clock.now_ms()
            self._workspaces.mark_subscription_due(workspace_id, changed_by_ms=changed_by_ms, now_ms=now_ms)

    def _apply_invoices(self, lines: dict[str, Line]) -> None:
        """By invoice id: those of a list first, in parallel where only the table is written; the rest one by one."""
        with ThreadPoolExecutor(THREADS) as pool:
            for invoice in self._listed(list(lines.values())):
                # A list shows the original of a revision; the single read below follows it.
                line = None if invoice.latest_revision else lines.pop(invoice.id, None)
                if line is not None and invoice.status in {"paid", "void"}:
                    pool.submit(self._progress.guard, line.id, self._apply_invoice, line, invoice, invoice.id)
                elif line is not None:
                    self._progress.guard(line.id, self._apply_invoice, line, invoice, invoice.id)
                if not lines:
                    break
            for invoice_id, line in lines.items():
                self._progress.guard(line.id, self._apply_invoice, line, None, invoice_id)

    def _listed(self, lines: list[Line]) -> Iterator[Invoice]:
        """The invoices since the oldest of many lines, a hundred a call, while that is cheaper."""
        if len(lines) < LIST_FROM:
            return iter(())
        since_s = min(line.created_at_ms for line in lines) // 1000
        worthwhile = len(lines) * 100 // 4
        return islice(self._billing.invoices.since(since_s=since_s), worthwhile)

    def _apply_invoice(self, line: Line, invoice: Invoice | None, invoice_id: str) -> None:
        try:
            found = invoice or self._billing.invoices.retrieve(invoice_id)
            if webhook.belongs(found, line):
                self._advance(line, found)
        except Exception:
            # The feed goes on without this line: the next run finds it in the index.
            self._lines.set_due(line, self._clock.now_ms())
            raise

    def _advance(self, line: Line, invoice: Invoice) -> None:
        try:
            self._lifecycle.apply_then_advance(self._clock, line, invoice)
        except BillingRefused as refusal:
            logger.info("canceled: Stripe refuses it", extra={"line_id": line.id, "reason": str(refusal)})
        self._progress.count("lines")


def _is_news(paid: str, line: Line) -> bool:
    """Whether the payment of this invoice is one too many that is not flagged yet: the line was settled by another."""
    if line.refundable:
        return not line.refund_due
    return paid not in {line.invoice_id, line.refund_invoice_id}
