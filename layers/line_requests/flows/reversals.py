"""Refunds, disputes and credit notes: heard, written on their line, and never a change of its state (contract 55)."""

from collections.abc import Callable, Iterable

from line_requests.billing.account import Billing
from line_requests.billing.events import Hint
from line_requests.clock import Clock
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Invoice, Line, PaymentStatus, Status
from line_requests.domain.reversals import PaidInvoice
from line_requests.storage.stores import Stores
from line_requests.telemetry import alarm

# Each round follows a change that another caller made meanwhile.
ROUNDS = 5


class ReversalSync:
    """Brings a line's reversals and its refund flag to what Stripe says; the same again changes nothing."""

    def __init__(self, stores: Stores, connect: Callable[[Clock], Billing]) -> None:
        self._lines = stores.lines
        self._workspaces = stores.workspaces
        self._connect = connect

    def apply(self, clock: Clock, hint: Hint) -> bool:
        """For an event: finds the line by its invoice, and reads all that went back of it; whether there is one."""
        billing, found = self._connect(clock), False
        for invoice_id in billing.reversals.invoices_of(hint):
            line = self._line_of(billing.invoices.retrieve(invoice_id))
            if line is not None:
                self.sync(clock, line)
                found = True
        return found

    def sync(self, clock: Clock, line: Line) -> Line:
        """Reads Stripe, then writes what is new, each object and status once."""
        billing, alarmed = self._connect(clock), set[object]()
        for _ in range(ROUNDS):
            stored = self._write(clock, line, billing.reversals.of_line(line), alarmed)
            if stored is not None:
                return stored
            line = self._lines.get(line.workspace_id, line.id) or line
        raise BillingUnavailable("other callers keep changing the line", line_id=line.id)

    def recheck(self, clock: Clock, line: Line) -> Line:
        """For a line whose payment may have gone back before it was flagged; nothing of it is due any more."""
        line = self.sync(clock, line)
        if line.status is not Status.PROVISIONING and line.replaced_invoice_id is None:
            self._lines.set_due(line, None)
        return line

    def flag(self, clock: Clock, line: Line, paid: Invoice) -> Line:
        """For a payment that has to go back: flags the line, once per invoice, unless it went back already."""
        if line.reversals:
            return self.recheck(clock, line)
        if not line.refund_due or line.invoice_to_refund != paid.id:
            why = "paid after it was canceled" if line.refundable else "paid beside its own invoice"
            # The alarm comes before the write: a crash in between repeats it rather than loses it.
            alarm("RefundDue", why, line_id=line.id, invoice=paid.id)
            if not self._lines.flag_refund(line, paid.id):
                now = self._lines.get(line.workspace_id, line.id) or line
                return self.recheck(clock, now) if now.reversals else now
        return line

    def _write(self, clock: Clock, line: Line, invoices: list[PaidInvoice], alarmed: set[object]) -> Line | None:
        known = {(reversal.id, reversal.cause) for reversal in line.reversals}
        found = [one for invoice in invoices for one in invoice.reversals(clock.now_ms())]
        heard = [(reversal, ours) for reversal, ours in found if (reversal.id, reversal.cause) not in known]
        kept = {invoice.id: invoice.kept for invoice in to_refund(line, invoices) if invoice.kept}
        refund_due = bool(kept)
        # Of a live line that two invoices have paid, its own payment stays: operators are told of the other one.
        other_id = next(iter(kept), None) if line.invoice_to_refund not in kept else None
        if not heard and refund_due is line.refund_due and other_id is None:
            return line
        # The alarms come before the write: a crash in between repeats them rather than loses them.
        for reversal, ours in heard:
            if (not ours or reversal.failed) and (reversal.id, reversal.cause) not in alarmed:
                context = {"reversal": reversal.id, "cause": reversal.cause, "amount": reversal.amount}
                alarm("Reversal", "money went back, or may", line_id=line.id, **context)
                alarmed.add((reversal.id, reversal.cause))
        for invoice in invoices:
            if invoice.overpaid and invoice.id not in alarmed:
                context = {"invoice": invoice.id, "amount": invoice.overpaid}
                alarm("Reversal", "more went back than was paid", line_id=line.id, **context)
                alarmed.add(invoice.id)
        for invoice_id, amount in kept.items():
            if (not line.refund_due or invoice_id == other_id) and ("RefundDue", invoice_id) not in alarmed:
                alarm("RefundDue", "a payment did not go back", line_id=line.id, invoice=invoice_id, amount=amount)
                alarmed.add(("RefundDue", invoice_id))
        new = [reversal for reversal, _ in heard]
        return self._lines.save_reversals(line, new, refund_due=refund_due, refund_invoice_id=other_id)

    def _line_of(self, invoice: Invoice) -> Line | None:
        """The line of an invoice: metadata can be copied, the customer cannot."""
        line_id = parse_line_id(invoice.line_id)
        workspace_id = self._workspaces.of_customer(invoice.customer) if line_id and invoice.customer else None
        line = self._lines.get(workspace_id, line_id) if workspace_id and line_id else None
        return line if line is not None and line.charge and line.charge.customer == invoice.customer else None


def to_refund(line: Line, invoices: Iterable[PaidInvoice]) -> list[PaidInvoice]:
    """Those whose payment has to go back: all of a line that owes its refund, else what was paid beside its invoice."""
    if line.status is Status.AWAITING_PAYMENT:
        return []
    own = line.invoice_id if line.payment_status is PaymentStatus.PAID and not line.owes_refund else None
    return [invoice for invoice in invoices if invoice.id != own]
