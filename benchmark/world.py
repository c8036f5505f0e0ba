"""What the measurements run against: MiniStack's DynamoDB, the Stripe double, and workspaces in both."""

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self
from unittest.mock import patch

import boto3
import stripe
from botocore.session import Session

from line_requests import clock
from line_requests.domain.ids import new_api_key, sha256_hex
from line_requests.domain.model import ApiKey, Subscription
from line_requests.domain.prices import AddOn, Allowance, Amount, Period, Plan
from line_requests.domain.submission import Kind
from line_requests.storage.attributes import marshal
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.local.deployment import layer_packages
from tests.local.ministack import ACCOUNT, REGION, MiniStack
from tests.local.stripe_double import StripeDouble
from tests.support.engine import table_definition

TABLE = "line-requests"
PEER_TABLES = {"PEER_TABLE": "peer", "PEER_IDEMPOTENCY_TABLE": "peer-idempotency"}
API_KEY = "sk_test_product"
WEBHOOK_SECRET = "whsec_benchmark"
ROOM = 1_000_000
# Name, included of each kind, cap: there is room; every line has to be paid for; none is to be had.
PLANS = (("roomy", ROOM, ROOM), ("payable", 0, ROOM), ("full", 0, 0))

Json = dict[str, Any]


def _restore(environment: dict[str, str | None]) -> None:
    boto3.setup_default_session()
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@dataclass(frozen=True)
class Tenant:
    """A workspace with its keys; the first of three is the one that is used."""

    id: str
    customer: str
    subscription: str
    token: str


class World:
    """One engine for everything that is measured, as a context manager."""

    def __init__(self, *, stripe_latency_ms: float = 0, stripe_calls_per_second: float | None = None) -> None:
        self._undo = ExitStack()
        self._ahead_s = 0
        self.ministack = MiniStack(layer_packages())
        self.double = StripeDouble(
            product_api_key=API_KEY,
            latency_ms=stripe_latency_ms,
            calls_per_second_per_endpoint=stripe_calls_per_second,
        )
        self.environment: dict[str, str] = {
            "AWS_ENDPOINT_URL": self.ministack.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "TABLE_NAME": TABLE,
            "BUS_NAME": "default",
            "STRIPE_SECRET_ARN": "stripe",
            "STRIPE_API_BASE": self.double.url,
            "RATE_LIMIT_PER_MINUTE": "60000",
            "RATE_LIMIT_BURST": "60000",
            "POWERTOOLS_SERVICE_NAME": "line-requests",
            "POWERTOOLS_METRICS_NAMESPACE": "LineRequests",
            **PEER_TABLES,
        }

    def __enter__(self) -> Self:
        """Starts both, with an empty table, the secret and one plan."""
        self._undo.callback(self.ministack.stop)
        self.ministack.start()
        self._undo.callback(self.double.stop)
        self.double.start()
        self.ministack.wait_until_ready()
        self.dynamodb = self.ministack.session.client("dynamodb", endpoint_url=self.ministack.endpoint)
        self._create_tables()
        secrets = self.ministack.session.client("secretsmanager", endpoint_url=self.ministack.endpoint)
        secret = {"api_key": API_KEY, "webhook_secrets": [WEBHOOK_SECRET, "whsec_previous"]}
        secrets.create_secret(Name=self.environment["STRIPE_SECRET_ARN"], SecretString=json.dumps(secret))
        self.table = Table(self.dynamodb, TABLE)
        self.stores = Stores(self.table)
        self._stripe = stripe.StripeClient("sk_test_operator", base_addresses={"api": self.double.url})
        self.plans = self._apply_plans()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops both."""
        self._undo.close()

    def session(self) -> Session:
        """A fresh session for the functions that this process loads next, for as long as this world stands."""
        self._undo.callback(_restore, {name: os.environ.get(name) for name in self.environment})
        os.environ.update(self.environment)
        self._undo.enter_context(patch.object(clock, "wall_time_ms", lambda: int(self.now_s() * 1000)))
        session = Session()
        boto3.setup_default_session(botocore_session=session)
        return session

    def now_s(self) -> float:
        """The time of this world: of Stripe's double, and of the functions in this process."""
        return time.time() + self._ahead_s

    def advance(self, seconds: int) -> None:
        """Time passes."""
        self.double.advance_seconds(seconds)
        self._ahead_s += seconds

    def tenant(self, name: str, plan_name: str = "roomy") -> Tenant:
        """A workspace as operators leave it: subscribed, all three kinds on its plan, three keys."""
        plan = self.plans[plan_name]
        customer = self._stripe.v1.customers.create({"name": name}).id
        subscribed = self._stripe.v1.subscriptions.create(
            {"customer": customer, "items": [{"price": plan.base_prices[0]}]}
        )
        assert self.stores.workspaces.insert(name, customer, livemode=False), name
        workspace = self.stores.workspaces.get(name)
        assert workspace is not None, name
        now_ms = int(self.now_s() * 1000)
        month = Period(now_ms // 1000, now_ms // 1000 + 30 * 86_400)
        snapshot = Subscription(
            subscribed.id, "active", plan.name, plan.allowances, currency="usd", period=month, anchor_s=month.start_s
        )
        saved = self.stores.workspaces.save_subscription(workspace, snapshot, now_ms)
        assert saved is not None, name
        self.stores.workspaces.finish_quantities(saved, asked_at_ms=0)
        tokens = [new_api_key(name) for _ in range(3)]
        for token in tokens:
            self.stores.api_keys.insert(name, ApiKey(sha256_hex(token), "production", now_ms))
        self._enter_at_peer(name, tokens[0])
        return Tenant(name, customer, subscribed.id, tokens[0])

    def _enter_at_peer(self, name: str, token: str) -> None:
        """The same workspace as the peer keeps it."""
        kinds = {str(kind): ROOM for kind in Kind}
        entries: list[Json] = [
            {"pk": f"KEY#{sha256_hex(token)}", "sk": "KEY", "workspace_id": name},
            {
                "pk": f"W#{name}",
                "sk": "WORKSPACE",
                "subscription_status": "active",
                "included": kinds,
                "used": dict.fromkeys(kinds, 0),
            },
        ]
        for entry in entries:
            self.dynamodb.put_item(TableName=PEER_TABLES["PEER_TABLE"], Item=marshal(entry))

    def _price(self, name: str, unit_amount: int) -> tuple[str, str]:
        product = self._stripe.v1.products.create({"name": name}).id
        recurring = self._stripe.v1.prices.create(
            {"product": product, "currency": "usd", "unit_amount": unit_amount, "recurring": {"interval": "month"}}
        )
        return recurring.id, product

    def _apply_plans(self) -> dict[str, Plan]:
        add_ons = {kind: AddOn(*self._price(f"Add-on {kind}", 1500), {"usd": Amount(1500)}) for kind in Kind}
        plans = {}
        for name, included, cap in PLANS:
            base, _ = self._price(f"Plan {name}", 14900)
            plans[name] = Plan(name, (base,), {kind: Allowance(included, cap, add_ons[kind]) for kind in Kind})
        self.stores.plans.save(plans.values())
        return plans

    def _create_tables(self) -> None:
        """The template's table, and the peer's two."""
        text = {name: {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "id")}
        hash_key, range_key = {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}
        client: Any = self.dynamodb
        client.create_table(TableName=TABLE, **table_definition())
        pay = {"BillingMode": "PAY_PER_REQUEST"}
        client.create_table(
            TableName=PEER_TABLES["PEER_TABLE"],
            AttributeDefinitions=[text["pk"], text["sk"]],
            KeySchema=[hash_key, range_key],
            **pay,
        )
        client.create_table(
            TableName=PEER_TABLES["PEER_IDEMPOTENCY_TABLE"],
            AttributeDefinitions=[text["id"]],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            **pay,
        )
