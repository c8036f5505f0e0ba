"""What each request may cost: DynamoDB round trips, Stripe calls, consumed units. Counted, not timed."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from benchmark import events
from benchmark.calls import Calls, round_trips
from benchmark.functions import Context, Handler, handler
from benchmark.world import API_KEY, Json, Tenant, World


@dataclass(frozen=True)
class Cost:
    """One request's."""

    answer: Json
    round_trips: int
    calls: int
    read_units: float
    write_units: float
    stripe_calls: int


class Meter:
    """Runs warm functions of this process and counts what they ask of others."""

    def __init__(self, world: World) -> None:
        self.world = world
        # Slow enough for calls that run beside each other to overlap, however busy the machine is.
        self._calls = Calls(plain_ms=80, transaction_ms=80, count_units=True)
        self._calls.watch(world.session())
        self._handlers: dict[str, Handler] = {}
        warm = world.tenant(f"warm-{id(self)}")
        self.cost("get_line_request", self.create(warm))

    def create(self, tenant: Tenant) -> Json:
        """The poll of a fresh line."""
        answer = self.cost("create_line_request", events.create(tenant.token)).answer
        return events.get(tenant.token, json.loads(answer["body"])["line"]["_id"])

    def cost(self, function: str, event: Json) -> Cost:
        """Invokes a function and counts."""
        if function not in self._handlers:
            self._handlers[function] = handler(function)
        first = len(self.world.double.request_log)
        with self._calls.during() as made:
            answer = self._handlers[function](event, Context())
        stripe_calls = sum(call.api_key == API_KEY for call in self.world.double.request_log[first:])
        written = sum(call.write_units for call in made)
        read = sum(call.units for call in made) - written
        return Cost(answer, round_trips(made), len(made), read, written, stripe_calls)


def requests(meter: Meter) -> dict[str, Callable[[], Cost]]:
    """Every request that has a budget, each with a workspace of its own."""
    world = meter.world

    def create_included() -> Cost:
        return meter.cost("create_line_request", events.create(world.tenant("included").token, "key-1"))

    def replay() -> Cost:
        event = events.create(world.tenant("replay").token, "key-1")
        meter.cost("create_line_request", event)
        return meter.cost("create_line_request", event)

    def conflict() -> Cost:
        tenant = world.tenant("conflict", "payable")
        meter.cost("create_line_request", events.create(tenant.token, "key-1"))
        return meter.cost("create_line_request", events.create(tenant.token, "key-2"))

    def refused() -> Cost:
        tenant = world.tenant("refused", "full")
        return meter.cost("create_line_request", events.create(tenant.token, "key-1"))

    def create_paid() -> Cost:
        return meter.cost("create_line_request", events.create(world.tenant("paid", "payable").token, "key-1"))

    def get() -> Cost:
        return meter.cost("get_line_request", meter.create(world.tenant("get")))

    def poll_settled() -> Cost:
        tenant = world.tenant("settled", "payable")
        poll = meter.create(tenant)
        invoice = json.loads(meter.cost("get_line_request", poll).answer["body"])["line"]["stripeInvoiceId"]
        world.double.pay_invoice(invoice)
        line_id = poll["pathParameters"]["id"]
        line = world.stores.lines.get(tenant.id, line_id)
        assert line is not None
        world.stores.lines.mark_paid(line, line.created_at_ms, invoice_id=invoice, url=None)
        return meter.cost("get_line_request", poll)

    found = (create_included, replay, conflict, refused, create_paid, get, poll_settled)
    return {request.__name__: request for request in found}


def measure(world: World) -> dict[str, Cost]:
    """All of them."""
    return {name: request() for name, request in requests(Meter(world)).items()}
