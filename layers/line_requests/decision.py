"""The decisions, pure: no clock, no I/O, everything they need is in their arguments."""

from dataclasses import dataclass

from line_requests.errors import ForbiddenLineType, SubscriptionRequired
from line_requests.model import AddOn, Charge, Closing, Invoice, Kind, Line, Workspace


def judge(workspace: Workspace, kind: Kind) -> AddOn | None:
    """What a new line of this kind costs: None when the plan includes it, else its add-on.

    Raises SubscriptionRequired or ForbiddenLineType (contract 17-19).
    """
    subscription = workspace.subscription
    if subscription is None or not subscription.active:
        raise SubscriptionRequired("An active subscription is required to request lines.")
    allowance = subscription.allowances.get(kind)
    name = kind.replace("_", " ")
    if allowance is None:
        raise ForbiddenLineType(f"The current plan does not offer {name} lines.")
    if allowance.cap is not None and workspace.held.get(kind, 0) >= allowance.cap:
        raise ForbiddenLineType(f"The plan's limit of {allowance.cap} {name} lines is reached.")
    if workspace.unpaid.get(kind, 0) < allowance.included:
        return None
    if allowance.add_on is None:
        raise ForbiddenLineType(f"The plan includes {allowance.included} {name} lines and sells no more.")
    return allowance.add_on


def charge_for(workspace: Workspace, add_on: AddOn) -> Charge:
    """What Stripe will be told about one line, whatever happens to the plan later."""
    subscription = workspace.subscription
    return Charge(
        customer=workspace.customer,
        livemode=workspace.livemode,
        product=add_on.product,
        currency=add_on.currency,
        unit_amount=add_on.unit_amount,
        tax_behavior=add_on.tax_behavior,
        automatic_tax=subscription is not None and subscription.automatic_tax,
        tax_rates=subscription.tax_rates if subscription else (),
    )


@dataclass(frozen=True, slots=True)
class Promote:
    """The invoice is paid: provision."""


@dataclass(frozen=True, slots=True)
class Include:
    """The plan includes the line now and its invoice is void: provision."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The invoice is void: the request is over."""

    cause: str


@dataclass(frozen=True, slots=True)
class Intend:
    """The invoice is to be voided: store why first."""

    closing: Closing


@dataclass(frozen=True, slots=True)
class Close:
    """Why is stored: void the invoice, or delete its draft."""


@dataclass(frozen=True, slots=True)
class Make:
    """The invoice is not finished: take the next step."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do but wait for the payment."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A finished invoice that Stripe does not know: change nothing, tell an operator."""


Settlement = Promote | Include | Cancel
Move = Settlement | Intend | Close | Make | Rest | Missing


def next_move(line: Line, workspace: Workspace, invoice: Invoice | None, now_ms: int, window_ms: int) -> Move:
    """What to do for a line that awaits payment, given what Stripe was just seen to hold.

    `invoice` is None while none was made. Paid beats every intent to close; an intent, once
    stored, decides what a void invoice means (contract 39, 44, 47).
    """
    status = invoice.status if invoice else "none"
    # A draft vanishes when it is deleted; an invoice that had a hosted URL cannot.
    deleted = status == "gone" and line.half_made and line.closing is not None
    if status == "paid":
        return Promote()
    if status == "void" or deleted:
        return Include() if line.closing is Closing.INCLUDED else Cancel(line.closing or "invoice_voided")
    if status == "gone" and not line.half_made:
        return Missing()
    if line.closing is not None:
        return Close()
    closing = reason_to_close(line, workspace, now_ms, window_ms)
    if closing is not None:
        return Intend(closing)
    # What was never finished was a draft, which anybody at Stripe can delete.
    return Make() if status in {"none", "draft", "gone"} else Rest()


def reason_to_close(line: Line, workspace: Workspace, now_ms: int, window_ms: int) -> Closing | None:
    """Why an unpaid line should no longer be paid for, if there is a reason."""
    subscription = workspace.subscription
    # There was one when the line was made: none means that it went with its customer.
    if subscription is None or subscription.ended:
        return Closing.SUBSCRIPTION_ENDED
    kind = line.submission.kind
    allowance = subscription.allowances.get(kind) if subscription.active else None
    # The line itself is one of the unpaid.
    if allowance is not None and workspace.unpaid.get(kind, 0) <= allowance.included:
        return Closing.INCLUDED
    expires_at_ms = expiry_ms(line, window_ms)
    if expires_at_ms is not None and now_ms >= expires_at_ms:
        return Closing.EXPIRED
    return None


def expiry_ms(line: Line, window_ms: int) -> int | None:
    """When an unpaid line expires; None without a payment window (contract 16)."""
    return line.created_at_ms + window_ms if window_ms else None


def quantities_owed(workspace: Workspace) -> dict[str, int]:
    """The quantity of each add-on price that the workspace's subscription should carry (contract 50)."""
    owed: dict[str, int] = {}
    if workspace.subscription is None:
        return owed
    for kind, allowance in workspace.subscription.allowances.items():
        if allowance.add_on is None:
            continue
        held = workspace.held.get(kind, 0)
        paid = held - workspace.unpaid.get(kind, 0)
        settled = held - (workspace.lock_kind is kind)
        price = allowance.add_on.price
        owed[price] = owed.get(price, 0) + min(paid, max(0, settled - allowance.included))
    return owed
