"""Invoices: their states, what each step refuses, and the events it sends."""

from __future__ import annotations

import copy
import secrets

from .account import Account, merge_metadata, whole_list
from .errors import ApiError, Json, bad_request
from .invoice_items import pending_items, put_on_invoice, retotal
from .objects import INVOICE

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
_SECONDS_PER_DAY = 86_400


def create(account: Account, params: Json) -> Json:
    """POST /v1/invoices."""
    if "customer" not in params:
        raise bad_request("Missing required param: customer.", "customer", "parameter_missing")
    customer = account.get("customer", params["customer"], "customer")
    by_mail = params.get("collection_method") == "send_invoice"
    if by_mail != ("days_until_due" in params or "due_date" in params):
        message = "`days_until_due` or `due_date` goes with `collection_method=send_invoice`."
        raise bad_request(message, "days_until_due")
    if params.get("automatic_tax", {}).get("enabled") and not (customer["address"] or {}).get("country"):
        message = "The customer's location isn't recognized. Set a valid customer address to calculate tax."
        raise bad_request(message, "automatic_tax", "customer_tax_location_invalid")
    invoice = new_draft(account, customer, params, billing_reason="manual")
    if params.get("pending_invoice_items_behavior") == "include":
        for item in pending_items(account, customer["id"], invoice["currency"]):
            put_on_invoice(account, item, invoice)
    account.emit("invoice.created", invoice)
    return invoice


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
        "due_date": _due_date(account, params),
        "period_end": now,
        "period_start": now,
        "starting_balance": customer["balance"],
    }
    fields |= {key: params[key] for key in _STORED if params.get(key, "") != ""}
    fields["metadata"] = merge_metadata({}, params.get("metadata"))
    invoice = account.add("invoice", fields)
    invoice["lines"] = whole_list(f"/v1/invoices/{invoice['id']}/lines", [])
    account.hidden[invoice["id"]]["payments"] = lambda: _payments(invoice)
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
        if subscription and _subscription_of(invoice) != subscription:
            return False
        return all(invoice[key] == value for key, value in equal.items())

    return account.page("invoice", params, "/v1/invoices", keep)


def list_lines(account: Account, _params: Json, invoice_id: str) -> Json:
    """GET /v1/invoices/{id}/lines (one page holds them all)."""
    lines: Json = account.get("invoice", invoice_id)["lines"]
    return lines


def update(account: Account, params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}; a finalized invoice keeps all but metadata and auto_advance."""
    invoice = account.get("invoice", invoice_id)
    changed: Json = {key: params[key] for key in _STORED if key in params}
    if invoice["status"] != "draft" and set(changed) - {"auto_advance"}:
        raise _not_editable("Finalized invoices can't be updated in this way")
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
        raise _not_editable("You can only delete one-off draft invoices.")
    for line in list(invoice["lines"]["data"]):
        account.get("invoiceitem", line["parent"]["invoice_item_details"]["invoice_item"])["invoice"] = None
    del account.tables["invoice"][invoice_id]
    account.emit("invoice.deleted", invoice)
    return {"id": invoice_id, "object": "invoice", "deleted": True}


def finalize(account: Account, params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/finalize."""
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] != "draft":
        message = "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        raise _not_editable(message)
    customer = account.get("customer", invoice["customer"], "customer")
    _apply_balance(account, invoice, customer)
    now = account.now()
    token = secrets.token_urlsafe(24)
    account.invoice_id_by_page_token[token] = invoice_id
    number = invoice["number"] or f"{customer['invoice_prefix']}-{_sequence(customer):04}"
    invoice |= {
        "auto_advance": params.get("auto_advance", invoice["auto_advance"]),
        "effective_at": invoice["effective_at"] or now,
        "hosted_invoice_url": f"{account.url}/i/{token}",
        "invoice_pdf": f"{account.url}/i/{token}/pdf",
        "number": number,
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = now
    account.emit("invoice.finalized", invoice)
    card = customer["invoice_settings"]["default_payment_method"]
    # Automatic collection charges a saved card at once; that is what auto_advance=false prevents.
    if invoice["amount_due"] == 0 or (invoice["auto_advance"] and card):
        settle(account, invoice)
    return invoice


def pay(account: Account, _params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/pay; every payment succeeds, only a debit under way stands in its way."""
    invoice = account.get("invoice", invoice_id)
    if invoice["status"] == "paid":
        raise bad_request("Invoice is already paid", code="invoice_already_paid")
    _require_status(invoice, ("open", "uncollectible"), "pay")
    _refuse_while_debited(account, invoice)
    settle(account, invoice)
    return invoice


def void(account: Account, _params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/void."""
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open", "uncollectible"), "void")
    _refuse_while_debited(account, invoice)
    _close(account, invoice, "void", "voided_at")
    _return_balance(account, invoice)
    account.emit("invoice.voided", invoice)
    return invoice


def mark_uncollectible(account: Account, _params: Json, invoice_id: str) -> Json:
    """POST /v1/invoices/{id}/mark_uncollectible."""
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open",), "mark as uncollectible")
    _refuse_while_debited(account, invoice)
    _close(account, invoice, "uncollectible", "marked_uncollectible_at")
    account.emit("invoice.marked_uncollectible", invoice)
    return invoice


def settle(account: Account, invoice: Json) -> None:
    """Make a finalized invoice paid."""
    account.hidden[invoice["id"]].pop("debit", None)
    invoice |= {
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempt_count": invoice["attempt_count"] + (invoice["amount_due"] > 0),
        "attempted": True,
    }
    _close(account, invoice, "paid", "paid_at")
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)


def start_bank_debit(account: Account, invoice_id: str) -> None:
    """Put a payment on its way: the invoice stays open and cannot be voided meanwhile."""
    invoice = account.get("invoice", invoice_id)
    _require_status(invoice, ("open", "uncollectible"), "pay")
    account.hidden[invoice_id]["debit"] = True


def settle_bank_debit(account: Account, invoice_id: str, *, succeeded: bool) -> None:
    """End a payment on its way."""
    invoice = account.get("invoice", invoice_id)
    if not account.hidden[invoice_id].pop("debit", None):
        raise bad_request(f"Invoice '{invoice_id}' has no bank debit under way.")
    if succeeded:
        settle(account, invoice)
        return
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    account.emit("invoice.payment_failed", invoice)


def payment_is_processing(account: Account, invoice: Json) -> bool:
    """Tell whether a bank debit is on its way."""
    return "debit" in account.hidden[invoice["id"]]


def _not_editable(message: str) -> ApiError:
    return bad_request(message, code="invoice_not_editable")


def _require_status(invoice: Json, allowed: tuple[str, ...], action: str) -> None:
    if invoice["status"] not in allowed:
        message = f"You can't {action} an invoice that is {invoice['status']}."
        raise _not_editable(message)


def _refuse_while_debited(account: Account, invoice: Json) -> None:
    if payment_is_processing(account, invoice):
        raise bad_request("This invoice has a payment that is still processing.")


def _close(account: Account, invoice: Json, status: str, transition: str) -> None:
    invoice["status"] = status
    invoice["next_payment_attempt"] = None
    if status != "uncollectible":
        invoice["auto_advance"] = False
    invoice["status_transitions"][transition] = account.now()


def _apply_balance(account: Account, invoice: Json, customer: Json) -> None:
    """Take the customer's credit (a negative balance) or add what they owe (a positive one)."""
    balance = customer["balance"]
    due = max(0, invoice["total"] + balance)
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "starting_balance": balance,
        "ending_balance": min(0, invoice["total"] + balance),
    }
    account.change("customer.updated", customer, {"balance": invoice["ending_balance"]})
    if customer["currency"] is None:
        customer["currency"] = invoice["currency"]


def _return_balance(account: Account, invoice: Json) -> None:
    customer = account.tables["customer"][invoice["customer"]]
    used = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    if not customer.get("deleted"):
        account.change("customer.updated", customer, {"balance": customer["balance"] + used})


def _sequence(customer: Json) -> int:
    number: int = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    return number


def _subscription_of(invoice: Json) -> str | None:
    details: Json = (invoice["parent"] or {}).get("subscription_details") or {}
    return details.get("subscription")


def _due_date(account: Account, params: Json) -> int | None:
    days = params.get("days_until_due")
    return params.get("due_date") if days is None else account.now() + days * _SECONDS_PER_DAY


def _automatic_tax(params: Json) -> Json:
    enabled = params.get("automatic_tax", {}).get("enabled", False)
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": {"type": "self"} if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": "complete" if enabled else None,
    }


def _payments(invoice: Json) -> Json:
    """Return the payments that only `expand=payments` shows."""
    if not invoice["amount_paid"]:
        return whole_list("/v1/invoice_payments", [])
    payment = {
        "id": f"inpay_{invoice['id'][3:]}",
        "object": "invoice_payment",
        "amount_paid": invoice["amount_paid"],
        "amount_requested": invoice["amount_due"],
        "created": invoice["status_transitions"]["paid_at"],
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": f"pi_{invoice['id'][3:]}", "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {
            "canceled_at": None,
            "paid_at": invoice["status_transitions"]["paid_at"],
        },
    }
    return whole_list("/v1/invoice_payments", [payment])
