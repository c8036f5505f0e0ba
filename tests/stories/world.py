"""The local stack as its clients use it: HTTP, with every response checked against openapi.yaml."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.local.demo import OPERATOR_API_KEY, PRODUCT_API_KEY
from tests.stories.description import check
from tests.support.account import Account
from tests.support.threads import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import stripe

    from tests.local.stack import LocalStack
    from tests.local.stripe_double.server import LoggedRequest

__all__ = ["together"]  # for the stories

Json = dict[str, Any]
T = TypeVar("T")

LINES = "/api/line-requests"
# Longer than any response may take: 25 s (contract 34).
TIMEOUT_SECONDS = 35

PHONE: Json = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
BYON: Json = PHONE | {"lineType": "byon", "email": "ada@example.com", "phone": "+1 415 555 0100"}
EMAIL: Json = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "email", "email": "ada@example.com"}
# The three calls that make an invoice, by the prefix of their paths.
STEPS = {"create": "/v1/invoices", "item": "/v1/invoiceitems", "finalize": "/v1/invoices/in_"}
KINDS = {"purchased_phone": PHONE, "byon_phone": BYON, "email": EMAIL}


@dataclass(frozen=True)
class World:
    """One local stack, as clients, customers, operators and Stripe use it."""

    stack: LocalStack
    http: httpx.Client
    account: Account
    cloudwatch: Any  # boto3's client, which has no stubs
    stores: Stores

    @cached_property
    def stripe(self) -> stripe.StripeClient:
        return self.account.client()

    def workspace(self, plan: str = "starter", **more: object) -> Workspace:
        """A new workspace, such as `workspace("scale", subscriptionStatus="past_due")`."""
        self.quiet()
        mode = self.stack.webhook_mode
        self.stack.set_webhook_mode("drop")  # no webhook is needed to set it up
        made = self.control("workspaces", plan=plan, **more)
        self.stack.set_webhook_mode(mode)
        return Workspace(self, made["workspaceId"], made["apiKey"], made["customer"], made["subscription"])

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own arguments
        answer = self.http.request(method, path, **request)
        check(answer)
        return answer

    def control(self, route: str, **body: object) -> Json:
        """Calls a control route, which has to succeed."""
        answer = self.http.post(f"/_local/{route}", content=json.dumps(body))
        assert answer.is_success, answer.text
        result: Json = answer.json()
        return result

    def webhooks(self, mode: str) -> None:
        self.control("webhooks", mode=mode)

    def provisioning(self, mode: str) -> None:
        self.control("provisioning", mode=mode)

    def provisioned(self, line_id: str, outcome: str, **more: object) -> None:
        self.control(f"line-requests/{line_id}/provisioning", outcome=outcome, **more)

    def reconcile(self) -> Json:
        return self.control("reconcile")

    def faults(self, kind: str, count: int = 1000, path: str = "") -> None:
        """Makes the product's next calls to Stripe fail; earlier webhooks are delivered first."""
        self.quiet()
        self.control("stripe/faults", kind=kind, count=count, path=path)

    def no_faults(self) -> None:
        self.control("stripe/faults", kind="error_before", count=0)

    def quiet(self) -> None:
        """Waits until no webhook is being delivered."""
        assert self.stack.double.wait_idle()

    def calls(self) -> Callable[[], list[LoggedRequest]]:
        """The calls that the product makes to Stripe from now on."""
        self.quiet()
        start = len(self.stack.double.request_log)
        return lambda: [c for c in self.stack.double.request_log[start:] if c.api_key == PRODUCT_API_KEY]

    def logs(self, within_s: int = 60) -> list[str]:
        """The recent log lines of all functions, metrics included."""
        start = int((time.time() - within_s) * 1000)
        groups = [group["logGroupName"] for group in self.cloudwatch.describe_log_groups()["logGroups"]]
        pages = [self.cloudwatch.filter_log_events(logGroupName=name, startTime=start) for name in groups]
        return [event["message"] for page in pages for event in page["events"]]

    def alarmed(self, metric: str, subject: str) -> bool:
        """Whether the alarm's metric was counted and an error was logged about the subject."""
        logs = self.logs()
        return any(f'"{metric}":[1.0]' in line for line in logs) and any(
            '"level":"ERROR"' in line and subject in line for line in logs
        )

    def pay(self, payment_url: str) -> httpx.Response:
        """Presses the button of the hosted invoice page."""
        answer = self.http.post(f"{payment_url}/pay")
        assert answer.status_code < 400, answer.text
        return answer


@dataclass(frozen=True)
class Workspace:
    """A client with a workspace's API key."""

    world: World
    id: str
    api_key: str
    customer: str
    subscription: str | None

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Json | None = None,
        **request: Any,  # noqa: ANN401 - httpx's own arguments
    ) -> httpx.Response:
        """A request with this workspace's key, unless `headers` has another Authorization."""
        authorized = {"Authorization": f"Bearer {self.api_key}"} | (headers or {})
        return self.world.send(method, path, headers=authorized, **request)

    def create(self, body: Mapping[str, Any] = PHONE, *, key: str | None = None) -> httpx.Response:
        """Requests a line, by default a purchased phone line."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.send("POST", LINES, json=dict(body), headers=headers)

    def get(self, line_id: str) -> httpx.Response:
        return self.send("GET", f"{LINES}/{line_id}")

    def page(self, **query: Any) -> httpx.Response:  # noqa: ANN401 - query values are of any type
        return self.send("GET", LINES, params=query)

    def manage(self, line_id: str, action: str) -> httpx.Response:
        return self.send("POST", f"{LINES}/{line_id}", json={"action": action})

    def lines(self) -> list[Json]:
        """All lines as listed, newest first; unlike a poll, the list changes nothing."""
        page: Json = self.page(limit=100).json()
        lines: list[Json] = page["lines"]
        return lines

    def line(self, line_id: str) -> Json:
        """One line as listed."""
        return next(line for line in self.lines() if line["_id"] == line_id)

    def status(self, line_id: str) -> str:
        return str(self.line(line_id)["provisioningStatus"])

    def included(self, body: Mapping[str, Any] = PHONE) -> Json:
        """Requests a line that the plan includes; returns the 201."""
        created = self.create(body)
        assert created.status_code == 201, created.text
        answer: Json = created.json()
        assert answer["paymentRequired"] is False, answer
        return answer

    def awaiting(self, body: Mapping[str, Any] = PHONE, *, key: str | None = None) -> Json:
        """Requests lines until one has to be paid for; returns its 201."""
        while True:
            created = self.create(body, key=key)
            assert created.status_code == 201, created.text
            answer: Json = created.json()
            if answer["paymentRequired"]:
                return answer
            assert key is None, "a key would replay the same line"

    def full(self, body: Mapping[str, Any] = PHONE, included: int = 1) -> Workspace:
        """This workspace, after its included lines of that kind were requested."""
        for _ in range(included):
            self.included(body)
        return self

    def use_up(self) -> list[httpx.Response]:
        """Sends invalid requests from four threads until each is rate limited; returns all responses."""
        return [answer for side in together(4, lambda _: self._until_refused()) for answer in side]

    def _until_refused(self) -> list[httpx.Response]:
        answers = [self.create({})]
        while answers[-1].status_code != 429:
            assert len(answers) < 100, "a hundred requests in a row were allowed"
            answers.append(self.create({}))
        return answers

    def calls(self) -> Callable[[], list[LoggedRequest]]:
        """The calls that the product makes to Stripe about this workspace from now on; others may have late ones."""
        calls = self.world.calls()
        return lambda: [call for call in calls() if self.customer in (call.params.get("customer"), self._payer(call))]

    def _payer(self, call: LoggedRequest) -> str:
        """Whom the invoice belongs to that a call names; this customer for what names none."""
        found = re.search(r"in_\w+", call.path)
        named = [i for i in self.world.stack.double.all_of("invoice") if found and i["id"] == found[0]]
        if named:
            return str(named[0]["customer"])
        return "another" if "customer" in call.params else self.customer

    def invoices(self) -> list[Json]:
        """The invoices of this workspace's lines at Stripe, newest first, in any state."""
        everything = self.world.stack.double.all_of("invoice")
        return [i for i in everything if i["customer"] == self.customer and i["metadata"]]

    def invoice(self, invoice_id: str) -> Json:
        return self.world.stack.double.invoice(invoice_id)

    def finished_once(self, line_id: str) -> bool:
        """Whether the line has its hosted page and Stripe one invoice that is not void, with one item."""
        [invoice] = [i for i in self.invoices() if i["status"] != "void"]
        line = self.line(line_id)
        assert len(invoice["lines"]["data"]) == 1
        assert invoice["amount_due"] == 1500
        return (invoice["status"], line.get("paymentLinkUrl")) == ("open", invoice["hosted_invoice_url"])

    def change(self, **subscription: object) -> None:
        """Changes plan or status at Stripe; the webhook mode decides whether the product is notified."""
        self.world.control(f"workspaces/{self.id}/subscription", **subscription)


def eventually(look: Callable[[], T], *, within_s: float = 30) -> T:
    """Repeats `look` until its result is true, and returns it."""
    deadline, pause_s = time.monotonic() + within_s, 0.03
    while not (seen := look()):
        assert time.monotonic() < deadline, f"it did not become true, last seen: {seen!r}"
        time.sleep(pause_s)
        pause_s = min(0.2, pause_s * 1.5)  # each check is a request that other processes wait for
    return seen


@contextmanager
def world_on(stack: LocalStack) -> Iterator[World]:
    """Everything that stories need of a stack."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    ministack = stack.ministack
    logs = ministack.session.client("logs", endpoint_url=ministack.endpoint)
    dynamodb = ministack.session.client("dynamodb", endpoint_url=ministack.endpoint)
    table = Table(dynamodb, stack.deployment.table)
    stack.reconcile()  # the first run reads a whole day of the feed
    account = closing(Account(stack.double, api_key=OPERATOR_API_KEY))
    with httpx.Client(base_url=stack.origin, timeout=TIMEOUT_SECONDS, limits=limits) as http, account as at_stripe:
        yield World(stack, http, at_stripe, logs, Stores(table))
    dynamodb.close()
    logs.close()
