"""What the service knows: workspaces, lines and invoices, as immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

# In which lines may be requested (contract 17), and what can never become active again (contract 39).
ACTIVE = frozenset({"active", "trialing"})
ENDED = frozenset({"canceled", "incomplete_expired"})

# Whether a price contains its tax; unspecified leaves it to the Stripe account's default.
TaxBehavior = Literal["exclusive", "inclusive", "unspecified"]


class Kind(StrEnum):
    """The kinds of line that capacity is counted by (contract 19)."""

    PURCHASED_PHONE = "purchased_phone"
    BYON_PHONE = "byon_phone"
    EMAIL = "email"


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


class Closing(StrEnum):
    """Why an invoice is about to be voided: stored first, applied by whoever then sees it void."""

    CANCELED = "canceled"
    INCLUDED = "included"
    EXPIRED = "expired"
    SUBSCRIPTION_ENDED = "subscription_ended"
    BILLING_REFUSED = "billing_refused"


@dataclass(frozen=True, slots=True)
class AddOn:
    """A paid line beyond the plan: the recurring price, and what a one-off item copies from it."""

    price: str
    product: str
    currency: str
    unit_amount: int
    """Minor units of the currency."""
    tax_behavior: TaxBehavior = "unspecified"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a plan grants for one kind of line; without an add-on nothing is for sale."""

    included: int
    cap: int | None = None
    add_on: AddOn | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Stripe subscription as last read, with the entitlements of the plan it stands for.

    `plan` is None when no plan names its base price; a kind missing from `allowances` is not on
    the plan.
    """

    id: str
    status: str
    plan: str | None
    allowances: Mapping[Kind, Allowance] = field(default_factory=dict)
    automatic_tax: bool = False
    tax_rates: tuple[str, ...] = ()

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
    """The consistency boundary: subscription, places, the awaiting_payment lock, the rate window."""

    id: str
    customer: str
    livemode: bool
    revision: int
    """Moves with every change of the subscription snapshot."""
    subscription: Subscription | None = None
    held: Mapping[Kind, int] = field(default_factory=dict)
    """Lines that hold a place: awaiting payment, provisioning, active (contract 19)."""
    unpaid: Mapping[Kind, int] = field(default_factory=dict)
    """Those of `held` that are not paid for."""
    lock: str | None = None
    """The id of the one line that awaits payment."""
    lock_kind: Kind | None = None
    tat_ms: int | None = None
    """GCRA's theoretical arrival time, epoch milliseconds."""
    quantities_revision: int = 0
    """Moves with every change that may alter what the add-on quantities should be."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A validated request for a line (contract 6-12)."""

    first_name: str
    last_name: str
    channel_type: str
    line_type: str
    email: str | None = None
    phone: str | None = None
    zipcode: str | None = None
    state: str | None = None
    forward_calls_to: str | None = None
    profile_image_url: str | None = None

    @property
    def kind(self) -> Kind:
        """The kind of line that this request counts towards."""
        if self.channel_type == "email":
            return Kind.EMAIL
        return Kind.BYON_PHONE if self.line_type == "byon" else Kind.PURCHASED_PHONE


@dataclass(frozen=True, slots=True)
class Charge:
    """All that Stripe will ever be told about a line's invoice, frozen when the line is made."""

    customer: str
    livemode: bool
    product: str
    currency: str
    unit_amount: int
    tax_behavior: TaxBehavior = "unspecified"
    automatic_tax: bool = False
    tax_rates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of a line: when (epoch ms), into which status, and why (contract 49)."""

    at_ms: int
    status: Status
    cause: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line request: its stored state is its recovery point."""

    id: str
    workspace_id: str
    submission: Submission
    status: Status
    payment_status: PaymentStatus
    created_at_ms: int
    history: tuple[Change, ...]
    charge: Charge | None = None
    key_hash: str | None = None
    """SHA-256 of the idempotency key it was requested with."""
    key_version: int = 1
    """The n in the Stripe idempotency keys `<line id>:<step>:v<n>`."""
    keyed_at_ms: int = 0
    """When that version was first stored; Stripe forgets keys after 24 hours."""
    invoice_id: str | None = None
    payment_url: str | None = None
    closing: Closing | None = None
    look_after_ms: int = 0
    """Nobody else takes Stripe steps for this line before then: lease and look interval in one."""
    due_at_ms: int | None = None
    """When the reconciler looks at it next."""
    refund_due: bool = False
    """Paid although canceled: an operator has to refund it (contract 44)."""

    @property
    def awaiting(self) -> bool:
        """Whether it waits for its payment, and so holds the workspace's lock."""
        return self.status is Status.AWAITING_PAYMENT

    @property
    def refundable(self) -> bool:
        """Whether a payment that comes now was not wanted: a line that was paid and then released is not."""
        return self.payment_status is PaymentStatus.CANCELED

    @property
    def half_made(self) -> bool:
        """Whether its invoice is not finished: no hosted URL has been stored yet."""
        return self.awaiting and self.payment_url is None

    @property
    def sequence(self) -> int:
        """The number of states it has been in; `<id>:<sequence>` names a change for good."""
        return len(self.history)


@dataclass(frozen=True, slots=True)
class Invoice:
    """A Stripe invoice of ours as last read; `gone` when it is deleted or unknown to Stripe."""

    id: str
    status: str
    """draft, open, paid, void or uncollectible; gone is ours."""
    line_id: str = ""
    customer: str = ""
    url: str | None = None
    items: tuple[tuple[str, int], ...] = ()
    """(currency, amount in minor units) of each invoice item."""
    replayed: bool = False
    """Whether Stripe answered from an idempotency key's memory: possibly out of date."""


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What an Idempotency-Key stands for: a line, and the body of the 201 once it was answered."""

    line_id: str
    fingerprint: str
    answer: str | None = None
