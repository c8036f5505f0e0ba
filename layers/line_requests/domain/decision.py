"""The decisions: pure functions of their arguments."""

from dataclasses import dataclass, replace
from enum import StrEnum

from line_requests.domain import money
from line_requests.domain.errors import (
    BillingRefused,
    CapReached,
    ForbiddenLineType,
    NoneForSale,
    SubscriptionRequired,
)
from line_requests.domain.model import Invoice, Line, PaymentStatus, Subscription, VoidReason, Workspace
from line_requests.domain.prices import AddOn, Amount, Charge, Excess
from line_requests.domain.submission import Kind, Submission


def judge(workspace: Workspace, kind: Kind) -> AddOn | None:
    """The add-on that a new line of this kind has to pay for; None when the plan includes it.

    Raises SubscriptionRequired or ForbiddenLineType (contract 17-19).
    """
    allowance = require_active(workspace).allowances.get(kind)
    if allowance is None:
        raise ForbiddenLineType(
            f"The current plan does not offer {kind.words} lines. Choose another kind of line or another plan."
        )
    if allowance.cap is not None and workspace.held.get(kind, 0) >= allowance.cap:
        limit = _lines(allowance.cap, kind)
        raise CapReached(f"The plan's limit of {limit} is reached. Release a line or choose another plan.")
    if workspace.unpaid.get(kind, 0) < allowance.included:
        return None
    if allowance.add_on is None:
        if allowance.included == 0:
            none = f"The current plan includes and sells no {kind.words} lines."
            raise NoneForSale(f"{none} Choose another kind of line or another plan.")
        included = f"The plan includes {_lines(allowance.included, kind)} and sells no more."
        raise NoneForSale(f"{included} Release an included line or choose another plan.")
    return allowance.add_on


def _lines(count: int, kind: Kind) -> str:
    return f"{count} {kind.words} line{'' if count == 1 else 's'}"


def require_active(workspace: Workspace) -> Subscription:
    """The workspace's subscription; raises SubscriptionRequired unless it is active (contract 17, 41)."""
    subscription = workspace.subscription
    if subscription is None or not subscription.active:
        raise SubscriptionRequired(
            "The workspace has no active subscription. Subscribe, or pay what the subscription owes, then retry."
        )
    return subscription


class Next(StrEnum):
    """How POST would answer a request for one more line (contract 62)."""

    INCLUDED = "included"
    PAYABLE = "payable"
    FORBIDDEN = "forbidden"
    LOCKED = "locked"

    @classmethod
    def of(cls, workspace: Workspace, kind: Kind) -> "Next":
        """The decision about one more line of this kind, in POST's order of checks."""
        try:
            add_on = judge(workspace, kind)
        except (SubscriptionRequired, ForbiddenLineType):
            return cls.FORBIDDEN
        if workspace.lock is not None:
            return cls.LOCKED
        return cls.INCLUDED if add_on is None else cls.PAYABLE


def charge_for(workspace: Workspace, submission: Submission, add_on: AddOn, now_ms: int) -> Charge:
    """The charge of one line, independent of later plan changes (contract 51).

    Raises BillingRefused when the add-on has no price in the subscription's currency.
    """
    subscription = workspace.subscription
    assert subscription is not None, "judge() refuses a workspace without a subscription"  # noqa: S101
    price = price_of(add_on, subscription.currency)
    amount, period = money.first_charge(subscription, price.unit_amount, subscription.currency, now_ms // 1000)
    return Charge(
        customer=workspace.customer,
        livemode=workspace.livemode,
        product=add_on.product,
        currency=subscription.currency,
        amount=amount,
        period=period,
        description=f"{submission.kind.words.capitalize()} line: {submission.first_name} {submission.last_name}",
        tax_behavior=price.tax_behavior,
        automatic_tax=subscription.automatic_tax,
        tax_rates=subscription.tax_rates,
        memo=subscription.invoice_memo,
        footer=subscription.invoice_footer,
    )


def price_of(add_on: AddOn, currency: str) -> Amount:
    """The add-on's price in a currency; raises BillingRefused when it has none."""
    amount = add_on.amounts.get(currency)
    if amount is None:
        raise BillingRefused(
            f"The price {add_on.price} has no amount in {currency}. Add one in Stripe, apply the plan, then retry."
        )
    return amount


@dataclass(frozen=True, slots=True)
class MarkPaid:
    """The invoice is paid: provision."""


@dataclass(frozen=True, slots=True)
class Waive:
    """The plan includes the line now and its invoice is void: provision."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The invoice is void: cancel the request."""

    cause: str


@dataclass(frozen=True, slots=True)
class RecordVoidReason:
    """The invoice has to be voided: store the reason first."""

    reason: VoidReason


@dataclass(frozen=True, slots=True)
class VoidInvoice:
    """The reason is stored: void the invoice, or delete its draft."""


@dataclass(frozen=True, slots=True)
class BuildInvoice:
    """The invoice is not finalized: take the next step at Stripe."""


@dataclass(frozen=True, slots=True)
class AwaitPayment:
    """The invoice is open: wait for the payment."""


@dataclass(frozen=True, slots=True)
class FollowRevision:
    """The invoice was revised: the revision is the line's invoice from now on."""


@dataclass(frozen=True, slots=True)
class ReportMissing:
    """Stripe does not know a finalized invoice: change nothing, raise an alarm."""


Settlement = MarkPaid | Waive | Cancel
Move = Settlement | RecordVoidReason | VoidInvoice | BuildInvoice | AwaitPayment | FollowRevision | ReportMissing


def concerns(line: Line, invoice: Invoice) -> bool:
    """Whether a line's own invoice, its revision or a paid copy decides what the line does next (contract 56)."""
    return line.invoice_id in {None, invoice.id, invoice.revises} or invoice.status == "paid"


def replaced_by(line: Line, paid: Invoice) -> str | None:
    """The line's invoice that has to be voided because a copy of it was paid; a revision's original is void already."""
    return None if line.invoice_id in {paid.id, paid.revises} else line.invoice_id


def refund_owed(line: Line, invoice: Invoice) -> bool:
    """Whether an invoice was paid for a line that is canceled or free, or that another invoice has paid for."""
    own = line.payment_status is PaymentStatus.PAID and invoice.id == line.invoice_id
    return invoice.status == "paid" and not line.awaiting and not own


def standing(status: str, total: int, credited: int) -> str:
    """An invoice's status as it counts: credited in full is void, though Stripe calls it paid (contract 56).

    "If a credit note reduces the balance of an open invoice to 0, the invoice status changes to paid":
    https://docs.stripe.com/invoicing/dashboard/credit-notes
    """
    return "void" if 0 < total <= credited else status


def next_move(line: Line, workspace: Workspace, invoice: Invoice | None, now_ms: int, window_ms: int) -> Move:
    """What to do for a line that awaits payment, given its invoice as just fetched (None: not created yet).

    Paid outranks every reason to void; a stored reason decides what a void invoice means (contract 39, 44, 47).
    """
    decided = _decided_at_stripe(line, invoice) if invoice else None
    if decided is not None:
        return decided
    if invoice is not None and invoice.partly_paid:
        return AwaitPayment()  # Stripe would refuse the void
    if line.void_reason is not None:
        return VoidInvoice()
    reason = reason_to_void(line, workspace, now_ms, window_ms)
    if reason is not None:
        return RecordVoidReason(reason)
    # A half-made line's invoice is a draft, which anyone with access to the Stripe account can delete.
    return BuildInvoice() if invoice is None or invoice.status in {"draft", "gone"} else AwaitPayment()


def _decided_at_stripe(line: Line, invoice: Invoice) -> Move | None:
    """What the invoice alone decides; None while it is a draft or can be paid."""
    status = invoice.status
    # Only a draft can be deleted; an invoice with a hosted URL cannot.
    deleted = status == "gone" and line.half_made and line.void_reason is not None
    if line.invoice_id is not None and invoice.revises == line.invoice_id:
        return _after_revision(invoice)
    if status == "paid":
        return MarkPaid()
    if status == "void" or deleted:
        return Waive() if line.void_reason is VoidReason.INCLUDED else Cancel(line.void_reason or "invoice_voided")
    return ReportMissing() if status == "gone" and not line.half_made else None


def _after_revision(revision: Invoice) -> Move:
    """What to do for a line whose invoice was replaced by this one."""
    match revision.status:
        case "paid":
            return MarkPaid()
        case "gone":
            return ReportMissing()
        case "draft":  # A person works on it; Stripe names only finalized revisions.
            return AwaitPayment()
        case _:
            return FollowRevision()


def reason_to_void(line: Line, workspace: Workspace, now_ms: int, window_ms: int) -> VoidReason | None:
    """Why an unpaid line should no longer be paid for; None when it should."""
    subscription = workspace.subscription
    # The line was created with a subscription; none now means that its customer was deleted.
    if subscription is None or subscription.ended:
        return VoidReason.SUBSCRIPTION_ENDED
    kind = line.submission.kind
    allowance = subscription.allowances.get(kind) if subscription.active else None
    if subscription.active and allowance is None:
        return VoidReason.NOT_ON_PLAN
    # The line itself is one of the unpaid.
    if allowance is not None and workspace.unpaid.get(kind, 0) <= allowance.included:
        return VoidReason.INCLUDED
    expires_at_ms = expiry_ms(line, window_ms)
    if expires_at_ms is not None and now_ms >= expires_at_ms:
        return VoidReason.EXPIRED
    return None


def expiry_ms(line: Line, window_ms: int) -> int | None:
    """When an unpaid line expires; None without a payment window (contract 16)."""
    return line.created_at_ms + window_ms if window_ms else None


def owed_by_kind(workspace: Workspace, excess: Excess = "keep") -> dict[Kind, int]:
    """How many add-ons of each kind the workspace owes (contract 50)."""
    owed: dict[Kind, int] = {}
    subscription = workspace.subscription
    for kind, allowance in subscription.allowances.items() if subscription else ():
        if allowance.add_on is not None:
            held = workspace.held.get(kind, 0)
            paid = held - workspace.unpaid.get(kind, 0)
            settled = held - (workspace.lock_kind is kind)
            beyond = max(0, settled - allowance.included)
            owed[kind] = beyond if excess == "bill" else min(paid, beyond)
    return owed


def once_included(workspace: Workspace) -> Workspace:
    """The workspace after its waiting request is included, if the plan includes it by now; else as it is."""
    subscription, kind = workspace.subscription, workspace.lock_kind
    allowance = subscription.allowances.get(kind) if subscription and subscription.active and kind else None
    if allowance is None or kind is None or workspace.unpaid.get(kind, 0) > allowance.included:
        return workspace
    return replace(workspace, lock=None, lock_kind=None)


def quantities_owed(workspace: Workspace) -> dict[str, int]:
    """The quantity of each add-on price that the subscription should carry from the next period on.

    A place that is charged beyond this period, by a longer one before it, is not charged again by the renewal.
    """
    owed: dict[str, int] = {}
    subscription = workspace.subscription
    if subscription is None:
        return owed
    for kind, count in owed_by_kind(workspace, subscription.excess).items():
        add_on = subscription.allowances[kind].add_on
        if add_on is not None:
            beyond = money.covered(workspace.charged.get(kind, ()), subscription.period.end_s + 1)
            owed[add_on.price] = owed.get(add_on.price, 0) + max(0, count - beyond)
    return owed
