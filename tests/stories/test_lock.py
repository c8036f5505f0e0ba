from __future__ import annotations

from collections import Counter

import pytest

from tests.stories.world import EMAIL, PHONE, Workspace, World, eventually, together


@pytest.mark.parametrize("body", [PHONE, EMAIL], ids=["payable", "included"])
def test_any_request_is_409_while_another_awaits_payment(
    world: World, workspace: Workspace, body: dict[str, str]
) -> None:
    """[23] Included or not, whatever channel; the exact body, with the link; no side effect."""
    holder = workspace.awaiting()["line"]
    blocked = workspace.create(body)
    answer = blocked.json()
    assert blocked.status_code == 409
    assert set(answer) == {"success", "status", "message", "existingLine"}
    assert (answer["success"], answer["status"], bool(answer["message"])) == (False, "request_in_progress", True)
    assert answer["existingLine"] == holder
    assert len(workspace.lines()) == 2
    assert len(workspace.invoices()) == 1
    world.pay(answer["existingLine"]["paymentLinkUrl"])


def test_forbidden_line_type_is_403_before_409(workspace: Workspace) -> None:
    """[23]"""
    workspace.awaiting(EMAIL)
    refused = workspace.create(PHONE | {"lineType": "byon", "email": "ada@example.com", "phone": "1234567"})
    assert refused.json()["status"] == "forbidden_line_type"


def test_half_made_holder_is_finished_by_the_next_request(world: World, workspace: Workspace) -> None:
    """[23] [34] Its payment keys are null while Stripe fails."""
    workspace.included()
    world.faults("error_before", path="/v1/invoices")
    assert workspace.create().status_code == 503
    blocked = workspace.create(EMAIL)
    holder = blocked.json()["existingLine"]
    assert blocked.status_code == 409
    assert (holder["stripeInvoiceId"], holder["paymentLinkUrl"]) == (None, None)
    polled = workspace.get(holder["_id"]).json()
    assert (polled["status"], polled["paymentUrl"], polled["line"]) == ("awaiting_payment", None, holder)
    assert workspace.manage(holder["_id"], "payment_link").status_code == 503
    world.no_faults()
    finished = workspace.create(EMAIL)
    [invoice] = workspace.invoices()
    assert finished.status_code == 409
    assert finished.json()["existingLine"] == holder | {
        "stripeInvoiceId": invoice["id"],
        "paymentLinkUrl": invoice["hosted_invoice_url"],
    }


@pytest.mark.parametrize("end", ["paid", "canceled", "voided at Stripe"])
def test_lock_is_freed_when_the_request_is_settled(world: World, workspace: Workspace, end: str) -> None:
    """[24]"""
    answer = workspace.awaiting()
    line = answer["line"]
    if end == "paid":
        world.pay(answer["paymentUrl"])
    elif end == "canceled":
        assert workspace.manage(line["_id"], "cancel").status_code == 200
    else:
        world.stripe.v1.invoices.void_invoice(line["stripeInvoiceId"])
    eventually(lambda: workspace.status(line["_id"]) != "awaiting_payment")
    created = workspace.create()
    assert (created.status_code, created.json()["paymentRequired"]) == (201, True)


def test_lock_is_freed_only_by_its_holder(world: World, workspace: Workspace) -> None:
    """[24] Not by another line's provisioning, an old invoice's void or a stranger's payment."""
    world.provisioning("manual")
    included = workspace.included(EMAIL)["line"]["_id"]
    old = workspace.awaiting()["line"]
    workspace.manage(old["_id"], "cancel")
    holder = workspace.awaiting()["line"]
    world.provisioned(included, "failed")
    eventually(lambda: workspace.status(included) == "failed")
    workspace.manage(old["_id"], "cancel")
    stranger = world.stripe.v1.invoices.create({"customer": workspace.customer, "currency": "usd"})
    world.stripe.v1.invoices.finalize_invoice(stranger.id)
    world.quiet()
    blocked = workspace.create(EMAIL)
    assert (blocked.status_code, blocked.json()["existingLine"]) == (409, holder)


def test_lock_is_per_workspace(world: World, workspace: Workspace) -> None:
    """[24]"""
    workspace.awaiting()
    other = world.workspace()
    assert other.create().status_code == 201
    assert other.create().json()["paymentRequired"] is True


@pytest.mark.parametrize("end", ["paid", "voided"])
def test_holder_is_reconciled_before_409(world: World, workspace: Workspace, end: str) -> None:
    """[25] Paid at Stripe with its webhook lost: the new request goes through at once."""
    world.webhooks("drop")
    answer = workspace.awaiting()
    if end == "paid":
        world.pay(answer["paymentUrl"])
    else:
        world.stripe.v1.invoices.void_invoice(answer["line"]["stripeInvoiceId"])
    created = workspace.create()
    assert (created.status_code, created.json()["paymentRequired"]) == (201, True)
    holder = workspace.line(answer["line"]["_id"])
    assert holder["paymentStatus"] == ("paid" if end == "paid" else "canceled")
    assert created.json()["line"]["_id"] != holder["_id"]


def test_concurrent_payable_requests_make_one_invoice(workspace: Workspace) -> None:
    """[26] One 201, the others 409."""
    workspace.included()
    answers = together(8, lambda _: workspace.create())
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    [invoice] = workspace.invoices()
    [created] = [answer.json() for answer in answers if answer.status_code == 201]
    assert created["paymentUrl"] == invoice["hosted_invoice_url"]
    assert {a.json()["existingLine"]["_id"] for a in answers if a.status_code == 409} == {created["line"]["_id"]}
    assert len(workspace.lines()) == 2


@pytest.mark.parametrize("kind", ["error_before", "error_after", "rate_limit"])
def test_failed_request_can_be_canceled_and_the_next_goes_through(
    world: World, workspace: Workspace, kind: str
) -> None:
    """[27] After any failure of Stripe."""
    workspace.included()
    world.faults(kind, path="/v1/invoiceitems", count=20)
    assert workspace.create().status_code in {201, 503}  # Stripe may have done it despite the error
    world.no_faults()
    [left] = [line for line in workspace.lines() if line["provisioningStatus"] == "awaiting_payment"]
    canceled = workspace.manage(left["_id"], "cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    created = workspace.create()
    assert (created.status_code, created.json()["paymentRequired"]) == (201, True)
    assert [invoice["status"] for invoice in workspace.invoices() if invoice["status"] in {"draft", "open"}] == ["open"]
