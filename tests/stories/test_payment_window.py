"""The payment window. The local deployment has none: these functions are copies with a window of a second."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

import pytest

from tests.stories.functions import Functions
from tests.stories.world import EMAIL, LINES, PHONE, Workspace, World

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW_S = 1.08


@pytest.fixture
def windowed(world: World) -> Iterator[Functions]:
    with Functions(world.stack, PAYMENT_WINDOW_HOURS=str(WINDOW_S / 3600)) as functions:
        yield functions


@pytest.fixture
def asked(workspace: Workspace, windowed: Functions) -> tuple[str, float]:
    """Requests a line; returns its id and when it expires."""
    workspace.included()
    before = time.time()
    created = windowed.ask("create_line_request", "POST", LINES, workspace.api_key, PHONE)
    after = time.time()
    expires_at = created.json()["expiresAt"]
    assert created.status_code == 201
    assert expires_at.endswith("Z")
    expires_s = datetime.datetime.fromisoformat(expires_at).timestamp()
    assert before + WINDOW_S - 0.01 <= expires_s <= after + WINDOW_S
    return created.json()["line"]["_id"], expires_s


def wait_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.time()) + 0.01)


def test_poll_after_payment_window_cancels(workspace: Workspace, windowed: Functions, asked: tuple[str, float]) -> None:
    """[16] [47] expiresAt in UTC; the invoice is void before the request is canceled."""
    line_id, expires_s = asked
    invoice_id = workspace.line(line_id)["stripeInvoiceId"]
    wait_until(expires_s)
    polled = windowed.ask("get_line_request", "GET", f"{LINES}/{line_id}", workspace.api_key)
    assert (polled.json()["status"], workspace.invoice(invoice_id)["status"]) == ("canceled", "void")
    assert workspace.create(EMAIL).status_code == 201


def test_reconciler_after_payment_window_cancels(
    world: World, workspace: Workspace, windowed: Functions, asked: tuple[str, float]
) -> None:
    """[47] Void first; without any client."""
    line_id, expires_s = asked
    invoice_id = workspace.line(line_id)["stripeInvoiceId"]
    wait_until(expires_s)
    calls = world.calls()
    # The schedule has whole seconds.
    tick = {"time": datetime.datetime.fromtimestamp(int(expires_s) + 1, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    wait_until(int(expires_s) + 1)
    windowed.invoke("reconciler", tick)
    assert (workspace.status(line_id), workspace.invoice(invoice_id)["status"]) == ("canceled", "void")
    assert f"/v1/invoices/{invoice_id}/void" in [call.path for call in calls()]


def test_payment_in_time_wins_over_expired_window(
    world: World, workspace: Workspace, windowed: Functions, asked: tuple[str, float]
) -> None:
    """[47] [16] The webhook was lost and the poll comes late."""
    line_id, expires_s = asked
    world.webhooks("drop")
    world.pay(workspace.line(line_id)["paymentLinkUrl"])
    wait_until(expires_s)
    polled = windowed.ask("get_line_request", "GET", f"{LINES}/{line_id}", workspace.api_key)
    assert polled.json()["paymentStatus"] == "paid"


def test_payment_window_changes_nothing_before_its_end(world: World, workspace: Workspace) -> None:
    """[16] expiresAt is the same in the 201, in a poll and in a replay."""
    workspace.included()
    with Functions(world.stack, PAYMENT_WINDOW_HOURS="48") as windowed:
        body = PHONE | {"idempotencyKey": "k"}
        created = windowed.ask("create_line_request", "POST", LINES, workspace.api_key, body)
        line_id = created.json()["line"]["_id"]
        polled = windowed.ask("get_line_request", "GET", f"{LINES}/{line_id}", workspace.api_key)
        again = windowed.ask("create_line_request", "POST", LINES, workspace.api_key, body)
    assert created.json()["expiresAt"] == polled.json()["expiresAt"]
    assert polled.json()["status"] == "awaiting_payment"
    assert again.content == created.content
