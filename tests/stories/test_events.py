"""Each file of events/ sent to its deployed function, with the workspace and the line that it is about."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import ApiKey, Subscription
from tests.local.demo import PRODUCT_API_KEY
from tests.stories.functions import Functions
from tests.stories.world import World, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stories.listener import Listener

Json = dict[str, Any]

EVENTS = Path(__file__).parents[2] / "events"
WORKSPACE, CUSTOMER, LINE = "acme", "cus_Tacme000000001", "01a202974dc00123456789ab"
SECRET = {"api_key": PRODUCT_API_KEY, "webhook_secrets": ["whsec_example"]}


def event(name: str) -> Json:
    example: Json = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return example


@pytest.fixture
def functions(world: World) -> Iterator[Functions]:
    """The deployed functions, with the secret that signed the webhook example."""
    ministack = world.stack.ministack
    client = ministack.session.client("secretsmanager", endpoint_url=ministack.endpoint)
    if "example" not in [secret["Name"] for secret in client.list_secrets()["SecretList"]]:
        client.create_secret(Name="example", SecretString=json.dumps(SECRET))
    client.close()
    with Functions(world.stack, STRIPE_SECRET_ARN="example") as functions:
        yield functions


@pytest.fixture
def acme(world: World) -> None:
    """The examples' workspace, subscribed, with its API key, and their line, provisioning."""
    world.provisioning("manual")
    key = event("create_line_request")["headers"]["authorization"].removeprefix("Bearer ")
    stores = world.stores
    if stores.workspaces.insert(WORKSPACE, CUSTOMER, livemode=False):
        stores.api_keys.insert(WORKSPACE, ApiKey(sha256_hex(key), "example", 0))
        created = stores.workspaces.get(WORKSPACE)
        scale = next(plan for plan in stores.plans.all() if plan.name == "scale")
        assert created is not None
        stores.workspaces.save_subscription(created, Subscription("sub_1", "active", "scale", scale.allowances), 0)
    put_line(world)


def put_line(world: World) -> None:
    ministack = world.stack.ministack
    table = ministack.session.client("dynamodb", endpoint_url=ministack.endpoint)
    line = event("publish_changes")["Records"][1]["dynamodb"]["NewImage"]
    table.put_item(TableName=world.stack.deployment.table, Item=line)
    table.close()


def provisioning(world: World, act: Callable[[], object], expected: object) -> None:
    """Retries with a fresh line: a late result of an earlier test may have moved it."""

    def again() -> bool:
        put_line(world)
        return act() == expected

    eventually(again)


def test_every_function_has_an_example_event() -> None:
    functions = {path.parent.name for path in (EVENTS.parent / "functions").glob("*/app.py")}
    assert {path.stem for path in EVENTS.glob("*.json")} == functions


@pytest.mark.usefixtures("acme")
def test_create_example_is_answered_and_replayed(functions: Functions) -> None:
    example = event("create_line_request")
    first, again = (functions.invoke("create_line_request", example) for _ in range(2))
    created = functions.answer(first, "POST", "/api/line-requests").json()
    assert (first["statusCode"], created["status"]) == (201, "provisioning")
    assert created["line"]["firstName"] == json.loads(example["body"])["firstName"]
    assert (again["body"], again["headers"]["Idempotency-Replayed"]) == (first["body"], "true")


@pytest.mark.usefixtures("acme")
def test_get_example_is_answered(world: World, functions: Functions) -> None:
    def answered() -> object:
        payload = functions.invoke("get_line_request", event("get_line_request"))
        line = functions.answer(payload, "GET", f"/api/line-requests/{LINE}").json()["line"]
        return line["_id"], line["provisioningStatus"], line["paymentStatus"]

    provisioning(world, answered, (LINE, "provisioning", "paid"))


@pytest.mark.usefixtures("acme")
def test_manage_example_is_answered(world: World, functions: Functions) -> None:
    def answered() -> object:
        payload = functions.invoke("manage_line_request", event("manage_line_request"))
        answer = functions.answer(payload, "POST", f"/api/line-requests/{LINE}")
        return answer.status_code, answer.json()["status"]

    provisioning(world, answered, (200, "provisioning"))


@pytest.mark.usefixtures("acme")
def test_webhook_example_is_accepted_and_forged_one_refused(functions: Functions) -> None:
    """Its signature is valid; this Stripe does not know its invoice, so nothing changes."""
    example = event("stripe_webhook")
    payload = functions.invoke("stripe_webhook", example)
    assert (payload["statusCode"], json.loads(payload["body"])) == (200, {"received": True})
    forged = example | {"body": example["body"].replace("acme", "evil")}
    assert functions.invoke("stripe_webhook", forged)["statusCode"] == 400


@pytest.mark.usefixtures("acme")
def test_publish_changes_example_is_published(functions: Functions, listener: Listener) -> None:
    example = event("publish_changes")
    assert functions.invoke("publish_changes", example) == {"batchItemFailures": []}
    heard = eventually(lambda: {f"{LINE}:1", f"{LINE}:2"} & {event["eventId"] for event in listener.heard(LINE)})
    assert heard == {f"{LINE}:1", f"{LINE}:2"}


@pytest.mark.usefixtures("acme")
def test_provisioning_result_example_is_applied(world: World, functions: Functions) -> None:
    functions.invoke("provisioning_result", event("provisioning_result"))
    line = world.stores.lines.get(WORKSPACE, LINE)
    assert line is not None
    assert [str(change.status) for change in line.history] == ["awaiting_payment", "provisioning", "active"]


def test_reconciler_example_runs(functions: Functions) -> None:
    """With the present time; with the example's, all later runs would follow the feed from there."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = functions.invoke("reconciler", event("reconciler") | {"time": now})
    assert set(done) == {"events", "lines", "republished", "quantities", "failed"}
