"""Invoices that people touch at Stripe: copied, revised, paid in part, credited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stories.world import EMAIL, Workspace, World, eventually

if TYPE_CHECKING:
    from line_requests.domain.model import Line

Json = dict[str, Any]


def touch(world: World, invoice_id: str, action: str, **more: object) -> Json:
    """What a person does to an invoice in Stripe's dashboard, or a customer on its page."""
    return world.control(f"stripe/invoices/{invoice_id}", action=action, **more)


def stored(world: World, line: Json) -> Line:
    found = world.stack.demo.find_line(line["_id"])
    assert found is not None
    return found


def payment(workspace: Workspace, line: Json) -> str:
    return str(workspace.line(line["_id"])["paymentStatus"])


@pytest.mark.parametrize("webhooks", ["deliver", "drop"])
def test_paid_copy_pays_the_line_and_its_original_is_voided(world: World, workspace: Workspace, webhooks: str) -> None:
    """[56] By the webhook, or by the reconciler alone."""
    line = workspace.awaiting()["line"]
    world.webhooks(webhooks)
    copied = touch(world, line["stripeInvoiceId"], "copy_and_pay")
    if webhooks == "drop":
        assert payment(workspace, line) == "awaiting_payment"
        world.reconcile()
    eventually(lambda: payment(workspace, line) == "paid")
    eventually(lambda: workspace.invoice(line["stripeInvoiceId"])["status"] == "void")
    eventually(lambda: stored(world, line).replaced_invoice_id is None)
    assert (stored(world, line).invoice_id, stored(world, line).refund_due) == (copied["id"], False)
    assert workspace.create(EMAIL).status_code == 201


def test_original_of_a_paid_copy_is_voided_by_the_next_run_when_stripe_refused_at_first(
    world: World, workspace: Workspace
) -> None:
    """[56] The line is promoted first."""
    world.provisioning("manual")
    line = workspace.awaiting()["line"]
    original = line["stripeInvoiceId"]
    world.webhooks("drop")
    touch(world, original, "copy_and_pay")
    world.faults("error_before", path=f"/v1/invoices/{original}/void")
    world.reconcile()
    assert (payment(workspace, line), workspace.invoice(original)["status"]) == ("paid", "open")
    assert stored(world, line).replaced_invoice_id == original
    world.no_faults()
    world.reconcile()
    assert workspace.invoice(original)["status"] == "void"
    assert stored(world, line).replaced_invoice_id is None


@pytest.mark.parametrize("first", ["original", "copy"])
def test_two_payments_of_one_line_leave_one_to_refund(world: World, workspace: Workspace, first: str) -> None:
    """[56] Whichever the reconciler hears of first."""
    created = workspace.awaiting()
    line = created["line"]
    world.webhooks("drop")
    if first == "original":
        world.pay(created["paymentUrl"])
        world.reconcile()
    copied = touch(world, line["stripeInvoiceId"], "copy_and_pay")
    if first == "copy":
        world.pay(created["paymentUrl"])
    world.reconcile()
    found = stored(world, line)
    assert (payment(workspace, line), found.refund_due) == ("paid", True)
    assert {found.invoice_id, found.invoice_to_refund} == {copied["id"], line["stripeInvoiceId"]}
    eventually(lambda: world.alarmed("RefundDue", str(found.invoice_to_refund)))


@pytest.mark.parametrize("webhooks", ["deliver", "drop"])
def test_revision_becomes_the_lines_invoice_and_can_be_paid(world: World, workspace: Workspace, webhooks: str) -> None:
    """[56] [39] The original is void, and the line goes on waiting."""
    line = workspace.awaiting()["line"]
    world.webhooks(webhooks)
    revision = touch(world, line["stripeInvoiceId"], "revise")
    world.quiet()
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "void"
    polled = workspace.get(line["_id"]).json()
    assert (polled["paymentStatus"], polled["line"]["stripeInvoiceId"]) == ("awaiting_payment", revision["id"])
    assert polled["paymentUrl"] == polled["line"]["paymentLinkUrl"] == revision["hosted_invoice_url"]
    world.pay(polled["paymentUrl"])
    if webhooks == "drop":
        world.reconcile()
    eventually(lambda: payment(workspace, line) == "paid")
    assert (stored(world, line).invoice_id, stored(world, line).refund_due) == (revision["id"], False)


def test_revision_of_another_amount_is_paid_by_that_amount(world: World, workspace: Workspace) -> None:
    """[56] Whatever its amount, and without our metadata."""
    line = workspace.awaiting()["line"]
    invoices, items = world.stripe.v1.invoices, world.stripe.v1.invoice_items
    draft = invoices.create({"from_invoice": {"action": "revision", "invoice": line["stripeInvoiceId"]}})
    items.create({"customer": workspace.customer, "invoice": draft.id, "amount": 250, "currency": "usd"})
    invoices.update(draft.id, {"metadata": ""})
    revision = invoices.finalize_invoice(draft.id)
    assert revision.total == 1750
    world.quiet()
    polled = workspace.get(line["_id"]).json()
    assert polled["paymentUrl"] == revision.hosted_invoice_url
    world.pay(polled["paymentUrl"])
    eventually(lambda: workspace.get(line["_id"]).json()["paymentStatus"] == "paid")  # once a poll asks Stripe again


def test_cancel_of_a_revised_request_voids_the_revision(world: World, workspace: Workspace) -> None:
    """[41] [56] Also when nobody has heard of it."""
    line = workspace.awaiting()["line"]
    world.webhooks("drop")
    revision = touch(world, line["stripeInvoiceId"], "revise")
    assert workspace.manage(line["_id"], "cancel").status_code == 200
    assert workspace.invoice(revision["id"])["status"] == "void"


def test_void_revision_cancels_the_request(world: World, workspace: Workspace) -> None:
    """[39] [56]"""
    line = workspace.awaiting()["line"]
    revision = touch(world, line["stripeInvoiceId"], "revise")
    world.quiet()
    world.stripe.v1.invoices.void_invoice(revision["id"])
    eventually(lambda: workspace.status(line["_id"]) == "canceled")


@pytest.mark.parametrize("part", [None, 500])
def test_invoice_credited_in_full_counts_as_void(world: World, workspace: Workspace, part: int | None) -> None:
    """[56] Stripe calls it paid; the request is canceled, and nothing is provisioned. Also once a part was paid."""
    line = workspace.awaiting()["line"]
    if part is not None:
        touch(world, line["stripeInvoiceId"], "pay_part", amount=part)
    touch(world, line["stripeInvoiceId"], "credit_note")
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "paid"
    eventually(lambda: workspace.status(line["_id"]) == "canceled")
    assert payment(workspace, line) == "canceled"
    assert stored(world, line).refund_due is False
    assert workspace.create(EMAIL).status_code == 201


def test_invoice_credited_in_part_awaits_the_rest(world: World, workspace: Workspace) -> None:
    """[56]"""
    created = workspace.awaiting()
    line = created["line"]
    touch(world, line["stripeInvoiceId"], "credit_note", amount=400)
    assert workspace.get(line["_id"]).json()["paymentStatus"] == "awaiting_payment"
    world.pay(created["paymentUrl"])
    eventually(lambda: payment(workspace, line) == "paid")


def test_partly_paid_request_waits_and_its_cancel_is_409(world: World, workspace: Workspace) -> None:
    """[41] [56] The alarm names it once; the rest of the payment wins over the cancel."""
    created = workspace.awaiting()
    line = created["line"]
    touch(world, line["stripeInvoiceId"], "pay_part", amount=500)
    for _ in range(2):
        refused = workspace.manage(line["_id"], "cancel")
        body = refused.json()
        assert (refused.status_code, body["success"], body["status"]) == (409, False, "awaiting_payment")
        assert "Pay the rest" in body["message"]
        assert refused.headers["Error-Code"] == "partly_paid"
    world.reconcile()
    eventually(lambda: world.alarmed("PartiallyPaid", line["stripeInvoiceId"]))
    named = [log for log in world.logs() if "partly paid" in log and line["stripeInvoiceId"] in log]
    assert len(named) == 1
    world.pay(created["paymentUrl"])
    eventually(lambda: payment(workspace, line) == "paid")


@pytest.mark.parametrize("change", [{"plan": "scale"}, {"cancel": True}])
def test_partly_paid_request_is_neither_waived_nor_canceled_by_the_subscription(
    world: World, workspace: Workspace, change: Json
) -> None:
    """[39] [56] Only the operator's credit ends it."""
    line = workspace.awaiting()["line"]
    touch(world, line["stripeInvoiceId"], "pay_part")
    workspace.change(**change)
    world.quiet()
    world.reconcile()
    assert workspace.status(line["_id"]) == "awaiting_payment"
    assert stored(world, line).void_reason is None
    touch(world, line["stripeInvoiceId"], "credit_note")
    eventually(lambda: workspace.status(line["_id"]) == "canceled")
