"""Functions with SnapStart import every module and make every AWS client at init, which the snapshot holds.

What a handler imports later, every caller pays for after each restore.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from benchmark import events
from benchmark.world import World
from tests.local.deployment import layer_packages
from tests.local.ministack import ROOT, interpreter
from tests.local.session_tokens import AUTHORIZED_PARTY, ISSUER, Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmark.world import Tenant

Json = dict[str, Any]
ISSUER_OF_TOKENS = Issuer()


class Function:
    """A deployed function's process; records what its handler imported and which clients it made."""

    def __init__(self, folder: str, environment: dict[str, str]) -> None:
        self.late: dict[str, tuple[list[str], list[str]]] = {}
        self._process = subprocess.Popen(
            # The interpreter behind the environment's, which has the layer's packages and no others.
            [interpreter().resolve(), "-m", "tests.budget.handler_process", folder],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def close(self) -> None:
        self._process.communicate(timeout=10)

    def ask(self, what: str, event: Json, status: int) -> Json:
        """The body of the response, which has this status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(event), file=self._process.stdin, flush=True)
        found = json.loads(self._process.stdout.readline())
        response = found["response"]
        assert response["statusCode"] == status, (what, response)
        if found["imported"] or found["clients"]:
            self.late[what] = found["imported"], found["clients"]
        body: Json = json.loads(response["body"])
        return body


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def environment(world: World) -> dict[str, str]:
    path = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "layers", layer_packages())))}
    clerk = {
        "CLERK_ISSUER": ISSUER,
        "CLERK_PUBLIC_KEY": ISSUER_OF_TOKENS.public_pem.replace("\n", "\\n"),
        "CLERK_AUTHORIZED_PARTIES": AUTHORIZED_PARTY,
    }
    return path | world.environment | clerk


@pytest.fixture
def functions(environment: dict[str, str]) -> Iterator[dict[str, Function]]:
    """The three functions that start from a snapshot."""
    with ExitStack() as stack:
        started = {name: Function(f"{name}_line_request", environment) for name in ("create", "get", "manage")}
        for function in started.values():
            stack.callback(function.close)
        yield started


def session_of(world: World, tenant: Tenant) -> str:
    """A session token of an organisation that acts for the tenant."""
    organisation = f"org_{tenant.id.replace('-', '')}"
    assert world.stores.workspaces.map_organisation(organisation, tenant.id)
    return ISSUER_OF_TOKENS.token(organisation, {}, {})


def manage(token: str, line_id: str, action: str) -> Json:
    event = events.create(token) | {"pathParameters": {"id": line_id}, "body": json.dumps({"action": action})}
    return event | {"routeKey": "POST /api/line-requests/{id}"}


def create_paths(world: World, create: Function) -> None:
    """Every outcome of POST /api/line-requests."""
    roomy, payable, full = (world.tenant(f"create-{plan}", plan) for plan in ("roomy", "payable", "full"))
    email = {"channelType": "email", "email": "ádá@exämple.com"}
    create.ask("included", events.create(roomy.token, "k"), 201)
    create.ask("replay", events.create(roomy.token, "k"), 201)
    create.ask("email", events.create(roomy.token, **email), 201)
    create.ask("byon", events.create(roomy.token, lineType="byon", email="a@b.test", phone="+1 555 0100200"), 201)
    encoded = events.create(roomy.token)
    encoded |= {"body": base64.b64encode(encoded["body"].encode()).decode(), "isBase64Encoded": True}
    create.ask("encoded", encoded, 201)
    create.ask("session", events.create(session_of(world, roomy)), 201)
    create.ask("unauthorized", events.create("tuco_no"), 401)
    create.ask("forged session", events.create(Issuer().token("org_createroomy", {}, {})), 401)
    create.ask("invalid field", events.create(roomy.token, **email | {"email": "ada@-"}), 400)
    create.ask("invalid JSON", events.create(roomy.token) | {"body": '{"a": "\\ud800"}'}, 400)
    create.ask("defect", {}, 500)
    create.ask("forbidden", events.create(full.token), 403)
    unsubscribed = world.tenant("create-unsubscribed")
    workspace = world.stores.workspaces.get(unsubscribed.id)
    assert workspace is not None
    assert world.stores.workspaces.save_subscription(workspace, None, 0) is not None
    create.ask("unsubscribed", events.create(unsubscribed.token), 403)
    create.ask("paid", events.create(payable.token, "k"), 201)
    create.ask("paid replay", events.create(payable.token, "k"), 201)
    create.ask("conflict", events.create(payable.token), 409)
    failing = world.tenant("create-failing", "payable")
    world.double.set_faults("error_before", 99)
    create.ask("unavailable", events.create(failing.token, "k"), 503)
    world.double.set_faults("error_before", 0)
    create.ask("finished", events.create(failing.token, "k"), 201)
    deleted = world.tenant("create-deleted", "payable")
    operator = stripe.StripeClient("sk_test_operator", base_addresses={"api": world.double.url})
    operator.v1.customers.delete(deleted.customer)
    create.ask("refused", events.create(deleted.token), 502)


def get_paths(world: World, create: Function, get: Function) -> None:
    """Every outcome of GET, of one line and of the list."""
    roomy, payable = world.tenant("get-roomy"), world.tenant("get-payable", "payable")
    included = create.ask("for get", events.create(roomy.token), 201)["line"]["_id"]
    awaiting = create.ask("for get", events.create(payable.token), 201)["line"]
    get.ask("included", events.get(roomy.token, included), 200)
    get.ask("poll", events.get(payable.token, awaiting["_id"]), 200)
    get.ask("session", events.get(session_of(world, roomy), included), 200)
    get.ask("list", events.page(roomy.token), 200)
    get.ask("list page", events.page(roomy.token) | {"queryStringParameters": {"limit": "1", "status": "active"}}, 200)
    get.ask("list bad cursor", events.page(roomy.token) | {"queryStringParameters": {"cursor": "é"}}, 400)
    get.ask("defect", {}, 500)
    get.ask("bad id", events.get(roomy.token, "no"), 400)
    get.ask("foreign", events.get(roomy.token, awaiting["_id"]), 404)
    get.ask("unauthorized", events.get("no", included), 401)
    other = world.tenant("get-other", "payable")
    line = create.ask("for get", events.create(other.token), 201)["line"]
    world.double.set_faults("error_before", 99)
    get.ask("poll while Stripe fails", events.get(other.token, line["_id"]), 200)
    world.double.set_faults("error_before", 0)
    paid = world.tenant("get-paid", "payable")
    line = create.ask("for get", events.create(paid.token), 201)["line"]
    world.double.pay_invoice(line["stripeInvoiceId"])
    assert get.ask("poll of paid", events.get(paid.token, line["_id"]), 200)["paymentStatus"] == "paid"


def manage_paths(world: World, create: Function, manage_function: Function) -> None:
    """Every outcome of both actions."""
    payable = world.tenant("manage-payable", "payable")
    line_id = create.ask("for manage", events.create(payable.token), 201)["line"]["_id"]
    manage_function.ask("payment link", manage(payable.token, line_id, "payment_link"), 200)
    manage_function.ask("unsupported", manage(payable.token, line_id, "pay"), 400)
    manage_function.ask("defect", {}, 500)
    manage_function.ask("bad id", manage(payable.token, "no", "cancel"), 400)
    manage_function.ask("session", manage(session_of(world, payable), line_id, "payment_link"), 200)
    manage_function.ask("unauthorized", manage("no", line_id, "cancel"), 401)
    manage_function.ask("cancel", manage(payable.token, line_id, "cancel"), 200)
    manage_function.ask("nothing to pay", manage(payable.token, line_id, "payment_link"), 409)
    failing = world.tenant("manage-failing", "payable")
    line_id = create.ask("for manage", events.create(failing.token), 201)["line"]["_id"]
    world.double.set_faults("error_before", 99)
    manage_function.ask("unavailable", manage(failing.token, line_id, "cancel"), 503)
    world.double.set_faults("error_before", 0)
    manage_function.ask("canceled later", manage(failing.token, line_id, "cancel"), 200)


def test_no_handler_path_imports_a_module_or_makes_a_client_after_init(
    world: World, functions: dict[str, Function]
) -> None:
    create_paths(world, functions["create"])
    get_paths(world, functions["create"], functions["get"])
    manage_paths(world, functions["create"], functions["manage"])
    assert {name: function.late for name, function in functions.items() if function.late} == {}
