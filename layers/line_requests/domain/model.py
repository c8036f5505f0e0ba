"""What the service knows: workspaces, lines, invoices and plans, as immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from line_requests.domain.prices import (
    NO_PERIOD,
    Allowance,
    Charge,
    Counted,
    Coverage,
    Excess,
    FirstCharge,
    PendingCharge,
    Period,
)
from line_requests.domain.reversals import Reversal, gone_back
from line_requests.domain.submission import Kind, Submission

# Stripe's statuses in which lines may be requested (contract 17), and those that have ended for good (39).
ACTIVE = frozenset({"active", "trialing"})
ENDED = frozenset({"canceled", "incomplete_expired"})
# Until its first invoice is paid, a subscription charges no renewal.
NOT_RENEWED = ENDED | {"incomplete"}


class Status(StrEnum):
    """Where a line stands: `provisioningStatus`, and `status` of every answer (contract 36, 49)."""

    AWAITING_PAYMENT = "awaiting_payment"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    FAILED = "failed"
    CANCELED = "canceled"


class PaymentStatus(StrEnum):
    """What is known of a line's payment (contract 36)."""

    NOT_REQUIRED = "not_required"
    AWAITING_PAYMENT = "awaiting_payment"
    PAID = "paid"
    CANCELED = "canceled"


class VoidReason(StrEnum):
    """Why an invoice is about to be voided: stored first, applied by the caller that then sees it void."""

    CANCELED = "canceled"
    INCLUDED = "included"
    EXPIRED = "expired"
    SUBSCRIPTION_ENDED = "subscription_ended"
    NOT_ON_PLAN = "not_on_plan"
    BILLING_REFUSED = "billing_refused"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Stripe subscription as last read, with the entitlements of the plan it stands for.

    `plan` is None when no plan names its base price; a kind missing from `allowances` is not on
    the plan.
    """

    id: str
    status: str
    plan: str | None = None
    allowances: Mapping[Kind, Allowance] = field(default_factory=dict)
    automatic_tax: bool = False
    tax_rates: tuple[str, ...] = ()
    excess: Excess = "keep"
    first_charge: FirstCharge = "prorated"
    invoice_memo: str | None = None
    invoice_footer: str | None = None
    currency: str = ""
    period: Period = NO_PERIOD
    """The base item's current period."""
    anchor_s: int = 0
    """Stripe's billing cycle anchor: it sets the day of the month."""
    interval: str = "month"
    interval_count: int = 1

    @property
    def active(self) -> bool:
        """Whether lines may be requested (contract 17)."""
        return self.plan is not None and self.status in ACTIVE

    @property
    def ended(self) -> bool:
        """Whether it can never become active again."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Workspace:
    """The consistency boundary: subscription, capacity in use, the awaiting_payment lock, the rate window."""

    id: str
    customer: str
    livemode: bool
    revision: int
    """Incremented by every change of the subscription snapshot."""
    subscription: Subscription | None = None
    excess_basis: Subscription | None = None
    """The limits that still count for over plan while the present subscription decides nothing (contract 54)."""
    held: Mapping[Kind, int] = field(default_factory=dict)
    """Lines that hold a place: awaiting payment, provisioning, active (contract 19)."""
    unpaid: Mapping[Kind, int] = field(default_factory=dict)
    """Those of `held` that are not paid for."""
    charged: Mapping[Kind, tuple[Coverage, ...]] = field(default_factory=dict)
    """Until when places are charged, whatever price, plan or subscription charged them (contract 52)."""
    counted: Counted | None = None
    pending_charge: PendingCharge | None = None
    """The invoice item that is about to be created: stored first, so that a crash cannot create two."""
    charge_number: int = 0
    """Incremented with each pending charge."""
    lock: str | None = None
    """The id of the one line that awaits payment."""
    lock_kind: Kind | None = None
    tat_ms: int | None = None
    """GCRA's theoretical arrival time, epoch milliseconds."""
    quantities_revision: int = 0
    """Incremented by every change that may alter the add-on quantities owed."""


class ReasonCode(StrEnum):
    """Why a provisioner could not deliver a line (contract 60)."""

    UNAVAILABLE = "unavailable"
    ADDRESS_REQUIRED = "address_required"
    IDENTITY_REQUIRED = "identity_required"
    REJECTED = "rejected"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of a line: when (epoch ms), into which status, and why (contract 49)."""

    at_ms: int
    status: Status
    cause: str
    reason_code: ReasonCode | None = None
    reason: str | None = None
    """The provisioner's own words about a failure."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a line became: the number or address, and the provisioner's reference (contract 60)."""

    phone: str | None = None
    email: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line request: its stored state is its recovery point."""

    id: str
    workspace_id: str
    submission: Submission
    """Validated when it was requested; a later release's rules do not make stored lines unreadable."""
    status: Status
    payment_status: PaymentStatus
    created_at_ms: int
    history: tuple[Change, ...]
    charge: Charge | None = None
    idempotency_key_hash: str | None = None
    """SHA-256 of the Idempotency-Key it was requested with."""
    stripe_key_version: int = 1
    """The n in the Stripe idempotency keys `<line id>:<step>:v<n>`."""
    stripe_keyed_at_ms: int = 0
    """When that version was first stored; Stripe forgets keys after 24 hours."""
    invoice_id: str | None = None
    payment_url: str | None = None
    amount_paid: int = 0
    """What was paid of an invoice that is still open, in minor units, as last seen (contract 56)."""
    replaced_invoice_id: str | None = None
    """The invoice whose copy was paid instead: the reconciler voids it (contract 56)."""
    refund_invoice_id: str | None = None
    """A second payment's invoice, which is to be refunded instead of `invoice_id` (contract 56)."""
    void_reason: VoidReason | None = None
    lease_until_ms: int = 0
    """Until then only the lease's holder calls Stripe for this line."""
    next_poll_at_ms: int = 0
    """Before then a poll answers what is stored."""
    due_at_ms: int | None = None
    """When the reconciler looks at it next."""
    refund_due: bool = False
    """Paid twice, or for a line that was canceled or failed: an operator has to refund it (contract 44, 55, 56)."""
    delivered: Delivered | None = None
    reversals: tuple[Reversal, ...] = ()
    """Money that went back, or may: beside `history`, whose length numbers the states that the bus tells."""

    @property
    def kind(self) -> Kind:
        """The kind of line that it counts towards."""
        return self.submission.kind

    @property
    def awaiting(self) -> bool:
        """Whether it waits for its payment, and so holds the workspace's lock."""
        return self.status is Status.AWAITING_PAYMENT

    @property
    def refundable(self) -> bool:
        """Whether a payment that arrives now has to be refunded: it was canceled without being paid."""
        return self.payment_status is PaymentStatus.CANCELED

    @property
    def owes_refund(self) -> bool:
        """Whether its payment has to go back: it was canceled before it was paid, or released because it failed."""
        released = self.status is Status.CANCELED and self.payment_status is PaymentStatus.PAID
        return self.refundable or (released and self.history[-2].status is Status.FAILED)

    @property
    def invoice_to_refund(self) -> str | None:
        """The invoice whose payment `refund_due` is about."""
        return self.refund_invoice_id or self.invoice_id

    @property
    def gone_back(self) -> Reversal | None:
        """What gave its payment back, or a part of it, or is about to; None while nothing does."""
        return gone_back(self.reversals, self.invoice_id)

    def sent_outside(self, invoice_id: str) -> int:
        """What an operator has sent back of an invoice's payment outside Stripe, in minor units."""
        return sum(reversal.amount for reversal in self.reversals if reversal.invoice_id == invoice_id)

    @property
    def half_made(self) -> bool:
        """Whether its invoice is not finalized: no hosted URL is stored yet."""
        return self.awaiting and self.payment_url is None

    @property
    def sequence(self) -> int:
        """The number of states it has been in; `<id>:<sequence>` is the id of the event about its present state."""
        return len(self.history)


@dataclass(frozen=True, slots=True)
class Invoice:
    """A Stripe invoice of ours as last read; `gone` when it is deleted or unknown to Stripe."""

    id: str
    status: str
    """draft, open, paid, void or uncollectible; gone is ours. One that is credited in full is void."""
    workspace_id: str = ""
    line_id: str = ""
    customer: str = ""
    url: str | None = None
    items: tuple[tuple[str, int], ...] = ()
    """(currency, amount in minor units) of each invoice item."""
    amount_paid: int = 0
    """In minor units; Stripe voids no invoice of which a part is paid."""
    revises: str | None = None
    """The invoice that this one replaces, as its revision."""
    latest_revision: str | None = None
    """The revision that replaces this one."""
    replayed: bool = False
    """Whether Stripe answered from an idempotency key's memory: possibly out of date."""

    @property
    def partly_paid(self) -> bool:
        """Whether a part is paid and the rest is not."""
        return self.status in {"open", "uncollectible"} and self.amount_paid > 0


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """The line that an Idempotency-Key made, and the body of the 201 once it was answered."""

    line_id: str
    fingerprint: str
    response_body: str | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is stored of an API key: never the key itself."""

    hash: str
    label: str
    created_at_ms: int
    revoked_at_ms: int | None = None
    expires_at_ms: int | None = None
    """When it stops working by itself: the end of a rotation's overlap."""

    def works_at(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)
