"""One of several processes that live on one workspace.

Four threads request lines (some with a key that all processes share), pay, cancel, look and provision, by chance.
"""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from line_requests.billing.account import Billing
from line_requests.clock import Clock
from line_requests.domain.errors import LineRequestError
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import Line, Status, VoidReason
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.flows.lifecycle import Lifecycle
from line_requests.storage.table import Table
from tests.decision.examples import SUBMISSIONS
from tests.store.engine import dynamodb

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

_start: Barrier

THREADS = 4
KEYS = 3
PLENTY = RateLimit(per_minute=6000, burst=1000)
# [the key or null, the line's id, whether the answer was replayed, the whole answer], or [the refusal's name]
Outcome = list[str | bool | None]


class Contender:
    """One thread's view of the deployment."""

    def __init__(self, endpoint: str, table_name: str, stripe_url: str, seed: int) -> None:
        table = Table(dynamodb(endpoint), table_name)
        self.store, self.registry = Store(table), Registry(table)
        self.stripe_url = stripe_url
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
        key_hash = sha256_hex(key) if key else None
        opening = self.store.opening("acme", idempotency_key_hash=key_hash)
        assert opening.workspace is not None
        clock = Clock(now_ms(), 18.0)
        answer = Intake(self.store, self._lifecycle(clock), clock, PLENTY, 0).submit(
            opening.workspace, opening.record, SUBMISSIONS[Kind.PURCHASED_PHONE], key_hash
        )
        return [key, json.loads(answer.body)["line"]["_id"], answer.replayed, answer.body]

    def settle(self) -> None:
        """Pay, cancel or look at whatever awaits payment."""
        line = self._holder()
        if line is None:
            return
        choice = self.chance.choice(["pay", "cancel", "look"])
        lifecycle = self._lifecycle(Clock(now_ms(), 18.0))
        if choice == "cancel":
            lifecycle.close(line, VoidReason.CANCELED)
        elif choice == "look":
            lifecycle.look(line)
        elif line.payment_url is not None and line.invoice_id is not None:
            try:
                urllib.request.urlopen(f"{line.payment_url}/pay", data=b"", timeout=20).close()
            except urllib.error.HTTPError:
                return  # somebody else has paid or canceled
            lifecycle.observe(line, lifecycle.billing.retrieve(line.invoice_id))  # as the webhook does

    def provision(self) -> None:
        lines, _ = self.store.lines_page("acme", limit=20, before=None, status=Status.PROVISIONING)
        for line in lines:
            if self.chance.random() < 0.6:
                self.store.provisioning_failed(line, "failed", now_ms())
            else:
                self.store.provisioned(line, now_ms())

    def _holder(self) -> Line | None:
        workspace = self.registry.workspace("acme")
        assert workspace is not None
        return self.store.line("acme", workspace.lock) if workspace.lock else None

    def _lifecycle(self, clock: Clock) -> Lifecycle:
        def billing(_: object) -> Billing:
            return Billing("sk_test_product", api_base=self.stripe_url, remaining_s=clock.remaining_s)

        return Lifecycle(self.store, self.registry, billing, clock, 0)


def now_ms() -> int:
    return int(time.time() * 1000)


def live(endpoint: str, table_name: str, stripe_url: str, seed: int, acts: int) -> list[Outcome]:
    contenders = [Contender(endpoint, table_name, stripe_url, seed * THREADS + number) for number in range(THREADS)]
    _start.wait(timeout=60)
    with ThreadPoolExecutor(THREADS) as pool:
        lived = list(pool.map(Contender.live, contenders, [acts] * THREADS))
    return [outcome for outcomes in lived for outcome in outcomes]


def start_together(start: Barrier) -> None:
    """Prepare this process: nobody begins before all are there, so each of them gets one share."""
    global _start  # noqa: PLW0603 - a barrier can only be inherited
    _start = start
