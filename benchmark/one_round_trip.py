"""An experiment: a create that reads nothing first and lets the transaction's conditions decide alone.

What it would have to know beforehand (plan, places, rate window) is kept from the last answer; the
API key is one more condition of the transaction. Reported, not used: see what its failures cost.
"""

import time
from statistics import median

import boto3

from benchmark import events
from benchmark.calls import Calls
from benchmark.functions import Context, load
from benchmark.side_by_side import CREATE, DELAYS
from benchmark.world import TABLE, Tenant, World
from line_requests.domain.ids import sha256_hex
from line_requests.domain.rate_limit import RateLimit
from line_requests.storage import records
from line_requests.storage.calls import CLIENT_CONFIG
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table, TransactionCanceled, Write

LIMIT = RateLimit(60_000, 60_000)


def measure(world: World, rounds: int) -> dict[str, float]:
    """Median milliseconds of both designs, when the request is accepted and when it is not."""
    calls = Calls(plain_ms=float(DELAYS["PLAIN_MS"]), transaction_ms=float(DELAYS["TRANSACTION_MS"]))
    calls.watch(world.session())
    create = load(CREATE).handler
    blind = Table(boto3.client("dynamodb", config=CLIENT_CONFIG), TABLE)
    open_, full = world.tenant("blind-open"), world.tenant("blind-full", "full")
    taken: dict[str, list[float]] = {}
    for number in range(rounds):
        key = f"key-{number}"
        for name, tenant in (("accepted", open_), ("refused", full)):
            started_s = time.perf_counter()
            create(events.create(tenant.token, key), Context())
            between_s = time.perf_counter()
            _blind(blind, tenant, key)
            ended_s = time.perf_counter()
            taken.setdefault(f"read_first_{name}", []).append((between_s - started_s) * 1000)
            taken.setdefault(f"blind_{name}", []).append((ended_s - between_s) * 1000)
    return {name: median(milliseconds) for name, milliseconds in taken.items()}


def _blind(table: Table, tenant: Tenant, key: str) -> None:
    """One transaction of the writes of a create, with the key's validity among its conditions.

    When it fails, the answer (which refusal?) still has to be read and the rate window to be moved.
    """
    now_ms, place = int(time.time() * 1000), {"pk": f"W#{tenant.id}", "sk": "WORKSPACE"}
    line_id = f"{time.time_ns():024x}"[-24:]
    idempotency_key_hash, absent = sha256_hex(f"blind-{key}"), "attribute_not_exists(#pk)"
    writes = [
        Write(
            place,
            update="SET #held.#kind = #held.#kind + :one, #unpaid.#kind = #unpaid.#kind + :one, #tat_ms = :now",
            condition="#unpaid.#kind < #subscription.#allowances.#kind.#included AND attribute_not_exists(#lock)",
            values={"one": 1, "now": now_ms},
            names={"kind": "purchased_phone"},
        ),
        Write(records.line_key(tenant.id, line_id), put={"status": "provisioning"}, condition=absent),
        Write(records.idempotency_key(tenant.id, idempotency_key_hash), put={"line_id": line_id}, condition=absent),
        Write(
            records.api_key_key(tenant.id, sha256_hex(tenant.token)),
            update="SET #seen = :now",
            condition="attribute_exists(#pk) AND attribute_not_exists(#revoked_at_ms)",
            values={"now": now_ms},
        ),
    ]
    try:
        table.transact(writes)
    except TransactionCanceled:
        stores = Stores(table)
        workspace, _ = stores.lines.workspace_and_record(tenant.id, idempotency_key_hash)
        if workspace is not None:
            stores.workspaces.consume_rate(workspace, LIMIT, now_ms)
