"""Who can act in scenarios, and what they see."""

import datetime
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tests.proof import memory_dashboard, memory_reversals
from tests.proof.actors import Call, Json, Lines, Script
from tests.proof.expressions import Typed
from tests.proof.memory_stripe import MemoryStripe
from tests.proof.product import WEBHOOK_SECRET
from tests.proof.tenants import FIRST, tenant
from tests.proof.world import START_MS, Act, Result, World

WORKSPACE, CUSTOMER, SUBSCRIPTION, _ = FIRST
API_KEY = FIRST.api_key
SMALL, LARGE, MAIL = "price_small", "price_large", "price_mail"
PLANS = {SMALL: "small", LARGE: "large", MAIL: "mail"}
ADD_ONS = {"purchased_phone": "price_phone", "email": "price_email"}
DELIVERIES = 2
PHONE: Json = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
EMAIL: Json = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "email", "email": "ada@example.com"}


# --- events -------------------------------------------------------------------------------------


def http(now_ms: int, body: Json | None = None, *, line_id: str | None = None, key: str | None = None) -> Json:
    """A client's request as API Gateway passes it on."""
    headers = {"authorization": f"Bearer {tenant().api_key}"} | ({"idempotency-key": key} if key else {})
    return {
        "routeKey": f"{'GET' if body is None else 'POST'} /api/line-requests{'/{id}' if line_id else ''}",
        "headers": headers,
        "pathParameters": {"id": line_id} if line_id else None,
        "body": json.dumps(body) if body is not None else None,
        "requestContext": {"timeEpoch": now_ms, "requestId": "request"},
    }


def delivery(event: Json, now_ms: int) -> Json:
    """Stripe's delivery of an event."""
    body, sent_s = json.dumps(event), now_ms // 1000
    signature = hmac.new(WEBHOOK_SECRET.encode(), f"{sent_s}.{body}".encode(), hashlib.sha256).hexdigest()
    request = http(now_ms)
    return request | {"body": body, "headers": {"stripe-signature": f"t={sent_s},v1={signature}"}}


def at(now_ms: int) -> str:
    """EventBridge's time."""
    return datetime.datetime.fromtimestamp(now_ms / 1000, tz=datetime.UTC).isoformat()


def queued(event: Json) -> Json:
    """An event of the bus as SQS delivers it."""
    return {"Records": [{"messageId": "1", "body": json.dumps(event)}]}


# --- what people can see ------------------------------------------------------------------------


def lines(world: World) -> list[Typed]:
    """The stored lines, oldest first."""
    items, owns = world.table.items, tenant().owns
    return [items[key].item for key in sorted(items) if key[1].startswith("LINE#") and owns(key[0])]


def id_of(line: Typed) -> str:
    """A line's id."""
    return str(line["sk"]["S"]).removeprefix("LINE#")


def payable(world: World) -> str | None:
    """The line that the scenario is about: the one that awaits payment, else the first that did."""
    charged = [line for line in lines(world) if "charge" in line]
    waiting = [line for line in charged if line["status"]["S"] == "awaiting_payment"]
    return next(map(id_of, waiting + charged), None)


def invoice_of(world: World, line_id: str | None, *statuses: str) -> str | None:
    """A line's invoice in one of these states."""
    for name in sorted(world.stripe.invoices):
        invoice = world.stripe.invoices[name]
        if invoice["metadata"].get("line_id") == line_id and invoice["status"] in statuses:
            return name
    return None


def event_about(world: World, kind: str, subject: str) -> Json:
    """The event that Stripe has made, as a delivery shows it."""
    return next(e for e in reversed(world.stripe.events) if e["type"] == kind and e["data"]["object"]["id"] == subject)


Effect = Callable[[World], tuple[World, Result] | None]


def when(see: Callable[[World], Any]) -> Effect:
    """An act that changes nothing: somebody sees something, as soon as it is there."""

    def effect(world: World) -> tuple[World, Result] | None:
        seen = see(world)
        return None if seen is None else (world, seen)

    return effect


# --- clients ------------------------------------------------------------------------------------


def create(key: str | None = None, body: Json = PHONE, who: str = "") -> Script:
    """One request for a line."""

    def script() -> Lines:
        yield Call("create_line_request", lambda now_ms: http(now_ms, body, key=key))

    return Script(f"create{who}{f' with key {key}' if key else ''} ({body.get('channelType')})", script)


def insistent(key: str = "A") -> Script:
    """A client that retries with the same key until it is answered."""

    def script() -> Lines:
        for _ in range(3):
            answer = yield Call("create_line_request", lambda now_ms: http(now_ms, PHONE, key=key))
            if answer["statusCode"] < 500:
                return

    return Script(f"insistent client with key {key}", script)


def poll() -> Script:
    def script() -> Lines:
        line_id = yield Act("a client knows the line", when(payable))
        yield Call("get_line_request", partial(http, line_id=line_id))

    return Script("poll", script)


def manage(action: str) -> Script:
    def script() -> Lines:
        line_id = yield Act("a client knows the line", when(payable))
        yield Call("manage_line_request", partial(http, body={"action": action}, line_id=line_id))

    return Script(action, script)


# --- customers, banks, operators at Stripe ------------------------------------------------------


def _deliver(event: Json) -> Lines:
    """Stripe delivers an event until it is taken."""
    for _ in range(DELIVERIES):
        answer = yield Call("stripe_webhook", lambda now_ms: delivery(event, now_ms))
        if answer["statusCode"] < 500:
            return


def unheard(script: Script) -> Script:
    """The same, and no webhook of it arrives."""

    def lines() -> Lines:
        inner, result = script.lines(), None
        while True:
            try:
                line = inner.send(result)
            except StopIteration:
                return
            lost = isinstance(line, Call) and line.function == "stripe_webhook"
            result = {"statusCode": 500} if lost else (yield line)

    return replace(script, name=f"{script.name}, webhook lost", lines=lines)


def at_stripe(
    name: str, what: str, find: Callable[[World], str | None], act: Callable[[World, str], World], *kinds: str
) -> Script:
    """Somebody acts at Stripe as soon as there is something to act on; Stripe delivers these events."""

    def effect(world: World) -> tuple[World, Result] | None:
        subject = find(world)
        if subject is None:
            return None
        after = act(world, subject)
        told = after.stripe.events[len(world.stripe.events) :]
        return after, [event for kind in kinds for event in told if event["type"] == kind]

    def script() -> Lines:
        for event in (yield Act(what, effect)):
            yield from _deliver(event)

    return Script(name, script)


def _open(world: World) -> str | None:
    return invoice_of(world, payable(world), "open", "uncollectible")


def _draft(world: World) -> str | None:
    return invoice_of(world, payable(world), "draft")


def _pay(world: World, invoice: str) -> World:
    return replace(world, stripe=world.stripe.pay(invoice, world.now_ms // 1000))


def pay(*, delivered: int = 1) -> Script:
    name = ("pay, webhook lost", "pay", "pay, webhook doubled")[delivered]
    return at_stripe(name, "the customer pays", _open, _pay, *["invoice.paid"] * delivered)


def void() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.void(invoice, world.now_ms // 1000))

    return at_stripe("void at Stripe", "an operator voids the invoice at Stripe", _open, act, "invoice.voided")


def delete_draft() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.delete(invoice, world.now_ms // 1000))

    return at_stripe("draft deleted", "an operator deletes the draft at Stripe", _draft, act, "invoice.deleted")


def add_item() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.add_item(invoice, world.now_ms // 1000))

    return at_stripe("item added", "an operator adds an item of their own to the draft at Stripe", _draft, act)


def write_off() -> Script:
    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.write_off(invoice, world.now_ms // 1000))

    return at_stripe("write off", "an operator marks the invoice uncollectible", _open, act)


def _by_hand(name: str, what: str, act: Callable[[MemoryStripe, str, int], MemoryStripe], *kinds: str) -> Script:
    """What somebody does to the open invoice at Stripe; Stripe delivers these events."""

    def effect(world: World, invoice: str) -> World:
        return replace(world, stripe=act(world.stripe, invoice, world.now_ms // 1000))

    return at_stripe(name, what, _open, effect, *kinds)


def pay_part() -> Script:
    return _by_hand("part payment", "the customer pays a part", memory_dashboard.pay_part)


def copy_and_pay(*, delivered: int = 1) -> Script:
    name = ("paid copy, webhook lost", "paid copy")[delivered]
    what = "an operator duplicates the invoice, and the duplicate is paid"
    return _by_hand(name, what, memory_dashboard.copy_and_pay, *["invoice.paid"] * delivered)


def revise(*, delivered: int = 1) -> Script:
    name = ("revision, webhook lost", "revision")[delivered]
    return _by_hand(name, "an operator revises the invoice", memory_dashboard.revise, *["invoice.voided"] * delivered)


def credit() -> Script:
    return _by_hand("credit note", "an operator credits the whole invoice", memory_dashboard.credit, "invoice.paid")


def debit(*, succeeds: bool = True) -> Script:
    """A bank debit: nothing can be voided until the bank has answered."""

    def start(world: World) -> tuple[World, Result] | None:
        invoice = _open(world)
        return invoice and (replace(world, stripe=world.stripe.start_debit(invoice)), invoice)  # type: ignore[return-value] # None when there is none

    def script() -> Lines:
        invoice = yield Act("the customer pays by bank debit", start)

        def end(world: World) -> tuple[World, Result]:
            stripe = world.stripe.end_debit(invoice, world.now_ms // 1000, succeeded=succeeds)
            return replace(world, stripe=stripe), list(stripe.events[len(world.stripe.events) :])[:1]

        for event in (yield Act(f"the bank {'pays' if succeeds else 'refuses'}", end)):
            yield from _deliver(event)

    return Script(f"bank debit that {'succeeds' if succeeds else 'fails'}", script)


def stray_webhook() -> Script:
    """An event at the wrong time: early, late, or about something that did not happen."""

    def see(world: World) -> Json | None:
        invoice = invoice_of(world, payable(world), "draft", "open", "paid", "void")
        if invoice is None:
            return None
        return event_of("invoice.paid", world.stripe.invoices[invoice])

    def script() -> Lines:
        event = yield Act("Stripe delivers an event at the wrong time", when(see))
        yield from _deliver(event)

    return Script("late webhook", script)


def event_of(kind: str, subject: Json) -> Json:
    return {
        "id": "evt_stray",
        "object": "event",
        "type": kind,
        "livemode": False,
        "data": {"object": {name: subject[name] for name in ("id", "object", "customer", "metadata")}},
    }


def upgrade() -> Script:
    def act(world: World, subject: str) -> World:
        return replace(world, stripe=world.stripe.change_plan(subject, SMALL, LARGE, world.now_ms // 1000))

    return at_stripe(
        "upgrade",
        "the customer takes the larger plan",
        lambda _: tenant().subscription,
        act,
        "customer.subscription.updated",
    )


def switch() -> Script:
    def act(world: World, subject: str) -> World:
        return replace(world, stripe=world.stripe.change_plan(subject, SMALL, MAIL, world.now_ms // 1000))

    return at_stripe(
        "switch to a plan without phones",
        "the customer takes a plan without phone lines",
        lambda _: tenant().subscription,
        act,
        "customer.subscription.updated",
    )


def end() -> Script:
    def act(world: World, subject: str) -> World:
        return replace(world, stripe=world.stripe.end(subject, world.now_ms // 1000))

    return at_stripe(
        "subscription ends",
        "the subscription is canceled",
        lambda _: tenant().subscription,
        act,
        "customer.subscription.deleted",
    )


# --- the schedule, the stream, the provisioner --------------------------------------------------


def reconcile() -> Script:
    def script() -> Lines:
        yield Call("reconciler", lambda now_ms: {"time": at(now_ms)})

    return Script("reconcile", script)


def provision(outcome: str = "succeeded") -> Script:
    """The provisioner answers what the bus tells, or would tell, about a line."""

    def see(world: World) -> Json | None:
        for line in lines(world):
            if line["status"]["S"] == "provisioning":
                event_id = f"{id_of(line)}:{len(line['history']['L'])}"
                return {
                    "eventId": event_id,
                    "workspaceId": tenant().workspace,
                    "lineId": id_of(line),
                    "outcome": outcome,
                }
        return None

    def script() -> Lines:
        detail = yield Act("the provisioner is done", when(see))
        yield Call("provisioning_result", lambda now_ms: queued({"id": "1", "detail": detail, "time": at(now_ms)}))

    return Script(f"provisioning {outcome}", script)


# --- money that goes back -----------------------------------------------------------------------


def failed(world: World) -> str | None:
    """A paid line that its provisioner failed."""
    of_line = {id_of(line): line for line in lines(world)}
    return next(
        (name for name, line in of_line.items() if (_text(line, "status"), _text(line, "payment_status")) == FAILED),
        None,
    )


FAILED = ("failed", "paid")


def _text(line: Typed, name: str) -> str:
    return str(line[name]["S"])


def flagged(world: World) -> str | None:
    """A line whose payment has to go back, or will once it is released."""
    return next((id_of(line) for line in lines(world) if line["refund_due"].get("BOOL")), None) or failed(world)


def release() -> Script:
    """A client gives up a line that failed."""

    def script() -> Lines:
        line_id = yield Act("a client gives up the line that failed", when(failed))
        route = {"routeKey": "DELETE /api/lines/{id}"}
        yield Call("manage_line_request", lambda now_ms: http(now_ms, line_id=line_id) | route)

    return Script("release", script)


def command(name: str, see: Callable[[World], str | None]) -> Script:
    """An operator's command about a line."""

    def script() -> Lines:
        line_id = yield Act(f"an operator types {name}", when(see))
        yield Call(name, lambda _: {"workspace": tenant().workspace, "line": line_id})

    return Script(name, script)


def refund_by_hand(status: str = "succeeded", *, delivered: int = 1) -> Script:
    """A person refunds the payment at Stripe, and nobody issues a credit note."""

    def find(world: World) -> str | None:
        invoice = invoice_of(world, payable(world), "paid")
        return invoice if invoice and memory_reversals.left_of(world.stripe, invoice) else None

    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=memory_reversals.by_hand(world.stripe, invoice, world.now_ms // 1000, status))

    name = f"refund by hand, {status}{'' if delivered else ', webhook lost'}"
    return at_stripe(name, "a person refunds the payment at Stripe", find, act, *["refund.created"] * delivered)


def refund_fails() -> Script:
    """The bank refuses a refund that had succeeded."""

    def find(world: World) -> str | None:
        stripe, customer = world.stripe, tenant().customer
        own = [name for name, invoice in stripe.invoices.items() if invoice["customer"] == customer]
        refunds = [one for name in own for one in memory_reversals.refunds_of(stripe, name)]
        return min((one["id"] for one in refunds if one["status"] == "succeeded"), default=None)

    def act(world: World, refund: str) -> World:
        return replace(world, stripe=memory_reversals.fail(world.stripe, refund, world.now_ms // 1000))

    return at_stripe("refund fails", "the bank refuses the refund", find, act, "refund.failed")


def stream(*, doubled: bool = False) -> Script:
    """The table's stream: the first batch there is, again until it is taken, or once more for nothing."""

    def script() -> Lines:
        records = yield Act("the stream has records", when(records_of))
        for _ in range(3):
            answer = yield Call("publish_changes", lambda _: records)
            if not doubled and not answer.get("crashed") and not answer.get("batchItemFailures"):
                return

    return Script("stream, records doubled" if doubled else "stream", script)


def records_of(world: World) -> Json | None:
    """What the stream delivers next."""
    numbered = [
        {
            "eventSource": "aws:dynamodb",
            # When it was written is told by the event, and judged nowhere.
            "dynamodb": {
                "SequenceNumber": f"{' '.join(key)}.{number}",
                "ApproximateCreationDateTime": START_MS // 1000,
                **record.images(),
            },
        }
        for key in sorted(world.stream)
        for number, record in enumerate(world.stream[key])
    ]
    return {"Records": numbered} if numbered else None
