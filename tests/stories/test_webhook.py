from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.stack import WEBHOOK_SECRETS
from tests.local.stripe_double.webhooks import signature_header
from tests.stories.world import Workspace, World, eventually

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

HOOK = "/stripe/webhook"
TOLERANCE_S = 300


def event(kind: str, about: Json, **more: object) -> bytes:
    """An event as Stripe delivers it."""
    fields = {
        "id": "evt_story",
        "object": "event",
        "created": int(time.time()),
        "livemode": False,
        "type": kind,
        "data": {"object": about},
    }
    return json.dumps(fields | more).encode()


def deliver(
    world: World, body: bytes, *, secrets: list[str] | None = None, age_s: int = 0, header: str | None = None
) -> httpx.Response:
    signed = signature_header(body, WEBHOOK_SECRETS if secrets is None else secrets, int(time.time()) - age_s)
    headers = {"Stripe-Signature": signed if header is None else header}
    return world.send("POST", HOOK, content=body, headers=headers)


def paid_without_webhook(world: World, workspace: Workspace) -> Json:
    """A line whose invoice was paid while webhooks are dropped."""
    world.webhooks("drop")
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    return workspace.invoice(created["line"]["stripeInvoiceId"])


def status_of(workspace: Workspace, invoice: Json) -> str:
    return workspace.status(invoice["metadata"]["line_id"])


def test_webhook_promotes_paid_line(world: World, workspace: Workspace) -> None:
    """[43] [24] Without a poll."""
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    line_id = created["line"]["_id"]
    eventually(lambda: workspace.line(line_id)["paymentStatus"] == "paid")
    eventually(lambda: workspace.status(line_id) == "active")


@pytest.mark.parametrize("secret", WEBHOOK_SECRETS)
def test_either_secret_is_accepted_during_rotation(world: World, workspace: Workspace, secret: str) -> None:
    """[43]"""
    invoice = paid_without_webhook(world, workspace)
    answer = deliver(world, event("invoice.paid", invoice), secrets=[secret])
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert status_of(workspace, invoice) != "awaiting_payment"


@pytest.mark.parametrize(
    ("secrets", "age_s", "header"),
    [
        (["whsec_wrong"], 0, None),
        (WEBHOOK_SECRETS, TOLERANCE_S + 5, None),
        (WEBHOOK_SECRETS, -TOLERANCE_S - 5, None),
        (WEBHOOK_SECRETS, 0, ""),
        (WEBHOOK_SECRETS, 0, f"t={2**80},v1=abc"),
    ],
)
def test_delivery_without_valid_signature_is_400(
    world: World, workspace: Workspace, secrets: list[str], age_s: int, header: str | None
) -> None:
    """[43] Wrong, empty, missing, older than 300 s or as far in the future; nothing changes."""
    invoice = paid_without_webhook(world, workspace)
    calls = workspace.calls()
    answer = deliver(world, event("invoice.paid", invoice), secrets=secrets, age_s=age_s, header=header)
    assert (answer.status_code, set(answer.json())) == (400, {"error"})
    assert (status_of(workspace, invoice), calls()) == ("awaiting_payment", [])


def test_signature_covers_the_raw_body(world: World, workspace: Workspace) -> None:
    """[43] One byte changed, or no signature at all."""
    body = event("invoice.paid", paid_without_webhook(world, workspace))
    header = signature_header(body, WEBHOOK_SECRETS)
    assert deliver(world, body + b" ", header=header).status_code == 400
    assert world.send("POST", HOOK, content=body).status_code == 400
    assert deliver(world, body, header=header).status_code == 200


@pytest.mark.parametrize("claimed", ["paid", "void"])
def test_event_is_only_a_hint(world: World, workspace: Workspace, claimed: str) -> None:
    """[44] The event says paid or void, Stripe says open: open counts."""
    line = workspace.awaiting()["line"]
    lied = workspace.invoice(line["stripeInvoiceId"]) | {"status": claimed}
    assert deliver(world, event(f"invoice.{'paid' if claimed == 'paid' else 'voided'}", lied)).status_code == 200
    assert workspace.status(line["_id"]) == "awaiting_payment"


@pytest.mark.parametrize("mode", ["duplicate", "reverse"])
def test_repeated_and_reordered_events_make_one_transition(world: World, mode: str) -> None:
    """[44] Judged by the states on the bus."""
    world.webhooks(mode)
    workspace = world.workspace()
    first = workspace.included()["line"]["_id"]
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    world.pay(created["paymentUrl"])
    eventually(lambda: (workspace.status(line_id), workspace.status(first)) == ("active", "active"))
    world.quiet()
    line = world.stack.demo.find_line(line_id)
    assert line is not None
    assert [str(change.status) for change in line.history] == ["awaiting_payment", "provisioning", "active"]
    assert workspace.line(line_id)["paymentStatus"] == "paid"


def test_late_event_does_not_regress_a_line(world: World, workspace: Workspace) -> None:
    """[44] finalized, voided and payment_failed after paid."""
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    world.pay(created["paymentUrl"])
    eventually(lambda: workspace.status(line_id) == "active")
    invoice = workspace.invoice(created["line"]["stripeInvoiceId"])
    for kind, status in [("invoice.finalized", "open"), ("invoice.voided", "void"), ("invoice.paid", "paid")]:
        assert deliver(world, event(kind, invoice | {"status": status})).status_code == 200
    assert (workspace.status(line_id), workspace.line(line_id)["paymentStatus"]) == ("active", "paid")


def test_payment_after_cancel_is_flagged_for_refund(world: World, workspace: Workspace) -> None:
    """[44] Never provisioned; log, metric and flag on the line."""
    line = workspace.awaiting()["line"]
    workspace.manage(line["_id"], "cancel")
    world.quiet()
    # A void and a payment that cross: Stripe's rules forbid it, a race inside Stripe may still do it.
    world.stack.double.alter_invoice(line["stripeInvoiceId"], status="paid")
    body = event("invoice.paid", workspace.invoice(line["stripeInvoiceId"]))
    for _ in range(2):
        assert deliver(world, body).status_code == 200
    assert workspace.line(line["_id"])["provisioningStatus"] == "canceled"
    stored = world.stack.demo.find_line(line["_id"])
    assert stored is not None
    assert stored.refund_due
    eventually(lambda: world.alarmed("RefundDue", line["_id"]))


@pytest.mark.parametrize(
    "kind",
    ["charge.refunded", "invoice.created", "customer.created", "some.thing.new", "invoice.paid", "invoice.voided"],
)
def test_unknown_events_and_foreign_invoices_are_200_without_effect(world: World, kind: str) -> None:
    """[45] No call to Stripe either."""
    calls = world.calls()
    strangers: list[Json] = [
        {"id": "in_foreign", "object": "invoice", "customer": "cus_foreign", "metadata": {}},
        {"id": "in_foreign", "object": "invoice", "customer": "cus_foreign", "metadata": {"workspace_id": "x"}},
        {"id": "in_x", "metadata": {"workspace_id": "../" * 9, "line_id": "0" * 24}},
        {"id": "in_x", "metadata": None},
        {},
    ]
    assert [deliver(world, event(kind, about)).status_code for about in strangers] == [200] * len(strangers)
    assert calls() == []


def test_invoice_of_ours_without_its_line_alarms_and_changes_nothing(world: World, workspace: Workspace) -> None:
    """[56] As after a table was restored, and for our customers only."""
    lost = secrets.token_hex(12)
    metadata = {"workspace_id": workspace.id, "line_id": lost}
    calls = world.calls()
    stranger = {"id": "in_lost", "object": "invoice", "customer": "cus_foreign", "metadata": metadata}
    assert deliver(world, event("invoice.paid", stranger)).status_code == 200
    assert not any(lost in line for line in world.logs())
    assert deliver(world, event("invoice.paid", stranger | {"customer": workspace.customer})).status_code == 200
    eventually(lambda: world.alarmed("InvoiceWithoutLine", lost))
    assert calls() == []
    assert workspace.lines() == []


def test_event_feed_finds_an_invoice_of_ours_without_its_line(world: World, workspace: Workspace) -> None:
    """[56]"""
    lost = "1" * 24
    world.webhooks("drop")
    invoices = world.stripe.v1.invoices
    draft = invoices.create(
        {"customer": workspace.customer, "metadata": {"workspace_id": workspace.id, "line_id": lost}}
    )
    assert invoices.finalize_invoice(draft.id).status == "paid"
    assert world.reconcile()["failed"] == 0
    eventually(lambda: world.alarmed("InvoiceWithoutLine", lost))
    assert workspace.lines() == []


def test_foreign_invoice_with_copied_metadata_does_not_pay_a_line(world: World, workspace: Workspace) -> None:
    """[45]"""
    line = workspace.awaiting()["line"]
    thief = world.stripe.v1.customers.create({"name": "Thief"}).id
    metadata = {"workspace_id": workspace.id, "line_id": line["_id"]}
    free = world.stripe.v1.invoices.create({"customer": thief, "currency": "usd", "metadata": metadata})
    assert world.stripe.v1.invoices.finalize_invoice(free.id).status == "paid"
    world.quiet()
    world.reconcile()
    assert workspace.line(line["_id"]) == line


def test_event_before_invoice_id_is_stored_is_matched_by_metadata(world: World, workspace: Workspace) -> None:
    """[45] Stripe made the invoice, its answer was lost, and it is paid."""
    workspace.included()
    world.stripe.v1.customers.update(workspace.customer, {"balance": -5000})
    world.faults("error_after", path="/v1/invoices")
    assert workspace.create(key="k").status_code == 503
    line = workspace.lines()[0]
    assert line["stripeInvoiceId"] is None
    [draft] = workspace.invoices()
    world.no_faults()
    world.stripe.v1.invoices.finalize_invoice(draft["id"])
    assert workspace.invoice(draft["id"])["status"] == "paid"
    eventually(lambda: workspace.line(line["_id"])["paymentStatus"] == "paid")
    again = workspace.create(key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line["_id"])
    assert len(workspace.invoices()) == 1


def test_webhook_is_5xx_while_stripe_fails_and_its_retry_succeeds(world: World, workspace: Workspace) -> None:
    """[45]"""
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    world.faults("error_before", path="/v1/invoices")
    body = event("invoice.paid", workspace.invoice(created["line"]["stripeInvoiceId"]))
    assert deliver(world, body).status_code >= 500
    world.pay(created["paymentUrl"])
    assert workspace.status(line_id) == "awaiting_payment"
    world.no_faults()
    eventually(lambda: workspace.line(line_id)["paymentStatus"] == "paid")


def test_subscription_event_applies_to_the_next_request(world: World, workspace: Workspace) -> None:
    """[46] Plan and status."""
    workspace.included()
    workspace.change(plan="scale")
    world.quiet()
    assert workspace.create().json()["paymentRequired"] is False
    workspace.change(status="past_due")
    world.quiet()
    assert workspace.create().json()["status"] == "subscription_required"
    workspace.change(status="active")
    world.quiet()
    assert workspace.create().status_code == 201


@pytest.mark.parametrize(
    ("change", "status", "payment_status"),
    [({"status": "canceled"}, "canceled", "canceled"), ({"plan": "scale"}, "active", "not_required")],
)
def test_subscription_event_settles_the_waiting_request(
    workspace: Workspace, change: dict[str, str], status: str, payment_status: str
) -> None:
    """[46] [39] By the webhook alone, canceled or waived: the invoice is voided."""
    line = workspace.awaiting()["line"]
    workspace.change(**change)
    eventually(lambda: workspace.status(line["_id"]) == status)
    assert workspace.line(line["_id"])["paymentStatus"] == payment_status
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "void"


def test_upgrade_does_not_include_a_request_voided_before(world: World, workspace: Workspace) -> None:
    """[39] [46] Void before the upgrade: canceled, not included."""
    line = workspace.awaiting()["line"]
    world.webhooks("drop")
    world.stripe.v1.invoices.void_invoice(line["stripeInvoiceId"])
    world.quiet()
    world.webhooks("deliver")
    workspace.change(plan="scale")
    eventually(lambda: workspace.line(line["_id"])["paymentStatus"] != "awaiting_payment")
    assert workspace.line(line["_id"])["paymentStatus"] == "canceled"


@pytest.mark.parametrize("mode", ["reverse", "duplicate"])
def test_older_subscription_never_overwrites_a_newer_one(world: World, workspace: Workspace, mode: str) -> None:
    """[46] The old one's end arrives after the new one's start."""
    world.webhooks(mode)
    workspace.change(status="canceled")
    workspace.change(plan="scale", status="active")
    world.quiet()
    old = next(s for s in world.stack.double.all_of("subscription") if s["id"] == workspace.subscription)
    assert deliver(world, event("customer.subscription.updated", old | {"status": "active"})).status_code == 200
    assert deliver(world, event("customer.subscription.deleted", old)).status_code == 200
    answers = [workspace.create() for _ in range(5)]
    assert [(answer.status_code, answer.json()["paymentRequired"]) for answer in answers] == [(201, False)] * 5


def test_subscription_event_of_deleted_customer_is_accepted(world: World, workspace: Workspace) -> None:
    """[46] [45] Stripe no longer lists it: the answer is 200, not 5xx for three days."""
    world.stripe.v1.customers.delete(workspace.customer)
    world.quiet()
    assert workspace.create().json()["status"] == "subscription_required"
    assert world.stack.double.webhook_deliveries[-1].status == 200
