"""The CPU of a warm create above the SDK, against that of one GetItem by boto3."""

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import boto3

from benchmark import events
from benchmark.functions import Context, load
from benchmark.side_by_side import CREATE
from benchmark.world import TABLE, World
from line_requests.storage.attributes import marshal

WARM_UP = 20


class Metered:
    """A client whose CPU is counted apart; errors and all, it is the client."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - any client
        self._client = client
        self.cpu_s = 0.0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any of the client's methods
        found = getattr(self._client, name)
        if name == "exceptions":
            return found

        def call(**parameters: object) -> object:
            before_s = time.thread_time()
            try:
                return found(**parameters)
            finally:
                self.cpu_s += time.thread_time() - before_s

        return call


def measure(world: World, blocks: int, block: int = 25) -> float:
    """The median of the blocks' ratios: what else the machine does weighs on both halves of a block."""
    world.session()
    function, tenant = load(CREATE), world.tenant("cpu")
    table = function.DEPLOYMENT.stores.table
    client = table._client = Metered(table._client)  # noqa: SLF001 - the table has no other seam
    plain: Any = boto3.client("dynamodb")
    key = marshal({"pk": f"W#{tenant.id}", "sk": "WORKSPACE"})
    numbers = iter(range(10**9))

    def create() -> float:
        event = events.create(tenant.token, f"key-{next(numbers)}")
        before_s, sdk_s = time.thread_time(), client.cpu_s
        answer = function.handler(event, Context())
        taken_s = time.thread_time() - before_s - (client.cpu_s - sdk_s)
        assert answer["statusCode"] == 201, answer
        return taken_s

    def get() -> float:
        before_s = time.thread_time()
        plain.get_item(TableName=TABLE, Key=key, ConsistentRead=True)
        return time.thread_time() - before_s

    def medians(count: int) -> tuple[float, float]:
        return _median(create, count), _median(get, count)

    medians(WARM_UP)
    # Or each full collection would look through what other measurements have left, too.
    gc.collect()
    gc.freeze()
    try:
        return median(ours / floor for ours, floor in (medians(block) for _ in range(blocks)))
    finally:
        gc.unfreeze()


def _median(act: Callable[[], float], count: int) -> float:
    return median(act() for _ in range(count))
