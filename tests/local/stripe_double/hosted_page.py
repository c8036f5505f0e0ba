"""The hosted invoice page: what the customer sees and pays."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, RedirectResponse, Response

from .collection import settle
from .invoice_states import payment_is_processing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from .account import Account
    from .errors import Json

    Act = Callable[[Account, str], Response]
    Endpoint = Callable[[Request], Awaitable[Response]]

_PAGE = Template(Path(__file__).with_name("hosted_page.html").read_text(encoding="utf-8"))
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}
_ZERO_DECIMAL = {"jpy", "krw", "vnd", "clp", "xaf", "xof", "xpf"}
# status: badge, sentence under the amount
_WORDS = {
    "open": ("Open", "Payment due"),
    "uncollectible": ("Overdue", "Payment due"),
    "processing": ("Processing", "Your bank debit is on its way. Nothing else is needed."),
    "paid": ("Paid", "Thank you. This invoice has been paid."),
    "void": ("Void", "This invoice was voided. Nothing is due."),
}
_PAYABLE = ("open", "uncollectible")


def show(account: Account, token: str) -> Response:
    """GET the page."""
    invoice = _find(account, token)
    if invoice is None:
        return _not_found()
    return _html(_render(account, invoice))


def pay(account: Account, token: str) -> Response:
    """POST the button: back to the page when this call paid the invoice, else 409."""
    invoice = _find(account, token)
    if invoice is None:
        return _not_found()
    if _state(account, invoice) not in _PAYABLE:
        return _html(_render(account, invoice), 409)
    settle(account, invoice)
    return RedirectResponse(f"/i/{token}", 303)


def money(amount: int, currency: str) -> str:
    """Return an amount in minor units as people write it."""
    number = f"{amount:,}" if currency in _ZERO_DECIMAL else f"{amount / 100:,.2f}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency.upper()}"


def _find(account: Account, token: str) -> Json | None:
    page = account.pages.get(token)
    return account.tables["invoice"].get(page.invoice_id) if page and page.expires_at > account.now() else None


def _state(account: Account, invoice: Json) -> str:
    return "processing" if payment_is_processing(account, invoice) else str(invoice["status"])


def _render(account: Account, invoice: Json) -> str:
    state = _state(account, invoice)
    badge, sentence = _WORDS[state]
    currency = invoice["currency"]
    shown = invoice["amount_paid"] if state == "paid" else invoice["amount_remaining"]
    finalized = datetime.fromtimestamp(invoice["status_transitions"]["finalized_at"], UTC)
    button = f'<button type="submit">Pay {money(shown, currency)}</button>'
    path = f"/i/{invoice['hosted_invoice_url'].rsplit('/', 1)[-1]}/pay"
    form = f'<form method="post" action="{path}">{button}</form>'
    escaped = {
        "merchant": invoice["account_name"],
        "initial": invoice["account_name"][:1],
        "state": state,
        "badge": badge,
        "sentence": sentence,
        "amount": money(shown, currency),
        "number": invoice["number"],
        "issued": f"{finalized:%B} {finalized.day}, {finalized.year}",
        "customer": invoice["customer_name"] or invoice["customer_email"] or invoice["customer"],
        "due": money(invoice["amount_remaining"], currency),
    }
    values = {name: html.escape(value) for name, value in escaped.items()}
    values["lines"] = "".join(_line(line) for line in invoice["lines"]["data"])
    values["credit"] = _credit(invoice)
    values["action"] = form if state in _PAYABLE else ""
    return _PAGE.substitute(values)


def _line(line: Json) -> str:
    description = html.escape(line["description"] or "Item")
    times = f" <small>&times; {line['quantity']}</small>" if line["quantity"] != 1 else ""
    amount = money(line["amount"], line["currency"])
    return f"<tr><td>{description}{times}</td><td>{amount}</td></tr>"


def _credit(invoice: Json) -> str:
    discount = sum(one["amount"] for one in invoice["total_discount_amounts"])
    tax = invoice["total"] - invoice["subtotal"] + discount
    credit = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
    rows = [
        ("Discount", -discount),
        ("Tax", tax),
        ("Applied credit", -credit),
        ("Amount paid", -invoice["amount_paid"] if invoice["amount_remaining"] else 0),
    ]
    cells = [(n, money(abs(v), invoice["currency"]), "-" if v < 0 else "") for n, v in rows if v]
    return "".join(f"<tr><td>{name}</td><td>{sign}{text}</td></tr>" for name, text, sign in cells)


def _html(page: str, status: int = 200) -> Response:
    return HTMLResponse(page, status, {"Cache-Control": "no-store"})


def _not_found() -> Response:
    return _html("<!doctype html><title>Not found</title><p>There is no such invoice, or this link has expired.", 404)
