"""The steps at Stripe for one line's invoice, for the holder of the line's lease."""

from dataclasses import replace

from line_requests.billing.account import Billing
from line_requests.clock import Clock
from line_requests.domain.errors import BillingRefused, BillingRejected, InvoiceMissing, ReplayedFailure
from line_requests.domain.model import Invoice, Line
from line_requests.storage.lines import Lines
from line_requests.telemetry import alarm, logger

# Stripe keeps idempotency keys for at least 24 hours; an hour's margin for clocks and queues.
KEY_LIFETIME_MS = 23 * 3_600_000
DELETED = Invoice("", "gone")


class Invoicing:
    """One leased pass: create, fill, finalize, replace, void."""

    def __init__(self, lines: Lines, billing: Billing, clock: Clock) -> None:
        self._lines = lines
        self._invoices = billing.invoices
        self._clock = clock

    def build(self, line: Line, invoice: Invoice | None) -> tuple[Line, Invoice | None]:
        """Takes the next of create, fill and finalize, chosen by what Stripe was seen to have.

        Raises BillingRefused or BillingRejected when Stripe refuses the step.
        """
        if self._clock.now_ms() - line.stripe_keyed_at_ms > KEY_LIFETIME_MS:
            return self.rotate_stripe_keys(line)
        try:
            if invoice is not None and invoice.status == "gone":
                return self.replace_draft(line)
            if invoice is None:
                # An invoice created under an earlier key may never have been seen.
                found = self._invoices.find_by_metadata(line) if line.stripe_key_version > 1 else None
                return self.save_invoice_id(line, found or self._invoices.create_draft(line))
            return line, self.add_item_or_finalize(line, invoice)
        except ReplayedFailure:
            return self.rotate_stripe_keys(line)

    def add_item_or_finalize(self, line: Line, draft: Invoice) -> Invoice:
        """Fills an empty draft; finalizes one that has exactly our item; deletes one that has others."""
        expected = self._invoices.expected_items(line)
        if not draft.items:
            self._invoices.add_item(line, draft.id)
            return replace(draft, items=expected)
        if draft.items == expected:
            return self.refetch_if_replayed(self._invoices.finalize(line, draft.id))
        # Changed by hand, or by a call that arrived late: a new draft replaces it.
        logger.warning("the draft has other items than ours", extra={"line_id": line.id, "invoice": draft.id})
        return self._invoices.void_or_delete(draft)

    def rotate_stripe_keys(self, line: Line) -> tuple[Line, Invoice | None]:
        """Stores new idempotency keys before they are used, then finds what the old ones created."""
        line = self._lines.rotate_stripe_keys(line, self._clock.now_ms()) or self._reread(line)
        if line.invoice_id is not None:
            return line, self._invoices.retrieve(line.invoice_id)
        # An invoice's id is stored before it can be void: here a void one is newer than the backup of a restored table.
        found = self._invoices.find_by_metadata(line, void=True)
        return self.save_invoice_id(line, found) if found is not None else (line, None)

    def replace_draft(self, line: Line) -> tuple[Line, Invoice | None]:
        """Forgets a deleted draft, so that the next step creates another.

        Raises InvoiceMissing when Stripe does not know the customer either: then our API key is wrong.
        """
        try:
            another = self._invoices.find_by_metadata(line)
        except BillingRefused:
            raise invoice_missing(line) from None
        self._invoices.delete_pending_items(line)
        now_ms = self._clock.now_ms()
        line = self._lines.rotate_stripe_keys(line, now_ms, forget_invoice=True) or self._reread(line)
        if another is not None:
            return self.save_invoice_id(line, another)
        # Not forgotten: another caller has made the next draft, or has stored a reason to void meanwhile.
        return line, self._invoices.retrieve(line.invoice_id) if line.invoice_id is not None else None

    def save_invoice_id(self, line: Line, invoice: Invoice) -> tuple[Line, Invoice]:
        """Stores the invoice's id; an id that another caller stored first wins."""
        line = self._lines.save_invoice(line, invoice.id) or self._reread(line)
        unwanted = not line.awaiting or line.void_reason is not None
        if unwanted and invoice.status == "draft" and invoice.id != line.invoice_id:
            # Created by a caller whose lease had ended: no one else knows of it.
            deleted = self._invoices.void_or_delete(self.refetch_if_replayed(invoice))
            if not line.awaiting:
                return line, deleted
        if line.invoice_id not in {None, invoice.id}:
            return line, self._invoices.retrieve(line.invoice_id or "")
        return line, self.refetch_if_replayed(invoice)

    def refetch_if_replayed(self, invoice: Invoice) -> Invoice:
        """A replayed answer is as old as the first one: fetch the invoice as it is now."""
        return self.refetch(invoice) if invoice.replayed else invoice

    def refetch_if_replaced(self, line: Line, invoice: Invoice | None) -> Invoice | None:
        """Another caller may have replaced a deleted draft meanwhile: fetch the line's present one, if it is stored."""
        if invoice is None or invoice.status != "gone" or invoice.id == (line.invoice_id or DELETED.id):
            return invoice
        return self._invoices.retrieve(line.invoice_id) if line.invoice_id else None

    def refetch(self, invoice: Invoice) -> Invoice:
        """The invoice as it is now."""
        return self._invoices.retrieve(invoice.id)

    def delete_pending_items(self, line: Line) -> None:
        """Deletes what deleted drafts of the line left, before the line is settled."""
        self._invoices.delete_pending_items(line)

    def void(self, line: Line, invoice: Invoice | None) -> tuple[Line, Invoice | None]:
        """Voids the invoice or deletes its draft; a draft whose id was lost is found by creating it again.

        None when new idempotency keys were stored for that: the next step uses them.
        """
        if invoice is None:
            try:
                line, invoice = self.build(line, None)
            except BillingRefused:
                return line, DELETED
            except BillingRejected:
                # An earlier call may have created it, and its answer was lost.
                earlier = self._invoices.find_by_metadata(line)
                if earlier is None:
                    return line, DELETED
                line, invoice = self.save_invoice_id(line, earlier)
        return line, self._invoices.void_or_delete(invoice) if invoice is not None else None

    def _reread(self, line: Line) -> Line:
        return self._lines.get(line.workspace_id, line.id) or line


def invoice_missing(line: Line) -> InvoiceMissing:
    """Raises the alarm; returns the error to raise."""
    alarm("InvoiceMissing", "Stripe does not know a finalized invoice", line_id=line.id, invoice=line.invoice_id)
    return InvoiceMissing(f"Stripe does not know the invoice of line {line.id}")
