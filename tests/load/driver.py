"""The clients of a load run, in a process of their own: `python -m tests.load.driver ORIGIN SECONDS CLIENTS SEED`.

Prints one JSON object: what was called, how long it took, and what was answered that should not have been.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Json = dict[str, Any]

LINE_REQUESTS = "/api/line-requests"
INCLUDED_IN_SCALE = [{"channelType": "phone"}] * 5 + [{"channelType": "email", "email": "a@example.com"}] * 5
WEBHOOK_MODES = ["deliver", "duplicate", "reverse", "drop"]
MODE_SECONDS, RECONCILE_SECONDS, PROGRESS_SECONDS = 5, 4, 10
ROUNDS_PER_WORKSPACE = 5
# Longer than a poll is answered with what is stored, so that the next poll makes up for a lost webhook.
SETTLED_WITHIN_SECONDS = 25


@dataclass
class Workspace:
    """A workspace to live in, and what it has been answered."""

    id: str
    api_key: str


@dataclass
class Driver:
    """Clients that live on one local stack until the time is over."""

    http: httpx.AsyncClient
    ends_at: float
    chance: random.Random
    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    workspaces: list[str] = field(default_factory=list)
    lines: dict[str, str] = field(default_factory=dict)
    answers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    hot_key: str = "shared"

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends_at

    async def call(
        self,
        name: str,
        method: str,
        path: str,
        expected: set[int],
        key: str = "-",
        **request: Any,  # noqa: ANN401 - httpx's own
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} | request.pop("headers", {})
        started = time.perf_counter()
        answer = await self.http.request(method, path, headers=headers, **request)
        self.latencies_ms[name].append((time.perf_counter() - started) * 1000)
        self.statuses[f"{name} {answer.status_code}"] += 1
        if answer.status_code not in expected:
            self.wrong.append(f"{name}: {answer.status_code}, not {sorted(expected)}: {answer.text[:300]}")
        return answer

    async def workspace(self, plan: str) -> Workspace:
        made = (await self.call("(new workspace)", "POST", "/_local/workspaces", {201}, json={"plan": plan})).json()
        self.workspaces.append(made["workspaceId"])
        return Workspace(made["workspaceId"], made["apiKey"])

    async def create(
        self, name: str, workspace: Workspace, expected: set[int], key: str | None = None, **body: str
    ) -> httpx.Response:
        """Ask for a line, and remember what was answered."""
        fields = {"firstName": "Load", "lastName": "Line", "channelType": "phone"} | body
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self.call(name, "POST", LINE_REQUESTS, expected, workspace.api_key, json=fields, headers=headers)
        if answer.status_code == 201:
            self.lines[answer.json()["line"]["_id"]] = workspace.id
            if key:
                self.answers[f"{workspace.id} {key}"].add(answer.text)
        return answer

    async def newcomer(self) -> None:
        """Takes all that the plan includes, retries with the same keys, polls and lists."""
        workspace = await self.workspace("scale")
        for number, body in enumerate(INCLUDED_IN_SCALE):
            if self.over:
                return
            key = f"included-{number}"
            line = (await self.create("create, included", workspace, {201}, key, **body)).json()["line"]
            again = await self.create("replay", workspace, {201}, key, **body)
            if again.headers.get("Idempotency-Replayed") != "true":
                self.wrong.append(f"replay: not marked as one: {again.text[:300]}")
            for _ in range(2):
                await self.poll(workspace, line["_id"])
        await self.call("list", "GET", LINE_REQUESTS, {200}, workspace.api_key)
        await self.call("webhook, forged", "POST", "/stripe/webhook", {400}, content=b"{}")

    async def payer(self) -> None:
        """Pays for lines one after the other, and cancels some."""
        workspace = await self.workspace("starter")
        await self.create("create, included", workspace, {201})
        for number in range(ROUNDS_PER_WORKSPACE):
            if self.over:
                return
            key = f"paid-{number}"
            asked = (await self.create("create, to be paid", workspace, {201}, key)).json()
            await self.create("create, blocked", workspace, {409})
            await self.create("replay", workspace, {201}, key)
            await self.poll(workspace, asked["line"]["_id"])
            await self.settle(workspace, asked["line"]["_id"], asked["paymentUrl"])

    async def settle(self, workspace: Workspace, line_id: str, payment_url: str) -> None:
        path = f"{LINE_REQUESTS}/{line_id}"
        if self.chance.random() < 0.25:
            await self.call("cancel", "POST", path, {200}, workspace.api_key, json={"action": "cancel"})
            return
        await self.call("payment link", "POST", path, {200}, workspace.api_key, json={"action": "payment_link"})
        await self.call("(pay)", "POST", f"{payment_url}/pay", {200, 303})
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while (await self.poll(workspace, line_id)) == "awaiting_payment":
            if time.monotonic() > deadline:
                self.wrong.append(f"{line_id} was paid, and polls do not see it")
                return
            await asyncio.sleep(0.5)

    async def hot(self) -> None:
        """One of several who crowd one workspace: mostly refused, because of the lock or the rate limit."""
        workspace = self.hot_workspace
        key = f"hot-{self.chance.randrange(10**9)}" if self.chance.random() < 0.5 else self.hot_key
        answer = await self.create("create, hot", workspace, {201, 409, 429}, key)
        if answer.status_code == 429:
            await asyncio.sleep(min(2.0, answer.json()["retryAfterMs"] / 1000))
            return
        line = answer.json().get("existingLine") or answer.json()["line"]
        status = await self.poll(workspace, line["_id"])
        if status != "awaiting_payment" or self.chance.random() < 0.5:
            return
        if self.chance.random() < 0.3:
            self.hot_key = f"shared-{self.chance.randrange(10**9)}"
        if self.chance.random() < 0.3:
            cancel = {"action": "cancel"}
            await self.call(
                "cancel", "POST", f"{LINE_REQUESTS}/{line['_id']}", {200, 409}, workspace.api_key, json=cancel
            )
        elif line.get("paymentLinkUrl"):
            await self.call("(pay)", "POST", f"{line['paymentLinkUrl']}/pay", {200, 303, 400, 402, 409})

    async def poll(self, workspace: Workspace, line_id: str) -> str:
        answer = await self.call("poll", "GET", f"{LINE_REQUESTS}/{line_id}", {200}, workspace.api_key)
        return str(answer.json().get("status"))

    async def weather(self) -> None:
        """Webhooks come once, twice, reversed or never."""
        mode = {"mode": self.chance.choice(WEBHOOK_MODES)}
        await self.call("(webhook mode)", "POST", "/_local/webhooks", {200}, json=mode)
        await asyncio.sleep(MODE_SECONDS)

    async def reconcile(self) -> None:
        await asyncio.sleep(RECONCILE_SECONDS)
        answer = await self.call("reconcile", "POST", "/_local/reconcile", {200}, json={}, timeout=120)
        if answer.json().get("failed") != 0:
            self.wrong.append(f"reconcile: {answer.text}")

    async def progress(self) -> None:
        await asyncio.sleep(PROGRESS_SECONDS)
        calls, left = sum(map(len, self.latencies_ms.values())), max(0, int(self.ends_at - time.monotonic()))
        print(f"  {calls} calls, {len(self.wrong)} wrong, {left} s to go", file=sys.stderr, flush=True)

    async def live(self, clients: int) -> None:
        asked_at = time.monotonic()
        self.hot_workspace = await self.workspace("starter")
        self.ends_at += time.monotonic() - asked_at  # the load begins now
        crowd = [self.newcomer, self.payer, self.hot, self.payer]
        lives = [crowd[number % len(crowd)] for number in range(clients)]
        await asyncio.gather(*(self._again(life) for life in [*lives, self.weather, self.reconcile, self.progress]))

    async def _again(self, life: Callable[[], Awaitable[None]]) -> None:
        while not self.over:
            try:
                await life()
            except (httpx.HTTPError, KeyError, ValueError, TypeError) as error:
                self.wrong.append(f"{life.__name__}: {error!r}")
                await asyncio.sleep(0.5)


async def main(origin: str, seconds: float, clients: int, seed: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients + 4)
    async with httpx.AsyncClient(base_url=origin, timeout=40, limits=limits) as http:
        driver = Driver(http, time.monotonic() + seconds, random.Random(seed))
        started = time.monotonic()
        await driver.live(clients)
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - started,
                "latenciesMs": driver.latencies_ms,
                "statuses": driver.statuses,
                "wrong": driver.wrong,
                "workspaces": driver.workspaces,
                "lines": driver.lines,
                "answers": {key: sorted(given) for key, given in driver.answers.items()},
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
