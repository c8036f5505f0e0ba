"""What people do to an invoice in Stripe's dashboard."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from . import credit_notes, invoice_states, invoices, payments, refunds
from .errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account
    from .acts import Acts
    from .errors import Json


class Dashboard:
    """Controls of one account's invoices; every method is thread-safe and refuses as Stripe would."""

    _account: Account
    _lock: Acts

    def touch_invoice(self, invoice_id: str, action: str, amount: int | None = None) -> Json:
        """Do one of `ACTIONS` to an invoice; return what it made or changed."""
        with self._lock:
            self._account.catch_up()
            invoice = self._account.get("invoice", invoice_id)
            return copy.deepcopy(ACTIONS[action](self._account, invoice, amount))

    def fail_refund(self, refund_id: str) -> Json:
        """Fail a refund, as a bank can do days later."""
        with self._lock:
            return copy.deepcopy(refunds.fail(self._account, refund_id))

    def close_dispute(self, dispute_id: str, *, won: bool) -> Json:
        """Decide a dispute."""
        with self._lock:
            return copy.deepcopy(refunds.close_dispute(self._account, dispute_id, won=won))


def _pay_part(account: Account, invoice: Json, amount: int | None) -> Json:
    """Pay an amount, else half of what remains."""
    part = max(1, invoice["amount_remaining"] // 2) if amount is None else amount
    return invoice_states.pay_some(account, invoice["id"], part)


def _copy_and_pay(account: Account, invoice: Json, _amount: int | None) -> Json:
    """Duplicate an invoice and pay the duplicate: support.stripe.com/questions/invoice-states; metadata: assumed."""
    copied = invoices.duplicate(account, invoice)
    account.emit("invoice.created", copied)
    invoice_states.finalize(account, {}, copied["id"])
    if copied["status"] == "open":
        invoice_states.pay(account, {"payment_method": "pm_card_visa"}, copied["id"])
    return copied


def _revise(account: Account, invoice: Json, _amount: int | None) -> Json:
    """Replace an open invoice by a revision of it: docs.stripe.com/invoicing/invoice-edits."""
    revision = invoices.create(account, {"from_invoice": {"action": "revision", "invoice": invoice["id"]}})
    return invoice_states.finalize(account, {}, revision["id"])


def _refund(account: Account, invoice: Json, amount: int | None) -> Json:
    """Refund an amount, else all, of the invoice's charge, without a credit note."""
    params = {"charge": _charge(account, invoice)["id"]}
    return refunds.create(account, params if amount is None else params | {"amount": amount})


def _dispute(account: Account, invoice: Json, _amount: int | None) -> Json:
    return refunds.dispute(account, _charge(account, invoice))


def _credit_note(account: Account, invoice: Json, amount: int | None) -> Json:
    """Credit an amount, else all that is left, split as it was paid: card, out of band, balance."""
    total = credit_notes.creditable(account, invoice) if amount is None else amount
    after = total - min(total, invoice["amount_remaining"])
    refund = min(after, credit_notes.refundable(account, invoice))
    elsewhere = min(after - refund, account.hidden[invoice["id"]]["amount_paid_off_stripe"])
    parts = {
        "credit_amount": after - refund - elsewhere,
        "out_of_band_amount": elsewhere,
        "refund_amount": refund,
    }
    given = {name: part for name, part in parts.items() if part}
    return credit_notes.create(account, {"amount": total, "invoice": invoice["id"]} | given)


def _charge(account: Account, invoice: Json) -> Json:
    charges = payments.charges_of(account, invoice)
    if not charges:
        raise bad_request(f"No charge has paid the invoice '{invoice['id']}'.")
    return charges[0]


ACTIONS: dict[str, Callable[[Account, Json, int | None], Json]] = {
    "copy_and_pay": _copy_and_pay,
    "credit_note": _credit_note,
    "dispute": _dispute,
    "pay_part": _pay_part,
    "refund": _refund,
    "revise": _revise,
}
