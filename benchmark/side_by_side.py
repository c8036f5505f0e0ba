"""Ours and the peer's answers to the same requests, in turns, on the same slowed engine."""

import secrets
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmark import events
from benchmark.functions import Context, handler
from benchmark.worker import Answer, Json, Worker
from benchmark.world import PEER_TABLES, Tenant, World
from line_requests.storage.attributes import marshal
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


@dataclass(frozen=True)
class Pair:
    """The same request at both sides: median seconds, and one answer whose units were counted."""

    our_seconds: float
    peer_seconds: float
    ours: Answer
    peers: Answer


@contextmanager
def _both(world: World, **more: str) -> Iterator[tuple[Worker, Worker]]:
    """A worker of ours, with the layer as it is deployed, and one of the peer's."""
    environment = dict(world.environment) | DELAYS | {"AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR"} | more
    environment["_X_AMZN_TRACE_ID"] = "Root=1-6922c0de-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"
    ours = [ROOT / "layers", layer_packages(), peer_packages()]
    with Worker(ours, environment) as mine, Worker([peer_packages()], environment) as theirs:
        yield mine, theirs


def measure(world: World, rounds: int) -> dict[str, Pair]:
    """Every kind of request, by both in turns."""
    taken: dict[str, tuple[list[float], list[float]]] = {}
    open_, locked = world.tenant("wall-open"), _locked_tenant(world)
    with _both(world) as (mine, theirs):
        for number in range(rounds + 2):
            for name, answers in _round(open_, locked, mine, theirs).items():
                if number > 1:  # connections and caches are warm
                    for seconds, answer in zip(taken.setdefault(name, ([], [])), answers, strict=True):
                        seconds.append(answer.seconds)
    with _both(world, COUNT_UNITS="yes") as (mine, theirs):
        counted = _round(open_, locked, mine, theirs)
    return {name: Pair(median(our_s), median(peer_s), *counted[name]) for name, (our_s, peer_s) in taken.items()}


def _round(open_: Tenant, locked: Tenant, mine: Worker, theirs: Worker) -> dict[str, tuple[Answer, Answer]]:
    answers = {}
    for name, (status, of_mine, of_theirs) in _requests(open_, locked, mine, theirs).items():
        answers[name] = _checked(mine(*of_mine()), status), _checked(theirs(*of_theirs()), status)
    return answers


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
    tenant = world.tenant("wall-locked", "payable")
    answer = handler(CREATE)(events.create(tenant.token), Context())
    line = world.stores.workspaces.get(tenant.id)
    if answer["statusCode"] != 201 or line is None or line.lock is None:
        raise RuntimeError(str(answer))
    stored = world.stores.lines.get(tenant.id, line.lock)
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
