"""Demo plans and workspaces: made at the Stripe double, then entered by the product's own operator functions."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import stripe

from line_requests.billing.account import Billing
from line_requests.clock import Clock, wall_time_ms
from line_requests.deployment import Deployment
from line_requests.domain.model import Line
from line_requests.operator import commands, plan_files
from line_requests.settings import Settings
from line_requests.storage import records
from line_requests.storage.table import Write
from tests.local.ministack import MiniStack

if TYPE_CHECKING:
    from tests.local.stripe_double import StripeDouble

Json = dict[str, Any]

PRODUCT_API_KEY = "sk_test_product"
OPERATOR_API_KEY = "sk_test_operator"  # another than the product's: faults are only for that one

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
ENDED = ("canceled", "incomplete_expired")

# In cents a month.
BASE_PRICES = {"starter": 2900, "scale": 14900, "capped": 900}
ADD_ON_PRICES = {"purchased_phone": 1500, "byon_phone": 900, "email": 500}
PLANS: Mapping[str, Mapping[str, Json]] = {
    "starter": {
        "purchased_phone": {"included": 1, "add_on": True},
        "email": {"included": 1, "add_on": True},
    },
    "scale": {
        "purchased_phone": {"included": 5, "add_on": True, "cap": 10},
        "byon_phone": {"included": 2, "add_on": True, "cap": 10},
        "email": {"included": 5, "add_on": True, "cap": 10},
    },
    "capped": {"purchased_phone": {"included": 1}},
}


@dataclass(frozen=True)
class DemoWorkspace:
    """A workspace that can be used at once; `subscription` is None when it has none."""

    id: str
    plan: str
    api_key: str
    customer: str
    subscription: str | None

    @property
    def organisation(self) -> str:
        """The Clerk organisation that is mapped to it."""
        return "org_" + self.id.replace("-", "")

    def as_json(self) -> Json:
        values = asdict(self)
        return {"workspaceId": values.pop("id"), "apiKey": values.pop("api_key"), **values}


class Demo:
    """The plans, applied, and one workspace on each; makes more of them on demand."""

    def __init__(self, ministack: MiniStack, table: str, double: "StripeDouble") -> None:
        self._double = double
        self._stripe = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": double.url})
        # What an operator's shell sets: the deployment's table, and a Stripe key of their own.
        settings = {"TABLE_NAME": table, "STRIPE_API_KEY": OPERATOR_API_KEY, "STRIPE_API_BASE": double.url}
        client = partial(ministack.session.client, endpoint_url=ministack.endpoint)
        self._deployment = Deployment(Settings.from_environment(settings), client)
        self._stores = self._deployment.stores
        self._table = self._stores.table
        self._workspaces: dict[str, DemoWorkspace] = {}
        self._changing = threading.Lock()
        self._base_prices = self._apply_plans()
        for plan in PLANS:
            self.create_workspace(plan, "active")

    def workspaces(self) -> list[DemoWorkspace]:
        return list(self._workspaces.values())

    def workspace(self, workspace_id: str) -> DemoWorkspace | None:
        return self._workspaces.get(workspace_id)

    def create_workspace(self, plan: str, status: str | None) -> DemoWorkspace:
        """A customer with a subscription in this status (None: without one), its workspace and a key."""
        workspace_id = f"{plan}-{secrets.token_hex(5)}"
        customer = self._stripe.v1.customers.create({"name": f"Demo {workspace_id}", "email": "demo@example.com"}).id
        workspace = DemoWorkspace(workspace_id, plan, "", customer, None)
        if status is not None:
            workspace = replace(workspace, subscription=self._subscribe(customer, plan, status))
        workspace = replace(workspace, api_key=self._enter(workspace))
        self._workspaces[workspace_id] = workspace
        return workspace

    def change_subscription(self, workspace_id: str, plan: str | None, status: str | None) -> DemoWorkspace:
        """Change it at Stripe only: the product hears of it as the webhook mode says, or by asking."""
        with self._changing:
            changed = self._changed(self._workspaces[workspace_id], plan, status)
            self._workspaces[workspace_id] = changed
            return changed

    def _changed(self, workspace: DemoWorkspace, plan: str | None, status: str | None) -> DemoWorkspace:
        current = workspace.subscription and self._stripe.v1.subscriptions.retrieve(workspace.subscription)
        changed = replace(workspace, plan=plan or workspace.plan)
        replaced = plan not in {None, workspace.plan}
        if not current or (current.status in ENDED and (replaced or status not in ENDED)):
            # As at Stripe: what has ended never comes back, the customer subscribes anew.
            subscription = self._subscribe(workspace.customer, changed.plan, status or "active")
            changed = replace(changed, subscription=subscription)
        else:
            if plan is not None and plan != workspace.plan:
                base = self._base_prices[workspace.plan]
                item = next(item for item in current["items"].data if item.price.id == base)
                self._stripe.v1.subscriptions.update(
                    current.id, {"items": [{"id": item.id, "price": self._base_prices[plan]}]}
                )
            if status is not None:
                self._double.set_subscription_status(current.id, status)
        return changed

    def find_line(self, line_id: str) -> Line | None:
        """A line of any workspace, as it is now."""
        found = self._table.scan("#sk = :sk", {"sk": f"LINE#{line_id}"})
        return next((records.line(item) for item in found), None)

    def forget_due(self) -> None:
        """Nothing that lies in the table is the reconciler's business any more."""
        for item in self._table.scan("#due_at >= :ever", {"ever": 0}):
            key = {"pk": item["pk"], "sk": item["sk"]}
            self._table.write(Write(key, update="REMOVE #due_shard, #due_at"))

    def _subscribe(self, customer: str, plan: str, status: str) -> str:
        subscription = self._stripe.v1.subscriptions.create(
            {"customer": customer, "items": [{"price": self._base_prices[plan]}]}
        )
        if status != "active":
            self._double.set_subscription_status(subscription.id, status)
        return subscription.id

    def _price(self, name: str, unit_amount: int) -> str:
        product = self._stripe.v1.products.create({"name": name}).id
        return self._stripe.v1.prices.create(
            {"product": product, "currency": "usd", "unit_amount": unit_amount, "recurring": {"interval": "month"}}
        ).id

    def _billing(self) -> Billing:
        return self._deployment.billing(Clock.start(30))

    def _apply_plans(self) -> Mapping[str, str]:
        """Make the prices, apply the plans that name them; the base price of each."""
        base_prices = {plan: self._price(f"Plan {plan}", amount) for plan, amount in BASE_PRICES.items()}
        names = {kind: f"{kind.replace('_', ' ').capitalize()} line" for kind in ADD_ON_PRICES}
        add_ons = {kind: self._price(names[kind], amount) for kind, amount in ADD_ON_PRICES.items()}
        tables = {
            plan: {
                "base_prices": [base_prices[plan]],
                "lines": {
                    kind: grant | ({"add_on": add_ons[kind]} if "add_on" in grant else {})
                    for kind, grant in lines.items()
                },
            }
            for plan, lines in PLANS.items()
        }
        plan_files.apply(plan_files.parse(tables), self._stores.plans, self._billing())
        return base_prices

    def _enter(self, workspace: DemoWorkspace) -> str:
        """What an operator does for a new workspace: create it, sync its subscription, issue a key."""
        now_ms = wall_time_ms()
        commands.create_workspace(
            self._stores.workspaces,
            self._deployment.lifecycle.subscriptions,
            self._billing(),
            workspace.id,
            customer=workspace.customer,
            organisation=workspace.organisation,
            now_ms=now_ms,
        )
        return commands.issue_key(self._stores.workspaces, self._stores.api_keys, workspace.id, "demo", now_ms)
