"""What a workspace is charged over months, on the local stack with its clock moved."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from line_requests.storage.records import due_shard
from tests.local.demo import ADD_ON_PRICES, BASE_PRICES
from tests.local.ministack import ROOT
from tests.stories.world import EMAIL, LINES, Workspace, World, eventually, world_on
from tests.trace.check import checked_stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stripe import Invoice, InvoiceItem, InvoiceLineItem

DAY_S = 86_400
MONTH_S = 31 * DAY_S  # no month is longer
PAGE = (ROOT / "docs/billing.md").read_text(encoding="utf-8")
BASE, PHONE = BASE_PRICES["starter"], ADD_ON_PRICES["purchased_phone"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A stack of their own: time in this process follows its clock until it stops."""
    with checked_stack() as stack, world_on(stack) as world:
        yield world


@pytest.fixture
def workspace(world: World) -> Workspace:
    """A workspace whose included line is in use; the subscriptions of earlier stories no longer renew."""
    world.stack.demo.stop_renewals()
    return world.workspace().full()


def advance(world: World, seconds: int) -> None:
    # In twelve steps, each with a run of the reconciler: the page's command takes sixty. No client's time-out ends it.
    world.stack.advance_clock(seconds, runs=12)


def period(world: World, workspace: Workspace) -> tuple[int, int]:
    """The current period of the customer's newest subscription."""
    [newest, *_] = world.stripe.v1.subscriptions.list({"customer": workspace.customer}).data
    [item, *_] = newest["items"].data
    return item.current_period_start, item.current_period_end


def quantities(world: World, workspace: Workspace) -> dict[int, int]:
    """The quantity of each price on the newest subscription, by its unit amount."""
    [newest, *_] = world.stripe.v1.subscriptions.list({"customer": workspace.customer}).data
    return {item.price.unit_amount or 0: item.quantity or 0 for item in newest["items"].data}


def invoices(world: World, workspace: Workspace) -> Sequence[Invoice]:
    """All of the customer's, oldest first."""
    return world.stripe.v1.invoices.list({"customer": workspace.customer, "limit": 100}).data[::-1]


def pending(world: World, workspace: Workspace) -> Sequence[InvoiceItem]:
    """What waits for the next invoice."""
    return world.stripe.v1.invoice_items.list({"customer": workspace.customer, "pending": True}).data


def paid_line(world: World, workspace: Workspace) -> str:
    """A line beyond the plan, paid and active; its quantity is set."""
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    line_id: str = created["line"]["_id"]
    eventually(lambda: workspace.status(line_id) == "active")
    world.reconcile()
    assert quantities(world, workspace) == {BASE: 1, PHONE: 1}
    return line_id


def prorated(charge: InvoiceLineItem | InvoiceItem, start_s: int, end_s: int) -> int:
    """Contract 51: the unit amount times the seconds left, by the length of the period, rounded half up."""
    assert charge.period.end == end_s
    left_s = end_s - charge.period.start
    assert 0 < left_s <= end_s - start_s
    return (2 * PHONE * left_s + (end_s - start_s)) // (2 * (end_s - start_s))


def blocks(kind: str) -> list[str]:
    """The fenced blocks of this kind on the page about billing."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run_the_command_of_the_page(world: World) -> None:
    """It lets a month pass, and prints what the page shows; `…` stands for anything."""
    [block] = blocks("console")
    command, shown = block.removeprefix("$ ").rstrip().split("\n")
    environment = {"PATH": os.environ["PATH"], "API": world.stack.origin}
    printed = subprocess.check_output(["bash", "-c", command], env=environment, text=True)
    assert re.fullmatch(".*".join(re.escape(part) for part in shown.split("…")), printed), printed


def statement(world: World, workspace: Workspace) -> list[str]:
    """The customer's invoices and what each period costs, as the page shows them."""
    names = {"subscription_create": "Subscription", "manual": "Line", "subscription_cycle": "Renewal"}
    listed = "".join(
        f"{names[str(invoice.billing_reason)]:<14}{invoice.status:<6}{dollars(invoice.total):>7}  "
        + ", ".join(f"{line.quantity} x {line.description} {dollars(line.amount)}" for line in by_amount(invoice))
        + "\n"
        for invoice in invoices(world, workspace)
    )
    each = sorted(quantities(world, workspace).items(), reverse=True)
    return [listed, "".join(f"{quantity} x {dollars(amount)} a month\n" for amount, quantity in each)]


def by_amount(invoice: Invoice) -> Sequence[InvoiceLineItem]:
    return sorted(invoice.lines.data, key=lambda line: -line.amount)


def dollars(amount: int) -> str:
    return f"${amount / 100:.2f}"


def is_due(world: World, workspace: Workspace, at_ms: int) -> bool:
    """Whether the reconciler's run at that time would settle the workspace."""
    due, start = world.stores.due.page(int(due_shard(workspace.id)), at_ms)
    assert start is None
    return any(one.workspace_id == workspace.id and one.line_id is None for one in due)


def test_time_passes_for_every_part_of_the_stack(world: World, workspace: Workspace) -> None:
    token = world.control("session-tokens", workspaceId=workspace.id)["token"]
    before = datetime.fromisoformat(world.stack.now())

    advanced = world.control("clock", advanceSeconds=120)

    assert advanced["reconcilerRuns"] == 2
    moved = datetime.fromisoformat(advanced["now"])
    assert moved >= before + timedelta(seconds=120)
    assert world.http.get("/_local/state").json()["now"] >= advanced["now"]
    # The gateway: the token of before has expired by its time, one of now is good.
    assert workspace.send("GET", LINES, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    token = world.control("session-tokens", workspaceId=workspace.id)["token"]
    assert workspace.send("GET", LINES, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    # The functions: a line's id begins with the milliseconds of its request. The bus and the provisioner.
    line_id = workspace.included(EMAIL)["line"]["_id"]
    assert int(line_id[:12], 16) >= moved.timestamp() * 1000
    eventually(lambda: workspace.status(line_id) == "active")
    # Stripe, and the product's check of its signatures.
    double = world.stack.double
    seen = len(double.webhook_deliveries)
    workspace.change(plan="scale")
    [subscription] = [one for one in double.all_of("subscription") if one["id"] == workspace.subscription]
    assert subscription["created"] < double.advance(0)
    assert double.flush()
    assert {delivery.status for delivery in double.webhook_deliveries[seen:]} == {200}


def test_paid_line_is_renewed_with_the_plan_and_charged_once(world: World, workspace: Workspace) -> None:
    """[50] [52] A month passes in two pieces; docs/billing.md shows what comes of it."""
    paid_line(world, workspace)
    _, end_s = period(world, workspace)
    assert is_due(world, workspace, end_s * 1000)
    assert not is_due(world, workspace, end_s * 1000 - 1)

    advance(world, DAY_S)
    run_the_command_of_the_page(world)

    first, line, renewal = invoices(world, workspace)
    assert (first.billing_reason, first.total) == ("subscription_create", BASE)
    assert (line.billing_reason, line.total) == ("manual", PHONE)  # requested seconds after the period's start
    assert (renewal.billing_reason, renewal.status, renewal.total) == ("subscription_cycle", "paid", BASE + PHONE)
    assert sorted((charge.amount, charge.quantity) for charge in renewal.lines.data) == [(PHONE, 1), (BASE, 1)]
    assert pending(world, workspace) == []
    assert statement(world, workspace) == blocks("text")
    start_s, next_end_s = period(world, workspace)
    assert start_s == end_s
    assert is_due(world, workspace, next_end_s * 1000)
    assert not is_due(world, workspace, next_end_s * 1000 - 1)


def test_line_requested_within_a_period_pays_for_the_rest_of_it(world: World, workspace: Workspace) -> None:
    """[51] By the second."""
    advance(world, 10 * DAY_S)
    requested_s = world.stack.double.advance(0)

    created = workspace.awaiting()

    [charge] = world.stripe.v1.invoices.retrieve(created["line"]["stripeInvoiceId"]).lines.data
    assert requested_s <= charge.period.start <= world.stack.double.advance(0)
    assert charge.amount == prorated(charge, *period(world, workspace)) < PHONE


def test_payment_after_a_renewal_is_charged_by_one_pending_item(world: World, workspace: Workspace) -> None:
    """[52] The time between the end of the invoice's coverage and its payment is free."""
    line_id = workspace.awaiting()["line"]["_id"]
    advance(world, MONTH_S + 5 * DAY_S)
    assert pending(world, workspace) == []
    paid_s = world.stack.double.advance(0)

    world.pay(workspace.get(line_id).json()["paymentUrl"])  # the address of before has expired
    eventually(lambda: workspace.status(line_id) == "active")
    world.reconcile()
    world.reconcile()

    [item] = pending(world, workspace)
    assert paid_s <= item.period.start <= world.stack.double.advance(0)
    assert item.amount == prorated(item, *period(world, workspace))
    assert quantities(world, workspace) == {BASE: 1, PHONE: 1}


def test_resubscription_charges_what_the_new_period_has_beyond_the_old(world: World, workspace: Workspace) -> None:
    """[52] The line stays covered to the end of the canceled subscription's period."""
    paid_line(world, workspace)
    _, covered_until_s = period(world, workspace)
    advance(world, 10 * DAY_S)
    workspace.change(cancel=True)
    world.quiet()
    assert pending(world, workspace) == []

    workspace.change(resubscribe=True)
    world.quiet()
    world.reconcile()
    world.reconcile()

    start_s, end_s = period(world, workspace)
    assert start_s < covered_until_s < end_s
    [item] = pending(world, workspace)
    assert item.period.start == covered_until_s
    assert item.amount == prorated(item, start_s, end_s)
    assert quantities(world, workspace) == {BASE: 1, PHONE: 1}
