"""What goes back of a payment is the same in Stripe in memory and in the stateful double, seen by the product."""

from __future__ import annotations

import time
import urllib.parse
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from requests.structures import CaseInsensitiveDict

from line_requests.billing.account import Billing
from line_requests.domain.errors import BillingRejected
from line_requests.domain.reversals import Credit
from tests.decision.examples import CHARGE, line
from tests.local.stripe_double import StripeDouble
from tests.proof import memory_dashboard, memory_reversals
from tests.proof.memory_stripe import MemoryStripe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from line_requests.domain.model import Line
    from line_requests.domain.reversals import PaidInvoice

PRICE = 1500


class Account(ABC):
    """One line's invoice at one Stripe, and what people and banks do to it."""

    billing: Billing
    line: Line
    invoice_id: str

    def prepare(self, customer: str, product: str) -> None:
        """Makes the line's invoice, finalized."""
        now_ms = int(time.time() * 1000)
        self.line = line(charge=replace(CHARGE, customer=customer, product=product), created_at_ms=now_ms)
        draft = self.billing.invoices.create_draft(self.line)
        self.billing.invoices.add_item(self.line, draft.id)
        self.billing.invoices.finalize(self.line, draft.id)
        self.invoice_id = draft.id

    @abstractmethod
    def pay(self) -> None: ...

    @abstractmethod
    def pay_part(self) -> None: ...

    @abstractmethod
    def refund(self) -> None: ...

    @abstractmethod
    def fail_newest(self) -> None: ...

    def paid(self) -> PaidInvoice:
        [invoice] = self.billing.reversals.of_line(self.line)
        return invoice

    def issue(self, credit: Credit | None, attempt: int = 1) -> None:
        assert credit is not None
        self.billing.credit_notes.issue(self.line, self.paid(), credit, attempt=attempt)

    def seen(self) -> object:
        """What the product sees, without names."""
        one = self.paid()
        return (
            (one.status, one.currency, one.total, one.amount_paid, one.amount_remaining, one.credited_unpaid),
            sorted(one.by_card.values()),
            sorted((refund.amount, refund.status) for refund in one.refunds),
            [(note.status, note.amount, note.to_balance, note.out_of_band, len(note.refunds), note.ours)
             for note in one.credit_notes],
            (one.kept, one.to_return),
        )  # fmt: skip


class InMemory(Account, stripe.HTTPClient):
    name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStripe()
        self.now_s = int(time.time())
        client = stripe.StripeClient("sk_test_product", http_client=self, max_network_retries=0)
        self.billing = Billing(client, livemode=False)
        self.prepare("cus_acme", "prod_phone")

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: str | None = None, **_: object
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urllib.parse.urlsplit(url)
        params = dict(urllib.parse.parse_qsl(post_data if method == "post" else parts.query))
        key = (headers or {}).get("Idempotency-Key")
        self.memory, reply = self.memory.call(method.upper(), parts.path, params, key, self.now_s)
        return reply.body, reply.status, CaseInsensitiveDict(reply.headers)

    def close(self) -> None:
        """Nothing is open."""

    def pay(self) -> None:
        self.memory = self.memory.pay(self.invoice_id, self.now_s)

    def pay_part(self) -> None:
        self.memory = memory_dashboard.pay_part(self.memory, self.invoice_id, self.now_s)

    def refund(self) -> None:
        self.memory = memory_reversals.by_hand(self.memory, self.paid().id, self.now_s)

    def fail_newest(self) -> None:
        self.memory = memory_reversals.fail(self.memory, list(self.memory.refunds)[-1], self.now_s)


class OnTheDouble(Account):
    def __init__(self, double: StripeDouble) -> None:
        self.double = double
        client = stripe.StripeClient("sk_test_product", base_addresses={"api": double.url}, max_network_retries=0)
        self.billing = Billing(client, livemode=False)
        self.prepare(client.v1.customers.create({}).id, client.v1.products.create({"name": "Line"}).id)

    def pay(self) -> None:
        self.double.pay_invoice(self.invoice_id)

    def pay_part(self) -> None:
        self.double.touch_invoice(self.invoice_id, "pay_part", 1)

    def refund(self) -> None:
        self.double.touch_invoice(self.paid().id, "refund", None)

    def fail_newest(self) -> None:
        self.double.fail_refund(self.double.all_of("refund")[0]["id"])


@pytest.fixture
def unpaid() -> Iterator[list[Account]]:
    with StripeDouble(product_api_key="sk_test_product") as double:
        yield [InMemory(), OnTheDouble(double)]


@pytest.fixture
def both(unpaid: list[Account]) -> list[Account]:
    for account in unpaid:
        account.pay()
    return unpaid


def test_credit_note_on_a_partly_paid_invoice_takes_off_what_is_owed(unpaid: list[Account]) -> None:
    for account in unpaid:
        account.pay_part()
        part = account.paid().credit()
        assert part is not None
        with pytest.raises(BillingRejected):
            account.issue(replace(part, amount=part.amount - 1))
        account.issue(part)
    assert unpaid[0].seen() == unpaid[1].seen()
    assert (unpaid[0].paid().status, unpaid[0].paid().credited_unpaid) == ("paid", PRICE - 1)


def test_credit_note_refunds_and_its_failed_refund_is_repeated(both: list[Account]) -> None:
    for account in both:
        account.issue(account.paid().credit())
    assert both[0].seen() == both[1].seen()
    for account in both:
        account.fail_newest()
    assert both[0].seen() == both[1].seen()
    assert both[0].paid().to_return == PRICE
    for account in both:
        account.issue(account.paid().credit())
    assert both[0].seen() == both[1].seen()
    assert both[0].paid().kept == 0


def test_refund_by_hand_is_all_that_goes_back(both: list[Account]) -> None:
    whole = both[0].paid().credit()
    assert whole is not None
    for account in both:
        account.refund()
        [intent] = account.paid().by_card
        for credit in (replace(whole, refunds={intent: PRICE}), Credit(0, {intent: 1})):
            with pytest.raises(BillingRejected):
                account.issue(credit)
    assert both[0].seen() == both[1].seen()
    assert both[0].paid().credit() is None


def test_refund_by_hand_can_be_linked(both: list[Account]) -> None:
    for account in both:
        account.refund()
        [refund] = account.paid().refunds
        account.issue(Credit(PRICE, linked={refund.id: PRICE}))
        with pytest.raises(BillingRejected):
            account.issue(Credit(1, linked={refund.id: PRICE}), attempt=2)
    assert both[0].seen() == both[1].seen()


def test_same_decision_twice_is_one(both: list[Account]) -> None:
    for account in both:
        before = account.paid()
        credit: Any = before.credit()
        for _ in range(2):
            account.billing.credit_notes.issue(account.line, before, credit, attempt=1)
    assert both[0].seen() == both[1].seen()
    assert len(both[0].paid().credit_notes) == 1
