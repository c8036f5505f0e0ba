"""What is read of invoices and of money that goes back: each field, and objects that have none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.events import Hint
from line_requests.domain.errors import BillingMisconfigured
from line_requests.domain.model import Invoice
from line_requests.domain.reversals import CreditNote, Dispute, PaidInvoice, Refund, Reversal
from tests.decision.examples import LINE_ID, NOW_MS, line
from tests.edges.scripted_stripe import listed

if TYPE_CHECKING:
    from tests.edges.scripted_stripe import ScriptedStripe

Json = dict[str, Any]

OURS = {"workspace_id": "acme", "line_id": LINE_ID}
BARE_INVOICE: Json = {"id": "in_1", "object": "invoice", "lines": listed()}
INVOICE: Json = {
    "id": "in_1",
    "object": "invoice",
    "status": "open",
    "metadata": OURS,
    "customer": {"id": "cus_acme", "object": "customer"},
    "hosted_invoice_url": "https://invoice.stripe.com/i/1",
    "currency": "usd",
    "total": 1500,
    "pre_payment_credit_notes_amount": 900,
    "post_payment_credit_notes_amount": 599,
    "amount_paid": 7,
    "amount_remaining": 593,
    "from_invoice": {"action": "revision", "invoice": "in_0"},
    "latest_revision": {"id": "in_2", "object": "invoice"},
    "lines": listed({"currency": "usd", "amount": 1200}, {"currency": "usd", "amount": 300}),
}


# --- invoices -------------------------------------------------------------------------------------


def test_invoice_is_read_field_by_field(stripe: ScriptedStripe) -> None:
    """[39][56]"""
    stripe.answer(200, INVOICE)
    invoices = stripe.billing().invoices
    read = invoices.retrieve("in_1")
    assert read == Invoice(
        id="in_1",
        status="open",
        workspace_id="acme",
        line_id=LINE_ID,
        customer="cus_acme",
        url="https://invoice.stripe.com/i/1",
        items=(("usd", 1200), ("usd", 300)),
        amount_paid=7,
        revises="in_0",
        latest_revision="in_2",
    )
    assert [invoices.create_draft(line()), invoices.finalize(line(), "in_1"), invoices.void_or_delete(read)] == [
        read
    ] * 3
    assert invoices.void_or_delete(replace(read, status="draft")) == Invoice("in_1", "gone")


@pytest.mark.parametrize("absent", [{}, dict.fromkeys(INVOICE.keys() - {"id", "object", "lines"})])
def test_invoice_without_fields_is_read(stripe: ScriptedStripe, absent: Json) -> None:
    """[39]"""
    stripe.answer(200, BARE_INVOICE | absent)
    assert stripe.billing().invoices.retrieve("in_1") == Invoice("in_1", "")


@pytest.mark.parametrize(
    ("total", "notes", "status"),
    [
        (1500, (1000, 500), "void"),
        (1500, (1000, 499), "paid"),
        (1500, (None, 1500), "void"),
        (None, (1, None), "paid"),
        (1, (None, None), "paid"),
    ],
)
def test_invoice_that_was_credited_in_full_is_void(
    stripe: ScriptedStripe, total: int | None, notes: tuple[int | None, int | None], status: str
) -> None:
    """[56]"""
    names = ("total", "pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")
    stripe.answer(200, BARE_INVOICE | {"status": "paid"} | dict(zip(names, (total, *notes), strict=True)))
    assert stripe.billing().invoices.retrieve("in_1").status == status


def test_last_revision_of_a_void_invoice_is_returned(stripe: ScriptedStripe) -> None:
    """[39]"""
    for number, status in enumerate(("void", "void", "open")):
        stripe.answer(
            200, BARE_INVOICE | {"id": f"in_{number}", "status": status, "latest_revision": f"in_{number + 1}"}
        )
    found = stripe.billing().invoices.retrieve("in_0")
    assert (found.id, found.status, found.revises) == ("in_2", "open", "in_0")


def test_revisions_without_end_are_left_after_ten(stripe: ScriptedStripe) -> None:
    """[39]"""
    stripe.answer(200, BARE_INVOICE | {"status": "void", "latest_revision": "in_1"})
    assert stripe.billing().invoices.retrieve("in_0").status == "void"
    assert len(stripe.calls) == 11


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        (("draft", "paid", "open"), "in_1"),
        (("void", "open", "uncollectible", "draft"), "in_2"),
        (("uncollectible", "paid"), "in_1"),
        (("draft", "open"), "in_1"),
        (("void", "draft"), "in_1"),
        (("void",), None),
        ((), None),
    ],
)
def test_invoice_closest_to_paid_is_found_by_metadata(
    stripe: ScriptedStripe, statuses: tuple[str, ...], found: str | None
) -> None:
    """[33]"""
    ours = [INVOICE | {"id": f"in_{number}", "status": status} for number, status in enumerate(statuses)]
    foreign = INVOICE | {"id": "in_9", "status": "paid", "metadata": {"line_id": "another"}}
    stripe.answer(200, listed(foreign, *ours))
    invoice = stripe.billing().invoices.find_by_metadata(line())
    assert (invoice and invoice.id) == found


@pytest.mark.parametrize(("statuses", "found"), [(("void", "draft"), "in_1"), (("void",), "in_0")])
def test_void_invoice_that_is_asked_for_is_found_last(
    stripe: ScriptedStripe, statuses: tuple[str, ...], found: str
) -> None:
    """[33][56]"""
    stripe.answer(200, listed(*(INVOICE | {"id": f"in_{n}", "status": one} for n, one in enumerate(statuses))))
    invoice = stripe.billing().invoices.find_by_metadata(line(), void=True)
    assert invoice is not None
    assert invoice.id == found


def test_long_list_is_read_page_by_page(stripe: ScriptedStripe) -> None:
    """[47]"""
    stripe.answer(200, listed(INVOICE, INVOICE | {"id": "in_2"}) | {"has_more": True})
    stripe.answer(200, listed(INVOICE | {"id": "in_3"}))
    invoices = list(stripe.billing().invoices.since(since_s=7))
    assert [(one.id, one.replayed) for one in invoices] == [("in_1", False), ("in_2", False), ("in_3", False)]
    first = {"created[gte]": "7", "limit": "100"}
    assert stripe.sent == [("GET /v1/invoices", first), ("GET /v1/invoices", first | {"starting_after": "in_2"})]


def test_line_without_a_charge_asks_stripe_nothing(stripe: ScriptedStripe) -> None:
    free = line(charge=None)
    with pytest.raises(BillingMisconfigured, match=LINE_ID):
        stripe.billing().invoices.create_draft(free)
    assert stripe.billing().reversals.of_line(free) == []
    assert stripe.calls == []


# --- money that goes back -------------------------------------------------------------------------


def refund_hint(**fields: str) -> Hint:
    return Hint("refund.created", 7, livemode=False, object_id="", customer="", workspace_id="", line_id="", **fields)


def test_invoices_of_an_event_are_those_that_it_names_or_its_payment_has_paid(stripe: ScriptedStripe) -> None:
    """[55]"""
    reversals = stripe.billing().reversals
    assert reversals.invoices_of(refund_hint(invoice_id="in_1", payment_intent="pi_1")) == ["in_1"]
    assert stripe.calls == []
    stripe.answer(200, listed({"invoice": "in_2"}, {"invoice": {"id": "in_3"}}))
    assert reversals.invoices_of(refund_hint(payment_intent="pi_1")) == ["in_2", "in_3"]


@pytest.mark.parametrize("code", ["resource_missing", "parameter_invalid"])
def test_unknown_payment_has_paid_no_invoice(stripe: ScriptedStripe, code: str) -> None:
    """[45][55]"""
    stripe.refuse(400, code)
    assert stripe.billing().reversals.invoices_of(refund_hint(payment_intent="pi_1")) == []


PAYMENTS = [
    {"amount_paid": 500, "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1"}}},
    {"amount_paid": 300, "payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
    {"amount_paid": None, "payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
    {"amount_paid": 700, "payment": {"type": "out_of_band"}},
]
REFUNDS = [
    {"id": "re_1", "status": "succeeded", "amount": 100, "metadata": OURS},
    {"id": "re_2", "status": None, "amount": 200, "metadata": {"line_id": "another"}},
]
NOTES = [
    {
        "id": "cn_1",
        "status": "issued",
        "total": 1500,
        "post_payment_amount": 900,
        "out_of_band_amount": 200,
        "refunds": [
            {"refund": "re_1", "amount_refunded": 100},
            {"refund": {"id": "re_2"}, "amount_refunded": 250},
            {"refund": None, "payment_record_refund": {"payment_record": "pr_1"}, "amount_refunded": 50},
        ],
        "metadata": OURS,
    },
    {"id": "cn_2", "status": "void", "total": 9, "post_payment_amount": None, "refunds": None, "metadata": None},
]
WITHDRAWN, REINSTATED = {"amount": -700}, {"amount": 700}
DISPUTES = [
    {"id": "du_1", "status": "lost", "amount": 800},
    {"id": "du_2", "status": "prevented", "amount": 700, "balance_transactions": [WITHDRAWN]},
    {"id": "du_3", "status": "won", "amount": 700, "balance_transactions": [WITHDRAWN, REINSTATED]},
    {"id": "du_4", "status": "prevented", "amount": 700, "balance_transactions": []},
]


def test_paid_invoice_is_read_with_its_payments_and_all_that_went_back(stripe: ScriptedStripe) -> None:
    """[55]"""
    sent = Reversal(NOW_MS, "wire", "sent_outside_stripe", 11, "usd", invoice_id="in_1")
    draft, foreign = INVOICE | {"id": "in_2", "status": "draft"}, INVOICE | {"id": "in_3", "metadata": None}
    stripe.answer(200, listed(draft, INVOICE, foreign))
    for one in (PAYMENTS, REFUNDS, NOTES, DISPUTES):
        stripe.answer(200, listed(*one))
    assert stripe.billing().reversals.of_line(line(reversals=(sent,))) == [
        PaidInvoice(
            id="in_1",
            status="open",
            currency="usd",
            total=1500,
            amount_paid=7,
            amount_remaining=593,
            credited_unpaid=900,
            by_card={"pi_1": 800},
            refunds=(Refund("re_1", "succeeded", 100, "pi_1", ours=True), Refund("re_2", "", 200, "pi_1", ours=False)),
            credit_notes=(
                CreditNote("cn_1", "issued", 1500, 300, 250, frozenset({"re_1", "re_2"}), ours=True),
                CreditNote("cn_2", "void", 9),
            ),
            disputes=(
                Dispute("du_1", "lost", 800, "pi_1"),
                Dispute("du_2", "prevented", 700, "pi_1", withdrawn=True),
                Dispute("du_3", "won", 700, "pi_1"),
                Dispute("du_4", "prevented", 700, "pi_1"),
            ),
            sent_outside=11,
        )
    ]
    assert stripe.sent[1:] == [
        ("GET /v1/invoice_payments", {"invoice": "in_1", "status": "paid", "limit": "100"}),
        ("GET /v1/refunds", {"payment_intent": "pi_1", "limit": "100"}),
        ("GET /v1/credit_notes", {"invoice": "in_1", "limit": "100"}),
        ("GET /v1/disputes", {"payment_intent": "pi_1", "limit": "100"}),
    ]


@pytest.mark.parametrize("status", ["open", "paid", "uncollectible", "void", "draft"])
def test_invoice_of_a_deleted_customer_is_read_when_it_was_finalized(stripe: ScriptedStripe, status: str) -> None:
    """[55]"""
    unpaid = INVOICE | {"status": status, "amount_paid": 0, "pre_payment_credit_notes_amount": None}
    stripe.refuse(400, "resource_missing")
    stripe.answer(200, unpaid)
    stripe.answer(200, listed())
    found = stripe.billing().reversals.of_line(line(invoice_id="in_1"))
    expected = PaidInvoice("in_1", status, "usd", 1500, 0, 593, 0, {})
    assert found == ([expected] if status in {"open", "paid", "uncollectible"} else [])
    assert stripe.sent[1] == ("GET /v1/invoices/in_1", {})
    stripe.answers.clear()
    stripe.refuse(400, "resource_missing")
    assert stripe.billing().reversals.of_line(line()) == []


@pytest.mark.parametrize("second", ["in_2", "in_1"])
def test_both_invoices_of_a_deleted_customers_line_are_read_once(stripe: ScriptedStripe, second: str) -> None:
    """[55][56] A line that was waived and paid still owes its only invoice."""
    stripe.refuse(400, "resource_missing")
    for name in dict.fromkeys(("in_1", second)):
        stripe.answer(200, INVOICE | {"id": name, "status": "draft"})
    assert stripe.billing().reversals.of_line(line(invoice_id="in_1", refund_invoice_id=second)) == []
    assert [call for call, _ in stripe.sent[1:]] == [f"GET /v1/invoices/{name}" for name in sorted({"in_1", second})]
