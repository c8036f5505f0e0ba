"""Demo plans and workspaces: made at the Stripe double, then entered by the product's own operator functions."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import stripe

from line_requests.billing.operator_account import OperatorBilling
from line_requests.clock import Clock, wall_time_ms
from line_requests.deployment import Deployment
from line_requests.domain.model import Line
from line_requests.operator import commands, plan_checks, plan_files
from line_requests.settings import Settings
from line_requests.storage import records
from line_requests.storage.attributes import unmarshal
from line_requests.storage.table import Write
from tests.local.ministack import MiniStack

if TYPE_CHECKING:
    from stripe.params import SubscriptionCreateParams

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

TRIAL_DAYS = 14  # of a workspace that is to be trialing
CURRENCIES = ("usd", "eur", "gbp", "jpy")
INTERVALS: tuple[Literal["month", "year"], ...] = ("month", "year")

# In cents a month; a year costs ten months. The same number in every currency.
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


@dataclass(frozen=True)
class DemoState:
    """What the demo knows beside the table and Stripe: its workspaces with their keys, and the plans' prices."""

    workspaces: dict[str, DemoWorkspace]
    base_prices: Mapping[tuple[str, str], str]


class NotPossible(Exception):
    """A change that the subscription does not allow."""


class Demo:
    """The plans, applied, and one workspace on each; makes more of them on demand."""

    def __init__(
        self, ministack: MiniStack, table: str, double: "StripeDouble", state: DemoState | None = None
    ) -> None:
        """Make plans and workspaces, unless there is a state of before."""
        self._double = double
        self._stripe = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": double.url})
        # What an operator's shell sets: the deployment's table, and a Stripe key of their own.
        settings = {"TABLE_NAME": table, "STRIPE_API_KEY": OPERATOR_API_KEY, "STRIPE_API_BASE": double.url}
        client = partial(ministack.session.client, endpoint_url=ministack.endpoint)
        self._dynamodb: Any = client("dynamodb")
        self._deployment = Deployment(Settings.from_environment(settings), client)
        self._stores = self._deployment.stores
        self._table = self._stores.table
        self._workspaces = dict(state.workspaces) if state else {}
        self._changing = threading.Lock()
        self._base_prices = state.base_prices if state else self._apply_plans()
        if state is None:
            for plan in PLANS:
                self.create_workspace(plan, "active")

    def state(self) -> DemoState:
        return DemoState(dict(self._workspaces), self._base_prices)

    def workspaces(self) -> list[DemoWorkspace]:
        return list(self._workspaces.values())

    def workspace(self, workspace_id: str) -> DemoWorkspace | None:
        return self._workspaces.get(workspace_id)

    def create_workspace(
        self, plan: str, status: str | None, *, trial_days: int = 0, currency: str = "usd"
    ) -> DemoWorkspace:
        """A customer with a subscription in this status (None: without one), its workspace and a key."""
        workspace_id = f"{plan}-{secrets.token_hex(5)}"
        customer = self._stripe.v1.customers.create({"name": f"Demo {workspace_id}", "email": "demo@example.com"}).id
        workspace = DemoWorkspace(workspace_id, plan, "", customer, None)
        if status is not None:
            subscription = self._subscribe(customer, plan, status, trial_days=trial_days, currency=currency)
            workspace = replace(workspace, subscription=subscription)
        workspace = replace(workspace, api_key=self._enter(workspace))
        self._workspaces[workspace_id] = workspace
        return workspace

    def change_subscription(  # noqa: PLR0913 - what the control route may say
        self,
        workspace_id: str,
        plan: str | None = None,
        status: str | None = None,
        *,
        interval: Literal["month", "year"] | None = None,
        cancel: bool = False,
        resubscribe: bool = False,
    ) -> DemoWorkspace:
        """Change it at Stripe only: the product hears of it as the webhook mode says, or by asking."""
        with self._changing:
            workspace = self._workspaces[workspace_id]
            current = workspace.subscription and self._stripe.v1.subscriptions.retrieve(workspace.subscription)
            subscribed = current if current and current.status not in ENDED else None
            if cancel and not subscribed:
                raise NotPossible(f"{workspace_id} has no subscription to cancel")
            if resubscribe and subscribed:
                raise NotPossible(f"{workspace_id} is subscribed: cancel first")
            changed = replace(workspace, plan=plan or workspace.plan)
            # As at Stripe: what has ended never comes back, the customer subscribes anew.
            ends_otherwise = current and status in ENDED and changed.plan == workspace.plan
            if subscribed:
                if changed.plan != workspace.plan or interval:
                    self._switch(subscribed, changed.plan, interval)
                if cancel:
                    self._stripe.v1.subscriptions.cancel(subscribed.id)
            elif not ends_otherwise:
                subscription = self._subscribe(workspace.customer, changed.plan, status or "active", interval=interval)
                changed = replace(changed, subscription=subscription)
                status = None
            if status is not None and changed.subscription:
                self._double.set_subscription_status(changed.subscription, status)
            self._workspaces[workspace_id] = changed
            return changed

    def _switch(self, subscription: stripe.Subscription, plan: str, interval: str | None) -> None:
        """Another base price, which keeps the interval unless told."""
        bases = set(self._base_prices.values())
        item = next(item for item in subscription["items"].data if item.price.id in bases)
        price = self._base_prices[plan, interval or item.price.recurring.interval]
        self._stripe.v1.subscriptions.update(subscription.id, {"items": [{"id": item.id, "price": price}]})

    def find_line(self, line_id: str) -> Line | None:
        """A line of any workspace, as it is now."""
        found = self._table.scan("#sk = :sk", {"sk": f"LINE#{line_id}"})
        return next((records.line(item) for item in found), None)

    def stop_renewals(self) -> None:
        """Cancels every subscription but those of the first workspaces, and the product hears nothing of it."""
        kept = {workspace.subscription for workspace in self.workspaces()[: len(PLANS)]}
        self._double.set_webhook_mode("drop")
        for subscription in self._double.all_of("subscription"):
            if subscription["status"] not in ENDED and subscription["id"] not in kept:
                self._double.set_subscription_status(subscription["id"], "canceled")
        self._double.forget_events()
        self._double.set_webhook_mode("deliver")

    def forget_due(self) -> None:
        """Nothing that lies in the table is the reconciler's business any more."""
        index = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._deployment.settings.table_name, IndexName="due"
        )
        for item in [unmarshal(item) for page in index for item in page["Items"]]:
            key = {"pk": item["pk"], "sk": item["sk"]}
            self._table.write(Write(key, update="REMOVE #due_shard, #due_at"))

    def _subscribe(  # noqa: PLR0913 - named at every call
        self,
        customer: str,
        plan: str,
        status: str,
        *,
        trial_days: int = 0,
        currency: str = "usd",
        interval: str | None = None,
    ) -> str:
        params: SubscriptionCreateParams = {
            "customer": customer,
            "currency": currency,
            "items": [{"price": self._base_prices[plan, interval or "month"]}],
        }
        if trial_days or status == "trialing":
            params["trial_period_days"] = trial_days or TRIAL_DAYS
        subscription = self._stripe.v1.subscriptions.create(params)
        if status != subscription.status:
            self._double.set_subscription_status(subscription.id, status)
        return subscription.id

    def _price(self, product: str, unit_amount: int, interval: Literal["month", "year"]) -> str:
        amount = unit_amount * (10 if interval == "year" else 1)
        return self._stripe.v1.prices.create(
            {
                "product": product,
                "currency": CURRENCIES[0],
                "unit_amount": amount,
                "currency_options": {currency: {"unit_amount": amount} for currency in CURRENCIES[1:]},
                "recurring": {"interval": interval},
            }
        ).id

    def _product(self, name: str) -> str:
        return self._stripe.v1.products.create({"name": name}).id

    def _billing(self) -> OperatorBilling:
        return OperatorBilling.of(self._deployment.billing(Clock.start(30)))

    def _apply_plans(self) -> Mapping[tuple[str, str], str]:
        """Make the prices, apply the plans that name them; the base price of each plan and interval.

        Each plan has a yearly twin: its add-ons have its interval.
        """
        bases = {plan: self._product(f"Plan {plan}") for plan in PLANS}
        kinds = {kind: self._product(f"{kind.replace('_', ' ').capitalize()} line") for kind in ADD_ON_PRICES}
        prices: dict[tuple[str, str], str] = {}
        tables: dict[str, Json] = {}
        for interval in INTERVALS:
            add_ons = {kind: self._price(kinds[kind], amount, interval) for kind, amount in ADD_ON_PRICES.items()}
            for plan, lines in PLANS.items():
                prices[plan, interval] = self._price(bases[plan], BASE_PRICES[plan], interval)
                tables[plan if interval == "month" else f"{plan}-yearly"] = {
                    "base_prices": [prices[plan, interval]],
                    "lines": {
                        kind: grant | ({"add_on": add_ons[kind]} if "add_on" in grant else {})
                        for kind, grant in lines.items()
                    },
                }
        plans = self._stores.plans
        plans.save(plan_checks.check(plan_files.parse(tables), plans.all(), self._billing()).plans)
        return prices

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
