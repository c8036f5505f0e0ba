"""From draft to paid or void: what each step refuses, and the events it sends."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from . import payments
from .account import Page
from .collection import close, collect, fall_overdue, pay_part, settle
from .errors import ApiError, bad_request
from .periods import DAY_S
from .taxes import require_tax_location
from .totals import balanced, retotal

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# "Invoice URLs expire 30 days after the due date, or 30 days after it finalizes. Any URLs that a user retrieves through
# the API are guaranteed to be valid for at least 10 days": docs.stripe.com/invoicing/hosted-invoice-page.
_PAGE_LIFE_S = 30 * DAY_S
_RETRIEVED_PAGE_LIFE_S = 10 * DAY_S


def finalize(account: Account, params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/finalize."""
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] != "draft":
        raise not_editable("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    customer = account.get("customer", invoice["customer"], "customer")
    _require_tax_location(account, invoice, customer)
    if invoice["from_invoice"]:
        _replace_original(account, invoice)
    retotal(account, invoice)
    _apply_balance(account, invoice, customer)
    now = account.now()
    number = invoice["number"] or f"{customer['invoice_prefix']}-{_next_number(customer):04}"
    invoice |= {
        "auto_advance": params.get("auto_advance", invoice["auto_advance"]),
        "automatically_finalizes_at": None,
        "effective_at": invoice["effective_at"] or now,
        "number": number,
        "status": "open",
    }
    _new_page(account, invoice, (invoice["due_date"] or now) + _PAGE_LIFE_S)
    invoice["status_transitions"]["finalized_at"] = now
    payments.request_payment(account, invoice)
    account.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        settle(account, invoice)
    elif invoice["collection_method"] == "send_invoice":
        account.at(invoice["due_date"], partial(fall_overdue, account, invoice))
    elif invoice["auto_advance"] and (invoice["parent"] or customer["invoice_settings"]["default_payment_method"]):
        # Automatic collection charges a saved card at once; that is what auto_advance=false prevents. A subscription's
        # invoice is charged without one, too: the double's customers pay unless their card is one that is declined.
        collect(account, invoice)
    return invoice


def pay(account: Account, params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/pay; only a debit in progress and a card that is declined are in its way."""
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] == "paid":
        raise bad_request("Invoice is already paid", code="invoice_already_paid")
    _require_status(invoice, ("open", "uncollectible"), "pay")
    _refuse_while_debited(account, invoice)
    out_of_band = params.get("paid_out_of_band", False)
    card = params.get("payment_method")
    if not out_of_band and (card == payments.DECLINED_CARD or not (card or payments.succeeds(account, invoice))):
        invoice |= {"attempt_count": invoice["attempt_count"] + 1, "attempted": True}
        account.emit("invoice.payment_failed", invoice)
        raise ApiError(402, "Your card was declined.", code="card_declined", kind="card_error")
    settle(account, invoice, out_of_band=out_of_band)
    return invoice


def pay_some(account: Account, invoice_id: str, amount: int) -> Json:
    """Pay a part of an invoice, as the dashboard can."""
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open", "uncollectible"), "pay")
    if not 0 < amount <= invoice["amount_remaining"]:
        raise bad_request(
            f"Amount {amount} is not between 1 and the remaining {invoice['amount_remaining']}.", "amount"
        )
    pay_part(account, invoice, amount)
    return invoice


def void(account: Account, _params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/void."""
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open", "uncollectible"), "void")
    _refuse_while_debited(account, invoice)
    if invoice["amount_paid"]:
        # "When an invoice has open or paid payments, you can't void or edit the invoice":
        # docs.stripe.com/invoicing/partial-payments#invoice-payment-statuses
        raise not_editable("You can't void an invoice that is partially paid. Issue a credit note instead.")
    close(account, invoice, "void", "voided_at")
    payments.cancel_open(account, invoice)
    _return_balance(account, invoice)
    account.emit("invoice.voided", invoice)
    return invoice


def mark_uncollectible(account: Account, _params: Json, invoice_id: str, reason: str = "user_forgiven") -> Json:
    """POST /v1/invoices/{id}/mark_uncollectible.

    The reasons: docs.stripe.com/changelog/endive/2026-09-30/invoice-uncollectible-status-detail.
    """
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open",), "mark as uncollectible")
    _refuse_while_debited(account, invoice)
    close(account, invoice, "uncollectible", "marked_uncollectible_at")
    invoice["status_details"] = {"uncollectible": {"reason": reason}}
    account.emit("invoice.marked_uncollectible", invoice)
    return invoice


def start_bank_debit(account: Account, invoice_id: str) -> None:
    """Start a payment that takes days: the invoice stays open and cannot be voided meanwhile."""
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open", "uncollectible"), "pay")
    account.hidden[invoice_id]["debit"] = True


def settle_bank_debit(account: Account, invoice_id: str, *, succeeded: bool) -> None:
    """End a payment that took days."""
    invoice = account.get("invoice", invoice_id)
    if not account.hidden[invoice_id].pop("debit", None):
        raise bad_request(f"Invoice '{invoice_id}' has no bank debit in progress.")
    if succeeded:
        settle(account, invoice)
        return
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    account.emit("invoice.payment_failed", invoice)


def payment_is_processing(account: Account, invoice: Json) -> bool:
    """Tell whether a bank debit is in progress."""
    return "debit" in account.hidden[invoice["id"]]


def refresh_page(account: Account, invoice: Json) -> Json:
    """Return the invoice, with a new hosted page if its page would expire too soon."""
    url = invoice["hosted_invoice_url"]
    page = account.pages.get(url.rsplit("/", 1)[-1]) if url else None
    if page and page.expires_at < account.now() + _RETRIEVED_PAGE_LIFE_S:
        _new_page(account, invoice, account.now() + _PAGE_LIFE_S)  # how long the fresh one lives: assumed
    return invoice


def not_editable(message: str) -> ApiError:
    return bad_request(message, code="invoice_not_editable")


def _require_tax_location(account: Account, invoice: Json, customer: Json) -> None:
    """Fail without a location: docs.stripe.com/invoicing/integration/workflow-transitions#finalized."""
    if not invoice["automatic_tax"]["enabled"]:
        return
    try:
        require_tax_location(customer)
    except ApiError as refused:
        invoice["automatic_tax"]["status"] = "requires_location_inputs"
        invoice["last_finalization_error"] = refused.error
        account.emit("invoice.finalization_failed", invoice)
        raise


def _replace_original(account: Account, revision: Json) -> None:
    """Void the revised invoice first: docs.stripe.com/invoicing/invoice-edits.

    "For revision invoices, this also includes any customer balance that was applied to the original invoice": docstring
    of stripe.Invoice.starting_balance.
    """
    original = account.get("invoice", revision["from_invoice"]["invoice"])
    original["latest_revision"] = revision["id"]
    if original["status"] in ("open", "uncollectible"):
        void(account, {}, original["id"])


def _new_page(account: Account, invoice: Json, expires_at: int) -> None:
    token = secrets.token_urlsafe(24)
    account.pages[token] = Page(invoice["id"], expires_at)
    invoice["hosted_invoice_url"] = f"{account.url}/i/{token}"
    invoice["invoice_pdf"] = f"{account.url}/i/{token}/pdf"
    account.note(invoice)


def _require_status(invoice: Json, allowed: tuple[str, ...], action: str) -> None:
    if invoice["status"] not in allowed:
        raise not_editable(f"You can't {action} an invoice that is {invoice['status']}.")


def _refuse_while_debited(account: Account, invoice: Json) -> None:
    if payment_is_processing(account, invoice):
        raise bad_request("This invoice has a payment that is still processing.")


def _apply_balance(account: Account, invoice: Json, customer: Json) -> None:
    """Take the customer's credit (a negative balance) or add what they owe (a positive one)."""
    due, ending = balanced(account, invoice, invoice["total"])
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "starting_balance": customer["balance"],
        "ending_balance": ending,
    }
    account.change("customer.updated", customer, {"balance": ending})
    if customer["currency"] is None:
        customer["currency"] = invoice["currency"]


def _return_balance(account: Account, invoice: Json) -> None:
    customer = account.tables["customer"][invoice["customer"]]
    used = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    if not customer.get("deleted"):
        account.change("customer.updated", customer, {"balance": customer["balance"] + used})


def _next_number(customer: Json) -> int:
    number: int = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    return number
