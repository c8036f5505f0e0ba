"""The operator's refund, step by step and without a table: what is owed, in which order it goes back, when it stops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.errors import BillingRejected, BillingUnavailable, NotInThisStatus, ReplayedFailure
from line_requests.domain.model import Change, Line, PaymentStatus, Status, VoidReason
from line_requests.domain.reversals import SENT_OUTSIDE, Credit, CreditNote, PaidInvoice, Refund, Reversal
from line_requests.flows.leases import Until
from line_requests.flows.refunds import ROUNDS, Refunds
from tests.decision.examples import NOW_MS, line, payable
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WAITING = payable()
PAID = line(status=Status.PROVISIONING, payment_status=PaymentStatus.PAID, invoice_id="in_1")
FAILED = replace(PAID, status=Status.FAILED)
FREE_FAILED = line(status=Status.FAILED)
CANCELED = replace(
    WAITING,
    status=Status.CANCELED,
    payment_status=PaymentStatus.CANCELED,
    history=(*WAITING.history, Change(NOW_MS, Status.CANCELED, "canceled")),
)
MONEY = PaidInvoice("in_1", "paid", "usd", 1500, 1500, 0, 0, {"pi_1": 1500})
BESIDE = replace(MONEY, id="in_2")
UNPAID = replace(MONEY, status="open", amount_paid=0, amount_remaining=1500, by_card={})
PART = replace(MONEY, status="open", amount_paid=500, amount_remaining=1000, by_card={"pi_1": 500})
CREDITED = replace(UNPAID, status="paid", credit_notes=(CreditNote("cn_1", "issued", 1500),), amount_remaining=0)
GONE = (Refund("re_1", "succeeded", 1500, "pi_1", ours=True),)
PENDING = (Refund("re_1", "pending", 1500, "pi_1", ours=True),)
NOTE = (CreditNote("cn_1", "issued", 1500, refunds=frozenset({"re_1"}), ours=True),)


class Till:
    """One line with its invoices at Stripe, and what is done to them, in order."""

    def __init__(self, *invoices: PaidInvoice) -> None:
        self.invoices = list(invoices)
        self.did: list[tuple[Any, ...]] = []
        self.trouble: list[Exception] = []
        """What the next credit notes meet."""
        self.meanwhile: list[Callable[[], object]] = []
        """What others do when the next credit notes are issued."""
        self.known: Line | None = None
        self.changes = 0
        stub: Any = self
        self.reversals = SimpleNamespace(of_line=lambda _: list(self.invoices), sync=self._sync)
        self.credit_notes = self
        self.refunds = Refunds(stub, stub)
        self.at = WaitingClock(NOW_MS, 20.0)

    def connect(self, _: object) -> Any:  # noqa: ANN401 - as much of it as is called
        return self

    def issue(self, _: Line, invoice: PaidInvoice, credit: Credit, *, attempt: int) -> None:
        self.did.append(("issue", invoice.id, credit.amount, attempt))
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if self.trouble:
            raise self.trouble.pop(0)
        self.give_all_back(invoice.id)

    def give_all_back(self, invoice_id: str) -> None:
        self.invoices = [
            replace(one, status="paid", amount_remaining=0, refunds=GONE, credit_notes=NOTE)
            if one.id == invoice_id
            else one
            for one in self.invoices
        ]

    def _sync(self, _: object, seen: Line) -> Line:
        self.did.append(("sync", seen.status))
        return replace(seen, amount_paid=7)

    def advance(self, _: object, seen: Line, until: Until, *, wait: bool) -> Line:
        self.did.append(("advance", until, wait))
        return seen

    def cancel(self, _: object, seen: Line, reason: VoidReason) -> Line:
        self.did.append(("cancel", reason))
        return replace(seen, status=Status.CANCELED)

    def release(self, seen: Line, cause: str, at_ms: int) -> Line:
        self.did.append(("release", cause, at_ms))
        history = (*seen.history, Change(NOW_MS, Status.FAILED, "failed"), Change(NOW_MS, Status.CANCELED, cause))
        return replace(seen, status=Status.CANCELED, history=history)

    def get(self, *_: object) -> Line | None:
        return self.known

    def save_reversals(self, seen: Line, sent: Sequence[Reversal], *, refund_due: bool) -> Line | None:
        self.did.append(("save", tuple((one.id, one.amount, one.invoice_id) for one in sent), refund_due))
        if self.changes:
            self.changes -= 1
            return None
        return replace(seen, reversals=tuple(sent), refund_due=refund_due)


ISSUED, SYNCED = ("issue", "in_1", 1500, 1), ("sync", Status.CANCELED)


@pytest.mark.parametrize(
    ("stored", "invoices", "did"),
    [
        (CANCELED, [MONEY], [ISSUED, SYNCED]),
        (CANCELED, [MONEY, BESIDE], [ISSUED, ("issue", "in_2", 1500, 1), SYNCED]),
        (CANCELED, [replace(MONEY, refunds=GONE)], [SYNCED]),
        (FAILED, [MONEY], [("release", "released_by_operator", NOW_MS), ISSUED, SYNCED]),
        (replace(PAID, refund_due=True), [MONEY, BESIDE], [("issue", "in_2", 1500, 1), ("sync", Status.PROVISIONING)]),
        (
            WAITING,
            [PART, replace(UNPAID, id="in_2")],
            [("advance", Until.CHECKED, True), ISSUED, ("cancel", VoidReason.CANCELED), SYNCED],
        ),
        (WAITING, [CREDITED], [("advance", Until.CHECKED, True), ("cancel", VoidReason.CANCELED), SYNCED]),
    ],
)
def test_what_is_left_is_given_back(stored: Line, invoices: list[PaidInvoice], did: list[tuple[Any, ...]]) -> None:
    """[55][56] A failed line is released first, so that it is not provisioned again; a request is canceled last."""
    till = Till(*invoices)
    left = till.refunds.left(till.at, stored)
    assert till.did == []
    after, given = till.refunds.give_back(till.at, stored)
    assert till.did == did
    assert given == left
    assert [invoice.id for invoice, _ in given] == [one[1] for one in did if one[0] == "issue"]
    assert after.amount_paid == 7, "the line as it was synced"


def test_what_was_sent_outside_while_the_operator_was_asked_is_not_given_back_again() -> None:
    """[55] Minutes may pass between what is shown and the answer."""
    till = Till(MONEY)
    till.known = replace(CANCELED, reversals=(Reversal(NOW_MS, "wire 1", SENT_OUTSIDE, 1500, "usd", "in_1"),))
    till.reversals.of_line = lambda seen: [replace(MONEY, sent_outside=sum(one.amount for one in seen.reversals))]
    assert till.refunds.give_back(till.at, replace(CANCELED, refund_due=True))[1] == []
    assert till.did == [SYNCED]


@pytest.mark.parametrize(
    ("stored", "invoices", "why"),
    [
        (WAITING, [UNPAID], "Nothing was paid"),
        (PAID, [MONEY], "no refund of it is due"),
        (FREE_FAILED, [], "no refund of it is due"),
    ],
)
def test_line_that_is_owed_nothing_is_refused(stored: Line, invoices: list[PaidInvoice], why: str) -> None:
    """[55]"""
    till = Till(*invoices)
    with pytest.raises(NotInThisStatus, match=why):
        till.refunds.left(till.at, stored)


@pytest.mark.parametrize("stored", [CANCELED, replace(PAID, refund_due=True), replace(CANCELED, refund_due=True)])
def test_line_that_is_owed_a_refund_may_have_nothing_left(stored: Line) -> None:
    """[55] What was paid is known by its flag or by its state."""
    till = Till()
    assert till.refunds.left(till.at, stored) == []


def test_refusal_ends_the_refund_unless_something_changed() -> None:
    """[55]"""
    till = Till(MONEY)
    till.trouble = [BillingRejected("charge_disputed")] * 2
    some = replace(MONEY, refunds=(Refund("re_0", "succeeded", 100, "pi_1", ours=False),))
    till.meanwhile = [lambda: setattr(till, "invoices", [some])]
    with pytest.raises(BillingRejected, match="charge_disputed"):
        till.refunds.give_back(till.at, CANCELED)
    assert [one[3] for one in till.did] == [1, 1], "once more, because someone refunded a part"


def test_replayed_failure_gets_another_key() -> None:
    """[55]"""
    till = Till(MONEY)
    till.trouble = [ReplayedFailure("500"), ReplayedFailure("500")]
    _, given = till.refunds.give_back(till.at, CANCELED)
    assert [one[3] for one in till.did if one[0] == "issue"] == [1, 2, 3]
    assert len(given) == 1


def test_refund_of_what_keeps_changing_gives_up() -> None:
    """[55]"""
    till = Till(MONEY)
    till.trouble = [ReplayedFailure("500")] * ROUNDS
    with pytest.raises(BillingUnavailable, match="keeps changing") as trouble:
        till.refunds.give_back(till.at, CANCELED)
    assert trouble.value.line_id == CANCELED.id
    assert [one[3] for one in till.did] == list(range(1, ROUNDS + 1))


REFERENCE = "bank transfer 4711"


def outside(reference: str = REFERENCE, cause: str = SENT_OUTSIDE) -> Reversal:
    return Reversal(1, reference, cause, 1500, "usd", "in_1")


@pytest.mark.parametrize(
    ("stored", "invoices", "did"),
    [
        (CANCELED, [MONEY], [("save", ((REFERENCE, 1500, "in_1"),), False), SYNCED]),
        (CANCELED, [replace(BESIDE, refunds=PENDING), MONEY], [("save", ((REFERENCE, 1500, "in_1"),), True), SYNCED]),
        (
            FAILED,
            [MONEY],
            [("release", "released_by_operator", NOW_MS), ("save", ((REFERENCE, 1500, "in_1"),), False), SYNCED],
        ),
    ],
)
def test_what_was_sent_outside_is_recorded(
    stored: Line, invoices: list[PaidInvoice], did: list[tuple[Any, ...]]
) -> None:
    """[55] The flag stays while something else is on its way."""
    till = Till(*invoices)
    would = till.refunds.left_outside(till.at, stored, REFERENCE)
    assert would == [Reversal(NOW_MS, REFERENCE, SENT_OUTSIDE, 1500, "usd", "in_1")]
    assert till.did == []
    after, sent = till.refunds.record_outside(till.at, stored, REFERENCE)
    assert till.did == did
    assert (sent, after.amount_paid) == (would, 7)


def test_reference_is_recorded_once() -> None:
    """[55]"""
    till = Till(MONEY)
    others = (outside("another"), outside(cause="refund_succeeded"))
    stored = replace(CANCELED, reversals=(*others, outside()))
    assert till.refunds.record_outside(till.at, stored, REFERENCE) == (stored, [outside()])
    assert till.did == []
    till.refunds.record_outside(till.at, replace(CANCELED, reversals=others), REFERENCE)
    assert till.did[0][0] == "save"


def test_reference_that_another_caller_recorded_before_the_release_is_not_recorded_again() -> None:
    """[55] The release returns the line as it is by then."""
    till = Till(MONEY)
    release = till.release
    till.release = lambda *what: replace(release(*what), reversals=(outside(),))  # type: ignore[method-assign] # of a stub
    assert till.refunds.record_outside(till.at, FAILED, REFERENCE)[1] == [outside()]
    assert [one[0] for one in till.did] == ["release"]


@pytest.mark.parametrize(
    ("stored", "invoices", "why"),
    [
        (WAITING, [PART], "awaits payment"),
        (CANCELED, [replace(MONEY, refunds=GONE)], "Nothing is left to send"),
        (CANCELED, [replace(MONEY, refunds=PENDING)], "Nothing is left to send"),
    ],
)
def test_nothing_is_recorded_while_nothing_is_left_to_send(stored: Line, invoices: list[PaidInvoice], why: str) -> None:
    """[55]"""
    till = Till(*invoices)
    with pytest.raises(NotInThisStatus, match=why):
        till.refunds.record_outside(till.at, stored, REFERENCE)
    assert till.did == []


@pytest.mark.parametrize("known", [True, False])
def test_record_that_met_another_write_is_decided_again(*, known: bool) -> None:
    """[55]"""
    till = Till(MONEY)
    till.changes = ROUNDS - 1
    till.known = replace(CANCELED, payment_url="https://now") if known else None
    after, _ = till.refunds.record_outside(till.at, CANCELED, REFERENCE)
    assert after.payment_url == (till.known or CANCELED).payment_url
    till.changes = ROUNDS
    with pytest.raises(BillingUnavailable) as trouble:
        till.refunds.record_outside(till.at, CANCELED, REFERENCE)
    assert trouble.value.line_id == CANCELED.id
