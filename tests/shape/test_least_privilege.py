"""What the roles allow is what the functions do: one run of everything on a local stack that enforces IAM."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.local.demo import OPERATOR_API_KEY
from tests.local.stack import LocalStack
from tests.shape.cloudformation import Json, of_type, statements

PHONE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
EMAIL = PHONE | {"channelType": "email", "email": "ada@example.com"}
# Lambda itself uses these of the function's role, when it gives a batch up; MiniStack does without.
BY_LAMBDA = {"PublishChanges": {"s3:PutObject", "s3:ListBucket"}}
# With AWS's own managed policies: to write logs, and to read the stream and the queue.
MANAGED = ("logs:", "sqs:", "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
Made = dict[str, set[str]]


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

    def half_made(self, key: str) -> str:
        """A request whose client was answered 503: its key is free again if it is canceled now."""
        self.faults(1000)
        assert self.create(key=key).status_code == 503
        self.faults(0)
        return self.newest()

    def faults(self, count: int) -> None:
        assert self._stack.double.wait_idle()
        self.control("stripe/faults", kind="error_before", count=count)

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
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str, bool]]]:
    """The function, the action and whether IAM allowed it, of each call that the functions made."""
    log = tmp_path_factory.mktemp("iam") / "decisions.jsonl"
    with (
        LocalStack(iam_decisions=log) as stack,
        httpx.Client(base_url=stack.origin, timeout=60) as http,
    ):
        do_everything(stack, http)
        assert stack.double.wait_idle()
        time.sleep(2)  # for the stream and the bus
    yield read(log)


def read(log: Path) -> list[tuple[str, str, bool]]:
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
    half_made_is_canceled_by_each(stack, http)
    # paid without a webhook, found by a poll and by the reconciler
    for find in (lambda line: workspace.get(line), lambda _: stack.reconcile()):
        created = workspace.payable()
        workspace.control("webhooks", mode="drop")
        http.post(f"{created['paymentUrl']}/pay")
        find(created["line"]["_id"])
        workspace.control("webhooks", mode="deliver")
    # failed by a provisioner
    workspace.control("provisioning", mode="manual")
    failing = Workspace(stack, http)
    line_id = failing.create().json()["line"]["_id"]
    failing.control(f"line-requests/{line_id}/provisioning", outcome="failed", reason="no number")
    eventually(lambda: failing.get(line_id)["status"] == "failed")
    # another plan
    workspace.control(f"workspaces/{workspace.id}/subscription", plan="scale")
    assert stack.double.wait_idle()
    stack.reconcile()


def half_made_is_canceled_by_each(stack: LocalStack, http: httpx.Client) -> None:
    """A request that nobody was answered ends with its idempotency key, whoever cancels it."""
    operator = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": stack.double.url})
    # its client
    workspace = Workspace(stack, http)
    workspace.create()
    assert workspace.manage(workspace.half_made("manage"), "cancel").status_code == 200
    # a request that Stripe refuses for good
    workspace = Workspace(stack, http)
    workspace.create()
    operator.v1.customers.delete(workspace.customer)
    assert workspace.create(key="create").status_code == 502


def made(decisions: list[tuple[str, str, bool]]) -> Made:
    by_function: Made = defaultdict(set)
    for function, action, _ in decisions:
        if not action.startswith(MANAGED):
            by_function[function].add(action)
    return by_function


def test_no_function_makes_a_call_that_is_not_granted(decisions: list[tuple[str, str, bool]]) -> None:
    assert {(function, action) for function, action, allowed in decisions if not allowed} == set()


def test_every_grant_is_used(resources: Json, decisions: list[tuple[str, str, bool]]) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    granted = {f: set[str]().union(*(actions for actions, _ in statements(resources, f))) for f in functions}
    unused = {f: granted[f] - made(decisions)[f] - BY_LAMBDA.get(f, set()) for f in functions}
    assert {function: actions for function, actions in unused.items() if actions} == {}
