"""`make demo`: what the product does, told in a terminal on its own local stack; exit code 1 if a fact is wrong."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console

from tests.local.charges import charges
from tests.local.demo import ADD_ON_PRICES, BASE_PRICES, PRODUCT_API_KEY, DemoWorkspace
from tests.local.ministack import StartError
from tests.local.stack import LINES, LocalStack
from tests.local.terminal import end_on_signals, forget_deployment

Json = dict[str, Any]

MONTH_S = 31 * 86_400 + 7_200  # the longest month, and the hour after which Stripe finalizes a renewal's invoice
RECONCILER_RUNS = 2  # one before the renewal sets the quantity, one after it sees the renewal
ACTIVE_WITHIN_S = 30
RESPONSE_WITHIN_S = 35
FINALIZE = "/v1/invoices/in_"
INTERRUPTED = 130  # as a shell says it


class WrongFact(Exception):
    """What the story says, and what happened instead."""


@dataclass(frozen=True)
class Story:
    """One workspace on the plan `starter`, which includes one phone line."""

    stack: LocalStack
    workspace: DemoWorkspace
    http: httpx.Client
    console: Console

    def tell(self) -> None:
        """Raises WrongFact at the first step that does not go as it is told."""
        chapters = [self.included, self.paid, self.lost_webhook, self.crash, self.provisioned, self.renewal]
        for number, chapter in enumerate(chapters, start=1):
            self.console.print(f"\n[bold]{number}. {chapter.__doc__}[/bold]")
            chapter()

    def included(self) -> None:
        """A line that the plan includes"""
        calls = len(self._stripe_calls())
        line = self._create(201, "provisioning")["line"]
        self._fact("Nobody has to pay for it", line["paymentStatus"] == "not_required", line)
        self._fact("Stripe was not called", len(self._stripe_calls()) == calls, self._stripe_calls()[calls:])

    def paid(self) -> None:
        """A line that has to be paid for"""
        created = self._create(201, "awaiting_payment")
        conflict = self._create(409, "request_in_progress")
        same = conflict["existingLine"]["paymentLinkUrl"] == created["paymentUrl"]
        self._fact("Another request meanwhile is refused, with the link to pay at", same, conflict)
        self._pay(created["paymentUrl"])
        self.stack.double.flush()
        line = self._listed(created)
        self._fact("Stripe's webhook arrived: the line is paid", line["paymentStatus"] == "paid", line)

    def lost_webhook(self) -> None:
        """A payment whose webhook is lost"""
        created = self._create(201, "awaiting_payment")
        self.stack.double.flush()  # a late webhook of the new invoice would find the payment
        self.stack.set_webhook_mode("drop")
        self._pay(created["paymentUrl"])
        line = self._listed(created)
        self._fact("The service has not heard of it", line["paymentStatus"] == "awaiting_payment", line)
        state = self._call("GET", f"{LINES}/{line['_id']}", 200, "provisioning")
        self._fact("The client's poll asked Stripe: the line is paid", state["paymentStatus"] == "paid", state)
        self.stack.set_webhook_mode("deliver")

    def crash(self) -> None:
        """A request that breaks off between two calls to Stripe"""
        invoices = len(self._line_invoices())
        self.stack.double.set_faults("error_before", 1000, FINALIZE)
        with ThreadPoolExecutor() as pool:
            pool.submit(self.stack.reconcile)  # its worker starts while the request retries
            broken = self._send("POST", LINES, key="order-4711")
        self._fact("The invoice was not finalized, and the answer says so", broken.status_code == 503, broken.text)
        self.stack.double.set_faults("error_before", 0)
        created = self._create(201, "awaiting_payment", key="order-4711")
        kept = broken.headers.get("Line-Request-Id")
        self._fact("The retry with the same key finishes the same line", created["line"]["_id"] == kept, kept)
        made = len(self._line_invoices()) - invoices
        self._fact("Stripe has one invoice for it", made == 1, made)
        self._pay(created["paymentUrl"])

    def provisioned(self) -> None:
        """The provisioner answers"""
        self.stack.provisioner.set_mode("auto")
        lines = self._wait_until_active()
        statuses = [f"{line['provisioningStatus']}, {line['paymentStatus']}" for line in lines]
        self._fact("One line is active and included", statuses.count("active, not_required") == 1, statuses)
        self._fact("Three lines are active and paid", statuses.count("active, paid") == 3, statuses)
        self._fact("There is no fifth", len(statuses) == 4, statuses)

    def renewal(self) -> None:
        """A month later"""
        self.stack.advance_clock(MONTH_S, runs=RECONCILER_RUNS)
        charged = charges(self.stack, self.workspace)
        renewals = [invoice for invoice in charged["invoices"] if invoice["billing_reason"] == "subscription_cycle"]
        totals = [(invoice["status"], invoice["total"]) for invoice in renewals]
        due = BASE_PRICES["starter"] + 3 * ADD_ON_PRICES["purchased_phone"]
        said = f"Stripe renewed the plan and three lines in one invoice of ${due / 100:.2f}"
        self._fact(said, totals == [("paid", due)], totals)
        self._fact("Nothing was charged twice", len(self._line_invoices()) == 3 and not charged["pending"], charged)

    def _wait_until_active(self) -> list[Json]:
        """All lines, in whatever status when the time is up."""
        deadline = time.monotonic() + ACTIVE_WITHIN_S
        lines = self._lines()
        while any(line["provisioningStatus"] != "active" for line in lines) and time.monotonic() < deadline:
            time.sleep(0.1)
            lines = self._lines()
        return lines

    def _create(self, code: int, status: str, *, key: str | None = None) -> Json:
        return self._expect(self._send("POST", LINES, key=key), code, status)

    def _call(self, method: str, path: str, code: int, status: str) -> Json:
        return self._expect(self._send(method, path), code, status)

    def _send(self, method: str, path: str, *, key: str | None = None) -> httpx.Response:
        line = {"firstName": "Sales", "lastName": "Line", "channelType": "phone"} if method == "POST" else None
        answer = self.http.request(method, path, json=line, headers={"Idempotency-Key": key} if key else {})
        text = answer.json().get("status") or answer.json().get("error")
        self.console.print(f"  [cyan]{method} {path}[/cyan] → {answer.status_code} {text}", soft_wrap=True)
        return answer

    def _expect(self, answer: httpx.Response, code: int, status: str) -> Json:
        body: Json = answer.json()
        if (answer.status_code, body.get("status")) != (code, status):
            raise WrongFact(f"expected {code} {status}, not {answer.status_code} {answer.text}")
        return body

    def _pay(self, url: str) -> None:
        paid = httpx.post(f"{url}/pay")
        self._fact("The customer pays on Stripe's page", paid.status_code < 400, paid.text)

    def _lines(self) -> list[Json]:
        """As listed: the list, unlike a poll, asks Stripe nothing."""
        lines: list[Json] = self.http.get(LINES).raise_for_status().json()["lines"]
        return lines

    def _listed(self, created: Json) -> Json:
        return next(line for line in self._lines() if line["_id"] == created["line"]["_id"])

    def _stripe_calls(self) -> list[str]:
        """The product's calls that name this workspace's customer or subscription."""
        log, names = self.stack.double.request_log, (self.workspace.customer, str(self.workspace.subscription))
        calls = [f"{call.method} {call.path} {call.params}" for call in log if call.api_key == PRODUCT_API_KEY]
        return [call for call in calls if any(name in call for name in names)]

    def _line_invoices(self) -> list[Json]:
        everything = self.stack.double.all_of("invoice")
        return [each for each in everything if each["customer"] == self.workspace.customer and each["metadata"]]

    def _fact(self, said: str, holds: bool, seen: object) -> None:  # noqa: FBT001 - a fact holds or does not
        if not holds:
            raise WrongFact(f"{said}: no, {seen!r}")
        self.console.print(f"  [green]✓[/green] {said}", soft_wrap=True)


def run(stack: LocalStack, console: Console) -> int:
    """The exit code."""
    workspace = stack.demo.create_workspace("starter", "active")
    headers = {"Authorization": f"Bearer {workspace.api_key}"}
    stack.double.flush()  # Stripe's webhooks about the new subscription
    with httpx.Client(base_url=stack.origin, headers=headers, timeout=RESPONSE_WITHIN_S) as http:
        stack.provisioner.set_mode("manual")
        try:
            Story(stack, workspace, http, console).tell()
        except WrongFact as wrong:
            console.print(f"  ✗ {wrong}", markup=False, soft_wrap=True)
            return 1
    console.print("\n`make run` serves the same stack until Ctrl-C, with a console.")
    return 0


def main() -> int:
    forget_deployment()
    end_on_signals()
    console = Console(highlight=False)
    console.print("The whole product on this machine: AWS, Stripe and the provisioner are doubles.")
    status = console.status("Starting…")
    try:
        with status, LocalStack(warm_up=[("POST", "/stripe/webhook")], progress=status.update) as stack:
            status.stop()
            stack.provisioner.set_delay(0)
            return run(stack, console)
    except KeyboardInterrupt:
        return INTERRUPTED
    except StartError as error:
        print(f"line-requests: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
