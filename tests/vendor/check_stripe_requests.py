"""Every kind of request that the product sends to Stripe, against stripe-mock: Stripe's own OpenAPI description.

The local stack lives through the main stories, and Billing's methods are called besides; what the Stripe double
received is then sent once more, each distinct request once.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import stripe

from line_requests.billing.account import Billing
from line_requests.billing.client import connect
from line_requests.billing.subscriptions import StripeItem
from line_requests.clock import Clock
from line_requests.domain.errors import LineRequestError
from line_requests.domain.model import Invoice
from line_requests.domain.prices import PendingCharge
from line_requests.domain.submission import Kind
from tests.decision import examples
from tests.local.demo import OPERATOR_API_KEY, PRODUCT_API_KEY
from tests.local.stripe_double.routes import find_route
from tests.vendor.engines import VENDOR, stripe_mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local.stack import LocalStack
    from tests.local.stripe_double.server import LoggedRequest

Json = dict[str, Any]
ENDPOINTS = 20  # fewer: a story no longer reaches Stripe as it did; more: count again
CALLS_KEY = "sk_test_calls"
PRODUCT_KEYS = {PRODUCT_API_KEY, CALLS_KEY}


@pytest.fixture(scope="module")
def mock() -> Iterator[stripe.StripeClient]:
    with stripe_mock() as url:
        yield stripe.StripeClient("sk_test_mock", base_addresses={"api": url}, max_network_retries=0)


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/v1/invoices"), ("get", "/v1/events"), ("delete", "/v1/subscription_items/si_1")]
)
def test_a_parameter_that_stripe_does_not_know_is_refused(mock: stripe.StripeClient, method: str, path: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="additional properties"):
        mock.raw_request(method, path, colour="blue")


def test_stripes_openapi_accepts_every_request_of_the_product(
    stack: LocalStack, mock: stripe.StripeClient, note: Callable[[str], None]
) -> None:
    _live(stack)
    _call_billing(stack)
    distinct: dict[str, LoggedRequest] = {}
    counts = Counter[str]()
    for request in stack.double.request_log:
        if request.api_key in PRODUCT_KEYS:
            counts[_shape(request)] += 1
            distinct.setdefault(_shape(request), request)
    assert len({(r.method, find_route(r.method, r.path)[0].path) for r in distinct.values()}) == ENDPOINTS

    refused = [f"{shape}: {error}" for shape, request in distinct.items() if (error := _refusal(mock, request))]
    described = re.search(rb'"version": ?"(20\d\d-[\w.-]+)"', (VENDOR / "bin/stripe-mock").read_bytes())
    version = described[1].decode() if described else "of an unknown version"
    note(
        f"Stripe's OpenAPI {version} accepts {len(distinct) - len(refused)} of {len(distinct)} distinct requests"
        f" ({counts.total()} in all); the SDK speaks {stripe.api_version}:"
    )
    for shape in sorted(distinct):
        note(f"  {shape}")
    assert not refused, "\n".join(refused)


def _shape(request: LoggedRequest) -> str:
    """Method, path without ids, and the names of the parameters."""
    names = sorted({re.sub(r"\[\d+\]", "[]", name) for name in _names(request.params)})
    return f"{request.method:6} {find_route(request.method, request.path)[0].path} {' '.join(names)}".rstrip()


def _names(params: Any, under: str = "") -> Iterator[str]:  # noqa: ANN401 - any of JSON's types
    if isinstance(params, dict):
        for name, value in params.items():
            # Metadata's names are ours to choose.
            yield from [name] if name == "metadata" else _names(value, f"{under}[{name}]" if under else name)
    elif isinstance(params, list):
        for value in params:
            yield from _names(value, f"{under}[]")
    else:
        yield under


def _refusal(mock: stripe.StripeClient, request: LoggedRequest) -> str | None:
    try:
        mock.raw_request(request.method.lower(), request.path, **request.params)
    except stripe.InvalidRequestError as error:
        return str(error)
    return None


def _live(stack: LocalStack) -> None:
    """Stories in which every door of the product talks to Stripe: pay, poll, cancel, change plans, lose webhooks."""
    with httpx.Client(base_url=stack.origin, timeout=35) as http:

        def post(path: str, body: Json, api_key: str = "-") -> Json:
            answer = http.post(path, json=body, headers={"Authorization": f"Bearer {api_key}"})
            assert answer.is_success, answer.text
            result: Json = answer.json()
            return result

        def request(workspace: Json) -> Json:
            """Fill the plan's place, then ask for one more."""
            body = {"firstName": "Sales", "lastName": "Line", "channelType": "phone"}
            answers = [post("/api/line-requests", body, workspace["apiKey"]) for _ in range(2)]
            return answers[-1]

        def workspace() -> Json:
            return post("/_local/workspaces", {"plan": "starter"})

        def pay(asked: Json) -> None:
            assert http.post(f"{asked['paymentUrl']}/pay").status_code < 400

        paying = workspace()
        pay(request(paying))
        stack.double.wait_idle()
        post("/_local/reconcile", {})  # a subscription item is made

        canceling = workspace()
        asked = request(canceling)
        path = f"/api/line-requests/{asked['line']['_id']}"
        post(path, {"action": "payment_link"}, canceling["apiKey"])
        post(path, {"action": "cancel"}, canceling["apiKey"])

        upgrading, leaving = workspace(), workspace()
        for customer, change in [(upgrading, {"plan": "scale"}), (leaving, {"status": "canceled"})]:
            asked = request(customer)
            post(f"/_local/workspaces/{customer['workspaceId']}/subscription", change)
            stack.double.wait_idle()
            http.get(
                f"/api/line-requests/{asked['line']['_id']}", headers={"Authorization": f"Bearer {customer['apiKey']}"}
            ).raise_for_status()

        post("/_local/webhooks", {"mode": "drop"})
        for _ in range(21):  # so many that the reconciler lists invoices
            pay(request(workspace()))
        post("/_local/reconcile", {})
        post("/_local/webhooks", {"mode": "deliver"})


def _call_billing(stack: LocalStack) -> None:
    """Every public method of Billing's parts once in each way; Stripe's answer does not matter, the request does."""
    billing = Billing(connect(CALLS_KEY, api_base=stack.double.url, clock=Clock.start(30)), livemode=False)
    invoices, subscriptions, catalogue = billing.invoices, billing.subscriptions, billing.catalogue
    shop = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": stack.double.url})
    customer = shop.v1.customers.create({"name": "Many"}).id
    for number in range(101):  # so that lists have a second page
        shop.v1.invoices.create({"customer": customer, "auto_advance": False})
        ours = {"line_id": examples.line().id} if number == 0 else {}
        shop.v1.invoice_items.create({"customer": customer, "amount": 1, "currency": "usd", "metadata": ours})
    # The double embeds all items of a subscription, Stripe only the first.
    items = {"object": "list", "data": [], "has_more": True}
    values = {"id": "sub_1", "status": "active", "created": 0, "currency": "usd", "billing_cycle_anchor": 0}
    long = stripe.Subscription.construct_from(values | {"items": items}, None)
    workspace = examples.workspace(customer=customer)
    owed = PendingCharge(
        number=1,
        kind=Kind.EMAIL,
        subscription="sub_1",
        product="prod_1",
        currency="usd",
        amount=333,
        tax_behavior="exclusive",
        tax_rates=("txr_1",),
        period=examples.PERIOD,
        from_s=(examples.PERIOD.start_s,),
        stored_at_ms=examples.NOW_MS,
    )
    charge = replace(examples.CHARGE, customer=customer, automatic_tax=True, tax_rates=("txr_1", "txr_2"))
    line = replace(examples.line(), charge=charge, created_at_ms=0)
    calls: dict[str, list[Callable[[], object]]] = {
        "create_draft": [lambda: invoices.create_draft(line)],
        "add_item": [lambda: invoices.add_item(line, "in_1")],
        "expected_items": [lambda: invoices.expected_items(line)],  # asks nothing
        "finalize": [lambda: invoices.finalize(line, "in_1")],
        "retrieve": [lambda: invoices.retrieve("in_1")],
        "find_by_metadata": [lambda: invoices.find_by_metadata(line)],
        "delete_pending_items": [lambda: invoices.delete_pending_items(line)],
        "void_or_delete": [
            lambda: invoices.void_or_delete(Invoice("in_1", "draft")),
            lambda: invoices.void_or_delete(Invoice("in_1", "open")),
        ],
        "since": [lambda: list(invoices.since(since_s=0))],
        "of_customer": [
            lambda: subscriptions.of_customer(customer),
            lambda: subscriptions._subscription(long),  # noqa: SLF001 - what a longer answer would lead to
        ],
        "set_quantity": [
            lambda: subscriptions.set_quantity("sub_1", "price_1", None, 1),
            lambda: subscriptions.set_quantity("sub_1", "price_1", StripeItem("si_1", 1, ours=True), 2),
            lambda: subscriptions.set_quantity("sub_1", "price_1", StripeItem("si_1", 1, ours=True), 0),
        ],
        "listed": [lambda: list(subscriptions.listed())],
        "charged_quantities": [lambda: subscriptions.charged_quantities("sub_1", examples.PERIOD)],
        "create_pending_item": [lambda: subscriptions.create_pending_item(workspace, owed)],
        "has_item": [lambda: subscriptions.has_item(workspace, owed)],
        "price": [lambda: catalogue.price("price_1")],
        "product_active": [lambda: catalogue.product_active("prod_1")],
        "default_tax_behavior": [catalogue.default_tax_behavior],
        "tax_rate_active": [lambda: catalogue.tax_rate_active("txr_1")],
        "customer_livemode": [lambda: catalogue.customer_livemode(customer)],
        "between": [lambda: list(billing.events.between(since_s=0, until_s=2**31))],
    }
    parts = [type(part) for part in (invoices, subscriptions, catalogue, billing.events)]
    methods = {name for part in parts for name, _ in inspect.getmembers(part, inspect.isfunction) if name[0] != "_"}
    assert set(calls) == methods, "another method of Billing's parts than those that are called here"
    for call in [call for ways in calls.values() for call in ways]:
        try:
            call()
        except (LineRequestError, stripe.StripeError):
            continue
