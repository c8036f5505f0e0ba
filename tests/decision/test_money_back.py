"""What went back of a line's invoice, and how the rest is given back (contract 55, 56)."""

from __future__ import annotations

from typing import Any

import pytest

from line_requests.domain.reversals import Credit, CreditNote, Dispute, PaidInvoice, Refund, Reversal
from tests.decision.examples import NOW_MS


def paid(**changes: Any) -> PaidInvoice:  # noqa: ANN401 - any of its fields
    """An invoice of 15.00 that one card has paid."""
    usual: dict[str, Any] = {
        "id": "in_1",
        "status": "paid",
        "currency": "usd",
        "total": 1500,
        "amount_paid": 1500,
        "amount_remaining": 0,
        "credited_unpaid": 0,
        "by_card": {"pi_1": 1500},
    }
    return PaidInvoice(**usual | changes)


def partly_paid(**changes: Any) -> PaidInvoice:  # noqa: ANN401 - any of its fields
    return paid(**{"status": "open", "amount_paid": 500, "amount_remaining": 1000, "by_card": {"pi_1": 500}} | changes)


def refund(status: str, amount: int, intent: str = "pi_1", id: str = "re_1", *, ours: bool = False) -> Refund:  # noqa: A002 - Stripe's name
    return Refund(id, status, amount, intent, ours)


def note(amount: int, **changes: Any) -> CreditNote:  # noqa: ANN401 - any of its fields
    usual: dict[str, Any] = {"id": "cn_1", "status": "issued", "amount": amount}
    return CreditNote(**usual | changes)


@pytest.mark.parametrize(
    ("invoice", "settled"),
    [
        (paid(), 1500),
        (paid(amount_paid=1200), 1500),  # the rest came from the balance
        (paid(credited_unpaid=300, amount_paid=1200), 1200),
        (paid(credited_unpaid=1600), 0),
        (paid(status="void"), 0),
        (paid(status="open", amount_paid=0, amount_remaining=700), 0),
        (partly_paid(), 500),
        (partly_paid(status="uncollectible"), 500),
        (partly_paid(amount_paid=1, amount_remaining=1499), 1),
        (partly_paid(status="void"), 0),
    ],
)
def test_settled_is_what_the_customer_gave(invoice: PaidInvoice, settled: int) -> None:
    assert (invoice.settled, invoice.kept, invoice.to_return) == (settled, settled, settled)
    assert invoice.partly_paid is (invoice.amount_remaining > 0 and settled > 0)


@pytest.mark.parametrize(
    ("total", "notes", "in_full"),
    [
        (1500, (note(1000), note(500)), True),
        (1500, (note(1000), note(499)), False),
        (1500, (note(1000), note(500, status="void")), False),
        (1, (note(1),), True),
        (0, (), False),
    ],
)
def test_invoice_is_credited_in_full_once_its_credit_notes_reach_its_total(
    total: int,
    notes: tuple[CreditNote, ...],
    in_full: bool,  # noqa: FBT001 - a column
) -> None:
    """[56]"""
    assert paid(total=total, credit_notes=notes).credited_in_full is in_full


@pytest.mark.parametrize(
    ("changes", "kept", "to_return"),
    [
        ({"refunds": (refund("succeeded", 500),)}, 1000, 1000),
        ({"refunds": (refund("pending", 500),)}, 1500, 1000),
        ({"refunds": (refund("failed", 500), refund("canceled", 400))}, 1500, 1500),
        ({"refunds": (refund("succeeded", 1600),)}, 0, 0),
        ({"credit_notes": (note(300, to_balance=200, out_of_band=100),)}, 1200, 1200),
        ({"credit_notes": (note(300, to_balance=200, out_of_band=100, status="void"),)}, 1500, 1500),
        ({"disputes": (Dispute("dp_1", "lost", 400, "pi_1"),)}, 1100, 1100),
        ({"disputes": (Dispute("dp_1", "won", 400, "pi_1"),)}, 1500, 1500),
        ({"disputes": (Dispute("dp_1", "needs_response", 400, "pi_1", withdrawn=True),)}, 1500, 1500),
        ({"disputes": (Dispute("dp_1", "prevented", 400, "pi_1", withdrawn=True),)}, 1100, 1100),
        ({"disputes": (Dispute("dp_1", "prevented", 400, "pi_1"),)}, 1500, 1500),
    ],
)
def test_kept_is_what_did_not_go_back_and_to_return_what_is_not_on_its_way(
    changes: dict[str, Any], kept: int, to_return: int
) -> None:
    """[55]"""
    assert (paid(**changes).kept, paid(**changes).to_return) == (kept, to_return)


@pytest.mark.parametrize(
    ("invoice", "credit"),
    [
        (paid(), Credit(1500, {"pi_1": 1500})),
        (paid(by_card={"pi_1": 1000, "pi_2": 500}), Credit(1500, {"pi_1": 1000, "pi_2": 500})),
        # From the balance, and out of band.
        (paid(amount_paid=1000, by_card={"pi_1": 1000}), Credit(1500, {"pi_1": 1000}, to_balance=500)),
        (paid(by_card={}), Credit(1500, {}, out_of_band=1500)),
        (
            paid(by_card={}, credit_notes=(note(500, out_of_band=500),)),
            Credit(1000, {}, out_of_band=1000),
        ),
        (
            paid(amount_paid=900, by_card={}, credit_notes=(note(500, out_of_band=500),)),
            Credit(1000, {}, to_balance=600, out_of_band=400),
        ),
        (paid(amount_paid=700, by_card={}), Credit(1500, {}, to_balance=800, out_of_band=700)),
        # Refunds made by hand are named, whatever card they went to.
        (paid(refunds=(refund("succeeded", 500),)), Credit(1500, {"pi_1": 1000}, linked={"re_1": 500})),
        (paid(refunds=(refund("pending", 500, "pi_9"),)), Credit(1500, {"pi_1": 1000}, linked={"re_1": 500})),
        (paid(refunds=(refund("failed", 500),)), Credit(1500, {"pi_1": 1500})),
        # What a credit note names already is not named again, and a card that has all of it back gets nothing.
        (
            paid(
                by_card={"pi_1": 1000, "pi_2": 500},
                refunds=(refund("succeeded", 1000),),
                credit_notes=(note(1000, refunds=frozenset({"re_1"})),),
            ),
            Credit(500, {"pi_2": 500}),
        ),
        # The bank took it back: for what is left no card gets more than its rest.
        (paid(disputes=(Dispute("dp_1", "lost", 400, "pi_1"),)), Credit(1100, {"pi_1": 1100})),
        (paid(disputes=(Dispute("dp_1", "prevented", 400, "pi_1", withdrawn=True),)), Credit(1100, {"pi_1": 1100})),
        (
            paid(by_card={"pi_1": 1000, "pi_2": 500}, disputes=(Dispute("dp_1", "lost", 400, "pi_1"),)),
            Credit(1100, {"pi_1": 600, "pi_2": 500}),
        ),
        (
            paid(by_card={"pi_1": 1000, "pi_2": 500}, disputes=(Dispute("dp_1", "lost", 500, "pi_9"),)),
            Credit(1000, {"pi_1": 1000}),
        ),
        (
            paid(by_card={"pi_1": 1000, "pi_2": 500}, disputes=(Dispute("dp_1", "needs_response", 500, "pi_1"),)),
            Credit(1500, {"pi_1": 1000, "pi_2": 500}),
        ),
        # The credit note is there, and its refund failed.
        (
            paid(refunds=(refund("failed", 1500),), credit_notes=(note(1500, refunds=frozenset({"re_1"})),)),
            Credit(0, {"pi_1": 1500}),
        ),
        (paid(credit_notes=(note(1600, to_balance=100),)), Credit(0, {"pi_1": 1400})),
        (paid(by_card={}, credit_notes=(note(1500),)), None),
        # What is still owed is taken off, too.
        (partly_paid(), Credit(1500, {"pi_1": 500})),
        (partly_paid(refunds=(refund("succeeded", 500),)), Credit(1500, {}, linked={"re_1": 500})),
        (partly_paid(refunds=(refund("succeeded", 200),)), Credit(1500, {"pi_1": 300}, linked={"re_1": 200})),
        # No more than a credit note may still name: the rest follows in the next round.
        (
            paid(refunds=(refund("failed", 500),), credit_notes=(note(500, refunds=frozenset({"re_1"})),)),
            Credit(1000, {"pi_1": 1000}),
        ),
        (
            paid(
                refunds=(refund("failed", 500), refund("succeeded", 200, id="re_2")),
                credit_notes=(note(500, refunds=frozenset({"re_1"})),),
            ),
            Credit(1000, {"pi_1": 800}, linked={"re_2": 200}),
        ),
        (
            partly_paid(refunds=(refund("failed", 300),), credit_notes=(note(300, refunds=frozenset({"re_1"})),)),
            Credit(1200, {"pi_1": 200}),
        ),
        (
            paid(
                refunds=(refund("failed", 900), refund("succeeded", 900, id="re_2")),
                credit_notes=(note(900, refunds=frozenset({"re_1"})),),
            ),
            Credit(600, {}, linked={"re_2": 600}),
        ),
        (
            paid(
                refunds=(refund("failed", 900), refund("succeeded", 900, id="re_2")),
                credit_notes=(note(900, refunds=frozenset({"re_1"})), note(600, refunds=frozenset({"re_2"}))),
            ),
            Credit(0, {"pi_1": 600}),
        ),
        # A debt of the customer was added to the invoice, so more is owed of it than its total.
        (partly_paid(amount_paid=20, amount_remaining=1510, by_card={"pi_1": 20}), Credit(1500, {})),
        (
            partly_paid(amount_remaining=1030, refunds=(refund("succeeded", 500),)),
            Credit(1500, {}, linked={"re_1": 470}),
        ),
        # The note was made twice by hand: no room is left to name the refund.
        (
            partly_paid(refunds=(refund("succeeded", 500),), credit_notes=(note(500, out_of_band=500),)),
            Credit(1000, {}),
        ),
        # The smallest unit.
        (paid(total=1, amount_paid=1, by_card={"pi_1": 1}), Credit(1, {"pi_1": 1})),
        # Nothing is left.
        (paid(refunds=(refund("succeeded", 1500),)), None),
        (paid(status="void"), None),
    ],
)
def test_credit_gives_back_what_is_left_as_it_was_paid(invoice: PaidInvoice, credit: Credit | None) -> None:
    """[55]"""
    assert invoice.credit() == credit


def test_reversals_name_each_object_with_its_status_and_whether_it_is_ours() -> None:
    """[55] A refund is ours if our credit note made it."""
    invoice = paid(
        refunds=(
            refund("succeeded", 100),
            refund("pending", 200, id="re_2", ours=True),
            refund("failed", 300, id="re_3"),
            refund("canceled", 400, id="re_4"),
        ),
        credit_notes=(
            note(500, ours=True, refunds=frozenset({"re_3"})),
            note(600, id="cn_2", status="void", refunds=frozenset({"re_1"})),
        ),
        disputes=(Dispute("dp_1", "lost", 700, "pi_1"),),
    )
    found = invoice.reversals(NOW_MS)
    assert found == [
        (Reversal(NOW_MS, "re_1", "refund_succeeded", 100, "usd"), False),
        (Reversal(NOW_MS, "re_2", "refund_pending", 200, "usd"), True),
        (Reversal(NOW_MS, "re_3", "refund_failed", 300, "usd"), True),
        (Reversal(NOW_MS, "re_4", "refund_canceled", 400, "usd"), False),
        (Reversal(NOW_MS, "cn_1", "credit_note_issued", 500, "usd"), True),
        (Reversal(NOW_MS, "cn_2", "credit_note_void", 600, "usd"), False),
        (Reversal(NOW_MS, "dp_1", "dispute_lost", 700, "usd"), False),
    ]
    assert [reversal.id for reversal, _ in found if reversal.failed] == ["re_3", "re_4"]
