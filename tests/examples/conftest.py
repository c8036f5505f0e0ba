"""What the examples run with: workspaces of the local stack, a carrier double, the reference provisioner, deployed."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import uuid
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from examples.provisioner.carrier_double import CarrierDouble
from tests.support.bus import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from tests.local.stack import LocalStack

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples/quickstart"
PROVISIONER = ROOT / "examples/provisioner"
STACK_NAME = "reference-provisioner"
CARRIER_TOKEN = "carrier-token"


@dataclass(frozen=True)
class Workspace:
    """One fresh workspace: an HTTP client with its API key, and the local stack's control routes."""

    id: str
    origin: str
    auth: str
    customer: str
    http: httpx.Client

    def create(self, **body: str) -> httpx.Response:
        line = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"} | body
        return self.http.post("/api/line-requests", json=line)

    def get(self, line_id: str) -> Json:
        body: Json = self.http.get(f"/api/line-requests/{line_id}").raise_for_status().json()
        return body

    def control(self, route: str, **body: object) -> Json:
        result: Json = self.http.post(f"/_local/{route}", json=body).raise_for_status().json()
        return result


@pytest.fixture
def workspace(stack: LocalStack) -> Iterator[Callable[..., Workspace]]:
    """Makes workspaces: `workspace("starter", subscriptionStatus=None)`."""
    with httpx.Client(base_url=stack.origin, timeout=35) as http:

        def make(plan: str = "starter", **more: object) -> Workspace:
            made = http.post("/_local/workspaces", json={"plan": plan} | more).raise_for_status().json()
            auth = f"Bearer {made['apiKey']}"
            http.headers["Authorization"] = auth
            return Workspace(made["workspaceId"], stack.origin, f"Authorization: {auth}", made["customer"], http)

        yield make


def eventually(look: Callable[[], Any], within_s: float = 30) -> Any:  # noqa: ANN401 - whatever it looks at
    """Waits until what is looked at is true, and returns it."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"never true, last seen: {seen!r}"
        time.sleep(0.1)
    return seen


class Listener(Subscription):
    """A queue that receives one kind of event from the bus."""

    def receive(self, line_id: str, count: int) -> list[Json]:
        """Waits for so many events about this line; returns their details."""

        def events() -> list[Json]:
            return [event["detail"] for event in self.received() if event["detail"]["lineId"] == line_id]

        eventually(lambda: len(events()) >= count)
        return events()


@dataclass(frozen=True)
class Provisioner:
    """The example's stack, deployed, and the carrier double that it orders at."""

    carrier: CarrierDouble
    carrier_url: str
    aws: Callable[[str], Any]
    function: str
    changes: Listener
    results: Listener

    def invoke(self, change: Json) -> bool:
        """Invokes the function as its queue would; returns whether the queue may delete the message."""
        event = {"Records": [{"body": json.dumps({"detail": change})}]}
        done = self.aws("lambda").invoke(FunctionName=self.function, Payload=json.dumps(event))
        return "FunctionError" not in done

    def orders(self, line_id: str) -> list[str]:
        """The status of each order of this line."""
        return [order["status"] for order in self.carrier.orders if order["clientReference"] == line_id]


@pytest.fixture(scope="module")
def provisioner(running_stack: LocalStack) -> Iterator[Provisioner]:
    """The reference provisioner on the product's bus; it is gone after the module, so that no other test meets it."""
    ministack = running_stack.ministack

    def aws(service: str) -> Any:  # noqa: ANN401 - a client of boto3's
        session: Any = ministack.session
        return session.client(service, endpoint_url=ministack.endpoint)

    carrier = CarrierDouble(CARRIER_TOKEN)
    with served(carrier.app) as carrier_url:
        bus = running_stack.deployment.bus
        parameters = {
            "BusName": bus,
            "CarrierUrl": carrier_url,
            "CarrierSecretArn": aws("secretsmanager").create_secret(Name="carrier", SecretString=CARRIER_TOKEN)["ARN"],
        }
        function = _deploy(aws, parameters)
        changes = Listener(aws, bus, "changes", {"detail-type": ["Line State Changed"]})
        results = Listener(aws, bus, "results", {"detail-type": ["Line Provisioning Result"]})
        yield Provisioner(carrier, carrier_url, aws, function, changes, results)
        changes.close()
        results.close()
        aws("cloudformation").delete_stack(StackName=STACK_NAME)
        aws("secretsmanager").delete_secret(SecretId="carrier", ForceDeleteWithoutRecovery=True)


def _deploy(aws: Callable[[str], Any], parameters: Json) -> str:
    """Deploys the template as it is, but for where the code lies; returns the function's name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        for path in sorted((PROVISIONER / "function").glob("*.py")):
            code.write(path, path.name)
    aws("s3").create_bucket(Bucket=STACK_NAME)
    aws("s3").put_object(Bucket=STACK_NAME, Key="function", Body=archive.getvalue())
    template = (PROVISIONER / "template.yaml").read_text()
    assert "CodeUri: function/\n" in template
    cloudformation = aws("cloudformation")
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateBody=template.replace("CodeUri: function/\n", f"CodeUri: s3://{STACK_NAME}/function\n"),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )

    def settled() -> Json | None:
        stack: Json = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    stack = eventually(settled)
    events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", events
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return str(outputs["FunctionName"])


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serves an application on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=5)


@pytest.fixture
def change() -> Callable[..., Json]:
    """Makes `Line State Changed` details of one new line, by the number of the change."""
    line_id = uuid.uuid4().hex[:24]

    def detail(number: int, status: str, kind: str = "purchased_phone", **line: str) -> Json:
        asked = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone", "lineType": "purchased"} | line
        return {
            "eventId": f"{line_id}:{number}",
            "workspaceId": "acme",
            "lineId": line_id,
            "kind": kind,
            "status": status,
            **({"line": asked} if status == "provisioning" else {}),
        }

    return detail
