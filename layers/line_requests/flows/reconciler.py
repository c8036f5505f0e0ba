"""One run of the reconciler: without any webhook or client it finishes, settles and publishes whatever is due."""

from line_requests.bus.events import Bus
from line_requests.clock import Clock
from line_requests.domain.errors import BillingRefused
from line_requests.domain.model import Line, Status
from line_requests.flows.event_feed import EventFeed
from line_requests.flows.extra_invoices import RECHECK_MAX_MS
from line_requests.flows.late import report_late
from line_requests.flows.leases import Until
from line_requests.flows.lifecycle import Lifecycle
from line_requests.flows.progress import Progress
from line_requests.storage import records
from line_requests.storage.due import Due
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from line_requests.storage.stores import Stores
from line_requests.telemetry import alarm, logger

MINUTE_MS = 60_000


class Reconciler:
    """One run, bounded by its clock; the next run goes on where it stopped."""

    def __init__(self, stores: Stores, lifecycle: Lifecycle, bus: Bus, clock: Clock) -> None:
        self._stores = stores
        self._lines = stores.lines
        self._lifecycle = lifecycle
        self._bus = bus
        self._clock = clock
        self._progress = Progress(clock)

    def run(self) -> dict[str, int]:
        """Follows Stripe's events, then works through everything that is due; returns what it did."""
        self._progress.guard("feed", self._follow_feed)
        # Rotate the first shard, so that none starves.
        first = self._clock.now_ms() // MINUTE_MS
        for shard in range(records.DUE_SHARDS):
            self._progress.guard("due", self._work_through, (first + shard) % records.DUE_SHARDS)
        self._progress.guard("late", report_late, self._stores, self._clock.now_ms())
        if self._clock.remaining_s() <= 0:
            alarm("ReconcilerBacklog", "the run's time ended before everything that was due was done")
        summary = self._progress.summary()
        logger.info("reconciled", extra={"done": summary})
        return summary

    def _follow_feed(self) -> None:
        EventFeed(self._stores, self._lifecycle, self._clock, self._progress).follow()

    def _work_through(self, shard: int) -> None:
        """What was due when the run began; what it postpones is not due again in this run."""
        started_ms, start = self._clock.now_ms(), None
        while self._clock.remaining_s() > 0:
            page, start = self._stores.due.page(shard, started_ms, start)
            self._check_lines([due for due in page if due.line_id is not None])
            workspaces = [due.workspace_id for due in page if due.line_id is None]
            for workspace_id in workspaces:
                self._progress.guard(workspace_id, self._check_workspace, workspace_id)
            if start is None:
                return

    def _check_lines(self, page: list[Due]) -> None:
        lines = self._lines.get_many((due.workspace_id, due.line_id or "") for due in page)
        # A line whose replaced invoice is still open is due before its provisioner is late.
        late_ms = self._clock.now_ms() - REPUBLISH_AFTER_MS
        unanswered = [
            line
            for line in lines
            if line.status is Status.PROVISIONING
            and (line.replaced_invoice_id is None or line.history[-1].at_ms <= late_ms)
        ]
        for line in lines:
            if line.awaiting:
                self._progress.guard(line.id, self._advance, line)
            elif line.replaced_invoice_id is not None:
                self._progress.guard(line.id, self._lifecycle.extra_invoices.void_replaced, self._clock, line)
            elif line.refund_due and line.status is not Status.PROVISIONING:
                self._progress.guard(line.id, self._lifecycle.reversals.recheck, self._clock, line)
            elif line.refundable:
                self._progress.guard(line.id, self._lifecycle.extra_invoices.check_late_payment, self._clock, line)
            elif line.status is not Status.PROVISIONING:
                self._lines.set_due(line, None)
        if unanswered:
            self._progress.guard("republish", self._republish, unanswered)

    def _advance(self, line: Line) -> None:
        try:
            self._lifecycle.advance(self._clock, line, Until.CHECKED)
        except BillingRefused as refusal:
            logger.info("canceled: Stripe refuses it", extra={"line_id": line.id, "reason": str(refusal)})
        self._progress.count("lines")

    def _republish(self, lines: list[Line]) -> None:
        """Publishes the same event again for a provisioner that is late, at ever longer intervals."""
        refused = self._bus.publish(lines)
        for line in lines:
            if line not in refused:
                now_ms = self._clock.now_ms()
                waited_ms = now_ms - line.history[-1].at_ms
                next_ms = now_ms + min(RECHECK_MAX_MS, max(REPUBLISH_AFTER_MS, waited_ms))
                self._lines.set_due(line, next_ms, late=True)
                self._progress.count("republished")

    def _check_workspace(self, workspace_id: str) -> None:
        billing, now_ms = self._lifecycle.connect(self._clock), self._clock.now_ms()
        workspace, changed = self._lifecycle.add_ons.settle(billing, workspace_id, now_ms)
        self._progress.count("quantities", changed)
        # Another plan, or a place that was given back, may include a request that awaits payment.
        if workspace is not None:
            self._lifecycle.end_if_unneeded(self._clock, workspace)
