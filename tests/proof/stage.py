"""Who can act in scenarios, and what they see."""

import datetime
import hashlib
import hmac
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.proof.actors import Call, Json, Lines, Script
from tests.proof.expressions import Typed
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
