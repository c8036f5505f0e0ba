"""A paid line that cannot be had, and money that goes back at Stripe: over the whole local stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.operator import cli
from tests.local.demo import OPERATOR_API_KEY
from tests.local.deployment import STACK_NAME
from tests.stories.world import Workspace, World, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from line_requests.domain.model import Line

Json = dict[str, Any]


@pytest.fixture
def refund(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Json]:
    """The operator's command."""
    environment = {
        "AWS_ENDPOINT_URL": world.stack.ministack.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "STRIPE_API_KEY": OPERATOR_API_KEY,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(line_id: str, *options: str) -> Json:
        capsys.readouterr()
        assert cli.main(["--stack", STACK_NAME, "--json", "line", "refund", line_id, "--yes", *options]) == cli.DONE
        view: Json = json.loads(capsys.readouterr().out)
        return view

    return run


def stored(world: World, line_id: str) -> Line:
    line = world.stack.demo.find_line(line_id)
    assert line is not None
    return line


def causes(world: World, line_id: str) -> set[str]:
    return {reversal.cause for reversal in stored(world, line_id).reversals}


def paid(world: World, workspace: Workspace, outcome: str) -> tuple[str, str]:
    """A paid line that its provisioner answered, and its invoice."""
    world.provisioning("manual")
    answer = workspace.awaiting()
    line_id, invoice_id = answer["line"]["_id"], answer["line"]["stripeInvoiceId"]
    world.pay(answer["paymentUrl"])
    eventually(lambda: workspace.status(line_id) == "provisioning")
    world.provisioned(line_id, outcome)
    status = {"failed": "failed", "succeeded": "active"}[outcome]
    eventually(lambda: workspace.status(line_id) == status)
    return line_id, invoice_id


def touch(world: World, invoice_id: str, action: str, **more: object) -> Json:
    return world.control(f"stripe/invoices/{invoice_id}", action=action, **more)


def credit_notes(world: World, invoice_id: str) -> list[Json]:
    return [note for note in world.stack.double.all_of("credit_note") if note["invoice"] == invoice_id]


def test_failed_paid_line_is_released_and_refunded_once(
    world: World, workspace: Workspace, refund: Callable[[str], Json]
) -> None:
    """[55]"""
    line_id, invoice_id = paid(world, workspace, "failed")
    eventually(lambda: world.alarmed("ProvisioningFailed", line_id))
    assert workspace.send("DELETE", f"/api/lines/{line_id}").status_code == 200
    assert stored(world, line_id).refund_due
    eventually(lambda: world.alarmed("RefundDue", line_id))
    view = refund(line_id)
    assert view["givenBack"][0]["refunded"] == {"amount": 1500, "currency": "usd"}
    assert not stored(world, line_id).refund_due
    [note] = credit_notes(world, invoice_id)
    assert (note["post_payment_amount"], len(note["refunds"])) == (1500, 1)
    world.quiet()
    assert refund(line_id)["givenBack"] == []
    assert len(credit_notes(world, invoice_id)) == 1
    assert causes(world, line_id) == {"refund_succeeded", "credit_note_issued"}
    # The refund goes out, and later its bank refuses it.
    world.stack.double.fail_refund(note["refunds"][0]["refund"])
    eventually(lambda: stored(world, line_id).refund_due)
    assert "refund_failed" in causes(world, line_id)
    eventually(lambda: world.alarmed("Reversal", line_id))
    assert refund(line_id)["givenBack"]
    assert not stored(world, line_id).refund_due


def test_refund_that_was_sent_outside_stripe_stays_settled(
    world: World, workspace: Workspace, refund: Callable[..., Json]
) -> None:
    """[55] Neither the bank's refusal, heard once more, nor the reconciler sets the flag again."""
    line_id, invoice_id = paid(world, workspace, "failed")
    refund(line_id)
    [note] = credit_notes(world, invoice_id)
    world.stack.double.fail_refund(note["refunds"][0]["refund"])
    eventually(lambda: stored(world, line_id).refund_due)
    view = refund(line_id, "--sent-outside", "bank transfer 4711")
    assert view["recorded"] == [
        {"invoice": invoice_id, "amount": {"amount": 1500, "currency": "usd"}, "reference": "bank transfer 4711"}
    ]
    failure = next(event for event in world.stack.double.all_of("event") if event["type"] == "refund.failed")
    world.stack.double.resend_event(failure["id"])
    world.quiet()
    world.reconcile()
    assert not stored(world, line_id).refund_due
    assert refund(line_id)["givenBack"] == []


def test_refund_by_hand_clears_the_flag(world: World, workspace: Workspace) -> None:
    """[55]"""
    line_id, invoice_id = paid(world, workspace, "failed")
    workspace.send("DELETE", f"/api/lines/{line_id}")
    touch(world, invoice_id, "refund")
    eventually(lambda: not stored(world, line_id).refund_due)
    eventually(lambda: world.alarmed("Reversal", line_id))


def test_dispute_is_heard_and_changes_no_state(world: World, workspace: Workspace) -> None:
    """[55] [61] Clients' events list changes of state, so it is not among them."""
    line_id, invoice_id = paid(world, workspace, "succeeded")
    before = workspace.send("GET", f"/api/line-requests/{line_id}/events").json()
    touch(world, invoice_id, "dispute")
    eventually(lambda: causes(world, line_id) == {"dispute_needs_response"})
    eventually(lambda: world.alarmed("Reversal", line_id))
    assert workspace.status(line_id) == "active"
    assert workspace.send("GET", f"/api/line-requests/{line_id}/events").json() == before


@pytest.mark.parametrize("mode", ["duplicate", "reverse", "drop"])
def test_reversal_is_written_once_however_it_is_delivered(world: World, workspace: Workspace, mode: str) -> None:
    """[55] With no webhook at all the reconciler hears of it."""
    line_id, invoice_id = paid(world, workspace, "succeeded")
    world.quiet()
    world.webhooks(mode)
    touch(world, invoice_id, "credit_note")
    world.quiet()
    world.reconcile()
    line = stored(world, line_id)
    assert sorted(reversal.cause for reversal in line.reversals) == ["credit_note_issued", "refund_succeeded"]
    assert (str(line.status), line.refund_due) == ("active", False)


def test_partly_paid_request_is_credited_and_canceled(
    world: World, workspace: Workspace, refund: Callable[[str], Json]
) -> None:
    """[56]"""
    line = workspace.awaiting()["line"]
    touch(world, line["stripeInvoiceId"], "pay_part", amount=500)
    world.quiet()
    assert refund(line["_id"])["status"] == "canceled"
    [note] = credit_notes(world, line["stripeInvoiceId"])
    assert (note["pre_payment_amount"], note["post_payment_amount"]) == (1000, 500)
    world.quiet()
    assert workspace.status(line["_id"]) == "canceled"
    assert not stored(world, line["_id"]).refund_due
    assert workspace.create().status_code == 201
