"""Which of Stripe's refusals cancel a request, and which keep it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import BillingMisconfigured, BillingRefused
from line_requests.domain.model import Status, VoidReason
from line_requests.domain.prices import PendingCharge
from line_requests.domain.submission import Kind
from tests.support.shop import clock

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.support.shop import Shop


def automatic_tax(shop: Shop) -> None:
    """The plan taxes automatically, though neither its price nor the account's settings say how."""
    workspace = shop.workspace(0)
    plans = [replace(plan, automatic_tax=True) for plan in shop.world.plans.all()]
    shop.world.plans.save(plans)
    shop.stripe.v1.customers.update(workspace.customer, {"address": {"country": "DE"}})
    shop.lifecycle.sync_subscription(clock(), "acme")


def the_line(shop: Shop) -> Line:
    (line,) = shop.consistent()
    return line


def test_request_is_kept_with_an_alarm_while_the_tax_set_up_is_wrong(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[57] The next attempt finishes it once the account is set up."""
    automatic_tax(shop)
    with pytest.raises(BillingMisconfigured, match="tax_behavior"):
        shop.submit("k")
    assert (the_line(shop).half_made, the_line(shop).void_reason) == (True, None)
    output = capsys.readouterr().out
    assert output.count('"StripeRefused":[1.0]') == 1
    assert "BillingRefused" not in output
    shop.stripe.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    shop.submit("k")
    assert (the_line(shop).half_made, len(shop.line_invoices())) == (False, 1)


def test_request_that_stripe_refuses_can_be_canceled(shop: Shop) -> None:
    """[41][57]"""
    automatic_tax(shop)
    with pytest.raises(BillingMisconfigured):
        shop.submit("k")
    shop.lifecycle.cancel(clock(), the_line(shop), VoidReason.CANCELED)
    assert (the_line(shop).status, shop.line_invoices()) == (Status.CANCELED, [])


def test_customer_without_an_address_cancels_the_request(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[34][57]"""
    automatic_tax(shop)
    customer = shop.world.workspaces.get("acme")
    assert customer is not None
    shop.stripe.v1.customers.update(customer.customer, {"address": ""})
    with pytest.raises(BillingRefused, match="customer_tax_location_invalid"):
        shop.submit("k")
    assert the_line(shop).status is Status.CANCELED
    assert '"BillingRefused":[1.0]' in capsys.readouterr().out


def test_refusal_that_the_reconciler_meets_through_an_event_cancels_the_request(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[34][57] A refused request is done; only its refusal is alarmed."""
    automatic_tax(shop)
    with pytest.raises(BillingMisconfigured):
        shop.submit("k")
    customer = shop.world.workspaces.get("acme")
    assert customer is not None
    shop.stripe.v1.customers.update(customer.customer, {"address": ""})
    [draft] = shop.line_invoices()
    shop.stripe.v1.invoices.delete(draft["id"])
    capsys.readouterr()
    done = shop.product.reconciler(clock(later_ms=1000)).run()
    assert (done["events"] > 0, done["lines"], done["failed"]) == (True, 1, 0)
    assert the_line(shop).status is Status.CANCELED
    output = capsys.readouterr().out
    assert '"BillingRefused":[1.0]' in output
    assert "ReconcileLineFailed" not in output


@pytest.mark.parametrize("created", [True, False])
def test_reused_idempotency_key_is_replaced_at_once(
    shop: Shop, capsys: pytest.CaptureFixture[str], *, created: bool
) -> None:
    """[57] An earlier release told Stripe other parameters under the key; its invoice is found, if it made one."""
    automatic_tax(shop)
    with pytest.raises(BillingMisconfigured):
        shop.submit("k")
    line = the_line(shop)
    customer = shop.world.workspaces.get("acme")
    assert customer is not None
    [draft] = shop.line_invoices()
    shop.stripe.v1.invoices.delete(draft["id"])
    shop.world.client.update_item(
        TableName=shop.world.table_name,
        Key={"pk": {"S": "W#acme"}, "sk": {"S": f"LINE#{line.id}"}},
        UpdateExpression="REMOVE invoice_id SET stripe_key_version = :version",
        ExpressionAttributeValues={":version": {"N": "7"}},
    )
    shop.stripe.v1.invoices.create(
        {
            "customer": customer.customer,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "description": "an earlier release's",
            "metadata": {"workspace_id": "acme", "line_id": line.id} if created else {},
        },
        {"idempotency_key": f"{line.id}:invoice:v7"},
    )
    shop.stripe.v1.tax.settings.update({"defaults": {"tax_behavior": "exclusive"}})
    capsys.readouterr()
    shop.submit("k")
    assert the_line(shop).stripe_key_version == (7 if created else 8)
    assert (the_line(shop).half_made, len(shop.line_invoices())) == (False, 1)
    assert "StripeRefused" not in capsys.readouterr().out


def stored_charge(shop: Shop, *, ended: bool) -> None:
    """A charge that was stored before its item was made, and that Stripe refuses without a code."""
    workspace = shop.workspace(0)
    assert workspace.subscription is not None
    subscription, currency = workspace.subscription.id, "eur"  # the subscription is in dollars
    if ended:
        old = shop.stripe.v1.subscriptions.create(
            {"customer": workspace.customer, "items": [{"price": shop.world.plans.all()[0].base_prices[0]}]}
        )
        shop.stripe.v1.subscriptions.cancel(old.id)
        subscription, currency = old.id, "usd"
    charge = PendingCharge(
        number=1,
        kind=Kind.PURCHASED_PHONE,
        subscription=subscription,
        product=workspace.subscription.allowances[Kind.PURCHASED_PHONE].add_on.product,  # type: ignore[union-attr]
        currency=currency,
        amount=500,
        tax_behavior="unspecified",
        tax_rates=(),
        period=workspace.subscription.period,
        from_s=(wall_time_ms() // 1000,),
        stored_at_ms=wall_time_ms(),
    )
    assert shop.world.workspaces.save_charged(workspace, {}, counted=None, pending_charge=charge)


def test_charge_that_stripe_refuses_waits_while_its_subscription_lives(shop: Shop) -> None:
    """[57]"""
    stored_charge(shop, ended=False)
    with pytest.raises(BillingMisconfigured):
        shop.lifecycle.add_ons.settle(shop.product.billing(clock()), "acme", wall_time_ms())
    workspace = shop.world.workspaces.get("acme")
    assert workspace is not None
    assert workspace.pending_charge is not None


def test_charge_of_an_ended_subscription_is_dropped_with_an_alarm(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[57]"""
    stored_charge(shop, ended=True)
    settled, _ = shop.lifecycle.add_ons.settle(shop.product.billing(clock()), "acme", wall_time_ms())
    assert settled is not None
    assert (settled.pending_charge, any(settled.charged.values())) == (None, False)
    assert '"BillingRefused":[1.0]' in capsys.readouterr().out
