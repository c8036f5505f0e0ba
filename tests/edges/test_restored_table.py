"""A table as it was an hour, a day or two days ago, beside Stripe as it is: one reconcile puts it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.bus.events import event_id
from line_requests.clock import Clock, wall_time_ms
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import Line, PaymentStatus, Status, VoidReason
from line_requests.storage.attributes import unmarshal
from tests.support.oracle import tenants, violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.shop import Shop

HOUR_S = 3600


@dataclass
class Disaster:
    """A shop whose table is set back to its backup after some time; `at` is the time of what happens then."""

    shop: Shop
    hours: int
    items: list[dict[str, Any]] | None = None
    later_ms: int = 0

    def _everything(self) -> Iterator[dict[str, Any]]:
        client, name = self.shop.world.client, self.shop.world.table_name
        for page in client.get_paginator("scan").paginate(TableName=name, ConsistentRead=True):
            yield from page["Items"]

    def back_up(self) -> None:
        """Keeps the table as it is, then lets the time pass."""
        self.items = list(self._everything())
        self.wait()

    def wait(self) -> None:
        self.shop.double.advance(self.hours * HOUR_S)
        self.later_ms += self.hours * HOUR_S * 1000

    def restore(self) -> None:
        client, name = self.shop.world.client, self.shop.world.table_name
        for item in list(self._everything()):
            client.delete_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]})
        for item in self.items or []:
            client.put_item(TableName=name, Item=item)

    def at(self) -> Clock:
        return Clock(wall_time_ms() + self.later_ms, 60)

    def reconcile(self) -> None:
        self.later_ms += 1000
        self.shop.product.reconciler(self.at()).run()

    def line(self) -> Line:
        (line,) = self.shop.consistent()
        return line

    def violations(self) -> list[str]:
        """Every promise that table and Stripe break together."""
        subscriptions = self.shop.double.all_of("subscription")
        items = [unmarshal(item) for item in self._everything()]
        (tenant,) = tenants(items, self.shop.line_invoices(), subscriptions)
        return list(violations(tenant, settled=False))

    def assert_open_for_business(self) -> None:
        """Nothing is locked: the workspace may request another line."""
        workspace = self.shop.world.now()
        assert workspace.lock is None
        self.shop.submit("another", at=self.at())
        assert self.violations() == []


@pytest.fixture(params=[1, 25, 49], ids=lambda hours: f"{hours}h")
def disaster(shop: Shop, request: pytest.FixtureRequest) -> Disaster:
    return Disaster(shop, request.param)


def test_request_that_was_paid_since_is_provisioned(disaster: Disaster) -> None:
    """[39][47][50]"""
    shop = disaster.shop
    shop.workspace(0)
    shop.submit("k")
    disaster.back_up()
    shop.double.pay_invoice(str(disaster.line().invoice_id))
    disaster.reconcile()
    shop.world.lines.mark_active(disaster.line(), disaster.at().now_ms())
    disaster.restore()
    assert disaster.line().awaiting
    disaster.reconcile()
    line = disaster.line()
    assert (line.status, line.payment_status) == (Status.PROVISIONING, PaymentStatus.PAID)
    assert disaster.violations() == []
    (subscription,) = shop.double.all_of("subscription")
    assert sorted(item["quantity"] for item in subscription["items"]["data"]) == [1, 1]
    disaster.assert_open_for_business()


def test_place_that_was_charged_since_is_not_charged_again(disaster: Disaster) -> None:
    """[52] The charges of a period are found at Stripe by their metadata, however long ago they were made."""
    shop = disaster.shop
    shop.workspace(0)
    shop.world.paid(charge=None)
    shop.world.paid(charge=None)
    disaster.back_up()
    disaster.reconcile()
    shop.world.paid(charge=None)
    disaster.reconcile()
    charges = shop.double.all_of("invoiceitem")
    assert [(item["metadata"]["charge"], item["metadata"]["places"]) for item in charges] == [("2", "1"), ("1", "2")]
    charged = shop.world.now().charged
    disaster.wait()
    disaster.restore()
    disaster.reconcile()
    assert shop.double.all_of("invoiceitem") == charges
    assert (shop.world.now().charged, shop.world.now().charge_number) == (charged, 2)


def test_request_that_was_canceled_since_is_canceled(disaster: Disaster) -> None:
    """[24][39]"""
    shop = disaster.shop
    shop.workspace(0)
    shop.submit("k")
    disaster.back_up()
    shop.lifecycle.cancel(disaster.at(), disaster.line(), VoidReason.CANCELED)
    disaster.restore()
    disaster.reconcile()
    assert disaster.line().status is Status.CANCELED
    disaster.assert_open_for_business()


@pytest.mark.parametrize("broken", ["/v1/invoices", "/v1/invoiceitems", "/v1/invoices/in_"])
def test_request_that_was_finished_since_gets_no_second_invoice(disaster: Disaster, broken: str) -> None:
    """[16][33] The backup knows no invoice, its draft, or its full draft."""
    shop = disaster.shop
    shop.workspace(0)
    shop.double.set_faults("error_before", 1000, broken)
    with pytest.raises(BillingUnavailable):
        shop.submit("k")
    assert disaster.line().half_made
    disaster.back_up()
    shop.double.set_faults("error_before", 0)
    disaster.reconcile()
    (invoice,) = shop.line_invoices()
    assert invoice["status"] == "open"
    disaster.restore()
    disaster.reconcile()
    line = disaster.line()
    assert (line.invoice_id, line.half_made) == (invoice["id"], False)
    assert disaster.violations() == []
    replayed = shop.submit("k", at=disaster.at())
    assert line.id in replayed.body
    assert disaster.violations() == []


@pytest.mark.parametrize("paid", [True, False])
def test_invoice_whose_line_is_gone_alarms_and_locks_nothing(
    disaster: Disaster, capsys: pytest.CaptureFixture[str], *, paid: bool
) -> None:
    """[56] The alarm comes with its payment; `doctor` lists the open ones."""
    shop = disaster.shop
    shop.workspace(0)
    disaster.back_up()
    shop.submit("k", at=disaster.at())
    if paid:
        shop.double.pay_invoice(str(disaster.line().invoice_id))
    disaster.restore()
    capsys.readouterr()
    disaster.reconcile()
    assert capsys.readouterr().out.count('"InvoiceWithoutLine":[1.0]') == (1 if paid else 0)
    assert shop.consistent() == []
    (invoice,) = shop.line_invoices()
    assert invoice["status"] == ("paid" if paid else "open")
    if not paid:
        shop.stripe.v1.invoices.void_invoice(invoice["id"])  # as the page says
    assert shop.world.now().lock is None
    shop.submit("k", at=disaster.at())
    assert disaster.line().awaiting


def test_line_that_became_active_since_is_published_again_as_the_same_event(disaster: Disaster) -> None:
    """[48]"""
    shop = disaster.shop
    shop.workspace(1)
    shop.submit("k")
    disaster.back_up()
    before = disaster.line()
    shop.world.lines.mark_active(before, disaster.at().now_ms())
    disaster.restore()
    line = disaster.line()
    assert (line.status, event_id(line)) == (Status.PROVISIONING, event_id(before))
    assert line.due_at_ms is not None
    assert line.due_at_ms <= disaster.at().now_ms()


def test_subscription_that_ended_since_cancels_what_waits(disaster: Disaster) -> None:
    """[39][46]"""
    shop = disaster.shop
    shop.workspace(0)
    shop.submit("k")
    disaster.back_up()
    (subscription,) = shop.double.all_of("subscription")
    shop.stripe.v1.subscriptions.cancel(subscription["id"])
    disaster.reconcile()
    disaster.restore()
    disaster.reconcile()
    assert disaster.line().status is Status.CANCELED
    workspace = shop.world.now()
    assert workspace.lock is None
    assert workspace.subscription is not None
    assert not workspace.subscription.active
