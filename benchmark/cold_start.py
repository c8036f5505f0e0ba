"""Fresh processes: the CPU of their init and of their first request, side by side."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmark import events
from benchmark.functions import Context, handler, source
from benchmark.side_by_side import CREATE, GET, PEER_CREATE, peer_packages
from benchmark.world import WEBHOOK_SECRET, Tenant, World
from tests.local.deployment import layer_packages

CHILD = Path(__file__).with_name("first_request.py")
LAYER = Path(__file__).parents[1] / "layers"
MANAGE = "manage_line_request"
# What starts from a snapshot: its callers wait for the first request, not for the init.
RESTORED = ("create_included", "create_paid", "get", "manage")
HOUR_S = 3600


@dataclass(frozen=True)
class Start:
    """One fresh process: CPU seconds, and the modules that only its request imported."""

    init: float
    request: float
    status: int
    imported: list[str]

    @property
    def total(self) -> float:
        """What a cold start costs that nothing was restored for."""
        return self.init + self.request


def measure(world: World, rounds: int) -> dict[str, Any]:
    """The figures of all processes, each in turn with all others."""
    starts = _start_all(world, rounds)

    def to_floor(name: str, part: str, floor: str = "floor") -> float:
        return _median(starts[name], part) / _median(starts[floor], "total")

    for name, taken in starts.items():
        print(f"\n  {name:16} {_median(taken, 'init') * 1000:4.0f} ms init", end="")
        print(f" {_median(taken, 'request') * 1000:4.0f} ms request", end="")
    imported = sorted({name for request in RESTORED for start in starts[request] for name in start.imported})
    print(f"\n  imported after init: {', '.join(imported) or 'nothing'}", end="")
    return {
        "restored_to_floor": {name: to_floor(name, "request") for name in RESTORED},
        "init_to_floor": {"create": to_floor("create_included", "init")},
        "imports_after_init": len(imported),
        "cold_start_to_floor": {name: to_floor(name, "total") for name in ("webhook", "reconciler")},
        "cold_start_to_peer": {"create": to_floor("create_included", "total", floor="peer")},
    }


def _median(starts: list[Start], part: str) -> float:
    return float(median(getattr(start, part) for start in starts))


def _start_all(world: World, rounds: int) -> dict[str, list[Start]]:
    # Stripe's clock is ahead, so that the feed up to now, which the reconciler reads, has none of these preparations.
    world.double.advance_seconds(2 * HOUR_S)
    paid = [_paid_event(world, f"cold-paid-{number}") for number in range(rounds + 1)]
    payable = [world.tenant(f"cold-payable-{number}", "payable") for number in range(rounds + 1)]
    tenant, waiting = world.tenant("cold"), world.tenant("cold-waiting", "payable")
    line_id, waiting_id = _create(tenant)["_id"], _create(waiting)["_id"]
    ours = [LAYER, layer_packages(), peer_packages()]
    taken: dict[str, list[Start]] = {}
    for number in range(rounds + 1):
        create = events.create(tenant.token, f"cold-{number}")
        requests: dict[str, tuple[str, Any]] = {
            "create_included": (CREATE, create),
            "create_paid": (CREATE, events.create(payable[number].token)),
            "get": (GET, events.get(tenant.token, line_id)),
            "manage": (MANAGE, events.manage(waiting.token, waiting_id, "payment_link")),
            "webhook": ("stripe_webhook", events.webhook(paid[number], WEBHOOK_SECRET)),
            "reconciler": ("reconciler", events.tick()),
        }
        runs = {"floor": _start(world, [peer_packages()])}
        runs |= {name: _start(world, ours, *request) for name, request in requests.items()}
        runs["peer"] = _start(world, [peer_packages()], PEER_CREATE, create)
        if number:  # the first one only warms the file system's cache
            for name, start in runs.items():
                taken.setdefault(name, []).append(start)
    return taken


def _start(world: World, path: list[Path], function: str | None = None, event: Any = None) -> Start:  # noqa: ANN401 - JSON
    """One fresh process; without a function, the floor."""
    environment = dict(world.environment) | {
        "PYTHONPATH": ":".join(map(str, path)),
        # As in Lambda, where the Tracer is not switched off.
        "LAMBDA_TASK_ROOT": str(LAYER.parent),
        "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
        "_X_AMZN_TRACE_ID": "Root=1-6922c0de-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(event, file)
        file.flush()
        arguments = [] if function is None else [str(source(function)), file.name]
        done = subprocess.run(
            [sys.executable, "-S", str(CHILD), *arguments],
            env=environment,
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{function}:\n{done.stdout}{done.stderr}")
    start = Start(**json.loads(done.stdout.splitlines()[-1]))
    if start.status // 100 != 2:
        raise RuntimeError(f"{function} answered {start.status}:\n{done.stdout}{done.stderr}")
    return start


def _create(tenant: Tenant) -> Any:  # noqa: ANN401 - JSON
    """A line as its 201 shows it."""
    return json.loads(handler(CREATE)(events.create(tenant.token), Context())["body"])["line"]


def _paid_event(world: World, name: str) -> Any:  # noqa: ANN401 - JSON
    """The event of a paid invoice whose delivery is still to come."""
    invoice = _create(world.tenant(name, "payable"))["stripeInvoiceId"]
    world.double.pay_invoice(invoice)
    return next(
        event
        for event in world.double.all_of("event")
        if event["type"] == "invoice.paid" and event["data"]["object"]["id"] == invoice
    )
