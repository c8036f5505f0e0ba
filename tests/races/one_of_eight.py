"""One of several processes that live on one workspace.

Four threads request lines (some with a key that all processes share), pay, cancel, check and provision at random.
"""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import LineRequestError
from line_requests.domain.model import Line, Status, VoidReason
from line_requests.flows.leases import Until
from tests.support.engine import dynamodb
from tests.support.product import product
from tests.support.shop import Requests, clock

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

_start: Barrier

THREADS = 4
KEYS = 3
# [the key or null, the line's id, whether the answer was replayed, the whole answer], or [the refusal's name]
Outcome = list[str | bool | None]


class Contender:
    """One thread's view of the deployment."""

    def __init__(self, endpoint: str, table_name: str, stripe_url: str, seed: int) -> None:
        self.product = product(dynamodb(endpoint), table_name, stripe_url)
        self.requests = Requests(self.product)
        self.lines, self.workspaces = self.product.stores.lines, self.product.stores.workspaces
        self.chance = random.Random(seed)

    def live(self, acts: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for _ in range(acts):
            act = self.chance.choice([self.request, self.request, self.settle, self.provision])
            try:
                outcome = act()
            except LineRequestError as refusal:
                outcome = [type(refusal).__name__]
            outcomes += [outcome] if outcome else []
        return outcomes

    def request(self) -> Outcome:
        key = self.chance.choice([None, f"key-{self.chance.randrange(KEYS)}"])
        answer = self.requests.submit(key)
        return [key, json.loads(answer.body)["line"]["_id"], answer.replayed, answer.body]

    def settle(self) -> None:
        """Pays, cancels or checks the line that awaits payment."""
        line = self._holder()
        if line is None:
            return
        choice = self.chance.choice(["pay", "cancel", "check"])
        lifecycle, now = self.product.lifecycle, clock()
        if choice == "cancel":
            lifecycle.cancel(now, line, VoidReason.CANCELED)
        elif choice == "check":
            lifecycle.advance(now, line, Until.CHECKED)
        elif line.payment_url is not None and line.invoice_id is not None:
            try:
                urllib.request.urlopen(f"{line.payment_url}/pay", data=b"", timeout=20).close()
            except urllib.error.HTTPError:
                return  # another caller has paid or canceled it
            invoice = self.product.billing(now).invoices.retrieve(line.invoice_id)
            lifecycle.apply_then_advance(now, line, invoice)  # as the webhook does

    def provision(self) -> None:
        lines, _ = self.lines.page("acme", limit=20, before=None, status=Status.PROVISIONING)
        for line in lines:
            if self.chance.random() < 0.6:
                self.lines.mark_failed(line, "failed", wall_time_ms())
            else:
                self.lines.mark_active(line, wall_time_ms())

    def _holder(self) -> Line | None:
        workspace = self.workspaces.get("acme")
        assert workspace is not None
        return self.lines.get("acme", workspace.lock) if workspace.lock else None


def live(endpoint: str, table_name: str, stripe_url: str, seed: int, acts: int) -> list[Outcome]:
    contenders = [Contender(endpoint, table_name, stripe_url, seed * THREADS + number) for number in range(THREADS)]
    _start.wait(timeout=60)
    with ThreadPoolExecutor(THREADS) as pool:
        lived = list(pool.map(Contender.live, contenders, [acts] * THREADS))
    return [outcome for outcomes in lived for outcome in outcomes]


def start_together(start: Barrier) -> None:
    """Prepares this process: all wait for each other, so that each of them gets one share."""
    global _start  # noqa: PLW0603 - a barrier can only be inherited
    _start = start
