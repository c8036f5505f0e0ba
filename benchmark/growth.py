"""Whether a full table makes requests cost more: the same requests with 10, 1,000 and 100,000 lines in it."""

import json
from collections.abc import Iterator
from dataclasses import replace

from benchmark import events
from benchmark.budget import Cost, Meter
from benchmark.reconcile import put
from benchmark.side_by_side import CREATE, GET
from benchmark.world import Tenant, World
from line_requests.domain.model import Change, Line, PaymentStatus, Status
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.attributes import Item
from tests.decision.examples import SUBMISSIONS

WORKSPACES = 1000
LINES = (10, 1_000, 100_000)
HOUR_S = 3600

Figures = dict[str, dict[str, dict[str, float]]]


def measure(world: World, sizes: tuple[int, ...] = LINES) -> Figures:
    """Calls and units of each request at each size of the table."""
    meter, tenant = Meter(world), world.tenant("growth-0")
    stored, figures = 0, Figures()
    for size in sizes:
        put(world, list(_lines(stored, size)))
        stored = size
        figures[str(size)] = {name: _shown(cost) for name, cost in _costs(meter, tenant, size).items()}
    return figures


def _costs(meter: Meter, tenant: Tenant, size: int) -> dict[str, Cost]:
    created = meter.cost(CREATE, events.create(tenant.token, f"growth-{size}"))
    line_id = json.loads(created.answer["body"])["line"]["_id"]
    # Two runs, after everything in Stripe's feed: what is measured is one with nothing to do.
    meter.world.advance(2 * HOUR_S)
    meter.cost("reconciler", events.tick(meter.world.now_s()))
    meter.world.advance(60)
    return {
        "create": created,
        "get": meter.cost(GET, events.get(tenant.token, line_id)),
        "list": meter.cost(GET, events.page(tenant.token)),
        "reconcile": meter.cost("reconciler", events.tick(meter.world.now_s())),
    }


def _shown(cost: Cost) -> dict[str, float]:
    return {"calls": cost.calls, "read_units": cost.read_units, "write_units": cost.write_units}


def _lines(first: int, end: int) -> Iterator[Item]:
    """Active lines, spread over the workspaces; none of them is due."""
    submission = replace(SUBMISSIONS[Kind.PURCHASED_PHONE], zipcode="10115", state="BE")
    for number in range(first, end):
        at_ms = 1_763_000_000_000 + number
        changes = [Change(at_ms, Status.PROVISIONING, "requested"), Change(at_ms + 9, Status.ACTIVE, "provisioned")]
        yield records.line_item(
            Line(
                id=f"{at_ms:012x}{number:012x}",
                workspace_id=f"growth-{number % WORKSPACES}",
                submission=submission,
                status=Status.ACTIVE,
                payment_status=PaymentStatus.NOT_REQUIRED,
                created_at_ms=at_ms,
                history=tuple(changes),
            )
        )
