"""What `sam build` made, under Lambda's own runtime interface emulator and client, with every file of events/.

No Python 3.14 on arm64 is at hand: functions and `line_requests` are the built ones, the layer's third-party
packages are those of this host. That the built ones fit the runtime is checked by their names and their ELF headers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import stripe
import yaml

from line_requests.billing.operator_account import OperatorBilling
from line_requests.clock import Clock
from line_requests.domain import decision
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import ApiKey, Change, IdempotencyRecord, Line, PaymentStatus, Status
from line_requests.domain.submission import Kind
from line_requests.flows.leases import LEASE_MS
from line_requests.operator import commands
from tests.decision.examples import SUBMISSIONS
from tests.local.demo import OPERATOR_API_KEY
from tests.local.deployment import layer_packages
from tests.local.ministack import ACCOUNT, REGION, ROOT
from tests.local.stack import WEBHOOK_SECRETS
from tests.support.product import product
from tests.vendor.engines import VENDOR, lambda_runtime

if TYPE_CHECKING:
    from line_requests.deployment import Deployment
    from tests.local.stack import LocalStack

Json = dict[str, Any]

BUILT = ROOT / ".aws-sam/build"
EVENTS = {path.stem: path for path in sorted((ROOT / "events").glob("*.json"))}
AARCH64 = 183
WORKSPACE, LINE_ID, NOW_MS = "acme", "01a202974dc00123456789ab", 1795339800000


def event(function: str) -> Json:
    read: Json = json.loads(EVENTS[function].read_text())
    return read


@dataclass(frozen=True)
class Deployed:
    """The functions as built, on the local stack's table, bus and Stripe double."""

    stack: LocalStack

    def invoke(self, function: str, *events: Json) -> list[Json]:
        """Post events to one fresh runtime, one after the other; what it answers."""
        properties = self._properties(function)
        configuration = self.stack.ministack.session.client(
            "lambda", endpoint_url=self.stack.ministack.endpoint
        ).get_function_configuration(FunctionName=self.stack.deployment.functions[function])
        environment = configuration["Environment"]["Variables"] | {
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": properties["Timeout"],
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": properties["MemorySize"],
            "AWS_ENDPOINT_URL": self.stack.ministack.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # The first that has a module wins: packages for this host, then the built layer for line_requests.
            "PYTHONPATH": f"{layer_packages()}:{BUILT / 'LineRequestsLayer/python'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        folder = (BUILT / properties["CodeUri"]).resolve()
        log = VENDOR / f"{function}.log"
        with lambda_runtime(folder, environment, log) as url:
            answers = [httpx.post(url, json=one, timeout=int(properties["Timeout"]) + 10).json() for one in events]
        for answer in answers:
            assert "errorType" not in (answer or {}), f"{answer}\n{log.read_text(errors='replace')}"
        return answers

    def _properties(self, function: str) -> Json:
        template = yaml.load((BUILT / "template.yaml").read_text(), yaml.BaseLoader)  # noqa: S506 - makes only strings
        properties: Json = template["Resources"][function.title().replace("_", "")]["Properties"]
        return properties


@pytest.fixture
def deployed(stack: LocalStack) -> Deployed:
    stack.provisioner.set_mode("manual")
    # The stack's own webhook function would apply the subscription by today's clock, days after the events' time.
    stack.set_webhook_mode("drop")
    return Deployed(stack)


def test_the_layer_is_built_for_the_runtime() -> None:
    libraries = list(BUILT.rglob("*.so"))
    assert libraries
    for library in libraries:
        assert int.from_bytes(library.read_bytes()[18:20], "little") == AARCH64, library
        assert ".cpython-314-aarch64-linux-gnu." in library.name or ".abi3." in library.name, library


def test_every_event_is_answered_under_lambdas_runtime(deployed: Deployed) -> None:
    stack, seen = deployed.stack, set[str]()
    dynamodb = stack.ministack.session.client("dynamodb", endpoint_url=stack.ministack.endpoint)
    deployment = product(dynamodb, stack.deployment.table, stack.double.url)

    def invoke(function: str, *events: Json) -> list[Json]:
        seen.add(function)
        return deployed.invoke(function, *events or [event(function)])

    def line() -> Line:
        found = deployment.stores.lines.get(WORKSPACE, LINE_ID)
        assert found is not None
        return found

    subscription = _enter_workspace(stack, deployment)
    first, again = invoke("create_line_request", event("create_line_request"), event("create_line_request"))
    assert first["statusCode"] == 201
    assert json.loads(first["body"])["status"] == "provisioning"
    assert (again["body"], again["headers"]["Idempotency-Replayed"]) == (first["body"], "true")

    _request_payable_line(deployment)
    (got,) = invoke("get_line_request")
    body = json.loads(got["body"])
    assert (got["statusCode"], body["status"]) == (200, "awaiting_payment")
    (link,) = invoke("manage_line_request")
    assert (link["statusCode"], json.loads(link["body"])["paymentUrl"]) == (200, body["paymentUrl"])

    invoice_id = line().invoice_id or ""
    stack.double.pay_invoice(invoice_id)
    foreign, ours = invoke("stripe_webhook", event("stripe_webhook"), _signed(event("stripe_webhook"), invoice_id))
    assert foreign["statusCode"] == 400, "signed with a secret that is not this deployment's"
    assert ours["statusCode"] == 200
    assert (line().status, line().payment_status) == (Status.PROVISIONING, PaymentStatus.PAID)

    assert invoke("publish_changes") == [{"batchItemFailures": []}]
    assert invoke("provisioning_result") == [{"batchItemFailures": []}]
    assert line().status is Status.ACTIVE

    # Its event is of a minute later than the others: what they made due, however slowly, is due by then.
    (done,) = invoke("reconciler")
    assert done["failed"] == 0
    assert done["quantities"] == 1
    sold = next(one for one in stack.double.all_of("subscription") if one["id"] == subscription)
    assert [item["quantity"] for item in sold["items"]["data"]][1:] == [1]
    assert seen == set(EVENTS), "a file of events/ was not used"


def _enter_workspace(stack: LocalStack, deployment: Deployment) -> str:
    """The workspace and the API key that the events name, subscribed to the plan starter; its subscription's id."""
    shop = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": stack.double.url})
    customer = shop.v1.customers.create({"name": "Acme"}).id
    price = next(plan.base_prices[0] for plan in deployment.stores.plans.all() if plan.name == "starter")
    subscription = shop.v1.subscriptions.create({"customer": customer, "items": [{"price": price}]}).id
    commands.create_workspace(
        deployment.stores.workspaces,
        deployment.lifecycle.subscriptions,
        OperatorBilling.of(deployment.billing(Clock.start(18))),
        WORKSPACE,
        customer=customer,
        now_ms=NOW_MS,
    )
    token = event("create_line_request")["headers"]["authorization"].removeprefix("Bearer ")
    deployment.stores.api_keys.insert(WORKSPACE, ApiKey(sha256_hex(token), "events", NOW_MS))
    return subscription


def _request_payable_line(deployment: Deployment) -> None:
    """The line that the events name: one more than the plan includes, with its invoice finished."""
    workspace = deployment.stores.workspaces.get(WORKSPACE)
    assert workspace is not None
    add_on = decision.judge(workspace, Kind.PURCHASED_PHONE)
    assert add_on is not None
    line = Line(
        id=LINE_ID,
        workspace_id=WORKSPACE,
        submission=SUBMISSIONS[Kind.PURCHASED_PHONE],
        status=Status.AWAITING_PAYMENT,
        payment_status=PaymentStatus.AWAITING_PAYMENT,
        created_at_ms=NOW_MS,
        history=(Change(NOW_MS, Status.AWAITING_PAYMENT, "requested"),),
        charge=decision.charge_for(workspace, SUBMISSIONS[Kind.PURCHASED_PHONE], add_on, NOW_MS),
        stripe_keyed_at_ms=NOW_MS,
        lease_until_ms=NOW_MS + LEASE_MS,
    )
    record = IdempotencyRecord(LINE_ID, "")
    assert deployment.stores.lines.insert_line(workspace, line, record, limit=None, now_ms=NOW_MS) is None
    assert deployment.lifecycle.finalize_new(Clock(NOW_MS, 18), line).payment_url


def _signed(delivery: Json, invoice_id: str) -> Json:
    """The delivery about this invoice, signed with this deployment's secret at the event's time."""
    hint = json.loads(delivery["body"])
    hint["data"]["object"]["id"] = invoice_id
    body, at_s = json.dumps(hint), NOW_MS // 1000
    signature = hmac.new(WEBHOOK_SECRETS[0].encode(), f"{at_s}.{body}".encode(), hashlib.sha256).hexdigest()
    headers = delivery["headers"] | {"stripe-signature": f"t={at_s},v1={signature}"}
    return delivery | {"body": body, "headers": headers}
