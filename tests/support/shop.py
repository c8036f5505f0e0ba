"""The product in this process, on a DynamoDB engine and Stripe's double, with one workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from line_requests.billing.operator_account import OperatorBilling
from line_requests.clock import Clock, wall_time_ms
from line_requests.domain.errors import LineRequestError
from line_requests.domain.ids import sha256_hex
from line_requests.domain.prices import AddOn, Allowance, Amount, Plan
from line_requests.domain.submission import Kind, Submission
from line_requests.flows.create import Created, Creation
from line_requests.operator import commands
from tests.decision.examples import SUBMISSIONS
from tests.support import threads
from tests.support.account import Account
from tests.support.oracle import assert_consistent
from tests.support.product import product

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from line_requests.deployment import Deployment
    from line_requests.domain.model import Line, Workspace
    from line_requests.domain.rate_limit import RateLimit
    from tests.local.stripe_double import StripeDouble
    from tests.support.world import World

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
        assert len(self.waited_s) < 999, "it waits without an end"


def clock(budget_s: float = BUDGET_S, *, later_ms: int = 0) -> Clock:
    """A clock that starts now, or that much later."""
    return Clock(wall_time_ms() + later_ms, budget_s)


class Requests:
    """Requests for lines of the workspace acme, as the create function makes them."""

    def __init__(self, product: Deployment) -> None:
        self.product = product

    def creation(self, at: Clock, limit: RateLimit | None = None) -> Creation:
        stores, settings = self.product.stores, self.product.settings
        return Creation(stores, self.product.lifecycle, at, limit=limit or settings.limit, window_ms=0)

    def submit(
        self,
        key: str | None = None,
        submission: Submission = SUBMISSIONS[Kind.PURCHASED_PHONE],
        at: Clock | None = None,
        *,
        torn: bool = False,
    ) -> Created:
        """One request, as the function makes it; its first batch is no snapshot: torn, it missed the key's record."""
        idempotency_key_hash = sha256_hex(key) if key else None
        workspace, record = self.product.stores.lines.workspace_and_record("acme", idempotency_key_hash)
        assert workspace is not None
        return self.creation(at or clock()).create(
            workspace, None if torn else record, submission, idempotency_key_hash
        )


class Shop(Requests):
    """One deployment with one plan."""

    def __init__(self, world: World, double: StripeDouble) -> None:
        super().__init__(product(world.client, world.table_name, double.url))
        self.world = world
        self.double = double
        self.lifecycle = self.product.lifecycle
        self.account = Account(double)
        self.stripe = self.account.client()

    def workspace(self, included: int, *, for_sale: bool = True, cap: int | None = None) -> Workspace:
        """A subscribed workspace on a plan that includes so many purchased phone lines."""
        product = self.account.product()
        base, extra = self.account.price(2900), self.account.price(product=product)
        add_on = AddOn(extra, product, {"usd": Amount(1500)}) if for_sale else None
        allowances = {Kind.PURCHASED_PHONE: Allowance(included, cap, add_on)}
        self.world.plans.save([Plan("plan", (base,), allowances)])
        return commands.create_workspace(
            self.world.workspaces,
            self.lifecycle.subscriptions,
            OperatorBilling.of(self.product.billing(clock())),
            "acme",
            customer=self.account.subscriber(base),
            now_ms=wall_time_ms(),
        )

    def consistent(self) -> list[Line]:
        """The workspace's lines, oldest first, once its items agree with each other."""
        return assert_consistent(self.world.table)

    def line_invoices(self) -> list[dict[str, Any]]:
        """The invoices that Stripe holds for lines; the subscription's own is none of them."""
        return [invoice for invoice in self.double.all_of("invoice") if invoice["metadata"].get("line_id")]


def together(*acts: Callable[[], T]) -> list[T | LineRequestError]:
    """All of them at once, each in a thread of its own; a refusal of the product's is a result."""

    def run(index: int) -> T | LineRequestError:
        try:
            return acts[index]()
        except LineRequestError as refusal:
            return refusal

    return threads.together(len(acts), run)


def of_type(results: Sequence[object], kind: type[T]) -> list[T]:
    return [result for result in results if isinstance(result, kind)]
