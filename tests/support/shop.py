"""A deployment in this process: the real stores and flows, a DynamoDB engine, and Stripe's double."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import stripe

from line_requests.billing.account import Billing
from line_requests.billing.client import connect
from line_requests.clock import Clock, wall_time_ms
from line_requests.domain.errors import LineRequestError
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import AddOn, Allowance, PaymentStatus, Plan, Status, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind, Submission
from line_requests.flows.create import Created, Creation
from line_requests.flows.lifecycle import Lifecycle
from line_requests.operator import commands
from tests.decision.examples import SUBMISSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from line_requests.domain.model import Line
    from line_requests.storage.stores import Stores
    from tests.local.stripe_double import StripeDouble
    from tests.support.world import World

API_KEY = "sk_test_product"
PLENTY = RateLimit(per_minute=6000, burst=1000)
HOLDING = {Status.AWAITING_PAYMENT, Status.PROVISIONING, Status.ACTIVE}
BUDGET_S = 18.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WaitingClock(Clock):
    """A clock that only waiting moves on, and at once: what it says does not depend on the machine."""

    waited_s: list[float] = field(default_factory=list)

    def now_ms(self) -> int:
        return self.started_at_ms + int(sum(self.waited_s) * 1000)

    def remaining_s(self) -> float:
        return self.budget_s - sum(self.waited_s)

    def sleep(self, seconds: float) -> None:
        self.waited_s.append(seconds)


def clock(budget_s: float = BUDGET_S, *, later_ms: int = 0) -> Clock:
    """A clock that starts now, or that much later."""
    return Clock(wall_time_ms() + later_ms, budget_s)


class Flows:
    """The flows that change lines, on these stores and the Stripe at this URL."""

    def __init__(self, stores: Stores, stripe_url: str) -> None:
        self.stores = stores
        self.stripe_url = stripe_url
        self.lifecycle = Lifecycle(stores, self.billing, 0)

    def billing(self, clock: Clock) -> Billing:
        return Billing(connect(API_KEY, api_base=self.stripe_url, clock=clock), livemode=False)

    def creation(self, clock: Clock, limit: RateLimit = PLENTY) -> Creation:
        return Creation(self.stores, self.lifecycle, clock, limit=limit, window_ms=0)

    def submit(
        self,
        key: str | None = None,
        submission: Submission = SUBMISSIONS[Kind.PURCHASED_PHONE],
        at: Clock | None = None,
        *,
        torn: bool = False,
    ) -> Created:
        """One request, as the function makes it; its first batch is no snapshot: torn, it missed the key's record."""
        key_hash = sha256_hex(key) if key else None
        workspace, record = self.stores.lines.workspace_and_record("acme", key_hash)
        assert workspace is not None
        return self.creation(at or clock()).create(workspace, None if torn else record, submission, key_hash)


class Shop(Flows):
    """One deployment with one plan."""

    def __init__(self, world: World, double: StripeDouble) -> None:
        super().__init__(world.stores, double.url)
        self.world = world
        self.double = double
        self.stripe = stripe.StripeClient("sk_test_operator", base_addresses={"api": double.url})

    def workspace(self, included: int, *, for_sale: bool = True, cap: int | None = None) -> Workspace:
        """A subscribed workspace on a plan that includes so many purchased phone lines."""
        v1 = self.stripe.v1
        product = v1.products.create({"name": "Line"}).id
        base, extra = (
            v1.prices.create(
                {"product": product, "currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}}
            ).id
            for amount in (2900, 1500)
        )
        add_on = AddOn(extra, product, "usd", 1500) if for_sale else None
        allowances = {Kind.PURCHASED_PHONE: Allowance(included, cap, add_on)}
        self.stores.plans.save([Plan("plan", (base,), allowances)])
        customer = v1.customers.create({"name": "Acme"}).id
        v1.subscriptions.create({"customer": customer, "items": [{"price": base}]})
        return commands.create_workspace(
            self.stores.workspaces,
            self.lifecycle.subscriptions,
            self.billing(clock()),
            "acme",
            customer=customer,
            now_ms=wall_time_ms(),
        )

    def line_invoices(self) -> list[dict[str, object]]:
        """The invoices that Stripe holds for lines; the subscription's own is none of them."""
        return [invoice for invoice in self.double.all_of("invoice") if invoice["metadata"].get("line_id")]


def together(*acts: Callable[[], T]) -> list[T | LineRequestError]:
    """All of them at once, each in a thread of its own; a refusal of the product's is a result."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], T]) -> T | LineRequestError:
        start.wait()
        try:
            return act()
        except LineRequestError as refusal:
            return refusal

    with ThreadPoolExecutor(len(acts)) as pool:
        return [result.result() for result in [pool.submit(run, act) for act in acts]]


def of_type(results: Sequence[object], kind: type[T]) -> list[T]:
    return [result for result in results if isinstance(result, kind)]


def assert_consistent(world: World, workspace_id: str = "acme") -> list[Line]:
    """Counts and lock say of the workspace's lines exactly what is true; returns the lines."""
    workspace = world.now(workspace_id)
    lines: list[Line] = []
    before: str | None = None
    while True:
        page, before = world.lines.page(workspace_id, limit=100, before=before, status=None)
        lines += page
        if before is None:
            break
    for kind in Kind:
        holding = [line for line in lines if line.submission.kind is kind and line.status in HOLDING]
        assert workspace.held.get(kind, 0) == len(holding)
        assert workspace.unpaid.get(kind, 0) == sum(line.payment_status is not PaymentStatus.PAID for line in holding)
    waiting = [line.id for line in lines if line.awaiting]
    assert waiting == ([workspace.lock] if workspace.lock else [])
    for line in lines:
        steps = [change.status for change in line.history]
        assert all(earlier is not later for earlier, later in pairwise(steps)), "no step twice"
        assert steps[-1] is line.status
    return lines
