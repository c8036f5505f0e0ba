"""Ours and the peer's answers to the same requests, in turns, on the same slowed engine."""

import secrets
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmark import events
from benchmark.worker import Answer, Json, Worker
from benchmark.world import PEER_TABLES, Tenant, World
from line_requests.table import marshal
from tests.local.deployment import layer_packages

ROOT = Path(__file__).parents[1]
# What a call within a region takes, and a transaction: three times as long.
DELAYS = {"PLAIN_MS": "7.5", "TRANSACTION_MS": "25"}
CREATE, GET, PEER_CREATE = "create_line_request", "get_line_request", "peer/create"


def peer_packages() -> Path:
    """The environment that `make bench` keeps for the peer; it stands for Lambda's runtime, too."""
    path = Path(sysconfig.get_path("purelib", vars={"base": str(ROOT / ".venv-bench")}))
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make bench`")
    return path


@contextmanager
def both(world: World) -> Iterator[tuple[Worker, Worker]]:
    """A worker of ours, with the layer as it is deployed, and one of the peer's."""
    environment = dict(world.environment) | DELAYS | {"AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR"}
    environment["_X_AMZN_TRACE_ID"] = "Root=1-6922c0de-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"
    ours = [ROOT / "layers", layer_packages(), peer_packages()]
    with Worker(ours, environment) as mine, Worker([peer_packages()], environment) as theirs:
        yield mine, theirs


def measure(world: World, rounds: int) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Median wall time of ours ÷ the peer's per kind of request, and the calls each makes."""
    taken: dict[str, tuple[list[float], list[float]]] = {}
    calls: dict[str, list[str]] = {}
    open_, locked = world.tenant("wall-open"), _locked_tenant(world)
    with both(world) as (mine, theirs):
        for number in range(rounds + 2):
            for name, (status, of_mine, of_theirs) in _requests(open_, locked, mine, theirs).items():
                pair = _checked(mine(*of_mine()), status), _checked(theirs(*of_theirs()), status)
                calls[name], calls[f"peer.{name}"] = pair[0].operations, pair[1].operations
                if number > 1:  # connections and caches are warm
                    for seconds, answer in zip(taken.setdefault(name, ([], [])), pair, strict=True):
                        seconds.append(answer.seconds)
    ratios = {name: median(our_s) / median(peer_s) for name, (our_s, peer_s) in taken.items()}
    return ratios, calls


Request = Callable[[], tuple[str, Json]]


def _requests(open_: Tenant, locked: Tenant, mine: Worker, theirs: Worker) -> dict[str, tuple[int, Request, Request]]:
    """One round: a fresh key is created, replayed and polled; a locked workspace refuses."""
    key = secrets.token_hex(8)

    def create(tenant: Tenant, function: str) -> Request:
        return lambda: (function, events.create(tenant.token, key))

    def poll(worker: Worker, function: str, create_function: str) -> Request:
        def request() -> tuple[str, Json]:
            line_id = worker(create_function, events.create(open_.token, key)).body["line"]["_id"]
            return function, events.get(open_.token, line_id)

        return request

    return {
        "create_included": (201, create(open_, CREATE), create(open_, PEER_CREATE)),
        "replay": (201, create(open_, CREATE), create(open_, PEER_CREATE)),
        "conflict": (409, create(locked, CREATE), create(locked, PEER_CREATE)),
        "get": (200, poll(mine, GET, CREATE), poll(theirs, "peer/get", PEER_CREATE)),
    }


def _checked(answer: Answer, status: int) -> Answer:
    if answer.status != status:
        raise RuntimeError(f"{answer.status} instead of {status}: {answer.body}")
    return answer


def _locked_tenant(world: World) -> Tenant:
    """A workspace, at both, that waits for a payment."""
    from benchmark.functions import Context, handler

    tenant = world.tenant("wall-locked", "payable")
    answer = handler(CREATE)(events.create(tenant.token), Context())
    line = world.registry.workspace(tenant.id)
    if answer["statusCode"] != 201 or line is None or line.lock is None:
        raise RuntimeError(str(answer))
    stored = world.store.line(tenant.id, line.lock)
    pk, table = {"pk": f"W#{tenant.id}"}, PEER_TABLES["PEER_TABLE"]
    holder = pk | {"sk": f"LINE#{line.lock}", "invoice_id": stored.invoice_id if stored else None}
    world.dynamodb.put_item(TableName=table, Item=marshal(holder))
    world.dynamodb.update_item(
        TableName=table,
        Key=marshal(pk | {"sk": "WORKSPACE"}),
        UpdateExpression="SET lock_holder = :line",
        ExpressionAttributeValues=marshal({":line": line.lock}),
    )
    return tenant
