"""What a line's further invoices need: a void after a copy was paid, a refund after a second or a late payment."""

from collections.abc import Callable

from line_requests.billing.account import Billing
from line_requests.clock import Clock
from line_requests.domain import decision
from line_requests.domain.errors import BillingRefused, BillingUnavailable
from line_requests.domain.model import Invoice, Line
from line_requests.flows.reversals import ReversalSync
from line_requests.storage.lines import Lines
from line_requests.telemetry import alarm, logger

# The reconciler rechecks an unpaid invoice after an hour, then doubles the wait, up to a day.
RECHECK_MIN_MS = 3_600_000
RECHECK_MAX_MS = 24 * 3_600_000


class ExtraInvoices:
    """The invoices of lines that no longer await payment."""

    def __init__(self, lines: Lines, connect: Callable[[Clock], Billing], reversals: ReversalSync) -> None:
        self._lines = lines
        self._connect = connect
        self._reversals = reversals

    def after_payment(self, clock: Clock, line: Line, paid: Invoice) -> Line:
        """What the payment of an invoice leaves to do for a line that is promoted or settled by now."""
        if decision.refund_owed(line, paid):
            return self._reversals.flag(clock, line, paid)
        try:
            self.void_replaced(clock, line)
        except BillingUnavailable as trouble:
            logger.warning("left for the reconciler", extra={"line_id": line.id, "reason": str(trouble)})
        return line

    def void_replaced(self, clock: Clock, line: Line) -> None:
        """Voids the invoice whose copy was paid; the line stays due until that is done or both are paid.

        Repeating it changes nothing, so it needs no lease.
        """
        if line.replaced_invoice_id is None:
            return
        invoices = self._connect(clock).invoices
        original = invoices.void_or_delete(invoices.retrieve(line.replaced_invoice_id))
        if original.status in {"void", "gone", "paid"}:
            if original.status == "gone":
                invoices.delete_pending_items(line)
            if decision.refund_owed(line, original):
                self._reversals.flag(clock, line, original)
            self._lines.forget_replaced(line)
            return
        due_at_ms = clock.now_ms()
        if original.partly_paid:
            # Once at each look of the reconciler, ever less often: nothing else shows that it has to be refunded.
            alarm("PartiallyPaid", "a replaced invoice is partly paid", line_id=line.id, invoice=original.id)
            due_at_ms = recheck_at_ms(due_at_ms, since_ms=line.history[-1].at_ms)
        self._lines.set_due(line, due_at_ms)

    def check_late_payment(self, clock: Clock, line: Line) -> None:
        """Checks once more whether a canceled line was paid."""
        invoices = self._connect(clock).invoices
        next_check_ms = None
        try:
            invoice = invoices.find_by_metadata(line)
        except BillingRefused:
            # Its customer was deleted, or belongs to another account than our key.
            invoice = invoices.retrieve(line.invoice_id) if line.invoice_id else None
            next_check_ms = clock.now_ms() + RECHECK_MAX_MS
        if invoice is not None and invoice.status == "paid" and not line.refund_due:
            self._reversals.flag(clock, line, invoice)
        else:
            self._lines.set_due(line, next_check_ms)


def recheck_at_ms(now_ms: int, *, since_ms: int) -> int:
    """When to look again at what has waited since then."""
    return now_ms + min(RECHECK_MAX_MS, max(RECHECK_MIN_MS, now_ms - since_ms))
