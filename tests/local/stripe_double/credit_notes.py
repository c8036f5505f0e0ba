"""Credit notes: what they take off an invoice before it is paid, and give back afterwards.

"A credit note will first reduce the invoice's amount_remaining (and amount_due), but not below zero. This amount is
indicated by pre_payment_amount. The excess amount is indicated by post_payment_amount. The sum of refunds, customer
balance credits, and outside of Stripe credits must equal the post_payment_amount. The credit note API subtracts refunds
created through the Refund API from the maximum creditable amount": docstring of stripe.CreditNoteService.create.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from . import refunds
from .account import merge_metadata, whole_list
from .collection import mark_paid
from .discounts import round_half_up
from .errors import bad_request
from .payments import charges_of

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from .account import Account
    from .errors import Json


def create(account: Account, params: Json) -> Json:
    """POST /v1/credit_notes."""
    note = preview(account, params)
    invoice = account.get("invoice", note["invoice"])
    note["refunds"] = [_linked(account, one) for one in params.get("refunds", [])]
    if new := params.get("refund_amount"):
        note["refunds"] += _refund(account, invoice, new, params)
    _take_off(account, invoice, note)
    number = 1 + sum(one["invoice"] == invoice["id"] for one in account.newest("credit_note"))
    account.add("credit_note", note | {"number": f"{invoice['number']}-CN-{number:02}"}, note["id"])
    stored = account.get("credit_note", note["id"])
    account.emit("credit_note.created", stored)
    return stored


def preview(account: Account, params: Json) -> Json:
    """GET /v1/credit_notes/preview: the same, without doing it."""
    invoice = account.get("invoice", params["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise bad_request(f"You cannot issue a credit note for an invoice that is {invoice['status']}.", "invoice")
    lines = _lines(account, invoice, params)
    total = params.get("amount", sum(line["amount"] + _line_tax(line) for line in lines))
    before = min(total, invoice["amount_remaining"])
    after = total - before
    out_of_band, credit = params.get("out_of_band_amount"), params.get("credit_amount", 0)
    if min(credit, out_of_band or 0) < 0:
        raise bad_request("This value must be greater than or equal to 0.", "credit_amount")
    refunded = params.get("refund_amount", 0) + sum(_linked_amount(account, one) for one in params.get("refunds", []))
    _require_creditable(account, invoice, total, params)
    given = refunded + credit + (out_of_band or 0)
    if given != after:
        message = f"The sum of refund, credit and out of band amounts ({given}) must equal the post-payment amount"
        raise bad_request(f"{message} ({after}).", "amount")
    kinds = {(True, False): "pre_payment", (False, True): "post_payment", (True, True): "mixed"}
    note_id = account.new_id("credit_note")
    return {
        "id": note_id,
        "object": "credit_note",
        "amount": total,
        "amount_shipping": 0,
        "created": account.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": params.get("effective_at", account.now()),
        "invoice": invoice["id"],
        "lines": whole_list(f"/v1/credit_notes/{note_id}/lines", lines),
        "livemode": False,
        "memo": params.get("memo"),
        "metadata": merge_metadata({}, params.get("metadata")),
        "number": "",
        "out_of_band_amount": out_of_band,
        "pdf": f"{account.url}/credit_notes/{note_id}/pdf",
        "post_payment_amount": after,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "reason": params.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": sum(line["amount"] for line in lines),
        "subtotal_excluding_tax": None,
        "total": total,
        "total_excluding_tax": None,
        "total_taxes": [],
        "type": kinds.get((before > 0, after > 0), "pre_payment"),
        "voided_at": None,
    }


def void(account: Account, _params: Json, note_id: str) -> Json:
    """POST /v1/credit_notes/{id}/void: only of an open invoice, whose amount is then owed again (assumed)."""
    note = account.get("credit_note", note_id)
    invoice = account.get("invoice", note["invoice"])
    if note["status"] == "void" or invoice["status"] != "open":
        raise bad_request("You can only void an issued credit note of an open invoice.")
    invoice["amount_due"] += note["pre_payment_amount"]
    invoice["amount_remaining"] += note["pre_payment_amount"]
    invoice["pre_payment_credit_notes_amount"] -= note["pre_payment_amount"]
    note |= {"status": "void", "voided_at": account.now()}
    account.emit("credit_note.voided", note)
    account.emit("invoice.updated", invoice, {})
    return note


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/credit_notes."""
    equal = {key: params[key] for key in ("customer", "invoice") if key in params}
    return account.page("credit_note", params, "/v1/credit_notes", lambda n: all(n[k] == v for k, v in equal.items()))


def _take_off(account: Account, invoice: Json, note: Json) -> None:
    invoice["amount_due"] -= note["pre_payment_amount"]
    invoice["amount_remaining"] -= note["pre_payment_amount"]
    invoice["pre_payment_credit_notes_amount"] += note["pre_payment_amount"]
    invoice["post_payment_credit_notes_amount"] += note["post_payment_amount"]
    credit = note["post_payment_amount"] - (note["out_of_band_amount"] or 0)
    credit -= sum(one["amount_refunded"] for one in note["refunds"])
    if credit:
        customer = account.get("customer", invoice["customer"])
        account.change("customer.updated", customer, {"balance": customer["balance"] - credit})
    account.emit("invoice.updated", invoice, {})
    if invoice["status"] == "open" and not invoice["amount_remaining"]:
        # "If a credit note reduces the balance of an open invoice to 0, the invoice status changes to paid":
        # docs.stripe.com/invoicing/dashboard/credit-notes
        mark_paid(account, invoice)


def _refund(account: Account, invoice: Json, amount: int, params: Json) -> list[Json]:
    made = []
    for charge in charges_of(account, invoice):
        part = min(amount, charge["amount"] - charge["amount_refunded"])
        if part:
            given = {"amount": part, "charge": charge["id"], "metadata": params.get("metadata", {})}
            refund = refunds.create(account, given)
            made.append({"amount_refunded": part, "refund": refund["id"], "type": "refund"})
            amount -= part
    return made


def _linked(account: Account, given: Json) -> Json:
    return {"amount_refunded": _linked_amount(account, given), "refund": given.get("refund"), "type": "refund"}


def _linked_amount(account: Account, given: Json) -> int:
    refund = account.get("refund", given.get("refund", ""), "refunds[0][refund]")
    return int(given["amount_refunded"] if "amount_refunded" in given else refund["amount"])


def creditable(account: Account, invoice: Json, linked: AbstractSet[str] = frozenset()) -> int:
    """Return how much of an invoice may still be credited; refunds that are linked to notes do not count twice."""
    notes = [
        note
        for note in account.newest("credit_note")
        if note["invoice"] == invoice["id"] and note["status"] == "issued"
    ]
    linked = linked | {one["refund"] for note in notes for one in note["refunds"]}
    of_invoice = {charge["id"] for charge in charges_of(account, invoice)}
    elsewhere = sum(
        refund["amount"]
        for refund in account.newest("refund")
        if refund["charge"] in of_invoice and refund["id"] not in linked and refund["status"] != "failed"
    )
    credited = sum(note["total"] for note in notes)
    return int(invoice["total"] - credited - elsewhere)


def refundable(account: Account, invoice: Json) -> int:
    """Return how much of what was charged has not been refunded."""
    return sum(charge["amount"] - charge["amount_refunded"] for charge in charges_of(account, invoice))


def _require_creditable(account: Account, invoice: Json, total: int, params: Json) -> None:
    left = creditable(account, invoice, {one.get("refund", "") for one in params.get("refunds", [])})
    if not 0 < total <= left:
        raise bad_request(f"The credit note amount ({total}) must be between 1 and the creditable {left}.", "amount")
    if params.get("refund_amount", 0) > (most := refundable(account, invoice)):
        raise bad_request(f"The refund amount is greater than what can be refunded ({most}).", "refund_amount")


def _lines(account: Account, invoice: Json, params: Json) -> list[Json]:
    if "lines" not in params:
        if "amount" not in params:
            raise bad_request("One of amount, lines, or shipping_cost must be provided.", "amount")
        return [_line(account, params["amount"], {"description": "Credit", "type": "custom_line_item"}, None)]
    of_invoice = {line["id"]: line for line in invoice["lines"]["data"]}
    lines = []
    for index, given in enumerate(params["lines"]):
        line = of_invoice.get(given.get("invoice_line_item", ""))
        if given["type"] == "invoice_line_item" and line is None:
            raise bad_request("No such invoice line item on the invoice.", f"lines[{index}][invoice_line_item]")
        unit = given.get("unit_amount", line["amount"] // (line["quantity"] or 1) if line else 0)
        amount = given.get("amount", int(unit) * given.get("quantity", 1))
        lines.append(_line(account, amount, given, line))
    return lines


def _line(account: Account, amount: int, given: Json, line: Json | None) -> Json:
    taxes = []
    for tax in line["taxes"] if line else []:
        share = round_half_up(Decimal(tax["amount"]) * amount / (line["amount"] if line and line["amount"] else 1))
        taxes.append(tax | {"amount": share, "taxable_amount": amount})
    return {
        "id": account.new_id("credit_note_line_item"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": given.get("description") or (line and line["description"]),
        "discount_amount": 0,
        "discount_amounts": [],
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": given.get("quantity"),
        "tax_rates": [],
        "taxes": taxes,
        "type": given["type"],
        "unit_amount": None,
        "unit_amount_decimal": None,
    } | ({"invoice_line_item": line["id"]} if line else {})


def _line_tax(line: Json) -> int:
    return sum(tax["amount"] for tax in line["taxes"] if tax["tax_behavior"] == "exclusive")
