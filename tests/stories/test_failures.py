from __future__ import annotations

from typing import Any

import pytest

from tests.local.demo import PRODUCT_API_KEY
from tests.stories.world import EMAIL, PHONE, STEPS, Workspace, World, eventually

KINDS = ["error_before", "error_after", "rate_limit"]


def half_made(world: World, kind: str, step: str) -> tuple[Workspace, str]:
    """A request that Stripe's failure has stopped at that step, and its line; the failure is over."""
    workspace = world.workspace().full()
    world.faults(kind, path=STEPS[step])
    answer = workspace.create(key="k")
    assert answer.status_code in {201, 503}, answer.text  # 201: it has found what happened despite the error
    world.no_faults()
    return workspace, workspace.lines()[0]["_id"]


def pending_items(workspace: Workspace) -> list[Any]:
    """What the next invoice of the workspace's customer would charge."""
    items = workspace.world.stack.double.all_of("invoiceitem")
    return [item for item in items if item["customer"] == workspace.customer and item["invoice"] is None]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_finishes_the_same_request(world: World, kind: str, step: str) -> None:
    """[33] [34] Whatever fails at whatever step: the same _id, one invoice, finished."""
    workspace, line_id = half_made(world, kind, step)
    again = workspace.create(key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line_id)
    assert workspace.finished_once(line_id)
    assert workspace.create(key="k").content == again.content
    assert len(workspace.lines()) == 2


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_poll_finishes_it(world: World, kind: str, step: str) -> None:
    """[34] [33] Without the key, by anyone who looks."""
    workspace, line_id = half_made(world, kind, step)
    polled = workspace.get(line_id).json()
    assert (polled["status"], bool(polled["paymentUrl"])) == ("awaiting_payment", True)
    assert workspace.finished_once(line_id)
    assert workspace.create(key="k").json()["line"]["_id"] == line_id


@pytest.mark.parametrize("by", ["key", "poll", "reconciler"])
def test_a_draft_that_somebody_deleted_is_made_again(world: World, by: str) -> None:
    """[23] [27] [34] By hand, at Stripe, while the request was half made."""
    workspace, line_id = half_made(world, "error_before", "finalize")
    [draft] = workspace.invoices()
    world.webhooks("drop")  # of its deletion, which would have the webhook look meanwhile
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
def test_the_reconciler_finishes_it_without_any_client(world: World, kind: str) -> None:
    """[34] [47] Stopped at whatever step; nobody asks again, and still it can be paid."""
    left = [half_made(world, kind, step) for step in STEPS]
    world.reconcile()
    for workspace, line_id in left:
        assert workspace.finished_once(line_id)
        world.pay(workspace.line(line_id)["paymentLinkUrl"])
    for workspace, line_id in left:
        eventually(lambda: workspace.line(line_id)["paymentStatus"] == "paid")  # noqa: B023 - looked at at once


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["error_before", "error_after"])
def test_one_failure_is_outlasted_at_once(world: World, kind: str, step: str) -> None:
    """[33] A single bad answer costs a repetition, not the request; the repetition makes no second invoice."""
    workspace = world.workspace().full()
    world.faults(kind, count=1, path=STEPS[step])
    created = workspace.create()
    assert created.status_code == 201
    assert workspace.finished_once(created.json()["line"]["_id"])


def test_stripe_unreachable_is_503_and_not_the_workspaces_fault(world: World, workspace: Workspace) -> None:
    """[34] The body says nothing of Stripe's own words; Retry-After is there."""
    workspace.included()
    world.faults("error_before")
    answer = workspace.create(key="k")
    assert (answer.status_code, set(answer.json())) == (503, {"error"})
    assert int(answer.headers["Retry-After"]) > 0
    assert "support@stripe.com" not in answer.text
    assert workspace.lines()[0]["provisioningStatus"] == "awaiting_payment"


def test_stripe_refusing_for_good_cancels_the_request(world: World, workspace: Workspace) -> None:
    """[34] 502 that names what to mend; the lock is free, no invoice is left, an operator is told."""
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
def test_a_bad_stripe_key_is_never_for_good(world: World, workspace: Workspace, refusal: str) -> None:
    """[34] 401 and 403 keep the request, and an operator is told."""
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
def test_a_half_made_request_that_is_canceled_leaves_nothing_to_pay(world: World, kind: str, step: str) -> None:
    """[41] No draft, and no item that the customer's next invoice would take up."""
    workspace, line_id = half_made(world, kind, step)
    assert workspace.manage(line_id, "cancel").json()["status"] == "canceled"
    assert [invoice["status"] for invoice in workspace.invoices() if invoice["status"] != "void"] == []
    assert pending_items(workspace) == []


def test_what_a_stripe_key_may_not_do_for_the_reconciler_is_told_too(world: World, workspace: Workspace) -> None:
    """[34] [47] [50] Or add-ons would go unbilled, and lost webhooks unheard, without anybody's knowing."""
    workspace.included()
    world.quiet()
    world.stack.double.forbidden_api_keys.add(PRODUCT_API_KEY)
    try:
        assert world.reconcile()["failed"] >= 2
    finally:
        world.stack.double.forbidden_api_keys.discard(PRODUCT_API_KEY)
    for subject in ("feed", workspace.id):
        eventually(lambda: world.alarmed("StripeRefused", subject))  # noqa: B023 - looked at at once


def test_a_plan_edited_meanwhile_does_not_change_the_charge(world: World) -> None:
    """[33] [34] What Stripe is told is frozen with the line: after an upgrade the retry is the same call."""
    workspace, line_id = half_made(world, "error_before", "item")
    world.webhooks("drop")
    workspace.change(status="past_due")
    again = workspace.create(PHONE | {"firstName": "Grace"}, key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line_id)
    assert again.headers["Idempotency-Mismatch"] == "true"
    assert workspace.finished_once(line_id)
