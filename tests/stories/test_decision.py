from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.stories.world import BYON, EMAIL, KINDS, LINES, PHONE, Workspace, World, eventually, together

if TYPE_CHECKING:
    import stripe


def test_included_line_is_provisioned_without_stripe_call(workspace: Workspace) -> None:
    """[15] 201 provisioning, not_required, no Stripe call."""
    calls = workspace.calls()
    created = workspace.create()
    assert (created.status_code, created.json()) == (
        201,
        {
            "success": True,
            "status": "provisioning",
            "paymentRequired": False,
            "line": PHONE
            | {
                "_id": created.json()["line"]["_id"],
                "lineType": "purchased",
                "provisioningStatus": "provisioning",
                "paymentStatus": "not_required",
            },
        },
    )
    assert calls() == []


def test_line_over_included_number_awaits_payment(workspace: Workspace) -> None:
    """[16] The exact body, with the hosted URL of one finalized invoice."""
    workspace.included()
    created = workspace.create()
    answer = created.json()
    [invoice] = workspace.invoices()
    assert created.status_code == 201
    assert answer == {
        "success": True,
        "status": "awaiting_payment",
        "paymentRequired": True,
        "paymentReason": "over_plan_limit",
        "paymentUrl": invoice["hosted_invoice_url"],
        "expiresAt": None,
        "line": PHONE
        | {
            "_id": answer["line"]["_id"],
            "lineType": "purchased",
            "provisioningStatus": "awaiting_payment",
            "paymentStatus": "awaiting_payment",
            "stripeInvoiceId": invoice["id"],
            "paymentLinkUrl": invoice["hosted_invoice_url"],
        },
    }


@pytest.mark.parametrize(("kind", "amount"), [("purchased_phone", 1500), ("email", 500)])
def test_invoice_belongs_to_workspace_customer_and_names_the_line(workspace: Workspace, kind: str, amount: int) -> None:
    """[16] Open, not advanced by Stripe, of the add-on's amount, with both ids in its metadata."""
    line = workspace.awaiting(KINDS[kind])["line"]
    [invoice] = workspace.invoices()
    assert invoice["metadata"] == {"workspace_id": workspace.id, "line_id": line["_id"]}
    assert (invoice["customer"], invoice["status"]) == (workspace.customer, "open")
    assert (invoice["amount_due"], invoice["currency"], invoice["auto_advance"]) == (amount, "usd", False)


def test_paid_request_makes_three_stripe_calls(workspace: Workspace) -> None:
    """[16] Create, item, finalize: one invoice."""
    workspace.included()
    calls = workspace.calls()
    assert workspace.create().status_code == 201
    made = [(call.method, re.sub(r"in_\w+", "{id}", call.path)) for call in calls()]
    assert made == [("POST", "/v1/invoices"), ("POST", "/v1/invoiceitems"), ("POST", "/v1/invoices/{id}/finalize")]


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_active_and_trialing_subscriptions_may_request_lines(world: World, status: str) -> None:
    """[17]"""
    assert world.workspace(subscriptionStatus=status).create().status_code == 201


@pytest.mark.parametrize(
    "status", ["past_due", "unpaid", "canceled", "incomplete", "incomplete_expired", "paused", None]
)
def test_request_without_active_subscription_is_403(world: World, status: str | None) -> None:
    """[17] Every other status, and none, is subscription_required."""
    refused = world.workspace(subscriptionStatus=status).create()
    body = refused.json()
    assert (refused.status_code, body["success"], body["status"]) == (403, False, "subscription_required")
    assert body["redirect"] == "/billing"
    assert body["message"]
    assert set(body) == {"success", "status", "message", "redirect"}


@pytest.mark.parametrize("circumstance", ["cancel_at_period_end", "pause_collection"])
def test_subscription_set_to_cancel_or_paused_collection_is_active(world: World, circumstance: str) -> None:
    """[17]"""
    workspace = world.workspace()
    changes: dict[str, stripe.params.SubscriptionUpdateParams] = {
        "cancel_at_period_end": {"cancel_at_period_end": True},
        "pause_collection": {"pause_collection": {"behavior": "void"}},
    }
    world.stripe.v1.subscriptions.update(str(workspace.subscription), changes[circumstance])
    world.quiet()
    assert workspace.create().status_code == 201


def test_unknown_base_price_is_403_with_alarm(world: World) -> None:
    """[17] The customer pays for something, but not for lines."""
    workspace = world.workspace(subscriptionStatus=None)
    items: list[stripe.params.SubscriptionCreateParamsItem] = [{"price": world.account.price(100)}]
    subscribed = world.stripe.v1.subscriptions.create({"customer": workspace.customer, "items": items})
    world.quiet()
    assert subscribed.status == "active"
    assert workspace.create().json()["status"] == "subscription_required"
    eventually(lambda: world.alarmed("UnknownBasePrice", workspace.id))


@pytest.mark.parametrize(
    ("plan", "taken", "asked"),
    [
        ("starter", [], BYON),
        ("capped", [], EMAIL),
        ("capped", [], BYON),
        ("capped", [PHONE], PHONE),
    ],
)
def test_line_type_that_plan_does_not_grant_is_forbidden(
    world: World, plan: str, taken: list[dict[str, str]], asked: dict[str, str]
) -> None:
    """[18] [22] Not on the plan, or over the included number without an add-on; without any effect."""
    workspace = world.workspace(plan)
    for body in taken:
        workspace.included(body)
    calls, before = workspace.calls(), workspace.lines()
    refused = workspace.create(asked)
    body = refused.json()
    assert (refused.status_code, body["success"], body["status"]) == (403, False, "forbidden_line_type")
    assert set(body) == {"success", "status", "message"}
    assert body["message"]
    assert (calls(), [line["_id"] for line in workspace.lines()]) == ([], [line["_id"] for line in before])


def test_cap_counts_paid_lines(world: World) -> None:
    """[18] At the cap nothing is for sale."""
    workspace = world.workspace("scale").full(BYON, included=2)
    for _ in range(8):
        world.pay(workspace.awaiting(BYON)["paymentUrl"])
        world.quiet()
    refused = workspace.create(BYON)
    assert (refused.status_code, refused.json()["status"]) == (403, "forbidden_line_type")
    assert len(workspace.invoices()) == 8
    assert workspace.create(EMAIL).status_code == 201


def test_paid_line_takes_no_included_place(world: World, workspace: Workspace) -> None:
    """[19] When the unpaid line fails, its place is included again."""
    world.provisioning("manual")
    first = workspace.included()["line"]["_id"]
    world.pay(workspace.awaiting()["paymentUrl"])
    world.quiet()
    world.provisioned(first, "failed")
    eventually(lambda: workspace.status(first) == "failed")
    assert workspace.create().json()["paymentRequired"] is False
    assert workspace.create().json()["paymentRequired"] is True


def test_line_ids_are_24_lower_case_hex_digits_and_unique(world: World) -> None:
    """[20]"""
    workspace = world.workspace("scale")
    answers = together(8, lambda n: workspace.create(EMAIL if n % 2 else PHONE))
    ids = [answer.json()["line"]["_id"] for answer in answers]
    assert all(re.fullmatch("[0-9a-f]{24}", line_id) for line_id in ids)
    assert len(set(ids)) == 8


@pytest.mark.parametrize("line_type", ["byon", "purchased", "anything", "", None])
def test_email_line_type_is_purchased(workspace: Workspace, line_type: str | None) -> None:
    """[20] [8]"""
    assert workspace.included(EMAIL | {"lineType": line_type})["line"]["lineType"] == "purchased"


def test_invoice_covered_by_credit_is_paid_at_once(world: World, workspace: Workspace) -> None:
    """[21] The 201 has the shape of an included line, paid; nothing is left to pay."""
    workspace.included()
    world.stripe.v1.customers.update(workspace.customer, {"balance": -5000})
    created = workspace.create()
    answer = created.json()
    assert (created.status_code, answer["status"], answer["paymentRequired"]) == (201, "provisioning", False)
    assert set(answer) == {"success", "status", "paymentRequired", "line"}
    assert answer["line"]["paymentStatus"] == "paid"
    [invoice] = workspace.invoices()
    assert (invoice["status"], invoice["metadata"]["line_id"]) == ("paid", answer["line"]["_id"])
    eventually(lambda: workspace.status(answer["line"]["_id"]) == "active")
    # Nothing awaits payment, so no lock is held.
    assert workspace.create(EMAIL).status_code == 201


@pytest.mark.parametrize("circumstance", ["no subscription", "not on the plan", "in progress", "no key", "bad body"])
def test_refusal_has_no_side_effect(world: World, circumstance: str) -> None:
    """[13] [22] [30] No line, no capacity used, no Stripe call, and the key stays free."""
    workspace = world.workspace(subscriptionStatus=None if circumstance == "no subscription" else "active")
    if circumstance == "in progress":
        workspace.awaiting()
    body = (
        BYON if circumstance == "not on the plan" else PHONE | {"lastName": ""} if circumstance == "bad body" else PHONE
    )
    headers = {"Idempotency-Key": "k"} | ({"Authorization": "Bearer none"} if circumstance == "no key" else {})
    before, invoices = workspace.lines(), len(workspace.invoices())
    refused = workspace.send("POST", LINES, json=body, headers=headers)
    assert refused.status_code >= 400
    assert refused.json().get("message") or refused.json().get("error")
    assert (workspace.lines(), len(workspace.invoices())) == (before, invoices)
    if circumstance == "in progress":
        workspace.manage(before[0]["_id"], "cancel")
    if circumstance == "no subscription":
        workspace.change(status="active")
        world.quiet()
    afresh = workspace.create(EMAIL, key="k")
    assert afresh.status_code == 201
    assert "Idempotency-Replayed" not in afresh.headers
