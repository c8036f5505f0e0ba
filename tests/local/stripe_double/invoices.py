"""Invoices: drafts, lists and updates."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

from .account import merge_metadata, whole_list
from .collection import subscription_of
from .discounts import discounts_of, redeem_all
from .errors import bad_request, missing
from .invoice_items import pending_items, put_on_invoice
from .invoice_states import not_editable, refresh_page
from .objects import INVOICE
from .payments import payments_shown
from .periods import DAY_S
from .revisions import copy_content, require_revisable
from .taxes import require_tax_location
from .totals import retotal

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json

# Invoice parameters that are stored as they come.
_STORED = (
    "auto_advance",
    "collection_method",
    "custom_fields",
    "default_payment_method",
    "description",
    "due_date",
    "effective_at",
    "footer",
    "number",
    "statement_descriptor",
)


def create(account: Account, params: Json) -> Json:
    """POST /v1/invoices."""
    if "from_invoice" in params:
        return _create_revision(account, params)
    if "customer" not in params:
        raise missing("customer")
    customer = account.get("customer", params["customer"], "customer")
    by_mail = params.get("collection_method") == "send_invoice"
    if by_mail != ("days_until_due" in params or "due_date" in params):
        message = "`days_until_due` or `due_date` goes with `collection_method=send_invoice`."
        raise bad_request(message, "days_until_due")
    if params.get("automatic_tax", {}).get("enabled"):
        require_tax_location(customer)
    invoice = new_draft(account, customer, params, billing_reason="manual")
    if params.get("pending_invoice_items_behavior") == "include":
        for item in pending_items(account, customer["id"], invoice["currency"]):
            put_on_invoice(account, item, invoice)
    account.emit("invoice.created", invoice)
    return invoice


def _create_revision(account: Account, params: Json) -> Json:
    original = require_revisable(account, params["from_invoice"]["invoice"])
    revision = duplicate(account, original, params["from_invoice"])
    account.emit("invoice.created", revision)
    return revision


def duplicate(account: Account, original: Json, from_invoice: Json | None = None) -> Json:
    """Store a draft with the content of another invoice."""
    customer = account.get("customer", original["customer"])
    params = {name: original[name] for name in ("collection_method", "currency", "due_date")}
    draft = new_draft(account, customer, params, billing_reason="manual")
    draft["from_invoice"] = from_invoice
    copy_content(account, original, draft)
    return draft


def new_draft(account: Account, customer: Json, params: Json, billing_reason: str) -> Json:
    """Store an empty draft."""
    now = account.now()
    fields = copy.deepcopy(INVOICE) | {
        "automatic_tax": _automatic_tax(params),
        "billing_reason": billing_reason,
        "currency": str(params.get("currency", customer["currency"] or "usd")).lower(),
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "default_tax_rates": [
            account.get("tax_rate", rate, f"default_tax_rates[{i}]")
            for i, rate in enumerate(params.get("default_tax_rates", []))
        ],
        "discounts": redeem_all(account, params["discounts"]) if "discounts" in params else discounts_of(customer),
        "due_date": _due_date(account, params),
        "period_end": now,
        "period_start": now,
        "starting_balance": customer["balance"],
    }
    fields |= {key: params[key] for key in _STORED if params.get(key, "") != ""}
    fields["metadata"] = merge_metadata({}, params.get("metadata"))
    invoice = account.add("invoice", fields)
    invoice["lines"] = whole_list(f"/v1/invoices/{invoice['id']}/lines", [])
    shown = partial(payments_shown, account, invoice)
    account.hidden[invoice["id"]] |= {"amount_paid_off_stripe": 0, "payments": shown}
    retotal(account, invoice)
    return invoice


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/invoices."""
    if customer := params.get("customer"):
        account.get("customer", customer, "customer")
    keys = ("customer", "status", "collection_method")
    equal = {key: params[key] for key in keys if key in params}
    subscription = params.get("subscription")

    def keep(invoice: Json) -> bool:
        if subscription and (subscription_of(account, invoice) or {}).get("id") != subscription:
            return False
        return all(invoice[key] == value for key, value in equal.items())

    page = account.page("invoice", params, "/v1/invoices", keep)
    for invoice in page["data"]:
        refresh_page(account, invoice)
    return page


def retrieve(account: Account, _params: Json, invoice_id: str) -> Json:
    """GET /v1/invoices/{id}."""
    return refresh_page(account, account.get("invoice", invoice_id))


def list_lines(account: Account, _params: Json, invoice_id: str) -> Json:
    """GET /v1/invoices/{id}/lines (one page holds them all)."""
    lines: Json = account.get("invoice", invoice_id)["lines"]
    return lines


def update(account: Account, params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}; a finalized invoice keeps all but metadata and auto_advance."""
    invoice = account.get("invoice", invoice_id)
    changed: Json = {key: params[key] for key in _STORED if key in params}
    if invoice["status"] != "draft" and set(changed) - {"auto_advance"}:
        raise not_editable("Finalized invoices can't be updated in this way")
    if "metadata" in params:
        changed["metadata"] = merge_metadata(invoice["metadata"], params["metadata"])
    account.change("invoice.updated", invoice, changed)
    return invoice


def delete(account: Account, _params: Json, invoice_id: str) -> Json:
    """DELETE /v1/invoices/{id}: drafts only; their items wait for the next invoice.

    What becomes of them, Stripe does not say: this is the worse case.
    """
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] != "draft" or invoice["parent"]:
        raise not_editable("You can only delete one-off draft invoices.")
    for item in account.tables["invoiceitem"].values():
        if item["invoice"] == invoice_id:
            item["invoice"] = None
    del account.tables["invoice"][invoice_id]
    account.emit("invoice.deleted", invoice)
    return {"id": invoice_id, "object": "invoice", "deleted": True}


def _due_date(account: Account, params: Json) -> int | None:
    days = params.get("days_until_due")
    return params.get("due_date") if days is None else account.now() + days * DAY_S


def _automatic_tax(params: Json) -> Json:
    enabled = params.get("automatic_tax", {}).get("enabled", False)
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": {"type": "self"} if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": "complete" if enabled else None,
    }
