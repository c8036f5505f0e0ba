"""`line refund` on the terminal; what it does at Stripe is in tests/edges/test_reversals.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.reversals import Reversal
from line_requests.operator import cli, doctor, doctor_lines
from line_requests.operator.target import Target
from tests.operator import lines

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

Money = dict[str, Any]


def usd(amount: int) -> Money:
    return {"amount": amount, "currency": "usd"}


@pytest.fixture
def failed(deployment: Deployment, acme: str, shop: Shop) -> Line:
    """A paid line that its provisioner failed."""
    return lines.paid_and_failed(deployment, shop.double, lines.invoiced(deployment, acme))


def refunds_of(shop: Shop, line: Line) -> list[int]:
    payments = shop.v1.invoice_payments.list({"invoice": str(line.invoice_id)}).data
    intents = [str(payment.payment.payment_intent) for payment in payments]
    return [refund.amount for intent in intents for refund in shop.v1.refunds.list({"payment_intent": intent}).data]


def test_refund_releases_a_failed_line_and_shows_what_went_back(console: Console, failed: Line, shop: Shop) -> None:
    """[55]"""
    view = console.json("line", "refund", failed.id, "--yes")
    assert (view["status"], view["refundDue"]) == ("canceled", False)
    assert view["givenBack"] == [
        {
            "invoice": failed.invoice_id,
            "refunded": usd(1500),
            "toBalance": usd(0),
            "outOfBand": usd(0),
            "earlierRefunds": [],
        }
    ]
    shown = console.json("line", "show", failed.id)
    assert [one["cause"] for one in shown["reversals"]] == ["refund_succeeded", "credit_note_issued"]
    again = console.json("line", "refund", failed.id, "--yes")
    assert (again["givenBack"], again["note"]) == ([], "nothing is left to give back")
    assert refunds_of(shop, failed) == [1500]


def test_dry_run_shows_what_would_go_back_and_changes_nothing(console: Console, failed: Line, shop: Shop) -> None:
    """[55]"""
    view = console.json("line", "refund", failed.id, "--dry-run")
    assert (view["status"], view["toGiveBack"][0]["refunded"]) == ("failed", usd(1500))
    assert "$15.00" in console.text("line", "refund", failed.id, "--dry-run")
    assert refunds_of(shop, failed) == []
    assert console.json("line", "show", failed.id)["status"] == "failed"


def test_refund_has_to_be_confirmed(console: Console, failed: Line, shop: Shop) -> None:
    """[55]"""
    said = console.refused("line", "refund", failed.id)
    assert "failed line" in said
    assert "released first" in said
    assert refunds_of(shop, failed) == []


def test_refund_finds_the_line_by_its_invoice(console: Console, failed: Line, shop: Shop) -> None:
    """[55]"""
    assert console.json("line", "refund", str(failed.invoice_id), "--yes")["line"] == failed.id
    assert refunds_of(shop, failed) == [1500]


def test_payment_outside_stripe_has_to_be_sent_back_by_hand(
    console: Console, deployment: Deployment, acme: str, shop: Shop
) -> None:
    """[55]"""
    line = lines.invoiced(deployment, acme)
    assert line.invoice_id is not None
    shop.v1.invoices.pay(line.invoice_id, {"paid_out_of_band": True})
    paid = deployment.stores.lines.mark_paid(line, lines.AT_MS + 1, invoice_id=line.invoice_id, url=None)
    deployment.stores.lines.mark_failed(paid, "no", lines.AT_MS + 2)
    view = console.json("line", "refund", line.id, "--yes")
    assert view["givenBack"][0]["outOfBand"] == usd(1500)
    assert view["note"] == "what was paid outside Stripe has to be sent back outside Stripe"


def test_refund_that_was_sent_outside_stripe_is_recorded(console: Console, failed: Line, shop: Shop) -> None:
    """[55]"""
    arguments = ("line", "refund", failed.id, "--sent-outside", " bank transfer 4711 ")
    recorded = [{"invoice": failed.invoice_id, "amount": usd(1500), "reference": "bank transfer 4711"}]
    assert "Record as sent back outside Stripe what was paid for the failed line" in console.refused(*arguments)
    view = console.json(*arguments, "--dry-run")
    assert (view["status"], view["toRecord"]) == ("failed", recorded)
    for _ in range(2):
        view = console.json(*arguments, "--yes")
        assert (view["status"], view["refundDue"], view["recorded"]) == ("canceled", False, recorded)
    assert refunds_of(shop, failed) == []
    shown = console.json("line", "show", failed.id)
    assert [(one["cause"], one["id"]) for one in shown["reversals"]] == [("sent_outside_stripe", "bank transfer 4711")]
    assert console.json("line", "list", "--refund-due") == []


@pytest.mark.parametrize("reference", ["", "  ", "a\nb", "x" * 501])
def test_reference_of_money_sent_outside_has_to_be_readable(console: Console, failed: Line, reference: str) -> None:
    """[55]"""
    assert cli.main(["line", "refund", failed.id, "--sent-outside", reference, "--yes"]) == cli.USAGE
    assert "a reference is 1 to 500 printable characters" in console.capsys.readouterr().err
    assert console.json("line", "show", failed.id)["status"] == "failed"


def test_partly_paid_request_is_canceled(console: Console, deployment: Deployment, acme: str, shop: Shop) -> None:
    """[56]"""
    line = lines.invoiced(deployment, acme)
    shop.double.touch_invoice(str(line.invoice_id), "pay_part", 500)
    view = console.json("line", "refund", line.id, "--yes")
    assert (view["status"], view["givenBack"][0]["refunded"]) == ("canceled", usd(500))
    assert console.json("workspace", "show", acme)["lock"] is None


def test_refund_that_is_not_due_is_refused(console: Console, deployment: Deployment, acme: str) -> None:
    """[55]"""
    active = lines.active(deployment, acme)
    assert console.refused("line", "refund", active.id, "--yes") == (
        f"The line {active.id} is active, and no refund of it is due."
    )
    waiting = lines.requested(deployment, acme)
    assert "Nothing was paid" in console.refused("line", "refund", waiting.id, "--dry-run")


def test_second_payment_is_named_by_its_own_invoice(console: Console, deployment: Deployment, failed: Line) -> None:
    """[56]"""
    assert console.json("line", "show", failed.id)["refundInvoice"] is None
    assert deployment.stores.lines.flag_refund(failed, "in_second")
    view = console.json("line", "show", failed.id)
    assert (view["invoice"], view["refundInvoice"]) == (failed.invoice_id, "in_second")
    patient = doctor.Patient(Target(None), lines.AT_MS)
    (finding,) = doctor.examine(patient, [check for check in doctor_lines.CHECKS if check.name == "refunds"])
    expected = f"what was paid for the failed line {failed.id} by the invoice in_second did not go back"
    assert finding.detail == expected


OWN, OTHER = "its own invoice", "in_second"


@pytest.mark.parametrize(
    ("reversals", "back"),
    [
        ([("re_1", "refund_pending", None)], "refund_pending re_1"),
        ([("re_1", "refund_pending", None), ("re_1", "refund_succeeded", None)], "refund_succeeded re_1"),
        ([("re_1", "refund_pending", None), ("re_1", "refund_failed", None)], None),
        ([("re_1", "refund_requires_action", None), ("re_1", "refund_canceled", None)], None),
        ([("re_1", "refund_failed", None), ("re_2", "refund_succeeded", None)], "refund_succeeded re_2"),
        ([("cn_1", "credit_note_issued", None)], "credit_note_issued cn_1"),
        ([("cn_1", "credit_note_issued", None), ("cn_1", "credit_note_void", None)], None),
        ([("dp_1", "dispute_needs_response", None)], None),
        ([("dp_1", "dispute_needs_response", None), ("dp_1", "dispute_won", None)], None),
        ([("dp_1", "dispute_needs_response", None), ("dp_1", "dispute_lost", None)], "dispute_lost dp_1"),
        ([("dp_1", "dispute_prevented", None)], "dispute_prevented dp_1"),
        ([("transfer", "sent_outside_stripe", OWN)], "sent_outside_stripe transfer"),
        ([("transfer", "sent_outside_stripe", OTHER)], None),
        ([("re_1", "sent_outside_stripe", OWN), ("re_1", "refund_failed", None)], "sent_outside_stripe re_1"),
    ],
)
def test_retry_is_refused_once_what_was_paid_has_gone_back(
    console: Console,
    deployment: Deployment,
    failed: Line,
    reversals: list[tuple[str, str, str | None]],
    back: str | None,
) -> None:
    """[49][55]"""
    heard = [
        Reversal(lines.AT_MS, name, cause, 1500, "usd", failed.invoice_id if invoice == OWN else invoice)
        for name, cause, invoice in reversals
    ]
    assert deployment.stores.lines.save_reversals(failed, heard, refund_due=False) is not None
    if back is None:
        assert console.json("line", "retry", failed.id)["status"] == "provisioning"
        return
    assert console.refused("line", "retry", failed.id) == (
        f"what was paid for the line {failed.id} has gone back, or is about to: {back}; "
        f"release it (line-requests line release {failed.id}), and the customer requests again"
    )
    assert console.json("line", "show", failed.id)["status"] == "failed"


def test_free_line_is_retried_whatever_is_noted_on_it(console: Console, deployment: Deployment, acme: str) -> None:
    """[49] Its own payment is what counts, and there was none."""
    free = lines.failed(deployment, acme)
    heard = [Reversal(lines.AT_MS, "re_1", "refund_succeeded", 1500, "usd")]
    assert deployment.stores.lines.save_reversals(free, heard, refund_due=False) is not None
    assert console.json("line", "retry", free.id)["status"] == "provisioning"


def test_refund_without_a_stripe_key_is_refused(
    console: Console, failed: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[55]"""
    monkeypatch.delenv("STRIPE_API_KEY")
    assert "STRIPE_API_KEY is not set" in console.refused("line", "refund", failed.id, "--yes")
