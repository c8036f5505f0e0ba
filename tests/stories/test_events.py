"""Each file of events/ replayed through its deployed function, in the workspace and at the line it is about."""

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
    told: Json = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return told


@pytest.fixture
def functions(world: World) -> Iterator[Functions]:
    """The deployed functions, with the secret that the webhook's event is signed with."""
    ministack = world.stack.ministack
    client = ministack.session.client("secretsmanager", endpoint_url=ministack.endpoint)
    if "example" not in [secret["Name"] for secret in client.list_secrets()["SecretList"]]:
        client.create_secret(Name="example", SecretString=json.dumps(SECRET))
    client.close()
    with Functions(world.stack, STRIPE_SECRET_ARN="example") as functions:
        yield functions


@pytest.fixture
def acme(world: World) -> None:
    """The events' workspace, subscribed, with their key; and their line as the stream last shows it: provisioning."""
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
    """The line as it was put; put again, should the provisioner answer only now what a test before left waiting."""

    def again() -> bool:
        put_line(world)
        return act() == expected

    eventually(again)


def test_every_function_has_an_event() -> None:
    functions = {path.parent.name for path in (EVENTS.parent / "functions").glob("*/app.py")}
    assert {path.stem for path in EVENTS.glob("*.json")} == functions


@pytest.mark.usefixtures("acme")
def test_create(functions: Functions) -> None:
    told = event("create_line_request")
    first, again = (functions.invoke("create_line_request", told) for _ in range(2))
    created = functions.answer(first, "POST", "/api/line-requests").json()
    assert (first["statusCode"], created["status"]) == (201, "provisioning")
    assert created["line"]["firstName"] == json.loads(told["body"])["firstName"]
    assert (again["body"], again["headers"]["Idempotency-Replayed"]) == (first["body"], "true")


@pytest.mark.usefixtures("acme")
def test_get(world: World, functions: Functions) -> None:
    def answered() -> object:
        payload = functions.invoke("get_line_request", event("get_line_request"))
        line = functions.answer(payload, "GET", f"/api/line-requests/{LINE}").json()["line"]
        return line["_id"], line["provisioningStatus"], line["paymentStatus"]

    provisioning(world, answered, (LINE, "provisioning", "paid"))


@pytest.mark.usefixtures("acme")
def test_manage(world: World, functions: Functions) -> None:
    def answered() -> object:
        payload = functions.invoke("manage_line_request", event("manage_line_request"))
        answer = functions.answer(payload, "POST", f"/api/line-requests/{LINE}")
        return answer.status_code, answer.json()["status"]

    provisioning(world, answered, (200, "provisioning"))


@pytest.mark.usefixtures("acme")
def test_webhook(functions: Functions) -> None:
    """Its signature is good; its invoice is unknown at this Stripe, so nothing changes."""
    told = event("stripe_webhook")
    payload = functions.invoke("stripe_webhook", told)
    assert (payload["statusCode"], json.loads(payload["body"])) == (200, {"received": True})
    forged = told | {"body": told["body"].replace("acme", "evil")}
    assert functions.invoke("stripe_webhook", forged)["statusCode"] == 400


@pytest.mark.usefixtures("acme")
def test_publish_changes(functions: Functions, listener: Listener) -> None:
    told = event("publish_changes")
    assert functions.invoke("publish_changes", told) == {"batchItemFailures": []}
    heard = eventually(lambda: {f"{LINE}:1", f"{LINE}:2"} & {told["eventId"] for told in listener.heard(LINE)})
    assert heard == {f"{LINE}:1", f"{LINE}:2"}


@pytest.mark.usefixtures("acme")
def test_provisioning_result(world: World, functions: Functions) -> None:
    functions.invoke("provisioning_result", event("provisioning_result"))
    line = world.stores.lines.get(WORKSPACE, LINE)
    assert line is not None
    assert [str(change.status) for change in line.history] == ["awaiting_payment", "provisioning", "active"]


def test_reconciler(functions: Functions) -> None:
    """At the present time: it would follow Stripe's events from the tick's time on for the rest of the tests."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = functions.invoke("reconciler", event("reconciler") | {"time": now})
    assert set(done) == {"events", "lines", "republished", "quantities", "failed"}
