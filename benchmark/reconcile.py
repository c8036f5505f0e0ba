"""The reconciler at scale: many waiting lines, webhooks lost, against a Stripe that is slow and strict."""

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import urllib3

from benchmark import events
from benchmark.calls import Calls
from benchmark.functions import Context, handler, load
from benchmark.side_by_side import DELAYS
from benchmark.world import API_KEY, TABLE, World
from line_requests.clock import Clock
from line_requests.domain import decision
from line_requests.domain.model import Change, Line, PaymentStatus, Status, Subscription, Workspace
from line_requests.domain.prices import Period
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.attributes import Item, marshal
from tests.decision.examples import SUBMISSIONS
from tests.local.stripe_double.api import LoggedRequest

HOUR_S = 3600
STRIPE_LATENCY_MS, STRIPE_CALLS_PER_SECOND = 80, 25
BATCH_WRITE_MAX = 25
NAIVE_SAMPLE = 60


@dataclass(frozen=True)
class Run:
    """What one run asked of Stripe, and how fast it settled."""

    settling_calls: int
    quantity_calls: int
    table_calls: int
    lines_per_second: float


class Reconciled:
    """Waiting lines, one to a workspace, whose invoices are open at the double."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls = Calls(plain_ms=float(DELAYS["PLAIN_MS"]), transaction_ms=float(DELAYS["TRANSACTION_MS"]))
        self.calls.watch(world.session())
        self._http = urllib3.PoolManager(maxsize=8)

    def wait(self, count: int) -> list[Line]:
        """That many lines, written straight into the table, an hour before now as Stripe counts."""
        with ThreadPoolExecutor(8) as pool:
            lines = list(pool.map(self._waiting, range(count)))
        put(self.world, [item for workspace, line in lines for item in (workspace, records.line_item(line))])
        self.world.advance(HOUR_S)
        due = self.world.stores.due
        due.move_watermark(seen_s=due.watermark_s(), to_s=int(self.world.now_s()) - 1)
        return [line for _, line in lines]

    def pay(self, lines: Iterable[Line]) -> None:
        """Their invoices are paid, and no webhook says so."""
        for line in lines:
            self.world.double.pay_invoice(line.invoice_id or "")

    def make_foreign_events(self, count: int) -> None:
        """So many paid invoices of a shop that has nothing to do with us."""
        invoice = {"id": "in_foreign", "object": "invoice", "customer": "cus_foreign", "metadata": {}, "status": "paid"}
        account = self.world.double._account  # noqa: SLF001 - by the API this would take half an hour
        for _ in range(count):
            account.emit("invoice.paid", invoice)

    def run(self, remaining_s: int = 300) -> Run:
        """One run of the reconciler, a minute after what happened last."""
        self.world.advance(60)
        double, first = self.world.double, len(self.world.double.request_log)
        double.latency_ms, double.calls_per_second_per_endpoint = STRIPE_LATENCY_MS, STRIPE_CALLS_PER_SECOND
        started_s, run = time.monotonic(), handler("reconciler")
        with self.calls.during() as made:
            summary = run(events.tick(self.world.now_s()), Context(remaining_s))
        double.latency_ms, double.calls_per_second_per_endpoint = 0, None
        asked = Counter(_is_of_quantities(call) for call in double.request_log[first:] if call.api_key == API_KEY)
        settled_s = max((c.ended_s for c in made if c.operation == "TransactWriteItems"), default=time.monotonic())
        return Run(asked[False], asked[True], len(made), summary["lines"] / (settled_s - started_s))

    def run_naive(self, lines: Sequence[Line]) -> float:
        """Lines a second when each is retrieved, and then settled by the same transaction."""
        double = self.world.double
        double.latency_ms, double.calls_per_second_per_endpoint = STRIPE_LATENCY_MS, STRIPE_CALLS_PER_SECOND
        clock, deployment = Clock.start(HOUR_S), load("reconciler").DEPLOYMENT
        invoices = deployment.billing(clock).invoices
        started_s = time.monotonic()
        for line in lines:
            settled = deployment.lifecycle.apply_then_advance(clock, line, invoices.retrieve(line.invoice_id or ""))
            assert settled.status is Status.PROVISIONING, settled
        double.latency_ms, double.calls_per_second_per_endpoint = 0, None
        return len(lines) / (time.monotonic() - started_s)

    def _waiting(self, number: int) -> tuple[Item, Line]:
        """One workspace, its customer and its open invoice; the line is not due for a day."""
        plan, name = self.world.plans["payable"], f"waiting-{secrets.token_hex(4)}-{number}"
        customer = self._post("customers", name=name)
        subscription = self._post("subscriptions", customer=customer, **{"items[0][price]": plan.base_prices[0]})
        kind = Kind.PURCHASED_PHONE
        add_on = plan.allowances[kind].add_on
        assert add_on is not None
        now_ms = int(self.world.now_s() * 1000)
        month = Period(now_ms // 1000, now_ms // 1000 + 30 * 86_400)
        snapshot = Subscription(subscription, "active", plan.name, plan.allowances, currency="usd", period=month)
        subscribed = Workspace(name, customer, livemode=False, revision=1, subscription=snapshot)
        charge = decision.charge_for(subscribed, SUBMISSIONS[kind], add_on, now_ms)
        line_id = f"{now_ms:012x}{secrets.token_hex(6)}"
        named = {"metadata[workspace_id]": name, "metadata[line_id]": line_id}
        invoice = self._post("invoices", customer=customer, currency="usd", **named)
        price = {"price_data[currency]": "usd", "price_data[product]": add_on.product}
        self._post("invoiceitems", customer=customer, invoice=invoice, **price, **{"price_data[unit_amount]": "1500"})
        self._post(f"invoices/{invoice}/finalize", auto_advance="false")
        counts = {str(each): int(each is kind) for each in Kind}
        workspace = records.new_workspace_item(name, customer, livemode=False) | {
            "subscription": records.subscription_item(snapshot),
            "held": counts,
            "unpaid": counts,
            "lock": line_id,
            "lock_kind": str(kind),
        }
        return workspace, Line(
            id=line_id,
            workspace_id=name,
            submission=SUBMISSIONS[kind],
            status=Status.AWAITING_PAYMENT,
            payment_status=PaymentStatus.AWAITING_PAYMENT,
            created_at_ms=now_ms,
            history=(Change(now_ms, Status.AWAITING_PAYMENT, "requested"),),
            charge=charge,
            stripe_keyed_at_ms=now_ms,
            invoice_id=invoice,
            payment_url=f"{self.world.double.url}/i/{line_id}",
            due_at_ms=now_ms + 24 * HOUR_S * 1000,
        )

    def _post(self, path: str, **form: str) -> str:
        """An object's id; the SDK would spend ten times the CPU on as many calls."""
        headers = {"Authorization": "Bearer sk_test_seed"}
        answer = self._http.request_encode_body(
            "POST", f"{self.world.double.url}/v1/{path}", form, headers, encode_multipart=False
        )
        made = json.loads(answer.data)
        assert answer.status == 200, made
        return str(made["id"])


def _is_of_quantities(call: LoggedRequest) -> bool:
    """Whether it reads or sets what a settled line's workspace is charged, rather than find the line."""
    return "subscription" in call.path or "customer" in call.params


def put(world: World, stored: Sequence[Item]) -> None:
    """Items straight into the table, as many a call as DynamoDB takes."""
    for start in range(0, len(stored), BATCH_WRITE_MAX):
        puts: Any = [{"PutRequest": {"Item": marshal(item)}} for item in stored[start : start + BATCH_WRITE_MAX]]
        world.dynamodb.batch_write_item(RequestItems={TABLE: puts})


def measure(world: World, count: int, foreign: int) -> dict[str, float]:
    """The three figures, of `count` waiting lines each; the naive rate is that of a sample."""
    scene = Reconciled(world)
    scene.pay(scene.wait(count)[: count // 100])
    few = scene.run()
    scene.pay(scene.wait(count)[: count // 100])
    scene.make_foreign_events(foreign)
    among_foreign = scene.run()
    paid = scene.wait(count)
    scene.pay(paid)
    all_paid = scene.run(remaining_s=60)  # settled first; the quantities, paced by Stripe's limit, take the runs after
    sample = scene.wait(NAIVE_SAMPLE)
    scene.pay(sample)
    naive = scene.run_naive(sample)
    print(f"reconcile: {all_paid.lines_per_second:.0f} lines/s, one by one {naive:.1f}; {few}; {among_foreign}")
    return {
        "stripe_calls_per_1000_waiting": few.settling_calls,
        "with_10000_foreign_events": among_foreign.settling_calls,
        "lines_per_second_to_naive": all_paid.lines_per_second / naive,
    }
