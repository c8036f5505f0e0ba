"""A deployment in this process: the real store and intake, a DynamoDB engine, and Stripe's double."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import stripe

from line_requests.billing.account import Billing
from line_requests.clock import Clock
from line_requests.domain.errors import LineRequestError
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import AddOn, Allowance, PaymentStatus, Plan, Status, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind, Submission
from line_requests.flows.create import Answer
from line_requests.flows.lifecycle import Lifecycle
from line_requests.operator import commands as operators
from tests.decision.examples import SUBMISSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from line_requests.domain.model import Line
    from tests.local.stripe_double import StripeDouble
    from tests.store.world import World

API_KEY = "sk_test_product"
PLENTY = RateLimit(per_minute=6000, burst=1000)
HOLDING = {Status.AWAITING_PAYMENT, Status.PROVISIONING, Status.ACTIVE}

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


class Shop:
    """One deployment with one plan."""

    def __init__(self, world: World, double: StripeDouble) -> None:
        self.world = world
        self.double = double
        self.stripe = stripe.StripeClient("sk_test_operator", base_addresses={"api": double.url})

    def billing(self, remaining_s: Callable[[], float]) -> Billing:
        return Billing(API_KEY, api_base=self.double.url, remaining_s=remaining_s)

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
        self.world.registry.save_plans([Plan("plan", (base,), allowances)])
        customer = v1.customers.create({"name": "Acme"}).id
        v1.subscriptions.create({"customer": customer, "items": [{"price": base}]})
        billing = self.billing(lambda: 20.0)
        return operators.create_workspace(self.world.registry, billing, "acme", customer=customer, now_ms=now_ms())

    def submit(
        self,
        key: str | None = None,
        submission: Submission = SUBMISSIONS[Kind.PURCHASED_PHONE],
        clock: Clock | None = None,
        *,
        torn: bool = False,
    ) -> Answer:
        """One request, as the function makes it; its first batch is no snapshot: torn, it missed the key's record."""
        clock = clock or Clock(now_ms(), 18.0)
        store = self.world.store
        lifecycle = Lifecycle(store, self.world.registry, self.billing, clock, 0)
        key_hash = sha256_hex(key) if key else None
        opening = store.opening("acme", idempotency_key_hash=key_hash)
        assert opening.workspace is not None
        return Intake(store, lifecycle, clock, PLENTY, 0).submit(
            opening.workspace, None if torn else opening.record, submission, key_hash
        )

    def line_invoices(self) -> list[dict[str, object]]:
        """The invoices that Stripe holds for lines; the subscription's own is none of them."""
        return [invoice for invoice in self.double.all_of("invoice") if invoice["metadata"].get("line_id")]


def now_ms() -> int:
    return int(time.time() * 1000)


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
        page, before = world.store.lines_page(workspace_id, limit=100, before=before, status=None)
        lines += page
        if before is None:
            break
    for kind in Kind:
        holding = [line for line in lines if line.submission.kind is kind and line.status in HOLDING]
        assert workspace.held[kind] == len(holding)
        assert workspace.unpaid[kind] == sum(line.payment_status is not PaymentStatus.PAID for line in holding)
    waiting = [line.id for line in lines if line.awaiting]
    assert waiting == ([workspace.lock] if workspace.lock else [])
    for line in lines:
        steps = [change.status for change in line.history]
        assert all(earlier is not later for earlier, later in pairwise(steps)), "no step twice"
        assert steps[-1] is line.status
    return lines
