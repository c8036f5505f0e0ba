"""One load run on a local stack: clients in another process, memory watched, everything judged at the end."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from line_requests.domain.model import Status
from line_requests.storage.table import Table
from tests.load.answers import answers_broken
from tests.load.memory import Memory
from tests.local.ministack import ROOT
from tests.support.oracle import Tenant, tenants, violations

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

Json = dict[str, Any]

PROVISIONED_WITHIN_SECONDS = 60


@dataclass(frozen=True)
class Result:
    """What a run was answered, what it left behind, and what it took."""

    seen: Json
    broken: list[str]
    reconciled: Json
    memory: Memory

    def table(self) -> str:
        """Throughput and latencies of each operation, most frequent first."""
        seconds = self.seen["seconds"]
        rows = [
            f"{'operation':22}{'calls':>7}{'per s':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}  answers"
        ]
        statuses = defaultdict[str, list[str]](list)
        for name, count in sorted(self.seen["statuses"].items()):
            operation, _, status = name.rpartition(" ")
            statuses[operation].append(f"{count} x {status}")
        for name, latencies in sorted(self.seen["latenciesMs"].items(), key=lambda item: -len(item[1])):
            cuts = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else latencies * 99
            rows.append(
                f"{name:22}{len(latencies):7}{len(latencies) / seconds:8.1f}{cuts[49]:9.0f}{cuts[94]:9.0f}"
                f"{cuts[98]:9.0f}{max(latencies):9.0f}  {', '.join(statuses[name])}"
            )
        calls = sum(map(len, self.seen["latenciesMs"].values()))
        rows.append(f"{'all':22}{calls:7}{calls / seconds:8.1f}  in {seconds:.0f} s (in brackets: not the product's)")
        return "\n".join(rows)


def run(stack: LocalStack, *, seconds: float, clients: int, seed: int) -> Result:
    """Load the stack, let it settle, reconcile once, judge."""
    memory = Memory(stack.ministack.process_id)
    try:
        arguments = [stack.origin, str(seconds), str(clients), str(seed)]
        driven = subprocess.run(
            [sys.executable, "-m", "tests.load.driver", *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=seconds + 120,
        )  # fmt: skip
    finally:
        memory.stop()
    seen: Json = json.loads(driven.stdout)
    stack.reset()
    reconciled = stack.reconcile()
    ours = _settled(stack, set(seen["workspaces"]))
    broken = [what for tenant in ours for what in violations(tenant, settled=True)] + list(answers_broken(seen, ours))
    return Result(seen, broken, reconciled, memory)


def _settled(stack: LocalStack, workspaces: set[str]) -> list[Tenant]:
    """The run's workspaces, once the provisioner has answered for all of their lines."""
    deadline = time.monotonic() + PROVISIONED_WITHIN_SECONDS
    while True:
        found = tenants(*_read(stack, workspaces))
        provisioning = any(line.status is Status.PROVISIONING for tenant in found for line in tenant.lines.values())
        if not provisioning or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _read(stack: LocalStack, workspaces: set[str]) -> tuple[list[Json], list[Json], list[Json]]:
    """What the table holds of them, the invoices of lines, the subscriptions; others may use the stack, too."""
    client = stack.ministack.session.client("dynamodb", endpoint_url=stack.ministack.endpoint)
    found = Table(client, stack.deployment.table).scan("begins_with(#pk, :prefix)", {"prefix": "W#"})
    ours = [item for item in found if item["pk"].removeprefix("W#") in workspaces]
    client.close()
    invoices = [invoice for invoice in stack.double.all_of("invoice") if invoice["metadata"].get("line_id")]
    return ours, invoices, stack.double.all_of("subscription")
