"""The control routes: names, shapes and what bad input is told."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.local.stack import runs_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.stack import LocalStack

Json = dict[str, Any]
PHONE = {"firstName": "Sales", "lastName": "Line 1", "channelType": "phone"}


@pytest.fixture
def http(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.origin, timeout=35) as client:
        yield client


def post(http: httpx.Client, route: str, /, **body: Any) -> Json:  # noqa: ANN401 - JSON
    answer = http.post(f"/_local/{route}", json=body)
    assert answer.is_success, answer.text
    made: Json = answer.json()
    return made


def authorized(workspace: Json) -> dict[str, str]:
    return {"Authorization": f"Bearer {workspace['apiKey']}"}


def create(http: httpx.Client, workspace: Json, **fields: str) -> httpx.Response:
    return http.post("/api/line-requests", headers=authorized(workspace), json=PHONE | fields)


def status(http: httpx.Client, workspace: Json) -> str:
    """Where the newest line stands, by the list, which never heals."""
    lines = http.get("/api/line-requests?limit=1", headers=authorized(workspace)).json()["lines"]
    return str(lines[0]["provisioningStatus"])


def wait_for_status(http: httpx.Client, workspace: Json, wanted: str) -> None:
    deadline = time.monotonic() + 30
    while (now := status(http, workspace)) != wanted:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)


def test_the_state_names_what_is_running(http: httpx.Client, stack: LocalStack) -> None:
    state = http.get("/_local/state").json()
    assert set(state) == {"api", "stripe", "webhookSecrets", "workspaces", "webhooks", "provisioning", "now"}
    assert (state["api"], state["stripe"]) == (stack.origin, stack.double.url)
    assert (state["webhooks"], state["provisioning"]) == ("deliver", "auto")
    assert {"starter", "scale", "capped"} <= {workspace["plan"] for workspace in state["workspaces"]}
    keys = {"workspaceId", "plan", "apiKey", "customer", "subscription"}
    assert all(set(workspace) == keys for workspace in state["workspaces"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [("active", 201), ("trialing", 201), ("past_due", 403), ("canceled", 403), ("paused", 403), (None, 403)],
)
def test_a_new_workspace_is_usable_at_once_in_every_mode(http: httpx.Client, given: str | None, expected: int) -> None:
    post(http, "webhooks", mode="drop")
    post(http, "stripe/faults", kind="error_before", count=5)
    workspace = post(http, "workspaces", plan="starter", subscriptionStatus=given)
    assert create(http, workspace).status_code == expected


def test_a_changed_subscription_arrives_by_webhook(http: httpx.Client) -> None:
    workspace = post(http, "workspaces", plan="capped")
    fields = {"channelType": "email", "email": "a@example.com"}
    assert create(http, workspace, **fields).status_code == 403
    changed = post(http, f"workspaces/{workspace['workspaceId']}/subscription", plan="starter")
    assert changed["plan"] == "starter"
    deadline = time.monotonic() + 30
    while create(http, workspace, **fields).status_code != 201:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_changes_of_one_subscription_may_come_at_once(http: httpx.Client) -> None:
    workspace = post(http, "workspaces", plan="starter")
    route = f"workspaces/{workspace['workspaceId']}/subscription"
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda plan: post(http, route, plan=plan), ["scale", "capped", "starter"] * 4))
    assert post(http, route, plan="scale")["plan"] == "scale"


def test_an_ended_subscription_comes_back_as_a_new_one(http: httpx.Client) -> None:
    workspace = post(http, "workspaces", plan="starter", subscriptionStatus="canceled")
    changed = post(http, f"workspaces/{workspace['workspaceId']}/subscription", status="active")
    assert changed["subscription"] != workspace["subscription"]
    route = f"workspaces/{workspace['workspaceId']}/subscription"
    post(http, route, status="canceled")
    with ThreadPoolExecutor() as pool:
        changes = list(pool.map(lambda status: post(http, route, status=status), ["active"] * 8))
    (subscription,) = {changed["subscription"] for changed in changes}
    assert subscription not in {workspace["subscription"], changed["subscription"]}


def test_dropped_webhooks_are_made_up_for_by_the_reconciler(http: httpx.Client) -> None:
    post(http, "webhooks", mode="drop")
    workspace = post(http, "workspaces", plan="starter")
    create(http, workspace)
    url = create(http, workspace).json()["paymentUrl"]
    assert http.get(url).status_code == 200
    assert http.post(f"{url}/pay").status_code < 400
    assert http.post(f"{url}/pay").status_code >= 400
    assert status(http, workspace) == "awaiting_payment"
    assert isinstance(post(http, "reconcile"), dict)
    wait_for_status(http, workspace, "active")


@pytest.mark.parametrize(("outcome", "wanted"), [("succeeded", "active"), ("failed", "failed")])
def test_a_manual_provisioner_answers_when_told(http: httpx.Client, outcome: str, wanted: str) -> None:
    post(http, "provisioning", mode="manual")
    workspace = post(http, "workspaces", plan="starter")
    line = create(http, workspace).json()["line"]
    time.sleep(2)
    assert status(http, workspace) == "provisioning"
    post(http, f"line-requests/{line['_id']}/provisioning", outcome=outcome, reason="as told")
    wait_for_status(http, workspace, wanted)


def test_what_manual_left_waiting_is_answered_by_auto(http: httpx.Client) -> None:
    post(http, "provisioning", mode="manual")
    workspace = post(http, "workspaces", plan="starter")
    create(http, workspace)
    time.sleep(1.5)
    post(http, "provisioning", mode="auto")
    wait_for_status(http, workspace, "active")


def test_faults_hit_the_product_until_they_are_cleared(http: httpx.Client) -> None:
    workspace = post(http, "workspaces", plan="starter")
    create(http, workspace)
    post(http, "stripe/faults", kind="error_before", count=100, path="/v1/invoices")
    assert create(http, workspace).status_code == 503
    post(http, "stripe/faults", kind="error_before", count=0)
    line = http.get("/api/line-requests?limit=1", headers=authorized(workspace)).json()["lines"][0]
    polled = http.get(f"/api/line-requests/{line['_id']}", headers=authorized(workspace)).json()
    assert polled["paymentUrl"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, 200),
        ({"claims": {"org_id": None}}, 401),
        ({"claims": {"iss": "https://elsewhere.test"}}, 401),
        ({"claims": {"azp": None}}, 200),
        ({"claims": {"azp": "https://elsewhere.test"}}, 401),
        ({"claims": {"exp": 1}}, 401),
        ({"claims": {"sid": None}}, 401),
        ({"header": {"alg": "none"}}, 401),
        ({"header": {"alg": "HS256"}}, 401),
    ],
)
def test_a_session_token_is_as_good_as_its_claims(http: httpx.Client, overrides: Json, expected: int) -> None:
    workspace = post(http, "workspaces", plan="starter")
    token = post(http, "session-tokens", workspaceId=workspace["workspaceId"], **overrides)["token"]
    answer = http.get("/api/line-requests", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == expected


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("workspaces", {}),
        ("workspaces", {"plan": "gold"}),
        ("workspaces", {"plan": ["starter"]}),
        ("workspaces", {"plan": "starter", "subscriptionStatus": "happy"}),
        ("session-tokens", {"workspaceId": "nobody"}),
        ("session-tokens", {}),
        ("webhooks", {"mode": "sometimes"}),
        ("provisioning", {"mode": 1}),
        ("line-requests/000000000000000000000000/provisioning", {"outcome": "maybe"}),
        ("stripe/faults", {"kind": "error_before"}),
        ("stripe/faults", {"kind": "error_before", "count": -1}),
        ("stripe/faults", {"kind": "error_before", "count": True}),
        ("stripe/faults", {"kind": "earthquake", "count": 1}),
        ("workspaces", {"plan": "starter", "trialDays": -1}),
        ("workspaces", {"plan": "starter", "trialDays": "14"}),
        ("workspaces", {"plan": "starter", "currency": "xyz"}),
        ("clock", {}),
        ("clock", {"advanceSeconds": 0}),
        ("clock", {"advanceSeconds": 1.5}),
        ("clock", {"advanceSeconds": True}),
        ("clock", {"advanceSeconds": 10 * 365 * 86_400 + 1}),
        ("stripe/invoices/in_1", {}),
        ("stripe/invoices/in_1", {"action": "burn"}),
        ("stripe/invoices/in_1", {"action": "pay_part", "amount": 0}),
    ],
)
def test_bad_input_is_told_what_is_wrong(http: httpx.Client, path: str, body: Json) -> None:
    answer = http.post(f"/_local/{path}", json=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


def stripe_subscription(stack: LocalStack, workspace: Json) -> Json:
    return next(one for one in stack.double.all_of("subscription") if one["id"] == workspace["subscription"])


def test_a_workspace_may_begin_with_a_trial_and_in_another_currency(http: httpx.Client, stack: LocalStack) -> None:
    workspace = post(http, "workspaces", plan="starter", trialDays=10, currency="eur")

    subscription = stripe_subscription(stack, workspace)

    assert (subscription["status"], subscription["currency"]) == ("trialing", "eur")
    assert subscription["trial_end"] - subscription["trial_start"] == 10 * 86_400
    assert create(http, workspace).status_code == 201


def test_a_subscription_is_canceled_and_taken_again(http: httpx.Client, stack: LocalStack) -> None:
    workspace = post(http, "workspaces", plan="starter")
    route = f"workspaces/{workspace['workspaceId']}/subscription"
    assert http.post(f"/_local/{route}", json={"resubscribe": True}).status_code == 400

    canceled = post(http, route, cancel=True)
    assert stripe_subscription(stack, canceled)["status"] == "canceled"
    assert http.post(f"/_local/{route}", json={"cancel": True}).status_code == 400
    again = post(http, route, resubscribe=True, interval="year")

    assert again["subscription"] != workspace["subscription"]
    (item,) = stripe_subscription(stack, again)["items"]["data"]
    assert (item["price"]["recurring"]["interval"], item["price"]["unit_amount"]) == ("year", 29000)


def test_another_interval_is_another_price_of_the_plan(http: httpx.Client, stack: LocalStack) -> None:
    workspace = post(http, "workspaces", plan="starter")
    route = f"workspaces/{workspace['workspaceId']}/subscription"

    post(http, route, interval="year")
    post(http, route, plan="scale")

    (item,) = stripe_subscription(stack, workspace)["items"]["data"]
    assert (item["price"]["recurring"]["interval"], item["price"]["unit_amount"]) == ("year", 149000)


def test_other_hands_touch_an_invoice(http: httpx.Client) -> None:
    workspace = post(http, "workspaces", plan="starter")
    create(http, workspace)
    invoice = create(http, workspace).json()["line"]["stripeInvoiceId"]

    part = post(http, f"stripe/invoices/{invoice}", action="pay_part", amount=100)

    assert (part["status"], part["amount_paid"]) == ("open", 100)
    too_much = http.post(f"/_local/stripe/invoices/{invoice}", json={"action": "pay_part", "amount": 10**9})
    assert (too_much.status_code, set(too_much.json())) == (400, {"error"})
    assert http.post("/_local/stripe/invoices/in_1", json={"action": "refund"}).status_code == 404
    assert post(http, f"stripe/invoices/{invoice}", action="credit_note")["type"] == "mixed"


@pytest.mark.parametrize(
    ("seconds", "runs"), [(59, 0), (60, 1), (3600, 60), (3601, 1), (86_400, 24), (31 * 86_400, 60), (10**8, 60)]
)
def test_reconciler_runs_as_often_as_its_schedule_would_up_to_a_limit(seconds: int, runs: int) -> None:
    assert runs_within(seconds) == runs


@pytest.mark.parametrize("body", [b"[]", b"{", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/_local/webhooks", content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
