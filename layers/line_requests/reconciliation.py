"""One run of the reconciler: needs no webhook and no client to bring every line where it belongs."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import ParamSpec

from line_requests import items, subscriptions, webhook
from line_requests.bus import Bus
from line_requests.clock import Clock
from line_requests.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingUnavailable,
    LineRequestError,
)
from line_requests.hints import Hint
from line_requests.lifecycle import DUE_AFTER_MAX_MS, Lifecycle
from line_requests.model import Invoice, Line, Status
from line_requests.registry import Due, Registry
from line_requests.store import RETELL_AFTER_MS, Store
from line_requests.telemetry import alarm, logger

P = ParamSpec("P")

DAY_S = 24 * 3600
# Stripe keeps events for 30 days; what is older is found by each line's own interval.
FEED_MAX_S = 29 * DAY_S
# A new deployment has no mark yet: a day back is more than it can have missed.
FEED_START_S = DAY_S
# A slice is taken whole, so it has to fit into one run; one that holds more than this is halved.
FEED_SLICE_S = 6 * 3600
FEED_SLICE_EVENTS = 20_000
# Events may become visible out of order: the last minute stays open, and five are read again.
FEED_OPEN_S = 60
FEED_OVERLAP_S = 300
# Stripe's clock and ours may differ by this much.
SKEW_S = 5
# From so many invoices on, lists of a hundred beat single looks.
LIST_FROM = 20
# As many as the table's client has connections, for what asks the table only.
AT_ONCE = 10


class Reconciliation:
    """One run, bounded by its clock; the next one goes on where it stopped."""

    def __init__(self, store: Store, registry: Registry, lifecycle: Lifecycle, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._lifecycle = lifecycle
        self._bus = bus
        self._clock = clock
        self._done: Counter[str] = Counter()
        self._lock = Lock()

    def run(self) -> dict[str, int]:
        """Follows Stripe's events, then looks at everything that is due; returns what it did."""
        self._guarded("feed", self._follow_feed)
        # Another one first each minute, so that none waits for the time that others leave.
        first = self._clock.now_ms() // 60_000
        for shard in range(items.DUE_SHARDS):
            self._look_at_due((first + shard) % items.DUE_SHARDS)
        logger.info("reconciled", extra={"done": dict(self._done)})
        return {name: self._done[name] for name in ("events", "lines", "retold", "quantities", "failed")}

    # --- what Stripe tells ------------------------------------------------------------------------

    def _follow_feed(self) -> None:
        now_s = self._clock.now_ms() // 1000
        mark_s = self._registry.watermark_s()
        start_s = now_s - FEED_START_S if mark_s is None else max(mark_s, now_s - FEED_MAX_S)
        slice_s, half_s = FEED_SLICE_S, self._clock.remaining_s() / 2  # the other half is for what is due
        while start_s < now_s and self._clock.remaining_s() > half_s:
            end_s = min(start_s + slice_s, now_s)
            events = self._lifecycle.billing.events(since_s=start_s - FEED_OVERLAP_S, until_s=end_s)
            hints = list(islice(events, FEED_SLICE_EVENTS))
            if len(hints) == FEED_SLICE_EVENTS and end_s - start_s > FEED_OVERLAP_S:
                slice_s = (end_s - start_s) // 2
                continue
            hints += events
            self._did("events", len(hints))
            self._look_at_hinted(hints)
            if self._clock.remaining_s() <= 0:
                return  # Some of them may not have been looked at: the next run takes the slice again.
            to_s = min(end_s, now_s - FEED_OPEN_S)
            if mark_s is None or to_s > mark_s:
                self._registry.move_watermark(seen_s=mark_s, to_s=to_s)
                mark_s = to_s
            start_s = end_s

    def _look_at_hinted(self, hints: Iterable[Hint]) -> None:
        # By invoice, since anybody's can copy the metadata of ours and must not hide it.
        invoices: dict[str, tuple[str, str]] = {}
        paid = set[str]()
        customers: dict[str, int] = {}
        for hint in hints:
            if hint.about_our_invoice and webhook.names_a_line(hint):
                invoices[hint.object_id] = hint.workspace_id, hint.line_id
                paid |= {hint.line_id} if hint.about_payment else set()
            elif hint.about_subscription and hint.customer:
                customers[hint.customer] = max(hint.created_s, customers.get(hint.customer, 0))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            # Noted, not looked at: the feed goes on however many have changed, and a failed look is repeated.
            noted = [pool.submit(self._subscription_due, *changed) for changed in customers.items()]
        for note in noted:
            note.result()  # one that could not be made leaves the slice to the next run
        # One that was settled needs no look; a canceled one may have been paid all the same.
        unsettled = {
            (line.workspace_id, line.id): line
            for line in self._store.lines(set(invoices.values()))
            if line.awaiting or (line.refundable and line.id in paid and not line.refund_due)
        }
        open_lines = {invoice: unsettled[names] for invoice, names in invoices.items() if names in unsettled}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for invoice in self._listed(list(open_lines.values())):
                line = open_lines.pop(invoice.id, None)
                if line is not None and invoice.status in {"paid", "void"}:
                    pool.submit(self._guarded, line.id, self._observe, line, invoice, invoice.id)
                elif line is not None:
                    self._guarded(line.id, self._observe, line, invoice, invoice.id)
                if not open_lines:
                    break
            for invoice_id, line in open_lines.items():
                self._guarded(line.id, self._observe, line, None, invoice_id)

    def _listed(self, lines: list[Line]) -> Iterator[Invoice]:
        """The invoices since the oldest of many lines, a hundred a call, as long as that is cheaper."""
        if len(lines) < LIST_FROM:
            return iter(())
        since_s = min(line.created_at_ms for line in lines) // 1000
        worthwhile = len(lines) * 100 // 4
        return islice(self._lifecycle.billing.invoices(since_s=since_s), worthwhile)

    def _observe(self, line: Line, invoice: Invoice | None, invoice_id: str) -> None:
        try:
            found = invoice or self._lifecycle.billing.retrieve(invoice_id)
            if webhook.belongs(found, line):
                self._lifecycle.observe(line, found)
                self._did("lines")
        except Exception:
            # The feed goes on without this line: the next run finds it in the index instead.
            self._store.due_at(line, self._clock.now_ms())
            raise

    def _subscription_due(self, customer: str, changed_s: int) -> None:
        workspace_id = self._registry.workspace_of_customer(customer)
        if workspace_id is not None:
            changed_by_ms = (changed_s + 1 + SKEW_S) * 1000
            self._registry.subscription_due(workspace_id, changed_by_ms=changed_by_ms, now_ms=self._clock.now_ms())

    # --- what is due by itself ----------------------------------------------------------------

    def _look_at_due(self, shard: int) -> None:
        """What was due when the run began: what it puts off is not met again in this run."""
        started_ms, start = self._clock.now_ms(), None
        while self._clock.remaining_s() > 0:
            page, start = self._registry.due(shard, started_ms, start)
            self._look_at_lines([due for due in page if due.line_id is not None])
            for due in page:
                if due.line_id is None:
                    self._guarded(due.workspace_id, self._look_at_workspace, due)
            if start is None:
                return

    def _look_at_lines(self, page: list[Due]) -> None:
        lines = self._store.lines((due.workspace_id, due.line_id or "") for due in page)
        for line in lines:
            if line.awaiting:
                self._guarded(line.id, self._look, line)
            elif line.refundable:
                self._guarded(line.id, self._lifecycle.look_back, line)
        untold = [line for line in lines if line.status is Status.PROVISIONING]
        if untold:
            self._guarded("retell", self._retell, untold)

    def _look(self, line: Line) -> None:
        try:
            self._lifecycle.look(line)
        except BillingRefused as refusal:
            logger.info("canceled: Stripe refuses it", extra={"line_id": line.id, "reason": str(refusal)})
        self._did("lines")

    def _retell(self, lines: list[Line]) -> None:
        """Tells a provisioner who is late again, the same event, then ever more rarely."""
        rejected = self._bus.publish(lines)
        for line in lines:
            if line not in rejected:
                now_ms = self._clock.now_ms()
                waited_ms = now_ms - line.history[-1].at_ms
                wait_ms = min(DUE_AFTER_MAX_MS, max(RETELL_AFTER_MS, waited_ms))
                self._store.due_at(line, now_ms + wait_ms)
                self._did("retold")

    def _look_at_workspace(self, due: Due) -> None:
        now_ms = self._clock.now_ms()
        billing = self._lifecycle.billing
        workspace, changed = subscriptions.set_quantities(self._registry, billing, due.workspace_id, now_ms)
        self._did("quantities", changed)
        # Another plan, or a place that was given back, may include a request that waits to be paid.
        if workspace is not None:
            self._lifecycle.reconsider(workspace)

    def _guarded(self, what: str, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """One bad line stops nothing; out of time, the rest is left to the next run."""
        if self._clock.remaining_s() <= 0:
            return
        try:
            work(*args, **kwargs)
        except BillingUnavailable as trouble:
            self._did("failed")
            if isinstance(trouble, BillingMisconfigured) and not trouble.told:
                alarm("StripeRefused", f"left undone, an operator is needed: {trouble}", subject=what)
            logger.warning("left for the next run", extra={"subject": what, "reason": str(trouble)})
        except LineRequestError as error:
            # Without its traceback: what it was raised from is Stripe's text.
            self._failed(what, str(error))
        except Exception as error:  # noqa: BLE001 - any defect is one line's, not the run's
            logger.exception("left for the next run", extra={"subject": what})
            self._failed(what, type(error).__name__)

    def _did(self, what: str, count: int = 1) -> None:
        with self._lock:
            self._done[what] += count

    def _failed(self, what: str, reason: str) -> None:
        self._did("failed")
        alarm("ReconcileLineFailed", "a reconcile step failed", subject=what, reason=reason)
