"""Typical values, of which a test changes the one thing that it is about; and strategies that generate them."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from line_requests.domain.model import Change, Invoice, Line, PaymentStatus, Status, Subscription, VoidReason, Workspace
from line_requests.domain.prices import AddOn, Allowance, Amount, Charge, Counted, Coverage, PendingCharge, Period
from line_requests.domain.submission import Kind, Submission

NOW_MS = 1_795_305_600_000
HOUR_MS = 3_600_000
LINE_ID = "01a2000000000123456789ab"
SUBSCRIPTION_STATUSES = (
    "active",
    "trialing",
    "past_due",
    "unpaid",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "paused",
)
# A month of 30 days, a third of which has passed.
PERIOD = Period(NOW_MS // 1000 - 10 * 86_400, NOW_MS // 1000 + 20 * 86_400)
ADD_ONS = {
    Kind.PURCHASED_PHONE: AddOn("price_phone", "prod_phone", {"usd": Amount(1500)}),
    Kind.BYON_PHONE: AddOn("price_byon", "prod_byon", {"usd": Amount(900)}),
    Kind.EMAIL: AddOn("price_email", "prod_email", {"usd": Amount(500)}),
}
SUBMISSIONS = {
    Kind.PURCHASED_PHONE: Submission(
        first_name="Ada", last_name="Lovelace", channel_type="phone", line_type="purchased"
    ),
    Kind.BYON_PHONE: Submission(
        first_name="Ada",
        last_name="Lovelace",
        channel_type="phone",
        line_type="byon",
        email="ada@example.com",
        phone="+15550100200",
    ),
    Kind.EMAIL: Submission(
        first_name="Ada", last_name="Lovelace", channel_type="email", line_type="purchased", email="ada@example.com"
    ),
}


def counts(**of: int) -> dict[Kind, int]:
    """Counts that are zero for every kind but those named."""
    return {kind: of.get(kind, 0) for kind in Kind}


def subscription(status: str = "active", /, **allowances: Allowance) -> Subscription:
    """One line of every kind included and more for sale, unless the kinds are named."""
    granted = {Kind[kind.upper()]: allowance for kind, allowance in allowances.items()}
    usual = {kind: Allowance(1, add_on=add_on) for kind, add_on in ADD_ONS.items()}
    return Subscription("sub_1", status, "starter", granted or usual, currency="usd", period=PERIOD)


def workspace(**changes: Any) -> Workspace:  # noqa: ANN401 - any of its fields
    """A subscribed workspace without lines."""
    usual: dict[str, Any] = {
        "id": "acme",
        "customer": "cus_acme",
        "livemode": False,
        "revision": 3,
        "subscription": subscription(),
        "held": counts(),
        "unpaid": counts(),
    }
    return Workspace(**usual | changes)


CHARGE = Charge(
    "cus_acme",
    livemode=False,
    product="prod_phone",
    currency="usd",
    amount=1500,
    period=PERIOD,
    description="Purchased phone line: Ada Lovelace",
)
PENDING_CHARGE = PendingCharge(
    number=1,
    kind=Kind.EMAIL,
    subscription="sub_1",
    product="prod_email",
    currency="usd",
    amount=333,
    tax_behavior="exclusive",
    tax_rates=("txr_1",),
    period=PERIOD,
    from_s=(PERIOD.start_s,),
    stored_at_ms=NOW_MS,
)


def line(kind: Kind = Kind.PURCHASED_PHONE, status: Status = Status.AWAITING_PAYMENT, **changes: Any) -> Line:  # noqa: ANN401 - any of its fields
    """A line that was requested at NOW_MS and is in this status since then."""
    awaiting = status is Status.AWAITING_PAYMENT
    usual: dict[str, Any] = {
        "id": LINE_ID,
        "workspace_id": "acme",
        "submission": SUBMISSIONS[kind],
        "status": status,
        "payment_status": PaymentStatus.AWAITING_PAYMENT if awaiting else PaymentStatus.NOT_REQUIRED,
        "created_at_ms": NOW_MS,
        "history": (Change(NOW_MS, status, "requested"),),
        "charge": CHARGE if awaiting else None,
        "stripe_keyed_at_ms": NOW_MS,
        "due_at_ms": NOW_MS if awaiting else None,
    }
    return Line(**usual | changes)


def payable(**changes: Any) -> Line:  # noqa: ANN401 - any of its fields
    """A line whose invoice is finalized and not paid."""
    return line(**{"invoice_id": "in_1", "payment_url": "https://invoice.stripe.com/i/1"} | changes)


def invoice(status: str, **changes: Any) -> Invoice:  # noqa: ANN401 - any of its fields
    """The invoice of `line()`."""
    usual: dict[str, Any] = {"workspace_id": "acme", "line_id": LINE_ID, "customer": "cus_acme"}
    return Invoice(id="in_1", status=status, **usual | changes)


# --- generated values -----------------------------------------------------------------------------

# Any text that can be sent as UTF-8.
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
# Not from_regex, which takes four times as long.
workspace_ids = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=40)
line_ids = st.text("0123456789abcdef", min_size=24, max_size=24)
few = st.integers(0, 4)
kinds = st.sampled_from(Kind)
moments_ms = st.integers(0, 2**42)
tax_behaviors = st.sampled_from(["exclusive", "inclusive", "unspecified"])
amounts = st.builds(Amount, st.integers(0, 10**8), tax_behaviors)
add_ons = st.builds(AddOn, texts, texts, st.dictionaries(st.sampled_from(["usd", "eur"]), amounts, min_size=1))
seconds = st.integers(0, 4_398_046_511)
periods = st.builds(Period, seconds, seconds)
allowances = st.builds(Allowance, few, st.none() | st.integers(0, 6), st.none() | add_ons)
subscriptions = st.builds(
    Subscription,
    id=texts,
    status=st.sampled_from(SUBSCRIPTION_STATUSES),
    plan=st.none() | texts,
    allowances=st.dictionaries(kinds, allowances),
    automatic_tax=st.booleans(),
    tax_rates=st.lists(texts, max_size=3).map(tuple),
    excess=st.sampled_from(["keep", "bill"]),
    first_charge=st.sampled_from(["prorated", "full"]),
)
all_counts = st.fixed_dictionaries(dict.fromkeys(Kind, few))


coverages: st.SearchStrategy[Coverage] = st.builds(Coverage, until_s=seconds, places=few)
pending_charges = st.builds(
    PendingCharge,
    number=few,
    kind=kinds,
    subscription=texts,
    product=texts,
    currency=texts,
    amount=st.integers(0, 10**8),
    tax_behavior=tax_behaviors,
    tax_rates=st.lists(texts, max_size=3).map(tuple),
    period=periods,
    from_s=st.lists(seconds, max_size=3).map(tuple),
    stored_at_ms=moments_ms,
)


@st.composite
def workspaces(draw: st.DrawFn) -> Workspace:
    """Workspaces with possible counts: at most as many unpaid as held, the lock's line among both."""
    unpaid = draw(all_counts)
    paid = draw(all_counts)
    lockable: list[Kind | None] = [kind for kind in Kind if unpaid[kind]]
    lock_kind = draw(st.sampled_from([None, *lockable]))
    return Workspace(
        id=draw(workspace_ids),
        customer=draw(texts),
        livemode=draw(st.booleans()),
        revision=draw(few),
        subscription=draw(st.none() | subscriptions),
        excess_basis=draw(st.none() | subscriptions),
        held={kind: unpaid[kind] + paid[kind] for kind in Kind},
        unpaid=unpaid,
        lock=LINE_ID if lock_kind else None,
        lock_kind=lock_kind,
        tat_ms=draw(st.none() | moments_ms),
        charged=draw(st.dictionaries(kinds, st.lists(coverages, max_size=3).map(tuple))),
        counted=draw(st.none() | st.builds(Counted, subscription=texts, period_end_s=seconds)),
        pending_charge=draw(st.none() | pending_charges),
        charge_number=draw(few),
        quantities_revision=draw(few),
    )


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    """Submissions as the table may hold them: of a known kind, with any texts."""
    kind = draw(kinds)
    optional = ("email", "phone", "zipcode", "state", "forward_calls_to", "profile_image_url")
    values: dict[str, Any] = {name: draw(st.none() | texts) for name in optional}
    return Submission(
        first_name=draw(texts),
        last_name=draw(texts),
        channel_type=kind.channel_type,
        line_type=kind.line_type,
        **values,
    )


changes = st.builds(Change, moments_ms, st.sampled_from(Status), texts)
charges = st.builds(
    Charge,
    customer=texts,
    livemode=st.booleans(),
    product=texts,
    currency=texts,
    amount=st.integers(0, 10**8),
    period=periods,
    description=texts,
    memo=st.none() | texts,
    footer=st.none() | texts,
    tax_behavior=tax_behaviors,
    automatic_tax=st.booleans(),
    tax_rates=st.lists(texts, max_size=3).map(tuple),
)
lines = st.builds(
    Line,
    id=line_ids,
    workspace_id=workspace_ids,
    submission=submissions(),
    status=st.sampled_from(Status),
    payment_status=st.sampled_from(PaymentStatus),
    created_at_ms=moments_ms,
    history=st.lists(changes, min_size=1, max_size=4).map(tuple),
    charge=st.none() | charges,
    idempotency_key_hash=st.none() | texts,
    stripe_key_version=st.integers(1, 9),
    stripe_keyed_at_ms=moments_ms,
    invoice_id=st.none() | texts,
    payment_url=st.none() | texts,
    void_reason=st.none() | st.sampled_from(VoidReason),
    lease_until_ms=moments_ms,
    next_poll_at_ms=moments_ms,
    due_at_ms=st.none() | moments_ms,
    refund_due=st.booleans(),
)
