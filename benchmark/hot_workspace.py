"""32 creates at once in one workspace with room, where every overlap of writes is a conflict, as on DynamoDB."""

import time
from concurrent.futures import ThreadPoolExecutor

from benchmark import events
from benchmark.calls import Calls
from benchmark.functions import Context, Handler, handler
from benchmark.side_by_side import CREATE, DELAYS
from benchmark.world import Tenant, World

AT_ONCE = 32


def measure(world: World, rounds: int) -> dict[str, float]:
    """The share of answers that are 201 at the first try, and the slowest of a hundred."""
    calls = Calls(plain_ms=float(DELAYS["PLAIN_MS"]), transaction_ms=float(DELAYS["TRANSACTION_MS"]), conflicts=True)
    calls.watch(world.session())
    # Each request has an execution environment of its own, with its own connections.
    environments = [handler(CREATE) for _ in range(AT_ONCE)]
    taken: list[tuple[int, float]] = []
    for number in range(rounds):
        tenant = world.tenant(f"hot-{number}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            taken += pool.map(_timed, environments, [tenant] * AT_ONCE)
    seconds = sorted(second for _, second in taken)
    return {
        "success_ratio": sum(status == 201 for status, _ in taken) / len(taken),
        "p99_seconds": seconds[int(len(seconds) * 0.99)],
    }


def _timed(create: Handler, tenant: Tenant) -> tuple[int, float]:
    event, started_s = events.create(tenant.token), time.monotonic()
    status: int = create(event, Context())["statusCode"]
    return status, time.monotonic() - started_s
