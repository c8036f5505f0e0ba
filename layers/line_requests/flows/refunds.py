"""The operator's refund: repeated, in parallel or after a crash, it gives the money back once (contract 55, 56)."""

from line_requests.billing.account import Billing
from line_requests.clock import Clock
from line_requests.domain.errors import (
    BillingRefused,
    BillingRejected,
    BillingUnavailable,
    NotInThisStatus,
    ReplayedFailure,
)
from line_requests.domain.model import Line, PaymentStatus, Status, VoidReason
from line_requests.domain.reversals import SENT_OUTSIDE, Credit, PaidInvoice, Reversal
from line_requests.flows.leases import Until
from line_requests.flows.lifecycle import Lifecycle
from line_requests.flows.provisioning import release
from line_requests.flows.reversals import to_refund
from line_requests.storage.lines import Lines

# Each round follows a change that another caller made meanwhile.
ROUNDS = 5
RELEASED_BY_OPERATOR = "released_by_operator"

Left = list[tuple[PaidInvoice, Credit]]


class Refunds:
    """Gives back what was paid for lines that cannot be had."""

    def __init__(self, lines: Lines, lifecycle: Lifecycle) -> None:
        self._lines = lines
        self._lifecycle = lifecycle

    def left(self, clock: Clock, line: Line) -> Left:
        """What is left to give back, and how; changes nothing.

        Raises NotInThisStatus when no refund is due for the line.
        """
        return _left(line, self._lifecycle.connect(clock))

    def give_back(self, clock: Clock, line: Line) -> tuple[Line, Left]:
        """Gives back what is left; cancels a request that awaits payment, and releases a line that failed.

        Returns the line, whose flag stays until Stripe says that the money went back, and what was given. Raises as
        `left`, and Stripe's refusal of what it will not give back.
        """
        # Read again: an operator may have been asked for minutes whether to go on.
        line = self._lines.get(line.workspace_id, line.id) or line
        if line.awaiting:
            line = self._lifecycle.advance(clock, line, Until.CHECKED, wait=True)
        billing = self._lifecycle.connect(clock)
        left = _left(line, billing)
        if _fails_paid(line):
            # Released first: a line that was refunded could still be provisioned again.
            line = release(self._lines, line, clock.now_ms(), RELEASED_BY_OPERATOR)
            left = _left(line, billing)
        given = _issue(line, left, billing)
        if line.awaiting:
            line = self._lifecycle.cancel(clock, line, VoidReason.CANCELED)
        return self._lifecycle.reversals.sync(clock, line), given

    def left_outside(self, clock: Clock, line: Line, reference: str) -> list[Reversal]:
        """What an operator who has sent the money back outside Stripe would record; changes nothing.

        Raises NotInThisStatus when nothing is left to send, or while the request awaits payment.
        """
        return self._outside(clock, line, reference)[0]

    def record_outside(self, clock: Clock, line: Line, reference: str) -> tuple[Line, list[Reversal]]:
        """Records that what is left was sent back outside Stripe, once for each reference; releases a failed line.

        Returns the line and what is recorded under the reference. Raises as `left_outside`.
        """
        for _ in range(ROUNDS):
            if known := [one for one in line.reversals if (one.id, one.cause) == (reference, SENT_OUTSIDE)]:
                return line, known
            sent, refund_due = self._outside(clock, line, reference)
            if _fails_paid(line):
                # Released first: a line that was refunded could still be provisioned again.
                line = release(self._lines, line, clock.now_ms(), RELEASED_BY_OPERATOR)
                continue
            stored = self._lines.save_reversals(line, sent, refund_due=refund_due)
            if stored is not None:
                return self._lifecycle.reversals.sync(clock, stored), sent
            line = self._lines.get(line.workspace_id, line.id) or line
        raise BillingUnavailable("other callers keep changing the line", line_id=line.id)

    def _outside(self, clock: Clock, line: Line, reference: str) -> tuple[list[Reversal], bool]:
        """What was sent outside Stripe, and whether something else is still on its way."""
        if line.awaiting:
            raise NotInThisStatus(line, f"The line {line.id} awaits payment. Refund or cancel the request instead.")
        invoices = _owed(line, self._lifecycle.connect(clock))
        sent = [
            Reversal(clock.now_ms(), reference, SENT_OUTSIDE, invoice.to_return, invoice.currency, invoice.id)
            for invoice in invoices
            if invoice.to_return
        ]
        if not sent:
            raise NotInThisStatus(
                line, f"Nothing is left to send for the line {line.id}: it went back, or is on its way."
            )
        return sent, any(invoice.kept > invoice.to_return for invoice in invoices)


def _issue(line: Line, left: Left, billing: Billing) -> Left:
    """Issues what is left until nothing is; returns what was issued."""
    given, attempt = Left(), 1
    for _ in range(ROUNDS):
        refusal: BillingRefused | BillingUnavailable | None = None
        for invoice, credit in left:
            try:
                billing.credit_notes.issue(line, invoice, credit, attempt=attempt)
                given.append((invoice, credit))
            except (BillingRefused, BillingRejected, ReplayedFailure) as error:
                refusal = error
        # A look after each round: other people's refunds count, and so do our own of a crashed run.
        before, left = left, _left(line, billing)
        if not left:
            return given
        if refusal is not None and left == before:
            if not isinstance(refusal, ReplayedFailure):
                raise refusal
            attempt += 1
    raise BillingUnavailable("what is left to give back keeps changing", line_id=line.id)


def _fails_paid(line: Line) -> bool:
    return line.status is Status.FAILED and line.payment_status is PaymentStatus.PAID


def _left(line: Line, billing: Billing) -> Left:
    return [(invoice, credit) for invoice in _owed(line, billing) if (credit := invoice.credit()) is not None]


def _owed(line: Line, billing: Billing) -> list[PaidInvoice]:
    """The invoices whose payment has to go back; raises NotInThisStatus when no refund is due."""
    invoices = billing.reversals.of_line(line)
    if line.awaiting:
        owed = [invoice for invoice in invoices if invoice.partly_paid or invoice.credited_in_full]
        if not owed:
            raise NotInThisStatus(line, f"Nothing was paid for the line {line.id}. Cancel the request instead.")
    elif _fails_paid(line):
        owed = invoices
    else:
        owed = to_refund(line, invoices)
        if not (owed or line.refund_due or line.owes_refund):
            raise NotInThisStatus(line, f"The line {line.id} is {line.status}, and no refund of it is due.")
    return owed
