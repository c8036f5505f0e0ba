"""How long an operator waits: the first page of `line list` among 100,000 lines, `doctor` on 1,000 workspaces."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from statistics import median
from typing import Any

import urllib3

from benchmark.reconcile import put
from benchmark.world import World
from line_requests.domain.model import Change, Line, PaymentStatus, Status, Subscription, Workspace
from line_requests.domain.prices import Period
from line_requests.domain.submission import Kind
from line_requests.operator import cli
from line_requests.operator.counting import counted
from line_requests.storage import records
from line_requests.storage.attributes import Item
from tests.decision.examples import SUBMISSIONS

WORKSPACES, LINES = 1_000, 100_000
ROUNDS = 5
DAY_MS = 86_400_000
KIND = Kind.PURCHASED_PHONE


def measure(world: World, workspaces: int = WORKSPACES, lines: int = LINES) -> dict[str, float]:
    """Seconds of each command, in this process: without the start of Python."""
    started_s = time.monotonic()
    shown = _seed(world, workspaces, lines // workspaces)
    print(f" seeded in {time.monotonic() - started_s:.0f} s;", end="", flush=True)
    figures = {
        "list_first_page_seconds": median(_run("line", "list")[0] for _ in range(ROUNDS)),
        "show_line_seconds": median(_run("line", "show", shown)[0] for _ in range(ROUNDS)),
        "workspace_list_seconds": _run("workspace", "list", "--near-cap")[0],
    }
    figures["doctor_seconds"], found = _run("doctor")
    wrong = {row["check"]: row["detail"] for row in found if row["result"] == "fault"}
    assert not wrong.keys() & {"table", "counters", "locks", "operator's index", "add-on quantities"}, wrong
    return figures


def _run(*argv: str) -> tuple[float, Any]:
    """How long a command took, and what it showed."""
    shown, started_s = StringIO(), time.monotonic()
    with redirect_stdout(shown), redirect_stderr(StringIO()):
        cli.main([*argv, "--json"])
    return time.monotonic() - started_s, json.loads(shown.getvalue())


def _seed(world: World, workspaces: int, lines_each: int) -> str:
    """Workspaces whose counts are those of their lines; returns an active line's id."""
    http = urllib3.PoolManager(maxsize=8)

    def post(path: str, **form: str) -> str:
        url, headers = f"{world.double.url}/v1/{path}", {"Authorization": "Bearer sk_test_seed"}
        answer = http.request_encode_body("POST", url, form, headers, encode_multipart=False)
        assert answer.status == 200, answer.data
        return str(json.loads(answer.data)["id"])

    def workspace(number: int) -> tuple[Workspace, list[Line]]:
        plan, now_s = world.plans["roomy"], int(world.now_s())
        customer = post("customers", name=f"scale-{number}")
        subscription = post("subscriptions", customer=customer, **{"items[0][price]": plan.base_prices[0]})
        snapshot = Subscription(
            subscription,
            "active",
            plan.name,
            plan.allowances,
            currency="usd",
            period=Period(now_s, now_s + 30 * 86_400),
        )
        made = Workspace(f"scale-{number}", customer, livemode=False, revision=1, subscription=snapshot)
        lines = list(_lines(number, lines_each, now_s * 1000))
        return counted(made, lines), lines

    with ThreadPoolExecutor(8) as pool:
        for made, lines in pool.map(workspace, range(workspaces)):
            put(world, [_item(made), *map(records.line_item, lines)])
    return lines[-1].id


def _item(workspace: Workspace) -> Item:
    assert workspace.subscription is not None
    item = records.new_workspace_item(workspace.id, workspace.customer, livemode=False)
    item |= {name: dict(getattr(workspace, name)) for name in ("held", "unpaid")}
    item |= {"subscription": records.subscription_item(workspace.subscription)}
    return item | ({"lock": workspace.lock, "lock_kind": str(workspace.lock_kind)} if workspace.lock else {})


def _lines(workspace: int, count: int, now_ms: int) -> Iterator[Line]:
    """Of a hundred lines, one has failed, one is to be refunded, every tenth workspace waits; the others are active."""
    statuses = [Status.FAILED, Status.CANCELED] + ([] if workspace % 10 else [Status.AWAITING_PAYMENT])
    statuses += [Status.ACTIVE] * (count - len(statuses))
    paid = {Status.AWAITING_PAYMENT: PaymentStatus.AWAITING_PAYMENT, Status.CANCELED: PaymentStatus.PAID}
    for number, status in enumerate(statuses):
        at_ms = now_ms - DAY_MS + 1_000 * workspace + number
        yield Line(
            id=f"{at_ms:012x}{workspace:06x}{number:06x}",
            workspace_id=f"scale-{workspace}",
            submission=SUBMISSIONS[KIND],
            status=status,
            payment_status=paid.get(status, PaymentStatus.NOT_REQUIRED),
            created_at_ms=at_ms,
            history=(Change(at_ms, Status.PROVISIONING, "included"), Change(at_ms + 9, status, "a measurement")),
            refund_due=status is Status.CANCELED,
        )
