"""`line refund --sent-outside`: money that an operator sent back outside Stripe, because Stripe could not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.credit_notes import CreditNotes
from line_requests.domain.errors import NotInThisStatus
from line_requests.domain.model import Status
from line_requests.storage.lines import Lines
from tests.edges.reversals import (
    PRICE,
    alarms,
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
    from line_requests.domain.model import Line
    from tests.support.shop import Shop

REFERENCE = "bank transfer 4711"


def send_outside(shop: Shop, line: Line, reference: str = REFERENCE) -> Line:
    return shop.product.refunds.record_outside(clock(), shop.world.line(line), reference)[0]


def sent(line: Line) -> list[tuple[str, int, str | None]]:
    return [(one.id, one.amount, one.invoice_id) for one in line.reversals if one.cause == "sent_outside_stripe"]


def refused_for_good(shop: Shop) -> Line:
    """A line whose refund its bank has refused."""
    line = released(shop)
    refund(shop, line)
    shop.double.fail_refund(shop.double.all_of("refund")[0]["id"])
    hear(shop)
    line = shop.world.line(line)
    assert line.refund_due
    return line


def test_refund_that_its_bank_refuses_is_sent_outside_stripe(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[55] The flag is cleared for good, and nothing more is given back."""
    line = refused_for_good(shop)
    recorded = send_outside(shop, line)
    assert not recorded.refund_due
    assert sent(recorded) == [(REFERENCE, PRICE, line.invoice_id)]
    alarms(capsys)
    hear(shop)
    shop.product.lifecycle.reversals.recheck(clock(), shop.world.line(line))
    assert causes(refund(shop, line)) == [
        "refund_succeeded",
        "credit_note_issued",
        "refund_failed",
        "sent_outside_stripe",
    ]
    assert refunds(shop) == [(PRICE, "failed")]
    assert (shop.world.line(line).refund_due, alarms(capsys)) == (False, [])


def test_failed_paid_line_is_released_before_it_is_recorded(shop: Shop) -> None:
    """[55]"""
    line = failed(shop)
    recorded = send_outside(shop, line)
    assert (recorded.status, recorded.refund_due) == (Status.CANCELED, False)
    assert recorded.history[-1].cause == "released_by_operator"
    assert sent(recorded) == [(REFERENCE, PRICE, line.invoice_id)]


def test_payment_after_a_cancel_is_not_flagged_again(shop: Shop) -> None:
    """[44] [55] Neither a repeated webhook nor the reconciler's look at canceled lines sets the flag again."""
    line = canceled_then_paid(shop)
    recorded = send_outside(shop, line)
    assert line.invoice_id is not None
    paid = shop.product.lifecycle.connect(clock()).invoices.retrieve(line.invoice_id)
    shop.product.lifecycle.apply(clock(), recorded, paid)
    shop.product.lifecycle.extra_invoices.check_late_payment(clock(), recorded)
    assert not shop.world.line(line).refund_due


def test_repeated_reference_is_recorded_once(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    results = together(*[lambda: send_outside(shop, line)] * 4)
    assert len(of_type(results, type(line))) == 4
    assert sent(send_outside(shop, line)) == [(REFERENCE, PRICE, line.invoice_id)]
    with pytest.raises(NotInThisStatus, match="Nothing is left to send"):
        send_outside(shop, line, "another")


def test_only_what_neither_went_back_nor_is_on_its_way_is_recorded(shop: Shop) -> None:
    """[55] The flag stays until Stripe says that the rest went back."""
    line = released(shop)
    by_hand = touch(shop, line, "refund", 400)
    with shop.double._lock:  # noqa: SLF001 - a bank that takes its time
        shop.double._account.get("refund", by_hand["id"])["status"] = "pending"  # noqa: SLF001
    recorded = send_outside(shop, line)
    assert sent(recorded) == [(REFERENCE, PRICE - 400, line.invoice_id)]
    assert recorded.refund_due
    with pytest.raises(NotInThisStatus, match="Nothing is left to send"):
        send_outside(shop, line, "another")


def test_second_payment_is_sent_outside_and_the_line_keeps_the_first(shop: Shop) -> None:
    """[55] [56]"""
    line, copy = paid_twice(shop)
    recorded = send_outside(shop, line)
    assert (recorded.status, recorded.invoice_id, recorded.refund_due) == (Status.PROVISIONING, line.invoice_id, False)
    assert sent(recorded) == [(REFERENCE, PRICE, copy["id"])]
    # It says nothing about the first payment.
    failed_line = shop.world.lines.mark_failed(recorded, "no", clock().now_ms())
    released_line = shop.world.lines.release(failed_line, "released_by_client", clock().now_ms())
    assert refund(shop, released_line).refund_due is False
    assert refunds(shop) == [(PRICE, "succeeded")]


def test_later_failure_of_an_earlier_refund_is_due_again(shop: Shop) -> None:
    """[55]"""
    line = released(shop)
    by_hand = touch(shop, line, "refund", 400)
    assert not send_outside(shop, line).refund_due
    shop.double.fail_refund(by_hand["id"])
    hear(shop)
    assert shop.world.line(line).refund_due
    assert sent(send_outside(shop, line, "cheque 12"))[1:] == [("cheque 12", 400, line.invoice_id)]
    assert not shop.world.line(line).refund_due


def test_line_that_keeps_its_payment_or_awaits_it_is_refused(shop: Shop) -> None:
    """[55] [56]"""
    line = waiting(shop)
    with pytest.raises(NotInThisStatus, match="awaits payment"):
        send_outside(shop, line)
    assert line.invoice_id is not None
    shop.double.pay_invoice(line.invoice_id)
    hear(shop)
    with pytest.raises(NotInThisStatus, match="no refund of it is due"):
        send_outside(shop, line)
    assert sent(shop.world.line(line)) == []


def test_refund_at_the_same_time_is_alarmed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """[55] Neither knew of the other before the money went back twice; then one of them sees both."""
    line = released(shop)
    issue = CreditNotes.issue

    def beside(self: CreditNotes, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the method's own
        send_outside(shop, line)
        issue(self, *args, **kwargs)

    monkeypatch.setattr(CreditNotes, "issue", beside)
    capsys.readouterr()
    refunded = refund(shop, line)
    assert (refunds(shop), sent(refunded)) == ([(PRICE, "succeeded")], [(REFERENCE, PRICE, line.invoice_id)])
    assert alarms(capsys) == ["Reversal"]
    hear(shop)
    assert (shop.world.line(line), alarms(capsys)) == (refunded, []), "once"


@pytest.mark.parametrize("by_hand", [False, True])
def test_record_after_a_refund_that_it_did_not_see_is_refused_or_alarmed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, by_hand: bool
) -> None:
    """[55] Refused if that is written on the line already."""
    line = released(shop)
    save = Lines.save_reversals

    def beside(self: Lines, *args: Any, **kwargs: Any) -> Line | None:  # noqa: ANN401 - the method's own
        monkeypatch.setattr(Lines, "save_reversals", save)
        if by_hand:
            touch(shop, line, "refund")
        else:
            refund(shop, line)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Lines, "save_reversals", beside)
    capsys.readouterr()
    if by_hand:
        assert len(sent(send_outside(shop, line))) == 1
    else:
        with pytest.raises(NotInThisStatus, match="Nothing is left to send"):
            send_outside(shop, line)
    assert refunds(shop) == [(PRICE, "succeeded")]
    assert alarms(capsys) == (["Reversal", "Reversal"] if by_hand else []), "of the refund, and that it is one too many"
