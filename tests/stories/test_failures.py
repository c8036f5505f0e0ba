from __future__ import annotations

from typing import Any

import pytest

from tests.local.demo import PRODUCT_API_KEY
from tests.stories.world import EMAIL, PHONE, STEPS, Workspace, World, eventually

KINDS = ["error_before", "error_after", "rate_limit"]


def half_made(world: World, kind: str, step: str) -> tuple[Workspace, str]:
    """A request that a failure of Stripe stopped at that step, and its line; the failure has ended."""
    workspace = world.workspace().full()
    world.faults(kind, path=STEPS[step])
    answer = workspace.create(key="k")
    assert answer.status_code in {201, 503}, answer.text  # 201: it found what Stripe did despite the error
    world.no_faults()
    return workspace, workspace.lines()[0]["_id"]


def pending_items(workspace: Workspace) -> list[Any]:
    """The items that the next invoice of the workspace's customer would charge."""
    items = workspace.world.stack.double.all_of("invoiceitem")
    return [item for item in items if item["customer"] == workspace.customer and item["invoice"] is None]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_same_key_finishes_the_request_after_failure_at_any_step(world: World, kind: str, step: str) -> None:
    """[33] [34] The same _id, one invoice, finalized."""
    workspace, line_id = half_made(world, kind, step)
    again = workspace.create(key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line_id)
    assert workspace.finished_once(line_id)
    assert workspace.create(key="k").content == again.content
    assert len(workspace.lines()) == 2


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_poll_finishes_the_request_after_failure_at_any_step(world: World, kind: str, step: str) -> None:
    """[34] [33] Without the key."""
    workspace, line_id = half_made(world, kind, step)
    polled = workspace.get(line_id).json()
    assert (polled["status"], bool(polled["paymentUrl"])) == ("awaiting_payment", True)
    assert workspace.finished_once(line_id)
    assert workspace.create(key="k").json()["line"]["_id"] == line_id


@pytest.mark.parametrize("by", ["key", "poll", "reconciler"])
def test_draft_deleted_by_hand_is_created_again(world: World, by: str) -> None:
    """[23] [27] [34] Deleted at Stripe while the request was half made."""
    workspace, line_id = half_made(world, "error_before", "finalize")
    [draft] = workspace.invoices()
    world.webhooks("drop")  # the webhook of the deletion would repair it first
    world.stripe.v1.invoices.delete(draft["id"])
    if by == "key":
        assert workspace.create(key="k").status_code == 201
    elif by == "poll":
        assert workspace.get(line_id).json()["paymentUrl"]
    else:
        world.reconcile()
    assert workspace.finished_once(line_id)
    assert pending_items(workspace) == []


@pytest.mark.parametrize("kind", KINDS)
def test_reconciler_finishes_the_request_after_failure_at_any_step(world: World, kind: str) -> None:
    """[34] [47] Without any client."""
    left = [half_made(world, kind, step) for step in STEPS]
    world.reconcile()
    for workspace, line_id in left:
        assert workspace.finished_once(line_id)
        world.pay(workspace.line(line_id)["paymentLinkUrl"])
    for workspace, line_id in left:
        eventually(lambda: workspace.line(line_id)["paymentStatus"] == "paid")  # noqa: B023 - looked at at once


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["error_before", "error_after"])
def test_single_stripe_failure_is_retried_within_the_request(world: World, kind: str, step: str) -> None:
    """[33] The retry makes no second invoice."""
    workspace = world.workspace().full()
    world.faults(kind, count=1, path=STEPS[step])
    created = workspace.create()
    assert created.status_code == 201
    assert workspace.finished_once(created.json()["line"]["_id"])


def test_permanent_refusal_by_stripe_cancels_the_request_with_502(world: World, workspace: Workspace) -> None:
    """[34] The body names what to fix; the lock is free, no invoice is left, an alarm is raised."""
    workspace.included()
    world.webhooks("drop")
    world.stripe.v1.customers.delete(workspace.customer)
    refused = workspace.create(key="k")
    assert (refused.status_code, set(refused.json())) == (502, {"error"})
    assert "customer" in refused.json()["error"]
    canceled = workspace.lines()[0]
    assert (canceled["provisioningStatus"], canceled["paymentStatus"]) == ("canceled", "canceled")
    assert workspace.invoices() == []
    assert workspace.create(EMAIL).status_code == 201
    eventually(lambda: world.alarmed("BillingRefused", canceled["_id"]))


@pytest.mark.parametrize("refusal", ["revoked_api_keys", "forbidden_api_keys"])
def test_refused_stripe_key_keeps_the_request_and_alarms(world: World, workspace: Workspace, refusal: str) -> None:
    """[34] 401 and 403 are never permanent."""
    workspace.included()
    world.quiet()
    refused_keys: set[str] = getattr(world.stack.double, refusal)
    refused_keys.add(PRODUCT_API_KEY)
    try:
        assert workspace.create(key="k").status_code == 503
    finally:
        refused_keys.discard(PRODUCT_API_KEY)
    line = workspace.lines()[0]
    assert line["provisioningStatus"] == "awaiting_payment"
    eventually(lambda: world.alarmed("StripeRefused", line["_id"]))
    finished = workspace.create(key="k")
    assert (finished.status_code, finished.json()["line"]["_id"]) == (201, line["_id"])
    assert workspace.finished_once(line["_id"])


@pytest.mark.parametrize("kind", ["error_before", "error_after"])
@pytest.mark.parametrize("step", STEPS)
def test_canceled_half_made_request_leaves_nothing_to_pay(world: World, kind: str, step: str) -> None:
    """[41] No draft, and no item that the customer's next invoice would charge."""
    workspace, line_id = half_made(world, kind, step)
    assert workspace.manage(line_id, "cancel").json()["status"] == "canceled"
    assert [invoice["status"] for invoice in workspace.invoices() if invoice["status"] != "void"] == []
    assert pending_items(workspace) == []


def test_reconciler_alarms_when_stripe_key_lacks_permission(world: World, workspace: Workspace) -> None:
    """[34] [47] [50] Otherwise add-ons go unbilled and lost webhooks unheard, and nobody knows."""
    workspace.included()
    world.quiet()
    world.stack.double.forbidden_api_keys.add(PRODUCT_API_KEY)
    try:
        assert world.reconcile()["failed"] >= 2
    finally:
        world.stack.double.forbidden_api_keys.discard(PRODUCT_API_KEY)
    for subject in ("feed", workspace.id):
        eventually(lambda: world.alarmed("StripeRefused", subject))  # noqa: B023 - looked at at once


def test_plan_edited_meanwhile_does_not_change_the_charge(world: World) -> None:
    """[33] [34] The charge is frozen with the line: the retry is the same call."""
    workspace, line_id = half_made(world, "error_before", "item")
    world.webhooks("drop")
    workspace.change(status="past_due")
    again = workspace.create(PHONE | {"firstName": "Grace"}, key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line_id)
    assert again.headers["Idempotency-Mismatch"] == "true"
    assert workspace.finished_once(line_id)
