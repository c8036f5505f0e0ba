"""Refunds, disputes and credit notes are heard once and written on their line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from line_requests.billing.events import REVERSAL_EVENTS, hint_of
from line_requests.billing.reversals import Reversals
from line_requests.domain.errors import (
    BillingMisconfigured,
)
from tests.edges.reversals import (
    PRICE,
    Json,
    alarms,
    canceled_then_paid,
    causes,
    failed,
    hear,
    refund,
    refunds,
    released,
    touch,
    waiting,
)
from tests.support.shop import clock, together

if TYPE_CHECKING:
    from tests.support.shop import Shop


# --- Stripe's own word --------------------------------------------------------------------------


def test_refund_by_hand_clears_the_flag_once_stripe_confirms_it(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[55]"""
    line = released(shop)
    made = touch(shop, line, "refund")
    stored = shop.double._account.get("refund", made["id"])  # noqa: SLF001 - a bank that takes its time
    stored["status"] = "pending"
    hear(shop)
    assert shop.world.line(line).refund_due
    assert refund(shop, line).refund_due
    assert refunds(shop) == [(PRICE, "pending")]
    stored["status"] = "succeeded"
    capsys.readouterr()
    shop.product.webhook.apply(clock(), hint_of(event("refund.updated", stored)))
    after = shop.world.line(line)
    assert not after.refund_due
    assert causes(after) == ["refund_pending", "refund_succeeded"]
    assert alarms(capsys) == ["Reversal"]


def event(kind: str, subject: Json) -> Json:
    return {"id": "evt_1", "type": kind, "livemode": False, "created": 1, "data": {"object": subject}}


def test_part_that_went_back_leaves_the_flag(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    touch(shop, line, "refund", 1499)
    hear(shop)
    assert shop.world.line(line).refund_due
    touch(shop, line, "refund", 1)
    hear(shop)
    assert not shop.world.line(line).refund_due


def test_credit_note_by_hand_clears_the_flag(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    touch(shop, line, "credit_note")
    hear(shop)
    after = shop.world.line(line)
    assert not after.refund_due
    assert set(causes(after)) == {"refund_succeeded", "credit_note_issued"}


def test_failed_refund_sets_the_flag_again_with_an_alarm(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[55] Also when the operator's own command made the refund."""
    line = released(shop)
    refund(shop, line)
    capsys.readouterr()
    hear(shop)
    assert alarms(capsys) == []
    (made,) = shop.double.all_of("refund")
    shop.double.fail_refund(made["id"])
    hear(shop)
    after = shop.world.line(line)
    assert after.refund_due
    assert causes(after)[-1] == "refund_failed"
    assert alarms(capsys) == ["RefundDue", "Reversal"]


def test_late_event_of_the_payment_does_not_flag_what_was_refunded(shop: Shop) -> None:
    """[44, 55]"""
    line = canceled_then_paid(shop)
    paid = event("invoice.paid", shop.double.invoice(line.invoice_id or ""))
    touch(shop, line, "refund")
    hear(shop)
    assert not shop.world.line(line).refund_due
    shop.product.webhook.apply(clock(), hint_of(paid))
    assert not shop.world.line(line).refund_due
    assert not shop.world.raw(shop.world.line(line)).get("due_at")


def test_line_that_is_released_after_its_refund_is_cleared_by_the_reconciler(shop: Shop) -> None:
    """[55]"""
    line = failed(shop)
    touch(shop, line, "refund")
    hear(shop)
    line = shop.world.lines.release(shop.world.line(line), "released_by_client", clock().now_ms())
    assert line.refund_due
    shop.product.reconciler(clock(later_ms=1000)).run()
    after = shop.world.line(line)
    assert (after.refund_due, after.due_at_ms) == (False, None)


def test_lost_dispute_gives_the_money_back(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    dispute = touch(shop, line, "dispute")
    hear(shop)
    assert shop.world.line(line).refund_due
    shop.double.close_dispute(dispute["id"], won=False)
    hear(shop)
    after = shop.world.line(line)
    assert causes(after) == ["dispute_needs_response", "dispute_lost"]
    assert not after.refund_due


# --- heard --------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["refund", "dispute", "credit_note"])
def test_reversal_of_an_active_line_is_written_and_alarmed_and_changes_no_state(
    shop: Shop, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """[55]"""
    line = waiting(shop)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    before = shop.world.lines.mark_active(shop.world.line(line), clock().now_ms())
    touch(shop, before, action)
    capsys.readouterr()
    hear(shop)
    after = shop.world.line(line)
    assert after.reversals
    assert all(reversal.amount == PRICE for reversal in after.reversals)
    assert alarms(capsys) == ["Reversal"] * len(after.reversals)
    assert (after.status, after.payment_status, after.history, after.refund_due) == (
        before.status,
        before.payment_status,
        before.history,
        False,
    )


def test_reversal_is_written_once_however_often_it_is_delivered(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    touch(shop, line, "credit_note")
    events = [hint_of(one) for one in shop.double.all_of("event") if one["type"] in REVERSAL_EVENTS]
    assert len(events) > 1
    together(*[lambda hint=hint: shop.product.webhook.apply(clock(), hint) for hint in events * 3])
    after = shop.world.line(line)
    assert sorted(causes(after)) == ["credit_note_issued", "refund_succeeded"]


def test_feed_hears_what_the_webhook_lost(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    touch(shop, line, "refund")
    shop.product.reconciler(clock(later_ms=1000)).run()
    after = shop.world.line(line)
    assert (causes(after), after.refund_due) == (["refund_succeeded"], False)


def test_feed_reads_again_what_stripe_did_not_answer(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    shop.product.reconciler(clock()).run()
    touch(shop, line, "refund")
    shop.double.set_faults("error_before", 20, "/v1/invoice_payments")
    shop.product.reconciler(clock(later_ms=600_000)).run()
    assert shop.world.line(line).refund_due
    shop.double.set_faults("error_before", 0)
    shop.product.reconciler(clock(later_ms=3_600_000)).run()
    assert not shop.world.line(line).refund_due


def test_key_without_the_scopes_does_not_stop_the_feed(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """[55] A restricted key of an earlier release may not read refunds; an operator hears of it."""
    touch(shop, released(shop), "refund")

    def forbidden(*_: object) -> list[str]:
        raise BillingMisconfigured("PermissionError 403")

    monkeypatch.setattr(Reversals, "invoices_of", forbidden)
    capsys.readouterr()
    shop.product.reconciler(clock(later_ms=600_000)).run()
    assert '"StripeRefused":[1.0]' in capsys.readouterr().out
    assert (shop.world.due.watermark_s() or 0) > clock().now_ms() // 1000


@pytest.mark.parametrize(
    "subject",
    [
        {},
        {"id": 7},
        {"id": "x", "payment_intent": "pi_unknown"},
        {"id": "x", "payment_intent": {"id": "pi_unknown"}},
        {"id": "x", "payment_intent": ["pi"], "invoice": {}},
        {"id": "x", "payment_intent": "p" * 3000},
        {"id": "x", "payment_intent": "\ud800", "invoice": "\ud800"},
        {"id": "x", "invoice": "in_unknown"},
        {"id": "x", "invoice": None, "payment_intent": None, "metadata": {"line_id": "0" * 24}},
    ],
)
def test_odd_event_changes_nothing_and_does_not_fail(shop: Shop, subject: Json) -> None:
    """[45, 55]"""
    for kind in REVERSAL_EVENTS:
        shop.product.webhook.apply(clock(), hint_of(event(kind, subject)))
    assert shop.world.everything() == []


def test_refund_of_another_invoice_of_the_customer_concerns_no_line(shop: Shop) -> None:
    """[45, 55]"""
    line = released(shop)
    (renewal,) = [one for one in shop.double.all_of("invoice") if not one["metadata"]]
    shop.double.touch_invoice(renewal["id"], "refund", None)
    hear(shop)
    assert shop.world.line(line) == line


# --- races --------------------------------------------------------------------------------------


def test_caller_that_read_stripe_before_a_failure_does_not_clear_the_flag(shop: Shop) -> None:
    """[55] Its write meets what was written since it read the line."""
    line = released(shop)
    made = touch(shop, line, "refund")
    early = shop.world.line(line)
    shop.double.fail_refund(made["id"])
    hear(shop)
    assert shop.world.lines.save_reversals(early, (), refund_due=False) is None
    assert shop.world.line(line).refund_due


def test_caller_that_read_stripe_before_a_release_does_not_clear_the_flag(shop: Shop) -> None:
    """[55]"""
    before = failed(shop)
    line = shop.world.lines.release(before, "released_by_client", clock().now_ms())
    assert shop.world.lines.save_reversals(before, (), refund_due=False) is None
    assert shop.world.line(line).refund_due
