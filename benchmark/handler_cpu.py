"""The CPU of a warm create above the SDK, against that of one GetItem by boto3."""

import time
from statistics import median
from typing import Any

import boto3

from benchmark import events
from benchmark.functions import Context, load
from benchmark.side_by_side import CREATE
from benchmark.world import TABLE, World
from line_requests.storage.table import marshal


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


def measure(world: World, rounds: int) -> float:
    """Median over median, in turns."""
    world.session()
    function, tenant = load(CREATE), world.tenant("cpu")
    table = function.DEPLOYMENT.stores.table
    client = table._client = Metered(table._client)  # noqa: SLF001 - the table has no other seam
    plain: Any = boto3.client("dynamodb")
    key = marshal({"pk": f"W#{tenant.id}", "sk": "WORKSPACE"})
    ours, floor = list[float](), list[float]()
    for number in range(rounds + 20):
        event = events.create(tenant.token, f"key-{number}")
        before_s, sdk_s = time.thread_time(), client.cpu_s
        answer = function.handler(event, Context())
        create_s = time.thread_time() - before_s - (client.cpu_s - sdk_s)
        assert answer["statusCode"] == 201, answer
        before_s = time.thread_time()
        plain.get_item(TableName=TABLE, Key=key, ConsistentRead=True)
        get_s = time.thread_time() - before_s
        if number >= 20:
            ours.append(create_s)
            floor.append(get_s)
    return median(ours) / median(floor)
