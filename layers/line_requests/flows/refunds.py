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
from line_requests.domain.reversals import Credit, PaidInvoice
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
    return [(invoice, credit) for invoice in owed if (credit := invoice.credit()) is not None]
