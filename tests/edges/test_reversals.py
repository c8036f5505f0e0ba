"""Refunds, disputes and credit notes: heard once, written on the line, and given back once by the command."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.credit_notes import CreditNotes
from line_requests.billing.events import REVERSAL_EVENTS, hint_of
from line_requests.billing.reversals import Reversals
from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingRejected,
    BillingUnavailable,
    NotInThisStatus,
    ReplayedFailure,
)
from line_requests.domain.model import PaymentStatus, Status
from tests.support.shop import clock, of_type, together

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.support.shop import Shop

Json = dict[str, Any]

PRICE = 1500


def waiting(shop: Shop) -> Line:
    shop.workspace(0)
    shop.submit("k")
    (line,) = shop.consistent()
    assert line.awaiting
    return line


def hear(shop: Shop, *kinds: str) -> None:
    """Delivers what happened at Stripe since the last time, oldest first; by default all that the endpoint sends."""
    events = shop.double.all_of("event")
    shop.double.forget_events()
    for event in reversed(events):
        if not kinds or event["type"] in kinds:
            shop.product.webhook.apply(clock(9.0), hint_of(event))


def failed(shop: Shop) -> Line:
    """A paid line that its provisioner failed."""
    line = waiting(shop)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    return shop.world.lines.mark_failed(shop.world.line(line), "no numbers left", clock().now_ms())


def released(shop: Shop) -> Line:
    line = failed(shop)
    return shop.world.lines.release(line, "released_by_client", clock().now_ms())


def canceled_then_paid(shop: Shop) -> Line:
    """A request whose payment was on its way when its line was canceled."""
    line = waiting(shop)
    shop.world.lines.cancel(line, "canceled", clock().now_ms())
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    return shop.world.line(line)


def refund(shop: Shop, line: Line) -> Line:
    return shop.product.refunds.give_back(clock(), shop.world.line(line))[0]


def touch(shop: Shop, line: Line, action: str, amount: int | None = None) -> Json:
    assert line.invoice_id is not None
    return shop.double.touch_invoice(line.invoice_id, action, amount)


def causes(line: Line) -> list[str]:
    return [reversal.cause for reversal in line.reversals]


def refunds(shop: Shop) -> list[tuple[int, str]]:
    return [(one["amount"], one["status"]) for one in reversed(shop.double.all_of("refund"))]


def alarms(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr().out
    return [name for name in ("RefundDue", "Reversal") for _ in range(printed.count(f'"{name}":[1.0]'))]


# --- the command --------------------------------------------------------------------------------


def test_released_paid_line_is_refunded_by_one_credit_note(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    assert line.refund_due
    refunded = refund(shop, line)
    assert not refunded.refund_due
    assert refunded.status is Status.CANCELED
    assert causes(refunded) == ["refund_succeeded", "credit_note_issued"]
    (note,) = shop.double.all_of("credit_note")
    assert (note["invoice"], note["total"], note["post_payment_amount"]) == (line.invoice_id, PRICE, PRICE)
    assert refunds(shop) == [(PRICE, "succeeded")]


def test_payment_after_a_cancel_is_refunded(shop: Shop) -> None:
    """[44, 55]"""
    line = canceled_then_paid(shop)
    assert line.refund_due
    assert not refund(shop, line).refund_due
    assert refunds(shop) == [(PRICE, "succeeded")]


def test_failed_paid_line_is_released_before_it_is_refunded(shop: Shop) -> None:
    """[55] A line that was refunded can no longer be retried."""
    refunded = refund(shop, failed(shop))
    assert (refunded.status, refunded.refund_due) == (Status.CANCELED, False)
    assert refunded.history[-1].cause == "released_by_operator"
    assert refunds(shop) == [(PRICE, "succeeded")]


@pytest.mark.parametrize("retries", [1, 3])
def test_repeated_refund_gives_nothing_back(shop: Shop, retries: int) -> None:
    """[55]"""
    line = released(shop)
    refund(shop, line)
    for _ in range(retries):
        refund(shop, line)
    assert refunds(shop) == [(PRICE, "succeeded")]
    assert len(shop.double.all_of("credit_note")) == 1


def test_parallel_refunds_give_back_once(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    results = together(*[lambda: refund(shop, line)] * 4)
    assert of_type(results, type(line))
    assert refunds(shop) == [(PRICE, "succeeded")]
    assert not refund(shop, line).refund_due


@pytest.mark.parametrize("fault", ["error_before", "error_after", "timeout_after"])
def test_refund_whose_answer_is_lost_gives_back_once(shop: Shop, fault: Any) -> None:  # noqa: ANN401 - the double's literal
    """[55] The credit note is looked for before another is made."""
    line = released(shop)
    shop.double.set_faults(fault, 1, "/v1/credit_notes")
    with suppress(BillingUnavailable):
        shop.product.refunds.give_back(clock(4.0), line)
    shop.double.set_faults(fault, 0)
    assert not refund(shop, line).refund_due
    assert refunds(shop) == [(PRICE, "succeeded")]


def test_earlier_refund_by_hand_is_linked_and_only_the_rest_is_refunded(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    by_hand = touch(shop, line, "refund", 400)
    assert not refund(shop, line).refund_due
    (note,) = shop.double.all_of("credit_note")
    assert sorted(one["amount_refunded"] for one in note["refunds"]) == [400, 1100]
    assert by_hand["id"] in {one["refund"] for one in note["refunds"]}
    assert refunds(shop) == [(400, "succeeded"), (1100, "succeeded")]


def test_payment_outside_stripe_is_credited_outside_stripe(shop: Shop) -> None:
    """[55]"""
    line = waiting(shop)
    assert line.invoice_id is not None
    shop.stripe.v1.invoices.pay(line.invoice_id, {"paid_out_of_band": True})
    hear(shop)
    line = shop.world.lines.mark_failed(shop.world.line(line), "no", clock().now_ms())
    assert not refund(shop, line).refund_due
    (note,) = shop.double.all_of("credit_note")
    assert (note["out_of_band_amount"], note["refunds"]) == (PRICE, [])


def test_payment_from_the_balance_goes_back_to_the_balance(shop: Shop) -> None:
    """[55] Card and balance each get back what they paid."""
    workspace = shop.workspace(0)
    shop.stripe.v1.customers.update(workspace.customer, {"balance": -600})
    shop.submit("k")
    (line,) = shop.consistent()
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    line = shop.world.lines.mark_failed(shop.world.line(line), "no", clock().now_ms())
    assert not refund(shop, line).refund_due
    assert refunds(shop) == [(900, "succeeded")]
    assert shop.stripe.v1.customers.retrieve(workspace.customer).balance == -600


def test_several_payments_are_each_refunded(shop: Shop) -> None:
    """[55] `refund_amount` is for one charge, so several payments are refunded first and linked."""
    line = waiting(shop)
    touch(shop, line, "pay_part", 500)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    line = shop.world.lines.mark_failed(shop.world.line(line), "no", clock().now_ms())
    assert not refund(shop, line).refund_due
    assert sorted(refunds(shop)) == [(500, "succeeded"), (1000, "succeeded")]
    (note,) = shop.double.all_of("credit_note")
    assert note["total"] == PRICE


def test_partly_paid_request_is_credited_and_canceled(shop: Shop) -> None:
    """[56]"""
    line = waiting(shop)
    touch(shop, line, "pay_part", 500)
    refunded = refund(shop, line)
    assert (refunded.status, refunded.payment_status) == (Status.CANCELED, PaymentStatus.CANCELED)
    assert not refunded.refund_due
    assert shop.world.now().lock is None
    (note,) = shop.double.all_of("credit_note")
    assert (note["pre_payment_amount"], note["post_payment_amount"]) == (1000, 500)
    assert refunds(shop) == [(500, "succeeded")]
    refund(shop, line)
    assert refunds(shop) == [(500, "succeeded")]


def test_second_payment_goes_back_and_the_line_keeps_the_first(shop: Shop) -> None:
    """[55] [56]"""
    line = waiting(shop)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    copy = touch(shop, line, "copy_and_pay")
    hear(shop)
    assert shop.world.line(line).refund_due
    refunded = refund(shop, line)
    assert (refunded.status, refunded.invoice_id, refunded.refund_due) == (Status.PROVISIONING, line.invoice_id, False)
    [note] = shop.double.all_of("credit_note")
    assert note["invoice"] == copy["id"]
    assert refunds(shop) == [(PRICE, "succeeded")]


def test_refund_of_a_line_that_keeps_its_payment_is_refused(shop: Shop) -> None:
    """[55]"""
    line = waiting(shop)
    with pytest.raises(NotInThisStatus, match="Nothing was paid"):
        refund(shop, line)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    with pytest.raises(NotInThisStatus, match="no refund of it is due"):
        refund(shop, line)
    active = shop.world.lines.mark_active(shop.world.line(line), clock().now_ms())
    shop.world.lines.release(active, "released_by_client", clock().now_ms())
    with pytest.raises(NotInThisStatus, match="canceled, and no refund of it is due"):
        refund(shop, line)
    assert refunds(shop) == []


def test_failed_refund_is_made_again(shop: Shop) -> None:
    """[55] The credit note stands, so only its refund is repeated."""
    line = released(shop)
    refund(shop, line)
    (made,) = shop.double.all_of("refund")
    shop.double.fail_refund(made["id"])
    hear(shop)
    assert shop.world.line(line).refund_due
    assert not refund(shop, line).refund_due
    assert refunds(shop) == [(PRICE, "failed"), (PRICE, "succeeded")]
    assert len(shop.double.all_of("credit_note")) == 1


def test_stripes_refusal_of_a_refund_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """[55]"""
    line = released(shop)

    def refuse(*_: object, attempt: int) -> None:
        assert attempt == 1
        raise BillingRejected("charge_disputed")

    monkeypatch.setattr(CreditNotes, "issue", refuse)
    with pytest.raises(BillingRejected, match="charge_disputed"):
        refund(shop, line)
    assert shop.world.line(line).refund_due


def test_failure_that_stripe_replays_is_not_the_end(shop: Shop) -> None:
    """[55] Stripe saves a 500 that changed nothing under the key, too."""
    line = released(shop)
    issue, failures = CreditNotes.issue, []
    with pytest.MonkeyPatch.context() as patch:

        def replayed(notes: CreditNotes, *args: Any, attempt: int) -> None:  # noqa: ANN401 - as they come
            if attempt < 3:
                failures.append(attempt)
                raise ReplayedFailure("APIError 500")
            issue(notes, *args, attempt=attempt)

        patch.setattr(CreditNotes, "issue", replayed)
        assert not refund(shop, line).refund_due
    assert failures == [1, 2]
    assert refunds(shop) == [(PRICE, "succeeded")]


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
