from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.stories.world import BYON, EMAIL, KINDS, Workspace, World, eventually, together

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.local.stripe_double.server import LoggedRequest

Json = dict[str, Any]
LOOK_INTERVAL_S = 3


def consistent(answer: httpx.Response) -> Json:
    """The body of a GET, after checking that it repeats both statuses of the line."""
    body: Json = answer.json()
    assert answer.status_code == 200, answer.text
    assert body["status"] == body["line"]["provisioningStatus"]
    assert body["paymentStatus"] == body["line"]["paymentStatus"]
    return body


def looks(calls: Callable[[], list[LoggedRequest]], invoice_id: str) -> int:
    """The number of times that the product read this invoice from Stripe."""
    return sum(call.path.startswith(f"/v1/invoices/{invoice_id}") for call in calls())


def test_get_answers_each_state_with_both_statuses(world: World) -> None:
    """[36] [39] [40] Only a state that still changes has Retry-After; what is settled costs no Stripe call."""
    world.provisioning("manual")
    workspace = world.workspace("scale").full(EMAIL, 5)
    provisioning, active, failed = (workspace.included()["line"]["_id"] for _ in range(3))
    world.provisioned(active, "succeeded")
    world.provisioned(failed, "failed")
    eventually(lambda: (workspace.status(active), workspace.status(failed)) == ("active", "failed"))
    canceled = workspace.awaiting(EMAIL)["line"]["_id"]
    workspace.manage(canceled, "cancel")
    paid = workspace.awaiting(EMAIL)
    world.pay(paid["paymentUrl"])
    eventually(lambda: workspace.status(paid["line"]["_id"]) == "provisioning")
    awaiting = workspace.awaiting(EMAIL)
    expected = {
        provisioning: ("provisioning", "not_required", False, True),
        active: ("active", "not_required", False, False),
        failed: ("failed", "not_required", False, False),
        canceled: ("canceled", "canceled", False, False),
        paid["line"]["_id"]: ("provisioning", "paid", False, True),
        awaiting["line"]["_id"]: ("awaiting_payment", "awaiting_payment", True, True),
    }
    calls = world.calls()
    for line_id, seen in expected.items():
        assert calls() == []
        answer = workspace.get(line_id)
        body = consistent(answer)
        assert seen == (
            body["status"],
            body["paymentStatus"],
            body["paymentRequired"],
            int(answer.headers.get("Retry-After", "0")) > 0,
        )


def test_get_while_awaiting_payment_has_the_payment_link(workspace: Workspace) -> None:
    """[36] Also paymentReason, paymentUrl and expiresAt; the line is the one of the 201."""
    created = workspace.awaiting()
    body = consistent(workspace.get(created["line"]["_id"]))
    assert body == {
        "success": True,
        "status": "awaiting_payment",
        "paymentStatus": "awaiting_payment",
        "paymentRequired": True,
        "paymentReason": "over_plan_limit",
        "paymentUrl": created["paymentUrl"],
        "expiresAt": None,
        "line": created["line"],
    }


def test_encoded_id_is_the_same_line_and_twice_encoded_is_none(workspace: Workspace) -> None:
    """[37]"""
    line_id = workspace.included()["line"]["_id"]
    encoded = "".join(f"%{ord(digit):02X}" for digit in line_id)
    assert workspace.get(encoded).json()["line"]["_id"] == line_id
    assert workspace.get(encoded.replace("%", "%25")).status_code == 400


def test_unknown_and_foreign_lines_are_the_same_404(world: World, workspace: Workspace) -> None:
    """[37]"""
    foreign = world.workspace().included()["line"]["_id"]
    answers = [workspace.get(foreign), workspace.get("0" * 24), workspace.manage(foreign, "cancel")]
    assert {(a.status_code, a.content) for a in answers} == {(404, b'{"error": "Line request not found"}')}


def test_id_in_upper_case_is_the_same_line(workspace: Workspace) -> None:
    """[37]"""
    line_id = workspace.included()["line"]["_id"]
    assert workspace.get(line_id.upper()).json()["line"]["_id"] == line_id


def test_get_right_after_post_sees_the_line(world: World) -> None:
    """[38]"""
    workspace = world.workspace("scale")

    def create_and_get(n: int) -> int:
        created = workspace.create(list(KINDS.values())[n % 3])
        return workspace.get(created.json()["line"]["_id"]).status_code

    assert together(6, create_and_get) == [200] * 6


@pytest.mark.parametrize("status", ["past_due", "canceled"])
def test_get_works_after_subscription_lapses(world: World, workspace: Workspace, status: str) -> None:
    """[38]"""
    line_id = workspace.included()["line"]["_id"]
    workspace.change(status=status)
    world.quiet()
    assert workspace.create().status_code == 403
    assert workspace.get(line_id).status_code == 200
    assert workspace.page().status_code == 200


def test_poll_promotes_paid_line_when_webhook_was_lost(world: World, workspace: Workspace) -> None:
    """[39] At the first poll."""
    world.webhooks("drop")
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    line_id = created["line"]["_id"]
    assert workspace.status(line_id) == "awaiting_payment"
    body = consistent(workspace.get(line_id))
    assert (body["status"], body["paymentStatus"], body["paymentRequired"]) == ("provisioning", "paid", False)
    eventually(lambda: workspace.status(line_id) == "active")


@pytest.mark.parametrize("cause", ["invoice voided", "customer deleted", "canceled", "incomplete_expired"])
def test_poll_cancels_line_when_invoice_or_subscription_ended(world: World, workspace: Workspace, cause: str) -> None:
    """[39] The invoice is void and the lock free; a customer is deleted together with the subscription."""
    world.webhooks("drop")
    line = workspace.awaiting()["line"]
    if cause == "invoice voided":
        world.stripe.v1.invoices.void_invoice(line["stripeInvoiceId"])
    elif cause == "customer deleted":
        world.stripe.v1.customers.delete(workspace.customer)
    else:
        workspace.change(status=cause)
    body = consistent(workspace.get(line["_id"]))
    assert (body["status"], body["paymentStatus"]) == ("canceled", "canceled")
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "void"
    assert workspace.create(EMAIL).status_code == (201 if cause == "invoice voided" else 403)


def test_poll_waives_line_that_plan_now_includes(world: World, workspace: Workspace) -> None:
    """[39] The invoice is voided, the line provisioned without payment."""
    world.webhooks("drop")
    line = workspace.awaiting()["line"]
    workspace.change(plan="scale")
    body = consistent(workspace.get(line["_id"]))
    assert (body["status"], body["paymentStatus"]) == ("provisioning", "not_required")
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "void"
    assert workspace.create().json()["paymentRequired"] is False


@pytest.mark.parametrize("by", ["poll", "webhook"])
def test_line_whose_kind_the_new_plan_lacks_is_canceled(world: World, by: str) -> None:
    """[39] The invoice is voided."""
    workspace = world.workspace("scale").full(BYON, included=2)
    line = workspace.awaiting(BYON)["line"]
    if by == "poll":
        world.webhooks("drop")
    workspace.change(plan="starter")
    if by == "poll":
        consistent(workspace.get(line["_id"]))
    eventually(lambda: workspace.lines()[0]["provisioningStatus"] == "canceled")
    assert workspace.lines()[0]["paymentStatus"] == "canceled"
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "void"
    stored = world.stores.lines.get(workspace.id, line["_id"])
    assert stored is not None
    assert stored.history[-1].cause == "not_on_plan"


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused"])
def test_poll_keeps_line_while_subscription_may_recover(world: World, workspace: Workspace, status: str) -> None:
    """[39]"""
    world.webhooks("drop")
    created = workspace.awaiting()
    workspace.change(status=status)
    body = consistent(workspace.get(created["line"]["_id"]))
    assert (body["status"], body["paymentUrl"]) == ("awaiting_payment", created["paymentUrl"])
    world.pay(created["paymentUrl"])
    world.webhooks("deliver")
    world.reconcile()
    assert workspace.line(created["line"]["_id"])["paymentStatus"] == "paid"


def test_poll_keeps_line_with_open_or_uncollectible_invoice(world: World, workspace: Workspace) -> None:
    """[39] An uncollectible invoice can still be paid."""
    world.webhooks("drop")
    created = workspace.awaiting()
    line = created["line"]
    assert consistent(workspace.get(line["_id"]))["status"] == "awaiting_payment"
    world.stripe.v1.invoices.mark_uncollectible(line["stripeInvoiceId"])
    time.sleep(LOOK_INTERVAL_S)
    assert consistent(workspace.get(line["_id"]))["status"] == "awaiting_payment"
    world.pay(created["paymentUrl"])
    eventually(lambda: workspace.get(line["_id"]).json()["paymentStatus"] == "paid")


def test_poll_refreshes_hosted_url(world: World, workspace: Workspace) -> None:
    """[39] Stripe's hosted pages get new addresses: the poll answers and stores the current one."""
    line = workspace.awaiting()["line"]
    moved = f"{line['paymentLinkUrl']}-moved"
    world.stack.double.alter_invoice(line["stripeInvoiceId"], hosted_invoice_url=moved)
    body = consistent(workspace.get(line["_id"]))
    assert (body["paymentUrl"], body["line"]["paymentLinkUrl"]) == (moved, moved)
    assert workspace.line(line["_id"])["paymentLinkUrl"] == moved


def test_poll_keeps_line_and_alarms_when_invoice_is_unknown(world: World, workspace: Workspace) -> None:
    """[39] A wrong key must not cancel everyone."""
    created = workspace.awaiting()
    line = created["line"]
    world.stack.double.forget_invoice(line["stripeInvoiceId"])
    for _ in range(2):
        body = consistent(workspace.get(line["_id"]))
        assert (body["status"], body["paymentUrl"]) == ("awaiting_payment", created["paymentUrl"])
    world.reconcile()
    assert workspace.status(line["_id"]) == "awaiting_payment"
    eventually(lambda: world.alarmed("InvoiceMissing", line["_id"]))


@pytest.mark.parametrize("kind", ["error_before", "error_after", "rate_limit"])
def test_poll_answers_stored_state_while_stripe_fails(world: World, workspace: Workspace, kind: str) -> None:
    """[39] 200; afterwards the present state."""
    world.webhooks("drop")
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    world.faults(kind)
    world.pay(created["paymentUrl"])
    body = consistent(workspace.get(line_id))
    assert (body["status"], body["line"]) == ("awaiting_payment", created["line"])
    world.no_faults()
    eventually(lambda: workspace.get(line_id).json()["paymentStatus"] == "paid")


def test_concurrent_polls_read_stripe_once_per_interval(workspace: Workspace) -> None:
    """[39]"""
    settled = workspace.included()["line"]["_id"]
    together(8, lambda _: workspace.get(settled))  # starts this many workers first, so that the polls are quick
    line = workspace.awaiting()["line"]
    calls, started = workspace.world.calls(), time.monotonic()
    answers = together(8, lambda _: [consistent(workspace.get(line["_id"])) for _ in range(3)])
    assert {body["paymentUrl"] for some in answers for body in some} == {line["paymentLinkUrl"]}
    assert 1 <= looks(calls, line["stripeInvoiceId"]) <= 1 + (time.monotonic() - started) // LOOK_INTERVAL_S


def test_concurrent_polls_of_half_made_line_try_stripe_once(world: World, workspace: Workspace) -> None:
    """[39] [34] While Stripe fails, one of them tries to finish it."""
    workspace.included()
    world.faults("error_before")
    assert workspace.create().status_code == 503
    [line, _] = workspace.lines()
    calls, started = world.calls(), time.monotonic()
    answers = together(8, lambda _: workspace.get(line["_id"])) + [workspace.get(line["_id"]) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["paymentUrl"] is None
    # The SDK retries each call once.
    assert 1 <= len(calls()) <= 2 * (1 + (time.monotonic() - started) // LOOK_INTERVAL_S)
    world.no_faults()
    time.sleep(LOOK_INTERVAL_S)
    assert workspace.get(line["_id"]).json()["paymentUrl"]
