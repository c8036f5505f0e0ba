"""What is read of Stripe's events, and which of them make the product ask Stripe (contract 44, 45, 46)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import stripe.params

from line_requests.billing import events
from line_requests.billing.events import Hint, hint_of, is_thin
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import Status
from tests.decision.examples import LINE_ID
from tests.support.product import NOWHERE, product
from tests.support.shop import clock

if TYPE_CHECKING:
    from line_requests.deployment import Deployment
    from tests.support.world import World

Json = dict[str, Any]

OURS = {"workspace_id": "acme", "line_id": LINE_ID}


def event(kind: str, **subject: object) -> Json:
    return {"type": kind, "created": 7, "livemode": False, "data": {"object": subject}}


def hint(kind: str, **fields: str) -> Hint:
    usual = dict.fromkeys(("object_id", "customer", "workspace_id", "line_id"), "")
    return Hint(type=kind, created_s=7, livemode=False, **usual | fields)


def test_events_are_types_that_stripe_sends_and_the_feed_takes() -> None:
    """[43] The feed takes at most 20 types: https://docs.stripe.com/api/events/list"""
    sent = set(re.findall(r"'([a-z_.]+)'", str(stripe.params.WebhookEndpointCreateParams.__annotations__)))
    assert sent >= events.WEBHOOK_EVENTS
    assert len(events.WEBHOOK_EVENTS) == 20
    fed = [*events.FEED_INVOICE_EVENTS, *events.SUBSCRIPTION_EVENTS, *events.FEED_REVERSAL_EVENTS]
    assert len(fed) <= 20
    assert events.WEBHOOK_EVENTS - set(fed) == {
        "invoice.payment_succeeded",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
    }


def test_hint_has_ids_only() -> None:
    """[44]"""
    subject = {"id": "in_1", "customer": {"id": "cus_1"}, "metadata": OURS, "status": "paid"}
    assert hint_of(event("invoice.paid", **subject)) == hint(
        "invoice.paid", object_id="in_1", customer="cus_1", workspace_id="acme", line_id=LINE_ID
    )
    returned = hint_of(event("refund.created", id="re_1", payment_intent="pi_1", invoice="in_1"))
    assert (returned.payment_intent, returned.invoice_id) == ("pi_1", "in_1")


@pytest.mark.parametrize("value", [None, 7, ["cus_1"], {"object": "customer"}, "", "cus 1", "cus_1/../x", "c" * 256])
def test_what_cannot_be_an_id_is_none(value: object) -> None:
    """[45]"""
    assert hint_of(event("invoice.paid", customer=value)).customer == ""


def test_subject_of_an_unknown_type_is_not_read() -> None:
    """[45]"""
    assert hint_of(event("charge.succeeded", customer="cus_1", metadata=7)) == hint("charge.succeeded")


@pytest.mark.parametrize(("created", "read"), [(7, 7), (None, 0), ("soon", 0)])
def test_time_that_is_none_counts_as_none(created: object, read: int) -> None:
    """[58]"""
    assert hint_of(event("invoice.paid") | {"created": created}).created_s == read


@pytest.mark.parametrize(("livemode", "read"), [(True, True), (False, False), ("true", False), (1, False)])
def test_only_true_is_live_mode(livemode: object, read: bool) -> None:  # noqa: FBT001 - a column
    """[43]"""
    assert hint_of(event("invoice.paid") | {"livemode": livemode}).livemode is read


@pytest.mark.parametrize(
    ("body", "thin"),
    [
        ({"object": "v2.core.event", "type": "invoice.paid"}, True),
        ({"object": "event", "type": "v1.billing.meter.error_report_triggered"}, True),
        ({"type": "v2.core.event_destination.ping"}, True),
        ({"object": "event", "type": "invoice.paid"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_thin_event_is_known_by_its_object_or_type(body: object, thin: bool) -> None:  # noqa: FBT001 - a column
    """[43]"""
    assert is_thin(body) is thin


INVOICE = {"object_id": "in_1", "workspace_id": "acme", "line_id": LINE_ID}


@pytest.mark.parametrize(
    ("seen", "about"),
    [
        (hint("invoice.paid", **INVOICE), {"our_invoice", "payment"}),
        (hint("invoice.payment_succeeded", **INVOICE), {"our_invoice", "payment"}),
        (hint("invoice.voided", **INVOICE), {"our_invoice"}),
        (hint("invoice.deleted", **INVOICE), {"our_invoice"}),
        (hint("invoice.updated", **INVOICE), set()),
        (hint("invoice.voided", **INVOICE | {"object_id": ""}), set()),
        (hint("invoice.voided", **INVOICE | {"workspace_id": ""}), set()),
        (hint("invoice.voided", **INVOICE | {"line_id": ""}), set()),
        (hint("customer.subscription.paused"), {"subscription"}),
        (hint("customer.updated"), set()),
        (hint("refund.failed", payment_intent="pi_1"), {"reversal"}),
        (hint("credit_note.voided", invoice_id="in_1"), {"reversal"}),
        (hint("refund.failed"), set()),
        (hint("charge.refunded", payment_intent="pi_1"), set()),
    ],
)
def test_hint_says_what_may_have_changed(seen: Hint, about: set[str]) -> None:
    """[44][46][55]"""
    names = ("our_invoice", "payment", "subscription", "reversal")
    assert {name for name in names if getattr(seen, f"about_{name}")} == about


@pytest.fixture
def unreachable(world: World) -> Deployment:
    """A deployment whose Stripe does not answer."""
    world.workspace()
    return product(world.client, world.table_name, NOWHERE)


@pytest.mark.parametrize(
    "other",
    [
        hint("charge.succeeded", customer="cus_acme"),
        hint("customer.subscription.updated", customer="cus_another"),
        hint("customer.subscription.updated"),
        hint("invoice.paid", object_id="in_1", customer="cus_acme"),
        hint("invoice.paid", **INVOICE),
        hint("invoice.paid", **INVOICE, customer="cus_another"),
        hint("invoice.paid", **INVOICE | {"line_id": "no id"}, customer="cus_acme"),
        hint("invoice.paid", **INVOICE | {"workspace_id": "W#acme"}, customer="cus_acme"),
    ],
    ids=lambda one: f"{one.type} {one.customer} {one.line_id}",
)
def test_event_about_nothing_of_ours_asks_stripe_nothing(
    unreachable: Deployment, world: World, other: Hint, capsys: pytest.CaptureFixture[str]
) -> None:
    """[45]"""
    before = world.everything()
    unreachable.webhook.apply(clock(1.0), other)
    assert world.everything() == before
    assert "InvoiceWithoutLine" not in capsys.readouterr().out


@pytest.mark.parametrize("ids", [{"line_id": "no id"}, {"workspace_id": "W#acme"}])
def test_event_whose_ids_cannot_be_ours_reads_nothing(
    unreachable: Deployment, world: World, ids: dict[str, str]
) -> None:
    """[45]"""
    world.wire.watch()
    unreachable.webhook.apply(clock(1.0), hint("invoice.paid", **INVOICE | ids, customer="cus_acme"))
    assert world.wire.operations == {}


def test_subscription_of_a_customer_of_others_costs_one_read(unreachable: Deployment, world: World) -> None:
    """[45]"""
    world.wire.watch()
    unreachable.webhook.apply(clock(1.0), hint("customer.subscription.updated", customer="cus_another"))
    assert world.wire.operations == {"GetItem": 1}


def test_event_about_an_unknown_line_of_a_customer_of_ours_alarms(
    unreachable: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """[56]"""
    unreachable.webhook.apply(clock(1.0), hint("invoice.paid", **INVOICE, customer="cus_acme"))
    assert '"InvoiceWithoutLine":[1.0]' in capsys.readouterr().out


def test_event_of_ours_that_stripe_cannot_confirm_fails_and_comes_again(unreachable: Deployment, world: World) -> None:
    """[45]"""
    line = world.added(status=Status.PROVISIONING)
    for one in (
        hint("customer.subscription.updated", customer="cus_acme"),
        hint("invoice.voided", **INVOICE | {"line_id": line.id}),
        hint("refund.failed", payment_intent="pi_1"),
    ):
        with pytest.raises(BillingUnavailable):
            unreachable.webhook.apply(clock(1.0), one)
