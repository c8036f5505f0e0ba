"""`line refund` gives back once what was paid for a line that cannot be had."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.credit_notes import CreditNotes
from line_requests.domain.errors import (
    BillingRejected,
    BillingUnavailable,
    NotInThisStatus,
    ReplayedFailure,
)
from line_requests.domain.model import PaymentStatus, Status
from line_requests.flows.refunds import ROUNDS
from tests.edges.reversals import (
    PRICE,
    canceled_then_paid,
    causes,
    failed,
    hear,
    paid_twice,
    refund,
    refunds,
    released,
    touch,
    waiting,
)
from tests.support.shop import clock, of_type, together

if TYPE_CHECKING:
    from collections.abc import Callable

    from line_requests.domain.model import Line
    from tests.support.shop import Shop


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
    line, copy = paid_twice(shop)
    assert shop.world.line(line).refund_due
    refunded = refund(shop, line)
    assert (refunded.status, refunded.invoice_id, refunded.refund_due) == (Status.PROVISIONING, line.invoice_id, False)
    [note] = shop.double.all_of("credit_note")
    assert note["invoice"] == copy["id"]
    assert refunds(shop) == [(PRICE, "succeeded")]


def test_second_payment_goes_back_though_its_customer_was_deleted(shop: Shop) -> None:
    """[55] [56]"""
    line, copy = paid_twice(shop)
    shop.stripe.v1.customers.delete(copy["customer"])
    assert shop.lifecycle.reversals.sync(clock(), shop.world.line(line)).refund_due
    assert not refund(shop, line).refund_due
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


@pytest.fixture
def refuse_after(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[[Line, int], list[int]]:
    """Has Stripe refuse so many credit notes, each because somebody refunded a dollar just before."""

    def refuse(line: Line, number: int) -> list[int]:
        issue, refused = CreditNotes.issue, list[int]()

        def refusing(notes: CreditNotes, *args: Any, attempt: int) -> None:  # noqa: ANN401 - as they come
            if len(refused) == number:
                issue(notes, *args, attempt=attempt)
                return
            touch(shop, line, "refund", 100)
            refused.append(attempt)
            raise BillingRejected("charge_already_refunded")

        monkeypatch.setattr(CreditNotes, "issue", refusing)
        return refused

    return refuse


def test_refusal_is_not_the_end_while_what_is_left_changes(
    shop: Shop, refuse_after: Callable[[Line, int], list[int]]
) -> None:
    """[55] What was given is told once."""
    line = released(shop)
    refused = refuse_after(line, 2)
    refunded, given = shop.product.refunds.give_back(clock(), line)
    assert refused == [1, 1]
    assert not refunded.refund_due
    assert [(invoice.id, credit.amount, sum(credit.refunds.values())) for invoice, credit in given] == [
        (line.invoice_id, PRICE, PRICE - 200)
    ]
    assert refunds(shop) == [(100, "succeeded"), (100, "succeeded"), (PRICE - 200, "succeeded")]


def test_refund_gives_up_when_what_is_left_keeps_changing(
    shop: Shop, refuse_after: Callable[[Line, int], list[int]]
) -> None:
    """[55] The next command goes on."""
    line = released(shop)
    refused = refuse_after(line, 99)
    with pytest.raises(BillingUnavailable, match="keeps changing") as trouble:
        refund(shop, line)
    assert trouble.value.line_id == line.id
    assert len(refused) == ROUNDS
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
