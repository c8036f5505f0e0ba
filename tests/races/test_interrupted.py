"""Interruptions and crashes: the next caller finishes what they left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from line_requests.billing.events import hint_of
from line_requests.clock import Clock, wall_time_ms
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import Status, VoidReason
from line_requests.flows.leases import Until
from tests.local.demo import PRODUCT_API_KEY
from tests.support.shop import WaitingClock, clock
from tests.support.wire import refusal

if TYPE_CHECKING:
    from line_requests.domain.model import Line
from tests.support.shop import Shop


@dataclass(frozen=True, slots=True)
class EndingClock(Clock):
    """A clock whose time is up after so many questions."""

    questions: list[None] | None = None

    def remaining_s(self) -> float:
        if self.questions is None:
            return super(EndingClock, self).remaining_s()
        if self.questions:
            self.questions.pop()
            return 10.0
        return 0.0


def waiting(shop: Shop) -> Line:
    """The one waiting line of a new workspace, its invoice finished."""
    shop.workspace(0)
    shop.submit("k")
    (line,) = shop.consistent()
    assert line.awaiting
    return line


def with_unknown_product(shop: Shop) -> None:
    """Stripe refuses the one line's charge permanently."""
    (line,) = shop.consistent()
    shop.world.client.update_item(
        TableName=shop.world.table_name,
        Key={"pk": {"S": "W#acme"}, "sk": {"S": f"LINE#{line.id}"}},
        UpdateExpression="SET charge.product = :unknown",
        ExpressionAttributeValues={":unknown": {"S": "prod_unknown"}},
    )


def without_its_draft(shop: Shop) -> None:
    """The one line of a new workspace is half made, and its draft was deleted by hand."""
    shop.workspace(0)
    shop.double.set_faults("error_before", 1000, "/v1/invoices/in_")
    with pytest.raises(BillingUnavailable):
        shop.submit()
    shop.double.set_faults("error_before", 0)
    (line,) = shop.consistent()
    shop.stripe.v1.invoices.delete(str(line.invoice_id))


def applied(shop: Shop, line: Line) -> Line:
    """The line after its invoice as it is now was applied, as the webhook does."""
    now = clock()
    invoice = shop.product.billing(now).invoices.retrieve(str(line.invoice_id))
    return shop.lifecycle.apply_then_advance(now, line, invoice)


def reconcile(shop: Shop, at: Clock | None = None) -> dict[str, int]:
    return shop.product.reconciler(at or clock(60.0)).run()


def test_void_reason_stored_while_the_invoice_is_made_is_due_at_once(shop: Shop) -> None:
    """[27][41][47]"""
    shop.workspace(0)
    lines, wire = shop.world.lines, shop.world.wire

    def cancel_and_crash() -> None:
        (line,) = shop.consistent()
        assert lines.record_void_reason(line, VoidReason.CANCELED, wall_time_ms()) is not None

    wire.before("UpdateItem", lambda: None)  # the invoice's id is saved
    wire.before("UpdateItem", cancel_and_crash)  # and now its link
    shop.submit()
    (line,) = shop.consistent()
    assert (line.void_reason, line.half_made) == (VoidReason.CANCELED, False)
    assert line.due_at_ms is not None
    assert line.due_at_ms <= wall_time_ms()
    reconcile(shop, clock(60.0, later_ms=5_000))
    (line,) = shop.consistent()
    assert line.status is Status.CANCELED
    (invoice,) = shop.line_invoices()
    assert invoice["status"] == "void"


def test_paid_invoice_of_a_line_canceled_meanwhile_is_flagged(shop: Shop) -> None:
    """[44]"""
    seen = waiting(shop)
    shop.double.pay_invoice(str(seen.invoice_id))
    now = clock()
    paid = shop.product.billing(now).invoices.retrieve(str(seen.invoice_id))
    shop.world.lines.cancel(seen, "canceled", wall_time_ms())
    canceled = shop.lifecycle.apply_then_advance(now, seen, paid)
    assert (canceled.status, shop.world.line(seen).refund_due) == (Status.CANCELED, True)


@pytest.mark.parametrize("by", ["webhook", "feed"])
def test_late_event_of_a_released_paid_line_flags_no_refund(shop: Shop, by: str) -> None:
    """[44][49]"""
    line = waiting(shop)
    shop.double.pay_invoice(str(line.invoice_id))
    paid = applied(shop, line)
    lines = shop.world.lines
    released = lines.release(lines.mark_active(paid, wall_time_ms()), "operator", wall_time_ms())
    if by == "webhook":
        applied(shop, released)
    else:
        reconcile(shop)
    assert shop.world.line(line) == released
    assert not released.refund_due


@pytest.mark.parametrize("paid", [True, False])
def test_late_payment_is_checked_again_after_a_failed_check(shop: Shop, *, paid: bool) -> None:
    """[44][47] Later in the same run; nothing is due any more once that is known."""
    line = waiting(shop)
    shop.double.pay_invoice(str(line.invoice_id))
    canceled = shop.world.lines.cancel(line, "canceled", wall_time_ms())
    shop.double.set_faults("rate_limit", 1, f"/v1/invoices/{line.invoice_id}")
    if not paid:
        shop.double.set_faults("error_before", 0)
        shop.double.forget_invoice(str(line.invoice_id))
        shop.world.lines.set_due(canceled, wall_time_ms())
    assert reconcile(shop)["failed"] == paid
    (line,) = shop.consistent()
    assert (line.refund_due, line.due_at_ms) == (paid, None)


@pytest.mark.parametrize("known", [True, False])
def test_late_payment_is_found_after_the_customer_was_deleted(shop: Shop, *, known: bool) -> None:
    """[44][47] Whose invoices cannot be listed any more; with one that is unknown, too, the key may be wrong."""
    line = waiting(shop)
    shop.double.pay_invoice(str(line.invoice_id))
    canceled = shop.world.lines.cancel(line, "canceled", wall_time_ms())
    shop.world.lines.set_due(canceled, wall_time_ms())
    shop.world.due.move_watermark(seen_s=None, to_s=wall_time_ms() // 1000 + 7_200)  # the feed is empty
    shop.stripe.v1.customers.delete(shop.world.now().customer)
    if not known:
        shop.double.forget_invoice(str(line.invoice_id))
    assert reconcile(shop, clock(60.0, later_ms=7_000_000))["failed"] == 0
    (line,) = shop.consistent()
    assert (line.refund_due, line.due_at_ms is None) == (known, known)
    assert known or (line.due_at_ms or 0) > wall_time_ms() + 24 * 3_600_000, "checked once a day"


@pytest.mark.parametrize("ours", ["there", "not there yet"])
def test_draft_with_a_foreign_item_is_replaced(shop: Shop, ours: str) -> None:
    """[16][33][34]"""
    shop.workspace(0)
    shop.double.set_faults("error_before", 1000, "/v1/invoices/" if ours == "there" else "/v1/invoiceitems")
    with pytest.raises(BillingUnavailable):
        shop.submit("k")
    shop.double.set_faults("error_before", 0)
    (draft,) = shop.line_invoices()
    customer, invoice_id = shop.world.now().customer, str(draft["id"])
    shop.stripe.v1.invoice_items.create({"customer": customer, "invoice": invoice_id, "amount": 777, "currency": "usd"})
    answer = shop.submit("k")
    (line,) = shop.consistent()
    (invoice,) = shop.line_invoices()
    assert json.loads(answer.body)["line"]["_id"] == line.id
    assert (invoice["id"], invoice["status"], invoice["total"]) == (line.invoice_id, "open", 1500)
    (left,) = [item for item in shop.double.all_of("invoiceitem") if item["invoice"] != invoice["id"]]
    assert (left["amount"], left["metadata"]) == (777, {}), "theirs is not ours to delete"


def test_half_made_line_is_canceled_when_draft_and_customer_are_deleted(shop: Shop) -> None:
    """[27][39] Both deleted at Stripe: nothing can be made, listed or paid, and the lock is free."""
    without_its_draft(shop)
    shop.stripe.v1.customers.delete(shop.world.now().customer)
    for minute in range(2):
        reconcile(shop, clock(60.0, later_ms=(minute + 1) * 60_000))
    (line,) = shop.consistent()
    assert (line.status, line.history[-1].cause) == (Status.CANCELED, "subscription_ended")


def test_stripe_s_final_refusal_raises_one_alarm_when_the_cancel_is_delayed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[34] Stripe hiccups between its refusal and the end of the draft."""
    shop.workspace(0)
    shop.double.set_faults("error_before", 1000, "/v1/invoiceitems")
    with pytest.raises(BillingUnavailable):
        shop.submit()
    with_unknown_product(shop)
    shop.double.set_faults("error_before", 0)
    lines, wire = shop.world.lines, shop.world.wire
    (line,) = shop.consistent()
    wire.before("UpdateItem", lambda: None)  # the lease is taken
    wire.before(
        "UpdateItem", lambda: shop.double.set_faults("error_before", 2, "/v1/invoices/in_")
    )  # then the void reason
    with pytest.raises(BillingUnavailable):
        shop.lifecycle.advance(clock(), lines.get("acme", line.id) or line, Until.FINALIZED, wait=True)
    reconcile(shop, clock(60.0, later_ms=5_000))
    (line,) = shop.consistent()
    assert (line.status, line.history[-1].cause) == (Status.CANCELED, "billing_refused")
    assert capsys.readouterr().out.count('"BillingRefused":[1.0]') == 1


@pytest.mark.parametrize("trouble", ["at Stripe", "at DynamoDB"])
def test_payment_whose_check_failed_is_due_in_the_same_run(shop: Shop, trouble: str) -> None:
    """[47]"""
    line = waiting(shop)
    shop.double.pay_invoice(str(line.invoice_id))
    if trouble == "at Stripe":
        shop.double.set_faults("rate_limit", 1, f"/v1/invoices/{line.invoice_id}")
    else:
        shop.world.wire.instead("TransactWriteItems", refusal("AccessDeniedException"))
    assert reconcile(shop)["failed"] == 1
    (line,) = shop.consistent()
    assert line.status is Status.PROVISIONING, "found by the index, later in the same run"


def test_misconfigured_stripe_key_raises_one_alarm_per_subject_and_run(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """[34][47] The line's own step and the run could both raise it."""
    waiting(shop)
    shop.world.due.move_watermark(seen_s=None, to_s=wall_time_ms() // 1000 + 7_200)  # the feed is empty
    shop.double.forbidden_api_keys.add(PRODUCT_API_KEY)
    done = reconcile(shop, clock(60.0, later_ms=7_000_000))
    assert done["failed"] == 2, "the line, and its workspace's quantities"
    assert capsys.readouterr().out.count('"StripeRefused":[1.0]') == 2


def test_webhook_of_a_deleted_draft_succeeds_when_stripe_refuses_another(shop: Shop) -> None:
    """[34][45] The request is canceled because Stripe refuses it; Stripe need not deliver again."""
    without_its_draft(shop)
    with_unknown_product(shop)
    (deleted,) = [event for event in shop.double.all_of("event") if event["type"] == "invoice.deleted"]
    shop.product.webhook.apply(clock(9.0), hint_of(deleted))
    (line,) = shop.consistent()
    assert (line.status, line.history[-1].cause) == (Status.CANCELED, "billing_refused")
    assert shop.line_invoices() == shop.double.all_of("invoiceitem") == []


@pytest.mark.parametrize("ours_is_paid", ["first", "last"])
def test_feed_applies_our_invoice_beside_one_with_copied_metadata(shop: Shop, ours_is_paid: str) -> None:
    """[45][47]"""
    line = waiting(shop)
    v1 = shop.stripe.v1
    customer = v1.customers.create({"name": "Somebody else"}).id
    copied = {"workspace_id": line.workspace_id, "line_id": line.id}
    foreign = v1.invoices.create({"customer": customer, "currency": "usd", "metadata": copied}).id
    v1.invoice_items.create({"customer": customer, "invoice": foreign, "amount": 100, "currency": "usd"})
    v1.invoices.finalize_invoice(foreign)
    invoices = [str(line.invoice_id), foreign]
    for invoice in invoices if ours_is_paid == "first" else reversed(invoices):
        shop.double.pay_invoice(invoice)
    reconcile(shop)
    (paid,) = shop.consistent()
    assert (paid.status, paid.invoice_id) == (Status.PROVISIONING, line.invoice_id)


def test_feed_reads_a_slice_again_that_a_run_did_not_finish(shop: Shop) -> None:
    """[47]"""
    line = waiting(shop)
    shop.double.pay_invoice(str(line.invoice_id))
    due = shop.world.due
    # A whole slice is behind the mark's reach once it has moved: later than the overlap.
    start_s = wall_time_ms() // 1000 - 30
    due.move_watermark(seen_s=None, to_s=start_s)
    # Enough to open the slice and to ask Stripe for its events, not to apply them.
    for enough in range(1, 12):
        reconcile(shop, EndingClock(wall_time_ms() + 3_600_000, 60.0, questions=[None] * enough))
        if shop.world.line(line).status is Status.PROVISIONING:
            break
        assert due.watermark_s() == start_s, "its events would be lost"
    assert shop.world.line(line).status is Status.PROVISIONING
    shop.consistent()


class Crash(Exception):
    """The end of a process, wherever it was."""


def crash() -> None:
    raise Crash


@pytest.mark.parametrize(
    ("operation", "nth", "what"),
    [
        ("TransactWriteItems", 1, "the request itself"),
        ("UpdateItem", 1, "the invoice's id"),
        ("UpdateItem", 2, "its link"),
        ("UpdateItem", 3, "the answer"),
    ],
)
def test_same_key_finishes_after_a_crash_before_any_write(shop: Shop, operation: str, nth: int, what: str) -> None:
    """[27][31][33]"""
    shop.workspace(0)
    for _ in range(nth - 1):
        shop.world.wire.before(operation, lambda: None)
    shop.world.wire.before(operation, crash)
    with pytest.raises(Crash):
        shop.submit("k")
    begun = [line.id for line in shop.consistent()]
    assert len(begun) == (what != "the request itself")
    answer = shop.submit("k", at=clock(later_ms=30_000))
    (line,) = shop.consistent()
    assert begun in ([], [line.id])
    assert json.loads(answer.body)["line"]["_id"] == line.id
    (invoice,) = shop.line_invoices()
    assert (invoice["id"], invoice["status"]) == (line.invoice_id, "open")
    assert shop.submit("k", at=clock(later_ms=31_000)).body == answer.body


def test_retry_waits_for_a_crashed_holder_within_its_budget(shop: Shop) -> None:
    """[23][33][34] At once after the crash, within one call's time, with some left for Stripe."""
    shop.workspace(0)
    shop.world.wire.before("UpdateItem", crash)
    with pytest.raises(Crash):
        shop.submit("k")
    waiting_clock = WaitingClock(wall_time_ms(), 20.0)
    answer = shop.submit("k", at=waiting_clock)
    assert json.loads(answer.body)["paymentUrl"]
    assert waiting_clock.remaining_s() > 5
