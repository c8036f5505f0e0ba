"""What the roles allow is what the functions do: one run of everything on a local stack that enforces IAM."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.local.demo import OPERATOR_API_KEY
from tests.local.stack import LocalStack
from tests.shape.cloudformation import Json, of_type, statements

pytestmark = pytest.mark.timeout(300)  # every call is signed, verified and judged

PHONE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
EMAIL = PHONE | {"channelType": "email", "email": "ada@example.com"}
# Lambda itself uses these of the function's role, when it gives a batch up; MiniStack does without.
BY_LAMBDA = {"PublishChanges": {"s3:PutObject", "s3:ListBucket"}}
Decisions = list[tuple[str, str, bool]]


class Workspace:
    """One workspace of the demo shop, as its client and an operator use it."""

    def __init__(self, stack: LocalStack, http: httpx.Client, plan: str = "starter") -> None:
        self._stack, self._http = stack, http
        made = self.control("workspaces", plan=plan)
        self.id, self.customer = made["workspaceId"], made["customer"]
        self._headers = {"Authorization": f"Bearer {made['apiKey']}"}

    def control(self, route: str, **body: object) -> Json:
        answer = self._http.post(f"/_local/{route}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def send(self, method: str, path: str, *, key: str | None = None, **request: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own arguments
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        return self._http.request(method, path, headers=headers, **request)

    def create(self, body: Json = PHONE, *, key: str | None = None) -> httpx.Response:
        return self.send("POST", "/api/line-requests", json=body, key=key)

    def get(self, line_id: str) -> Json:
        return self.send("GET", f"/api/line-requests/{line_id}").json()

    def manage(self, line_id: str, action: str) -> httpx.Response:
        return self.send("POST", f"/api/line-requests/{line_id}", json={"action": action})

    def newest(self) -> str:
        return str(self.send("GET", "/api/line-requests?limit=1").json()["lines"][0]["_id"])

    def stored(self, line_id: str) -> str:
        """The status as the list has it, which unlike a poll changes nothing."""
        lines = self.send("GET", "/api/line-requests?limit=100").json()["lines"]
        return str(next(line["provisioningStatus"] for line in lines if line["_id"] == line_id))

    def half_made(self) -> str:
        """A request whose finalized invoice was not stored: nobody was answered 201, so its key is free if it ends."""
        while self.create().json()["paymentRequired"]:
            self.manage(self.newest(), "cancel")
        assert self._stack.double.wait_idle()
        self.control("webhooks", mode="drop")
        self.control("stripe/faults", kind="error_after", count=9, path="/v1/invoices/in_")
        assert self.create(key="k").status_code == 503
        self.control("stripe/faults", kind="error_after", count=0)
        return self.newest()

    def end_subscription(self, webhooks: str) -> None:
        self.control("webhooks", mode=webhooks)
        self.control(f"workspaces/{self.id}/subscription", status="canceled")
        assert self._stack.double.wait_idle()

    def payable(self) -> Json:
        """A request beyond what the plan includes."""
        while True:
            created = self.create().json()
            if created["paymentRequired"]:
                return created


def eventually(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Decisions:
    """The function, the action and whether IAM allowed it, of each call that the functions made."""
    log = tmp_path_factory.mktemp("iam") / "decisions.jsonl"
    with (
        LocalStack(iam_decisions=log) as stack,
        httpx.Client(base_url=stack.origin, timeout=60) as http,
    ):
        try:
            do_everything(stack, http)
        except AssertionError as error:
            raise AssertionError(f"refused by IAM: {refused(read(log))}") from error
        assert stack.double.wait_idle()
        time.sleep(2)  # for the stream and the bus
    return read(log)


def read(log: Path) -> Decisions:
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    functions = [(re.search(r"/line-requests-(\w+)-[0-9A-F]{13}$", arn or ""), *rest) for arn, *rest in calls]
    return [(function[1], action, allowed) for function, action, allowed in functions if function]


def do_everything(stack: LocalStack, http: httpx.Client) -> None:
    """Each thing that a function can be asked for, and what it does when that is undone or half done."""
    workspace = Workspace(stack, http)
    # included, replayed, provisioned
    first = workspace.create(key="k")
    assert workspace.create(key="k").headers["Idempotency-Replayed"] == "true"
    eventually(lambda: workspace.get(first.json()["line"]["_id"])["status"] == "active")
    # paid, with a session token on the way
    created = workspace.payable()
    line_id = created["line"]["_id"]
    assert workspace.create(EMAIL).status_code == 409
    token = workspace.control("session-tokens", workspaceId=workspace.id)["token"]
    for method, path, body in [
        ("GET", f"/api/line-requests/{line_id}", None),
        ("POST", f"/api/line-requests/{line_id}", {"action": "payment_link"}),
        ("POST", "/api/line-requests", EMAIL),
    ]:
        answer = http.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in {200, 409}, answer.text
    http.post(f"{created['paymentUrl']}/pay")
    eventually(lambda: workspace.get(line_id)["status"] == "active")
    # canceled, by its client
    assert workspace.manage(workspace.payable()["line"]["_id"], "cancel").status_code == 200
    half_made_ends_by_each(stack, http)
    # paid without a webhook, found by a poll and by the reconciler
    for find in (workspace.get, lambda _: stack.reconcile()):
        created = workspace.payable()
        workspace.control("webhooks", mode="drop")
        http.post(f"{created['paymentUrl']}/pay")
        find(created["line"]["_id"])
        workspace.control("webhooks", mode="deliver")
    # heard of by nobody for too long, then failed by a provisioner
    workspace.control("provisioning", mode="manual")
    waiting = Workspace(stack, http)
    line_id = waiting.create().json()["line"]["_id"]
    make_due(stack, waiting.id, line_id)
    assert stack.reconcile()["republished"] == 1
    waiting.control(f"line-requests/{line_id}/provisioning", outcome="failed", reason="no number")
    eventually(lambda: waiting.get(line_id)["status"] == "failed")
    # another plan
    workspace.control(f"workspaces/{workspace.id}/subscription", plan="scale")
    assert stack.double.wait_idle()
    stack.reconcile()


def make_due(stack: LocalStack, workspace_id: str, line_id: str) -> None:
    """As if the line had waited for so long that the reconciler looks at it."""
    dynamodb = stack.ministack.session.client("dynamodb", endpoint_url=stack.ministack.endpoint)
    dynamodb.update_item(
        TableName=stack.deployment.table,
        Key={"pk": {"S": f"W#{workspace_id}"}, "sk": {"S": f"LINE#{line_id}"}},
        UpdateExpression="SET due_at = :past",
        ConditionExpression="attribute_exists(due_shard)",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )
    dynamodb.close()


def half_made_ends_by_each(stack: LocalStack, http: httpx.Client) -> None:
    """A request without an answer ends with its idempotency key, whichever function ends it."""
    workspace = Workspace(stack, http)
    assert workspace.manage(workspace.half_made(), "cancel").status_code == 200

    workspace = Workspace(stack, http)
    workspace.half_made()
    assert workspace.create(key="k").status_code == 201

    workspace = Workspace(stack, http)
    line_id = workspace.half_made()
    workspace.end_subscription("drop")
    assert workspace.get(line_id)["status"] == "canceled"

    workspace = Workspace(stack, http)
    line_id = workspace.half_made()
    workspace.end_subscription("deliver")
    assert workspace.stored(line_id) == "canceled"

    workspace = Workspace(stack, http)
    line_id = workspace.half_made()
    workspace.end_subscription("drop")
    stack.reconcile()
    assert workspace.stored(line_id) == "canceled"

    # Stripe refuses it for good
    workspace = Workspace(stack, http)
    workspace.create()
    operator = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": stack.double.url})
    operator.v1.customers.delete(workspace.customer)
    assert workspace.create(key="k").status_code == 502
    workspace.control("webhooks", mode="deliver")


def refused(decisions: Decisions) -> set[tuple[str, str]]:
    return {(function, action) for function, action, allowed in decisions if not allowed}


def test_no_function_makes_a_call_that_is_not_granted(decisions: Decisions) -> None:
    assert refused(decisions) == set()


def test_every_grant_is_used(resources: Json, decisions: Decisions) -> None:
    made = defaultdict[str, set[str]](set)
    for function, action, _ in decisions:
        made[function].add(action)
    functions = of_type(resources, "AWS::Lambda::Function")
    granted = {f: set[str]().union(*(actions for actions, _ in statements(resources, f))) for f in functions}
    unused = {f: granted[f] - made[f] - BY_LAMBDA.get(f, set()) for f in functions}
    assert {function: actions for function, actions in unused.items() if actions} == {}
