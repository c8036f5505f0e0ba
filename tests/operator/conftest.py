from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from line_requests.operator import cli, target
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.local.demo import OPERATOR_API_KEY as LOCAL_OPERATOR_API_KEY
from tests.local.stack import LocalStack
from tests.local.stripe_double import StripeDouble
from tests.operator.local import Local
from tests.operator.shop import OPERATOR_API_KEY, Shop
from tests.support.bus import Subscription
from tests.support.engine import table_definition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb.client import DynamoDBClient


REGION = "us-east-1"


@dataclass(frozen=True)
class Deployment:
    """A deployment's table."""

    table_name: str
    table: Table

    @property
    def stores(self) -> Stores:
        return Stores(self.table)


class Listener(Subscription):
    """Hears all that is put on the deployment's bus."""

    heard = Subscription.received


@dataclass(frozen=True)
class Console:
    """The console script, run in this process."""

    capsys: pytest.CaptureFixture[str]

    def text(self, *argv: str) -> str:
        code = cli.main(argv)
        printed = self.capsys.readouterr()
        assert (code, printed.err) == (0, "")
        return printed.out

    def json(self, *argv: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.text(*argv, "--json"))

    def incomplete(self, *argv: str) -> tuple[int, Any, str]:
        """Its exit code, what it showed anyway, and its error."""
        code = cli.main([*argv, "--json"])
        printed = self.capsys.readouterr()
        return code, json.loads(printed.out), json.loads(printed.err)["error"]

    def mistakes(self, *argv: str) -> list[str]:
        """What it found wrong with a plan file."""
        code = cli.main([*argv, "--json"])
        printed = self.capsys.readouterr()
        assert (code, printed.out) == (1, "")
        return [mistake["text"] for mistake in json.loads(printed.err)["mistakes"]]

    def refused(self, *argv: str) -> str:
        """What it said: one line, and nothing else."""
        code = cli.main(argv)
        printed = self.capsys.readouterr()
        assert (code, printed.out) == (1, "")
        assert printed.err.startswith("line-requests: ")
        assert printed.err.count("\n") == 1
        return printed.err.removeprefix("line-requests: ").rstrip()


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    with StripeDouble(product_api_key=OPERATOR_API_KEY) as double, closing(Shop(double)) as shop:
        yield shop


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDBClient]:
    """Moto instead of AWS; what is on this host stays as it is."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1:\d+/.*"]}}}):
            yield boto3.client("dynamodb")


@pytest.fixture
def deployment(dynamodb: DynamoDBClient, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of its own for each test, named by the environment."""
    name = f"lines-{uuid4()}"
    monkeypatch.setenv("TABLE_NAME", name)
    monkeypatch.setenv("STRIPE_API_KEY", OPERATOR_API_KEY)
    monkeypatch.setenv("STRIPE_API_BASE", shop.double.url)
    dynamodb.create_table(TableName=name, **table_definition())
    return Deployment(name, Table(dynamodb, name))


@pytest.fixture
def local(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Local]:
    """The local stack as an operator's environment names it, with all that a healthy deployment has."""
    environment = {
        "AWS_ENDPOINT_URL": stack.ministack.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "STRIPE_API_KEY": LOCAL_OPERATOR_API_KEY,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # The stack's own output names a host that is not there.
    monkeypatch.setitem(target.STACK_OUTPUTS, "WEBHOOK_URL", "")
    monkeypatch.setenv("WEBHOOK_URL", f"{stack.origin}/stripe/webhook")
    # MiniStack leaves this property of a table out.
    boto3.client("dynamodb").update_continuous_backups(
        TableName=stack.deployment.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    secrets = boto3.client("secretsmanager")
    before = secrets.get_secret_value(SecretId="stripe")["SecretString"]
    local = Local(stack, capsys)
    local.restored_stripe()
    stack.reconcile()
    yield local
    # The double signs with the secrets that it was started with.
    secrets.put_secret_value(SecretId="stripe", SecretString=before)
    for endpoint in local.stripe.webhook_endpoints.list().data:
        local.stripe.webhook_endpoints.delete(endpoint.id)


@pytest.fixture
def listener(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Listener:
    bus = f"bus-of-{deployment.table_name}"
    boto3.client("events").create_event_bus(Name=bus)
    monkeypatch.setenv("BUS_NAME", bus)
    return Listener(boto3.client, bus, bus, {"source": [{"prefix": ""}]})  # type: ignore[arg-type] # any service


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str], deployment: Deployment) -> Console:  # noqa: ARG001 - it has to be there
    return Console(capsys)


@pytest.fixture
def starter(shop: Shop, console: Console, tmp_path: Path) -> str:
    """The base price of an applied plan: one phone line, 15.00 for each further one, three at most."""
    base = shop.price(2900)
    extra = shop.price(1500)
    file = tmp_path / "starter.toml"
    file.write_text(
        f'[starter]\nbase_prices = ["{base}"]\n'
        f'[starter.lines]\npurchased_phone = {{ included = 1, add_on = "{extra}", cap = 3 }}\n'
    )
    console.json("plans", "apply", str(file))
    return base


@pytest.fixture
def acme(shop: Shop, console: Console, starter: str) -> str:
    """A workspace that subscribes to that plan."""
    console.json("workspace", "create", "acme", "--customer", shop.subscriber(starter))
    return "acme"


@pytest.fixture(scope="module")
def running_stack() -> Iterator[LocalStack]:
    """A stack of their own: these tests examine all of a deployment, and other tests leave it as they please."""
    with LocalStack() as stack:
        yield stack
