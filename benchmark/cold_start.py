"""Cold starts: the CPU of fresh processes, from nothing to the first answer, side by side."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmark import events
from benchmark.functions import Context, handler, source
from benchmark.world import WEBHOOK_SECRET, World
from tests.local.deployment import layer_packages

CHILD = Path(__file__).with_name("first_request.py")
LAYER = Path(__file__).parents[1] / "layers"
FUNCTIONS = {
    "create": "create_line_request",
    "get": "get_line_request",
    "webhook": "stripe_webhook",
    "reconciler": "reconciler",
}


def measure(world: World, rounds: int, runtime: Path) -> dict[str, float]:
    """Median CPU seconds of the floor, of our functions and of the peer's create, in turns.

    `runtime` holds the packages that Lambda's runtime brings, and the peer's.
    """
    taken: dict[str, list[float]] = {}
    paid = [_paid_event(world, f"cold-{number}") for number in range(rounds + 1)]
    tenant = world.tenant("cold")
    created = handler("create_line_request")(events.create(tenant.token), Context())
    line_id = json.loads(created["body"])["line"]["_id"]
    ours = [LAYER, layer_packages(), runtime]
    for number in range(rounds + 1):
        requests: dict[str, Any] = {
            "create": events.create(tenant.token, f"cold-{number}"),
            "get": events.get(tenant.token, line_id),
            "webhook": events.webhook(paid[number], WEBHOOK_SECRET),
            # Ahead of what the preparations left in Stripe's feed: a minute like any other.
            "reconciler": events.tick(time.time() + 7200 + 60 * number),
        }
        runs = {"floor": _child(world, [runtime])}
        runs |= {name: _child(world, ours, FUNCTIONS[name], event) for name, event in requests.items()}
        runs["peer"] = _child(world, [runtime], "peer/create", requests["create"])
        if number:  # the first one only warms the file system's cache
            for name, seconds in runs.items():
                taken.setdefault(name, []).append(seconds)
    return {name: median(seconds) for name, seconds in taken.items()}


def _child(world: World, path: list[Path], function: str | None = None, event: Any = None) -> float:  # noqa: ANN401 - JSON
    """CPU seconds of one fresh process."""
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
    seconds, status = done.stdout.splitlines()[-1].split()
    if not status.startswith("2"):
        raise RuntimeError(f"{function} answered {status}:\n{done.stdout}{done.stderr}")
    return float(seconds)


def _paid_event(world: World, name: str) -> Any:  # noqa: ANN401 - JSON
    """The event of a paid invoice whose delivery is still to come."""
    tenant = world.tenant(name, "payable")
    answer = handler("create_line_request")(events.create(tenant.token), Context())
    invoice = json.loads(answer["body"])["line"]["stripeInvoiceId"]
    world.double.pay_invoice(invoice)
    return next(
        event
        for event in world.double.all_of("event")
        if event["type"] == "invoice.paid" and event["data"]["object"]["id"] == invoice
    )
