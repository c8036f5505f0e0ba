"""What the product and Stripe's double say to each other in the main stories, and in every call of Billing's parts."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import stripe

from line_requests.billing.client import connect
from line_requests.billing.events import Hint, hint_of
from line_requests.billing.operator_account import OperatorBilling
from line_requests.billing.subscriptions import StripeItem
from line_requests.clock import Clock
from line_requests.domain.errors import LineRequestError
from line_requests.domain.model import Invoice
from line_requests.domain.reversals import Credit
from tests.decision import examples
from tests.local.demo import OPERATOR_API_KEY, PRODUCT_API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local.stack import LocalStack
    from tests.local.stripe_double import StripeDouble
    from tests.local.stripe_double.api import LoggedRequest

Json = dict[str, Any]
Answer = tuple[str, str, int, bytes]
"""Method, path, status and body."""

CALLS_KEY = "sk_test_calls"
PRODUCT_KEYS = {PRODUCT_API_KEY, CALLS_KEY}


@dataclass
class Traffic:
    """What was said."""

    requests: list[LoggedRequest] = field(default_factory=list, repr=False)
    answers: set[Answer] = field(default_factory=set, repr=False)
    events: dict[str, Json] = field(default_factory=dict, repr=False)

    @contextmanager
    def listen(self, double: StripeDouble) -> Iterator[None]:
        """Take down the double's answers, and its events at the end."""

        def hear(request: LoggedRequest, body: bytes) -> None:
            if request.api_key in PRODUCT_KEYS:
                self.requests.append(request)
            self.answers.add((request.method, request.path, request.status or 0, body))

        double.on_answer = hear
        try:
            yield
        finally:
            double.on_answer = None
        self.events |= {event["id"]: event for event in double.all_of("event")}


def live(stack: LocalStack) -> None:
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


def call_billing(stack: LocalStack) -> None:
    """Every public method of Billing's parts once in each way; Stripe's answer does not matter, the request does."""
    billing = OperatorBilling(connect(CALLS_KEY, api_base=stack.double.url, clock=Clock.start(30)), livemode=False)
    invoices, subscriptions, catalogue = billing.invoices, billing.subscriptions, billing.catalogue
    reversals, credit_notes, setup = billing.reversals, billing.credit_notes, billing.setup
    shop = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": stack.double.url})
    customer = shop.v1.customers.create({"name": "Many"}).id
    for number in range(101):  # so that lists have a second page
        shop.v1.invoices.create({"customer": customer, "auto_advance": False})
        ours = {"line_id": examples.line().id} if number == 0 else {}
        shop.v1.invoice_items.create({"customer": customer, "amount": 1, "currency": "usd", "metadata": ours})
    # The double embeds all items of a subscription, Stripe only the first.
    items = {"object": "list", "data": [], "has_more": True}
    values = {"id": "sub_1", "status": "active", "created": 0, "currency": "usd", "billing_cycle_anchor": 0}
    long = values | {"items": items}
    workspace = examples.workspace(customer=customer)
    charge = replace(examples.CHARGE, customer=customer, automatic_tax=True, tax_rates=("txr_1", "txr_2"))
    line = replace(examples.line(), charge=charge, created_at_ms=0)
    paid = _paid_and_reversed(stack.double, shop, customer, line.id)
    [found] = [invoice for invoice in reversals.of_line(line) if invoice.id == paid.id]
    [intent], [linked, *_] = found.by_card, [refund.id for refund in found.refunds]
    gone = replace(line, invoice_id=paid.id, charge=replace(charge, customer="cus_gone"))
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
            lambda: subscriptions.set_quantity("sub_1", "price_1", StripeItem("si_1", 1, ours=True), None),
        ],
        "listed": [lambda: list(subscriptions.listed())],
        "renewals_after": [lambda: subscriptions.renewals_after(customer, 0, "in_1")],
        "create_pending_item": [lambda: subscriptions.create_pending_item(workspace, examples.PENDING_CHARGE)],
        "has_item": [lambda: subscriptions.has_item(workspace, examples.PENDING_CHARGE)],
        "charges_after": [lambda: subscriptions.charges_after(workspace, since_s=0)],
        "price": [lambda: catalogue.price("price_1")],
        "product_active": [lambda: catalogue.product_active("prod_1")],
        "default_tax_behavior": [catalogue.default_tax_behavior],
        "tax_rate_active": [lambda: catalogue.tax_rate_active("txr_1")],
        "customer_livemode": [lambda: catalogue.customer_livemode(customer)],
        "invoices_of": [partial(reversals.invoices_of, hint) for hint in _hints(stack.double)],
        "of_line": [lambda: reversals.of_line(gone)],
        "issue": [
            lambda: credit_notes.issue(line, found, Credit(10, {intent: 10}), attempt=1),
            lambda: credit_notes.issue(line, found, Credit(40, {}, 10, 10, {linked: 20}), attempt=1),
            lambda: credit_notes.issue(line, found, Credit(2, {intent: 1, "pi_2": 1}), attempt=1),
            lambda: credit_notes.issue(line, found, Credit(0, {intent: 1}), attempt=1),
        ],
        "account": [setup.account],
        "webhook_endpoints": [lambda: setup.webhook_endpoints("https://example.com")],
        "create_webhook_endpoint": [lambda: setup.create_webhook_endpoint("https://example.com")],
        "update_webhook_endpoint": [lambda: setup.update_webhook_endpoint("we_1")],
        "delete_webhook_endpoint": [lambda: setup.delete_webhook_endpoint("we_1")],
        "portal_updates": [setup.portal_updates],
        "create_customer": [lambda: setup.create_customer("Smoke")],
        "delete_customer": [lambda: setup.delete_customer("cus_1")],
        "start_trial": [lambda: setup.start_trial("cus_1", "price_1")],
        "pay_out_of_band": [lambda: setup.pay_out_of_band("in_1")],
        "missing_scopes": [setup.missing_scopes],
        "between": [lambda: list(billing.events.between(since_s=0, until_s=2**31))],
    }
    parts = [type(part) for part in vars(billing).values() if type(part).__module__.startswith("line_requests.")]
    methods = {name for part in parts for name, _ in inspect.getmembers(part, inspect.isfunction) if name[0] != "_"}
    assert set(calls) == methods, "another method of Billing's parts than those that are called here"
    for call in [call for ways in calls.values() for call in ways]:
        try:
            call()
        except (LineRequestError, stripe.StripeError):
            continue


def _paid_and_reversed(double: StripeDouble, shop: stripe.StripeClient, customer: str, line_id: str) -> stripe.Invoice:
    """A paid invoice of a line, with a refund, a credit note and a dispute."""
    invoice = shop.v1.invoices.create({"customer": customer, "metadata": {"line_id": line_id}})
    shop.v1.invoice_items.create({"customer": customer, "invoice": invoice.id, "amount": 1500, "currency": "usd"})
    shop.v1.invoices.finalize_invoice(invoice.id)
    double.pay_invoice(invoice.id)
    double.touch_invoice(invoice.id, "refund", 20)
    double.touch_invoice(invoice.id, "credit_note", 30)
    double.touch_invoice(invoice.id, "dispute")
    return invoice


def _hints(double: StripeDouble) -> list[Hint]:
    """One of each kind of reversal."""
    kinds = ("refund.created", "charge.dispute.created", "credit_note.created")
    return [next(hint_of(event) for event in double.all_of("event") if event["type"] == kind) for kind in kinds]
