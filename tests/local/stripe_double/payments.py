"""What pays an invoice: invoice payments, and the payment intents and charges behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .account import whole_list

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# Cards of docs.stripe.com/testing: attaching them succeeds, charging them fails.
DECLINED_CARD = "pm_card_chargeCustomerFail"


def request_payment(account: Account, invoice: Json) -> None:
    """Add the default payment to a finalized invoice.

    "When you finalize an invoice, Stripe creates a default payment that you can use to pay the invoice in full":
    docs.stripe.com/invoicing/partial-payments.
    """
    if invoice["amount_due"]:
        intent = _intent(account, invoice, invoice["amount_due"], "requires_payment_method")
        _invoice_payment(account, invoice, {"payment_intent": intent["id"], "type": "payment_intent"}, default=True)


def pay(account: Account, invoice: Json, amount: int) -> None:
    """Pay an amount: with the default payment if it is all that remains, else with an additional one."""
    if not amount:
        return
    whole = amount == invoice["amount_remaining"]
    open_default = (one for one in payments_of(account, invoice) if one["is_default"] and one["status"] == "open")
    payment = next(open_default, None) if whole else None
    if payment is None:
        intent = _intent(account, invoice, amount, "requires_payment_method")
        method = {"payment_intent": intent["id"], "type": "payment_intent"}
        payment = _invoice_payment(account, invoice, method, default=False)
    intent = account.get("payment_intent", payment["payment"]["payment_intent"])
    charge = _charge(account, invoice, amount, intent)
    intent |= {"amount": amount, "amount_received": amount, "latest_charge": charge["id"], "status": "succeeded"}
    _mark_paid(account, invoice, payment, amount)


def pay_out_of_band(account: Account, invoice: Json) -> None:
    """Record that the rest was paid outside of Stripe.

    "The amount_paid field on the Invoice object now reflects out of band payments":
    docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices;
    that it has a payment record of its own: assumed from `payment.type` of stripe.InvoicePayment.
    """
    amount = invoice["amount_remaining"]
    method = {"payment_record": account.new_id("payment_record"), "type": "payment_record"}
    hidden = account.hidden[invoice["id"]]
    hidden["amount_paid_off_stripe"] = hidden.get("amount_paid_off_stripe", 0) + amount
    _mark_paid(account, invoice, _invoice_payment(account, invoice, method, default=False), amount)


def cancel_open(account: Account, invoice: Json) -> None:
    """Cancel the open payments of an invoice that needs no more."""
    for payment in payments_of(account, invoice):
        if payment["status"] == "open":
            payment["status"] = "canceled"
            payment["status_transitions"]["canceled_at"] = account.now()
            account.note(payment)
            account.get("payment_intent", payment["payment"]["payment_intent"])["status"] = "canceled"


def payments_of(account: Account, invoice: Json) -> list[Json]:
    """Return an invoice's payments, newest first."""
    ids = account.hidden[invoice["id"]].get("paid_by", [])
    return [account.tables["invoice_payment"][one] for one in reversed(ids)]


def payments_shown(account: Account, invoice: Json) -> Json:
    """Return the list that `expand=payments` shows."""
    return whole_list("/v1/invoice_payments", payments_of(account, invoice))


def charges_of(account: Account, invoice: Json) -> list[Json]:
    """Return the charges that succeeded, newest first."""
    intents = [one["payment"].get("payment_intent") for one in payments_of(account, invoice) if one["status"] == "paid"]
    return [account.get("charge", account.get("payment_intent", one)["latest_charge"]) for one in intents if one]


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/invoice_payments."""
    equal = {key: params[key] for key in ("invoice", "status") if key in params}
    payment = params.get("payment", {})

    def keep(one: Json) -> bool:
        return all(one[key] == value for key, value in equal.items()) and payment.items() <= one["payment"].items()

    return account.page("invoice_payment", params, "/v1/invoice_payments", keep)


def succeeds(account: Account, invoice: Json) -> bool:
    """Tell whether an automatic payment succeeds: always, unless the card is `DECLINED_CARD`."""
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    subscription = account.tables["subscription"].get(details.get("subscription", ""), {})
    customer = account.tables["customer"][invoice["customer"]]
    card = (
        invoice["default_payment_method"]
        or subscription.get("default_payment_method")
        or customer["invoice_settings"]["default_payment_method"]
    )
    return bool(card != DECLINED_CARD)


def _invoice_payment(account: Account, invoice: Json, method: Json, *, default: bool) -> Json:
    fields = {
        "amount_paid": None,
        "amount_requested": invoice["amount_remaining"],
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": default,
        "payment": method,
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    payment = account.add("invoice_payment", fields)
    account.hidden[invoice["id"]].setdefault("paid_by", []).append(payment["id"])
    return payment


def _mark_paid(account: Account, invoice: Json, payment: Json, amount: int) -> None:
    payment |= {"amount_paid": amount, "amount_requested": amount, "status": "paid"}
    payment["status_transitions"]["paid_at"] = account.now()
    invoice["amount_paid"] += amount
    invoice["amount_remaining"] -= amount
    # docs.stripe.com/changelog/basil/2025-05-28/partial-payments
    account.emit("invoice_payment.paid", payment)


def _intent(account: Account, invoice: Json, amount: int, status: str) -> Json:
    fields = {
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "latest_charge": None,
        "metadata": {},
        "payment_method": None,
        "payment_method_types": ["card"],
        "status": status,
    }
    return account.add("payment_intent", fields)


def _charge(account: Account, invoice: Json, amount: int, intent: Json) -> Json:
    fields = {
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "captured": True,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "disputed": False,
        "metadata": {},
        "paid": True,
        "payment_intent": intent["id"],
        "refunded": False,
        "status": "succeeded",
    }
    return account.add("charge", fields)
