"""How a line's reversals and its refund flag follow Stripe, without a table."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import Change, Invoice, Line, PaymentStatus, Status
from line_requests.domain.reversals import PaidInvoice, Refund, Reversal
from line_requests.flows.reversals import ROUNDS, ReversalSync, to_refund
from tests.decision.examples import CHARGE, NOW_MS, line, payable
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from line_requests.billing.events import Hint

WAITING = payable()
HISTORY = (*WAITING.history, Change(NOW_MS, Status.CANCELED, "canceled"))
CANCELED = replace(
    WAITING, status=Status.CANCELED, payment_status=PaymentStatus.CANCELED, history=HISTORY, due_at_ms=None
)
PAID = line(status=Status.PROVISIONING, payment_status=PaymentStatus.PAID, invoice_id="in_1", charge=CHARGE)
RELEASED = replace(PAID, status=Status.CANCELED, history=(*PAID.history, *HISTORY))
FAILED_FIRST = replace(RELEASED, history=(Change(NOW_MS, Status.FAILED, "failed"), HISTORY[-1]))
MONEY = PaidInvoice("in_1", "paid", "usd", 1500, 1500, 0, 0, {"pi_1": 1500})
BESIDE = replace(MONEY, id="in_2")
HINT: Any = object()


def refund(status: str = "succeeded", name: str = "re_1", *, ours: bool = False) -> Refund:
    return Refund(name, status, 1500, "pi_1", ours)


def back(cause: str = "refund_succeeded", name: str = "re_1") -> Reversal:
    return Reversal(NOW_MS, name, cause, 1500, "usd")


class Books:
    """One line, beside what Stripe has of its invoices."""

    def __init__(self, stored: Line, *invoices: PaidInvoice) -> None:
        self.line: Line | None = stored
        self.paid = list(invoices)
        self.changes = 0
        """How often another caller writes the line first."""
        self.flags = True
        self.invoices: dict[str, Invoice] = {}
        self.did: list[tuple[Any, ...]] = []
        stores: Any = SimpleNamespace(lines=self, workspaces=self)
        reversals = SimpleNamespace(of_line=lambda _: self.paid, invoices_of=self._named)
        billing: Any = SimpleNamespace(invoices=self, reversals=reversals)
        self.sync = ReversalSync(stores, lambda _: billing)
        self.at = WaitingClock(NOW_MS, 9.0)

    def _named(self, hint: Hint) -> list[str]:
        assert hint is HINT
        return list(self.invoices)

    def retrieve(self, invoice_id: str) -> Invoice:
        return self.invoices[invoice_id]

    def of_customer(self, customer: str) -> str | None:
        self.did.append(("customer", customer))
        return {"cus_acme": "acme", "cus_second": "acme"}.get(customer)

    def get(self, workspace_id: str, line_id: str) -> Line | None:
        self.did.append(("get", workspace_id, line_id))
        return self.line

    def save_reversals(
        self, seen: Line, heard: Sequence[Reversal], *, refund_due: bool, refund_invoice_id: str | None
    ) -> Line | None:
        self.did.append(("save", seen.amount_paid, tuple(heard), refund_due))
        if self.changes:
            self.changes -= 1
            self.line = replace(seen, amount_paid=seen.amount_paid + 1) if self.line else None
            return None
        refund_invoice_id = refund_invoice_id or seen.refund_invoice_id
        back = (*seen.reversals, *heard)
        return replace(seen, reversals=back, refund_due=refund_due, refund_invoice_id=refund_invoice_id)

    def set_due(self, seen: Line, at_ms: int | None) -> None:
        self.did.append(("due", seen.refund_due, at_ms))

    def flag_refund(self, _: Line, invoice_id: str) -> bool:
        self.did.append(("flag", invoice_id))
        return self.flags


def alarms(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr().out
    return [name for name in ("RefundDue", "Reversal") for _ in range(printed.count(f'"{name}":[1.0]'))]


@pytest.mark.parametrize(
    ("stored", "refunds", "saved", "expected"),
    [
        (CANCELED, [], ((), True), ["RefundDue"]),
        (replace(CANCELED, refund_due=True), [], None, []),
        (CANCELED, [refund()], ((back(),), False), ["Reversal"]),
        (CANCELED, [refund(ours=True)], ((back(),), False), []),
        (replace(CANCELED, reversals=(back(),)), [refund()], None, []),
        (replace(CANCELED, refund_due=True, reversals=(back(),)), [refund()], ((), False), []),
        (
            replace(CANCELED, reversals=(back("refund_pending"),), refund_due=True),
            [refund("failed", ours=True)],
            ((back("refund_failed"),), True),
            ["Reversal"],
        ),
        (CANCELED, [refund("failed")], ((back("refund_failed"),), True), ["RefundDue", "Reversal"]),
    ],
)
def test_what_is_new_is_stored_and_alarmed(
    stored: Line,
    refunds: list[Refund],
    saved: tuple[tuple[Reversal, ...], bool] | None,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """[55] Our own refunds alarm only when they fail."""
    books = Books(stored, replace(MONEY, refunds=tuple(refunds)))
    after = books.sync.sync(books.at, stored)
    assert books.did == ([("save", 0, *saved)] if saved else [])
    heard, due = saved or ((), stored.refund_due)
    assert after == replace(stored, reversals=(*stored.reversals, *heard), refund_due=due)
    assert alarms(capsys) == expected


@pytest.mark.parametrize("known", [True, False])
def test_alarms_are_raised_once_however_many_rounds(capsys: pytest.CaptureFixture[str], *, known: bool) -> None:
    """[55] A round follows another caller's write."""
    books = Books(CANCELED, replace(MONEY, refunds=(refund("failed"), refund("failed", "re_2"))))
    books.changes = ROUNDS - 1
    if not known:
        books.line = None
    assert books.sync.sync(books.at, CANCELED).refund_due
    assert [one[1] for one in books.did if one[0] == "save"] == (list(range(ROUNDS)) if known else [0] * ROUNDS)
    assert alarms(capsys) == ["RefundDue", "Reversal", "Reversal"]


@pytest.mark.parametrize(
    ("stored", "named", "expected"),
    [
        (PAID, "in_2", ["RefundDue"] * 2),
        (replace(PAID, refund_due=True), "in_2", ["RefundDue"]),
        (replace(PAID, refund_due=True, refund_invoice_id="in_3"), "in_3", []),
        (replace(PAID, refund_due=True, refund_invoice_id="in_1"), "in_2", ["RefundDue"]),
        (replace(FAILED_FIRST, refund_due=True), None, []),
        (CANCELED, None, ["RefundDue"] * 3),
    ],
)
def test_refund_names_an_invoice_whose_payment_has_to_go_back(
    stored: Line, named: str | None, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """[55] Of a live line never its own invoice's: an operator would refund the payment that provisions it."""
    books = Books(stored, MONEY, BESIDE, replace(MONEY, id="in_3"))
    after = books.sync.sync(books.at, stored)
    assert (after.refund_due, after.refund_invoice_id) == (True, named)
    assert alarms(capsys) == expected


def test_line_that_keeps_changing_is_left_to_the_next_caller() -> None:
    """[55]"""
    books = Books(CANCELED, MONEY)
    books.changes = ROUNDS
    with pytest.raises(BillingUnavailable) as trouble:
        books.sync.sync(books.at, CANCELED)
    assert trouble.value.line_id == CANCELED.id


def test_alarm_says_what_went_back(caplog: pytest.LogCaptureFixture) -> None:
    """[55]"""
    books = Books(CANCELED, replace(MONEY, refunds=(refund(),)))
    books.sync.sync(books.at, CANCELED)
    [record] = [vars(one) for one in caplog.records]
    named = {name: record[name] for name in ("line_id", "reversal", "cause", "amount")}
    assert named == {"line_id": CANCELED.id, "reversal": "re_1", "cause": "refund_succeeded", "amount": 1500}


def test_more_that_went_back_than_was_paid_is_alarmed_once_for_each_invoice(caplog: pytest.LogCaptureFixture) -> None:
    """[55] Two people at once may refund in Stripe and outside of it; a round follows another caller's write."""
    twice, both = replace(MONEY, sent_outside=1400), replace(BESIDE, sent_outside=2)
    books = Books(CANCELED, *(replace(one, refunds=(refund(ours=True),)) for one in (twice, both)), MONEY)
    books.changes = 1
    books.sync.sync(books.at, CANCELED)
    records = [vars(one) for one in caplog.records if one.message == "more went back than was paid"]
    shown = [(one["line_id"], one["invoice"], one["amount"]) for one in records]
    assert shown == [(CANCELED.id, "in_1", 1400), (CANCELED.id, "in_2", 2)]


@pytest.mark.parametrize(
    ("stored", "due"),
    [(CANCELED, True), (PAID, False), (replace(RELEASED, replaced_invoice_id="in_0"), False), (RELEASED, True)],
)
def test_checked_line_is_due_no_more_unless_something_else_is(stored: Line, *, due: bool) -> None:
    """[47]"""
    books = Books(stored, MONEY)
    after = books.sync.recheck(books.at, stored)
    assert after.refund_due is (stored is CANCELED)
    assert [one for one in books.did if one[0] == "due"] == ([("due", after.refund_due, None)] if due else [])


@pytest.mark.parametrize(
    ("stored", "invoice_id", "flagged"),
    [
        (CANCELED, "in_1", True),
        (replace(CANCELED, refund_due=True), "in_1", False),
        (replace(CANCELED, refund_due=True), "in_2", True),
        (replace(PAID, refund_due=True, refund_invoice_id="in_2"), "in_2", False),
        (replace(PAID, refund_invoice_id="in_2"), "in_2", True),
    ],
)
def test_payment_that_has_to_go_back_is_flagged_once(
    stored: Line,
    invoice_id: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    *,
    flagged: bool,
) -> None:
    """[44][55]"""
    books = Books(stored)
    assert books.sync.flag(books.at, stored, Invoice(invoice_id, "paid")) == stored
    assert books.did == ([("flag", invoice_id)] if flagged else [])
    assert alarms(capsys) == ["RefundDue"] * flagged
    why = "paid after it was canceled" if stored.refundable else "paid beside its own invoice"
    assert [record.message for record in caplog.records] == [why] * flagged


def test_payment_that_may_have_gone_back_already_is_checked() -> None:
    """[55]"""
    stored = replace(CANCELED, reversals=(back(),))
    books = Books(stored, replace(MONEY, refunds=(refund(),)))
    assert books.sync.flag(books.at, stored, Invoice("in_1", "paid")) == stored
    assert books.did == [("due", False, None)]


@pytest.mark.parametrize("gone", [True, False])
def test_payment_that_went_back_while_it_was_flagged_is_checked(*, gone: bool) -> None:
    """[55] Else the flag would stay, for money that nobody has."""
    now = replace(CANCELED, reversals=(back(),)) if gone else replace(CANCELED, refund_due=True)
    books = Books(now, replace(MONEY, refunds=(refund(),)))
    books.flags = False
    assert books.sync.flag(books.at, CANCELED, Invoice("in_1", "paid")) == now
    checked = [("due", False, None)] if gone else []
    assert books.did == [("flag", "in_1"), ("get", CANCELED.workspace_id, CANCELED.id), *checked]


OURS = Invoice("in_1", "paid", line_id=CANCELED.id, customer="cus_acme")


@pytest.mark.parametrize(
    ("invoices", "stored", "found"),
    [
        ([OURS], CANCELED, True),
        ([Invoice("in_9", "paid"), OURS, Invoice("in_8", "paid")], CANCELED, True),
        ([OURS], None, False),
        ([OURS], replace(CANCELED, charge=None), False),
        ([replace(OURS, customer="cus_second")], CANCELED, False),
        ([replace(OURS, customer="cus_other")], CANCELED, False),
        ([], CANCELED, False),
    ],
)
def test_event_concerns_the_lines_of_its_invoices(invoices: list[Invoice], stored: Line | None, *, found: bool) -> None:
    """[45][55] Metadata can be copied, the customer cannot."""
    books = Books(CANCELED, MONEY)
    books.line = stored
    books.invoices = {invoice.id: invoice for invoice in invoices}
    assert books.sync.apply(books.at, HINT) is found
    assert [one[0] for one in books.did].count("save") == found


@pytest.mark.parametrize(
    "invoice", [replace(OURS, line_id=""), replace(OURS, line_id="é" * 513), replace(OURS, customer="")]
)
def test_invoice_that_names_no_line_asks_the_table_nothing(invoice: Invoice) -> None:
    """[45] DynamoDB refuses a sort key over 1,024 bytes."""
    books = Books(CANCELED, MONEY)
    books.invoices = {"in_1": invoice}
    assert not books.sync.apply(books.at, HINT)
    assert books.did == []


@pytest.mark.parametrize(
    ("stored", "back"),
    [
        (WAITING, []),
        (CANCELED, ["in_1", "in_2"]),
        (PAID, ["in_2"]),
        (RELEASED, ["in_2"]),
        (FAILED_FIRST, ["in_1", "in_2"]),
        (line(status=Status.PROVISIONING, invoice_id="in_1"), ["in_1", "in_2"]),
    ],
)
def test_line_keeps_the_payment_that_it_had_something_for(stored: Line, back: list[str]) -> None:
    """[55]"""
    assert [invoice.id for invoice in to_refund(stored, [MONEY, BESIDE])] == back
