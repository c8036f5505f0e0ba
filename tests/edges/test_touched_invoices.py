"""Invoices beside a line's own: one whose copy was paid instead, and payments after the line was canceled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.invoices import Invoices
from line_requests.clock import wall_time_ms
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import Invoice, PaymentStatus, Status
from line_requests.flows.extra_invoices import recheck_at_ms
from line_requests.flows.webhook import belongs
from tests.decision.examples import LINE_ID
from tests.edges.reversals import hear, touch, waiting
from tests.support.shop import WaitingClock, clock
from tests.support.world import new_line

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.support.shop import Shop

HOUR_MS = 3_600_000


def paid_by_copy(shop: Shop, status: str) -> tuple[Line, str]:
    """A line that the copy of another invoice has paid for, and that other invoice, in this status at Stripe."""
    line = waiting(shop)
    copy = touch(shop, line, "copy_and_pay")
    assert line.charge is not None
    v1, customer = shop.stripe.v1, line.charge.customer
    metadata = {"workspace_id": line.workspace_id, "line_id": line.id}
    original = v1.invoices.create({"customer": customer, "currency": "usd", "metadata": metadata}).id
    item: Any = {"customer": customer, "invoice": original, "amount": 1500, "currency": "usd", "metadata": metadata}
    v1.invoice_items.create(item)
    if status != "draft":
        v1.invoices.finalize_invoice(original)
    if status == "void":
        v1.invoices.void_invoice(original)
    elif status == "uncollectible":
        v1.invoices.mark_uncollectible(original)
    elif status == "paid":
        shop.double.pay_invoice(original)
    elif status == "partly paid":
        shop.double.touch_invoice(original, "pay_part", 500)
    paid = shop.world.lines.mark_paid(line, wall_time_ms(), invoice_id=copy["id"], url=None, replaced=original)
    return paid, original


def alarmed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr().out
    return [name for name in ("PartiallyPaid", "RefundDue") for _ in range(printed.count(f'"{name}":[1.0]'))]


def test_paid_copy_pays_the_line_and_its_original_is_voided(shop: Shop) -> None:
    """[56]"""
    line = waiting(shop)
    copy = touch(shop, line, "copy_and_pay")
    hear(shop)
    paid = shop.world.line(line)
    assert (paid.status, paid.payment_status) == (Status.PROVISIONING, PaymentStatus.PAID)
    assert (paid.invoice_id, paid.replaced_invoice_id, paid.refund_due) == (copy["id"], None, False)
    assert {one["id"]: one["status"] for one in shop.line_invoices()} == {copy["id"]: "paid", line.invoice_id: "void"}


def test_original_of_a_paid_copy_is_voided_later_when_stripe_does_not_answer(shop: Shop) -> None:
    """[56] The line is promoted first; the reconciler goes on."""
    line = waiting(shop)
    touch(shop, line, "copy_and_pay")
    shop.double.set_faults("error_before", 99, f"/v1/invoices/{line.invoice_id}/void")
    hear(shop)
    paid = shop.world.line(line)
    assert (paid.status, paid.replaced_invoice_id) == (Status.PROVISIONING, line.invoice_id)
    shop.double.set_faults("error_before", 0)
    shop.product.reconciler(clock(later_ms=1000)).run()
    assert shop.world.line(line).replaced_invoice_id is None
    assert shop.double.invoice(line.invoice_id or "")["status"] == "void"


@pytest.mark.parametrize("status", ["draft", "open", "uncollectible", "void", "paid"])
def test_replaced_invoice_ends_void_or_refunded(shop: Shop, capsys: pytest.CaptureFixture[str], status: str) -> None:
    """[55][56]"""
    line, original = paid_by_copy(shop, status)
    capsys.readouterr()
    for _ in range(2):
        shop.lifecycle.extra_invoices.void_replaced(clock(), shop.world.line(line))
    left = {one["id"]: one["status"] for one in shop.line_invoices()}
    assert left.get(original, "gone") == {"draft": "gone", "paid": "paid"}.get(status, "void")
    pending = [one for one in shop.double.all_of("invoiceitem") if one["invoice"] in {None, original}]
    assert len(pending) == (0 if status == "draft" else 1), "the next invoice would charge it"
    after = shop.world.line(line)
    refund = (True, original) if status == "paid" else (False, None)
    assert (after.replaced_invoice_id, after.refund_due, after.refund_invoice_id) == (None, *refund)
    assert alarmed(capsys) == (["RefundDue"] if status == "paid" else [])


@pytest.mark.parametrize(("status", "wait_ms"), [("partly paid", 2 * HOUR_MS), ("open", 0)])
def test_replaced_invoice_that_cannot_be_voided_is_tried_again(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: str, wait_ms: int
) -> None:
    """[56] At once while a payment is under way; ever less often, with an alarm, once a part is paid."""
    line, original = paid_by_copy(shop, status)
    if status == "open":
        monkeypatch.setattr(Invoices, "void_or_delete", lambda _, invoice: invoice)
    at = WaitingClock(line.history[-1].at_ms + 2 * HOUR_MS, 9.0)
    capsys.readouterr()
    shop.lifecycle.extra_invoices.void_replaced(at, line)
    after = shop.world.line(line)
    assert (after.replaced_invoice_id, after.due_at_ms) == (original, at.now_ms() + wait_ms)
    assert alarmed(capsys) == (["PartiallyPaid"] if wait_ms else [])


@pytest.mark.parametrize(
    ("waited_ms", "wait_ms"),
    [
        (0, HOUR_MS),
        (HOUR_MS, HOUR_MS),
        (HOUR_MS + 1, HOUR_MS + 1),
        (24 * HOUR_MS, 24 * HOUR_MS),
        (99 * HOUR_MS, 24 * HOUR_MS),
    ],
)
def test_wait_doubles_from_an_hour_to_a_day(waited_ms: int, wait_ms: int) -> None:
    """[47]"""
    assert recheck_at_ms(7 + waited_ms, since_ms=7) == 7 + waited_ms + wait_ms


OURS = Invoice("in_1", "paid", workspace_id="acme", line_id=LINE_ID, customer="cus_acme")


@pytest.mark.parametrize(
    ("invoice", "stored", "ours"),
    [
        (OURS, None, True),
        (OURS, "in_9", True),
        (replace(OURS, customer="cus_other"), None, False),
        (replace(OURS, customer="cus_other"), "in_1", True),
        (replace(OURS, customer="cus_other", revises="in_9"), "in_9", True),
        (replace(OURS, customer="cus_other", revises=None), None, False),
        (replace(OURS, workspace_id="beta"), None, False),
        (replace(OURS, line_id="f" * 24), None, False),
        (replace(OURS, status="gone"), None, False),
        (replace(OURS, status="gone"), "in_1", True),
    ],
)
def test_invoice_belongs_by_its_id_or_by_customer_and_metadata(
    invoice: Invoice, stored: str | None, *, ours: bool
) -> None:
    """[45][56] Metadata can be copied, the customer cannot."""
    line = new_line(status=Status.AWAITING_PAYMENT, id=LINE_ID, invoice_id=stored)
    assert line.charge is not None
    line = replace(line, charge=replace(line.charge, customer="cus_acme"))
    assert belongs(invoice, line) is ours
    assert belongs(replace(invoice, customer=""), replace(line, charge=None, invoice_id=None)) is False


def test_event_of_another_customer_s_invoice_with_our_metadata_changes_nothing(shop: Shop) -> None:
    """[45]"""
    line, v1 = waiting(shop), shop.stripe.v1
    customer, metadata = v1.customers.create({"name": "Another"}).id, {"workspace_id": "acme", "line_id": line.id}
    foreign = v1.invoices.create({"customer": customer, "currency": "usd", "metadata": metadata}).id
    v1.invoice_items.create({"customer": customer, "invoice": foreign, "amount": 100, "currency": "usd"})
    v1.invoices.finalize_invoice(foreign)
    shop.double.pay_invoice(foreign)
    hear(shop)
    assert shop.world.line(line) == line


def test_callers_that_keep_changing_a_line_leave_its_reversals_to_the_next_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[55]"""
    line = waiting(shop)
    shop.double.pay_invoice(line.invoice_id or "")
    hear(shop)
    touch(shop, line, "refund")
    monkeypatch.setattr(type(shop.world.lines), "save_reversals", lambda *_, **__: None)
    with pytest.raises(BillingUnavailable, match="keep changing") as trouble:
        shop.lifecycle.reversals.sync(clock(), shop.world.line(line))
    assert trouble.value.line_id == line.id
