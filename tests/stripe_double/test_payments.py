"""How invoices are paid, in part and elsewhere, copied, revised, refunded and disputed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

from tests.local.stripe_double.errors import ApiError
from tests.stripe_double.shop import DAY, browse

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop


def payments(shop: Shop, invoice: stripe.Invoice) -> list[stripe.InvoicePayment]:
    return shop.v1.invoice_payments.list({"invoice": invoice.id}).data


def charge_of(shop: Shop, invoice: stripe.Invoice) -> stripe.Charge:
    intent = shop.v1.payment_intents.retrieve(str(payments(shop, invoice)[0].payment.payment_intent))
    return shop.v1.charges.retrieve(str(intent.latest_charge))


def paid_invoice(shop: Shop, amount: int = 1500) -> stripe.Invoice:
    return shop.v1.invoices.pay(shop.open_invoice(amount=amount).id)


def test_finalize_makes_default_payment_and_pay_settles_it(shop: Shop) -> None:
    invoice = shop.open_invoice()
    assert [(p.status, p.is_default, p.amount_requested) for p in payments(shop, invoice)] == [("open", True, 1500)]

    shop.v1.invoices.pay(invoice.id)

    (payment,) = payments(shop, invoice)
    assert (payment.status, payment.amount_paid) == ("paid", 1500)
    charge = charge_of(shop, invoice)
    assert (charge.amount, charge.customer, charge.paid) == (1500, invoice.customer, True)


def test_void_cancels_default_payment(shop: Shop) -> None:
    invoice = shop.open_invoice()

    shop.v1.invoices.void_invoice(invoice.id)

    assert [payment.status for payment in payments(shop, invoice)] == ["canceled"]
    assert shop.events_about(invoice.id)[-1] == "invoice.voided"


def test_part_payments_add_up(shop: Shop) -> None:
    invoice = shop.open_invoice()

    shop.double.touch_invoice(invoice.id, "pay_part", 600)

    assert "Pay $9.00" in browse("GET", invoice.hosted_invoice_url).data.decode()
    with pytest.raises(ApiError, match="between 1 and the remaining 900"):
        shop.double.touch_invoice(invoice.id, "pay_part", 901)
    shop.double.touch_invoice(invoice.id, "pay_part", 400)
    rest = shop.v1.invoices.pay(invoice.id)
    assert (rest.status, rest.amount_paid) == ("paid", 1500)
    parts = sorted((p.amount_paid, p.is_default, p.status) for p in payments(shop, invoice))
    assert parts == [(400, False, "paid"), (500, True, "paid"), (600, False, "paid")]


def test_out_of_band_payment_is_a_payment_record_without_charge(shop: Shop) -> None:
    invoice = shop.v1.invoices.pay(shop.open_invoice().id, {"paid_out_of_band": True})

    shown = shop.v1.invoices.retrieve(invoice.id, {"expand": ["amount_paid_off_stripe", "payments"]})

    assert (shown.status, shown.amount_paid, shown.amount_paid_off_stripe) == ("paid", 1500, 1500)
    assert [(p.status, p.payment.type) for p in payments(shop, invoice)] == [
        ("paid", "payment_record"),
        ("canceled", "payment_intent"),
    ]


def test_pay_with_declined_card_is_402_and_leaves_invoice_open(shop: Shop) -> None:
    invoice = shop.open_invoice()

    with pytest.raises(stripe.CardError) as declined:
        shop.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_chargeCustomerFail"})

    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert shop.events_about(invoice.id)[-1] == "invoice.payment_failed"
    assert shop.v1.invoices.pay(invoice.id).status == "paid"


def test_revision_keeps_the_balance_applied_to_the_original(shop: Shop) -> None:
    customer = shop.customer(balance=-500)
    original = shop.open_invoice(customer)

    revision = shop.double.touch_invoice(original.id, "revise")

    assert (revision["starting_balance"], revision["amount_due"], revision["status"]) == (-500, 1000, "open")
    assert shop.v1.customers.retrieve(customer).balance == 0


def test_revision_refused_when_paid_or_of_subscription(shop: Shop) -> None:
    subscription = shop.subscription()

    for invoice_id in (paid_invoice(shop).id, str(subscription.latest_invoice)):
        with pytest.raises(ApiError, match="can't revise"):
            shop.double.touch_invoice(invoice_id, "revise")


def test_paid_copy_leaves_original_open(shop: Shop) -> None:
    draft = shop.draft()
    shop.v1.invoices.update(draft, {"metadata": {"line_id": "l1"}})
    original = shop.v1.invoices.finalize_invoice(draft)

    copied = shop.double.touch_invoice(original.id, "copy_and_pay")

    assert (copied["status"], copied["total"], copied["metadata"]) == ("paid", 1500, {"line_id": "l1"})
    assert (copied["customer"], copied["from_invoice"]) == (original.customer, None)
    assert shop.v1.invoices.retrieve(original.id).status == "open"


def test_refunds_add_up_and_leave_invoice_paid(shop: Shop) -> None:
    invoice = paid_invoice(shop)
    charge = charge_of(shop, invoice)

    refund = shop.v1.refunds.create({"charge": charge.id, "amount": 500})
    shop.double.touch_invoice(invoice.id, "refund")

    assert (refund.status, refund.payment_intent, refund.charge) == ("succeeded", charge.payment_intent, charge.id)
    assert [r.amount for r in shop.v1.refunds.list({"charge": charge.id}).data] == [1000, 500]
    assert shop.v1.refunds.retrieve(refund.id).amount == 500
    assert shop.events_about(refund.id) == ["refund.created"]
    assert (charge_of(shop, invoice).refunded, shop.v1.invoices.retrieve(invoice.id).status) == (True, "paid")


def test_failed_refund_restores_charge_and_emits_refund_failed(shop: Shop) -> None:
    invoice = paid_invoice(shop)
    refund = shop.double.touch_invoice(invoice.id, "refund")["id"]

    shop.double.advance(5 * DAY)
    shop.double.fail_refund(refund)

    assert shop.v1.refunds.retrieve(refund).status == "failed"
    assert shop.events_about(refund) == ["refund.created", "refund.updated", "charge.refund.updated", "refund.failed"]
    assert charge_of(shop, invoice).amount_refunded == 0


@pytest.mark.parametrize(("won", "last"), [(True, "funds_reinstated"), (False, "closed")])
def test_dispute_opens_and_closes(shop: Shop, won: bool, last: str) -> None:  # noqa: FBT001
    invoice = paid_invoice(shop)

    dispute = shop.double.touch_invoice(invoice.id, "dispute")["id"]
    shop.double.close_dispute(dispute, won=won)

    found = shop.v1.disputes.retrieve(dispute)
    assert (found.amount, found.status) == (1500, "won" if won else "lost")
    assert found.charge == charge_of(shop, invoice).id
    assert shop.events_about(dispute)[:2] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert shop.events_about(dispute)[-1] == f"charge.dispute.{last}"
    assert shop.v1.disputes.list({"charge": str(found.charge)}).data[0].id == dispute


@pytest.mark.parametrize("action", ["refund", "dispute"])
def test_refund_and_dispute_refused_without_charge(shop: Shop, action: str) -> None:
    with pytest.raises(ApiError, match="No charge"):
        shop.double.touch_invoice(shop.open_invoice().id, action)


def test_hosted_page_expires_after_30_days_and_retrieve_refreshes_it(shop: Shop) -> None:
    invoice = shop.open_invoice()
    shop.double.advance(19 * DAY)
    assert shop.v1.invoices.retrieve(invoice.id).hosted_invoice_url == invoice.hosted_invoice_url

    shop.double.advance(11 * DAY)
    assert browse("GET", invoice.hosted_invoice_url).status == 404
    assert browse("POST", f"{invoice.hosted_invoice_url}/pay").status == 404

    fresh = shop.v1.invoices.list({"customer": str(invoice.customer)}).data[0].hosted_invoice_url
    assert fresh != invoice.hosted_invoice_url
    shop.double.advance(10 * DAY - 1)
    assert browse("POST", f"{fresh}/pay").status == 303
