"""Invoice items and the invoice lines they become."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from .account import Account, merge_metadata
from .catalogue import inline_price
from .errors import Json, bad_request

_PRICE_SOURCES = ("amount", "price_data", "pricing", "unit_amount_decimal")


def create(account: Account, params: Json) -> Json:
    """POST /v1/invoiceitems."""
    invoice = _draft(account, params["invoice"]) if "invoice" in params else None
    customer_id: str | None = params.get("customer", invoice["customer"] if invoice else None)
    if customer_id is None:
        raise bad_request("Missing required param: customer.", "customer", "parameter_missing")
    account.get("customer", customer_id, "customer")
    if invoice and invoice["customer"] != customer_id:
        raise bad_request("The invoice belongs to another customer.", "invoice")
    price, unit_amount, currency = _price(account, params, invoice)
    if invoice and invoice["currency"] != currency:
        message = f"The currency of the item ({currency}) differs from the invoice's."
        raise bad_request(message, "currency")
    quantity = params.get("quantity", 1)
    amount = _rounded(unit_amount * quantity)
    now = account.now()
    fields = {
        "amount": amount,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "date": now,
        "description": params.get("description") or _product_name(account, price),
        "discountable": params.get("discountable", True),
        "discounts": [],
        "invoice": None,
        "metadata": merge_metadata({}, params.get("metadata")),
        "net_amount": amount,
        "parent": None,
        "period": params.get("period", {"end": now, "start": now}),
        "pricing": price and pricing(price),
        "proration": False,
        "proration_details": None,
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "tax_rates": [
            account.get("tax_rate", rate, f"tax_rates[{index}]")
            for index, rate in enumerate(params.get("tax_rates", []))
        ],
        "test_clock": None,
    }
    item = account.add("invoiceitem", fields)
    account.emit("invoiceitem.created", item)
    if invoice:
        put_on_invoice(account, item, invoice)
        account.emit("invoice.updated", invoice)
    return item


def delete(account: Account, _params: Json, item_id: str) -> Json:
    """DELETE /v1/invoiceitems/{id}."""
    item = account.get("invoiceitem", item_id)
    if item["invoice"]:
        invoice = _draft(account, item["invoice"])
        lines = invoice["lines"]["data"]
        invoice["lines"]["data"] = [line for line in lines if item_of(line) != item_id]
        retotal(account, invoice)
    drop_item(account, item_id)
    return {"id": item_id, "object": "invoiceitem", "deleted": True}


def retrieve_list(account: Account, params: Json) -> Json:
    """GET /v1/invoiceitems."""
    equal = {key: params[key] for key in ("customer", "invoice") if key in params}
    pending = params.get("pending")

    def keep(item: Json) -> bool:
        matches = pending is None or pending == (item["invoice"] is None)
        return matches and all(item[key] == value for key, value in equal.items())

    return account.page("invoiceitem", params, "/v1/invoiceitems", keep)


def drop_item(account: Account, item_id: str) -> None:
    """Forget an item and tell."""
    account.emit("invoiceitem.deleted", account.tables["invoiceitem"].pop(item_id))


def pending_items(account: Account, customer_id: str, currency: str) -> list[Json]:
    """Return the customer's items that are on no invoice yet, oldest first."""
    return [
        item
        for item in account.tables["invoiceitem"].values()
        if (item["customer"], item["currency"], item["invoice"]) == (customer_id, currency, None)
    ]


def put_on_invoice(account: Account, item: Json, invoice: Json) -> None:
    """Attach an item to a draft as a line."""
    item["invoice"] = invoice["id"]
    details = {
        "invoice_item": item["id"],
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": None,
    }
    parent = {
        "invoice_item_details": details,
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }
    add_line(account, invoice, item | {"parent": parent})


def add_line(account: Account, invoice: Json, source: Json) -> None:
    """Add a line made from an item (or a subscription item) to an invoice and total it anew."""
    rates = source["tax_rates"] or invoice["default_tax_rates"]
    line = account.add(
        "line_item",
        {
            "amount": source["amount"],
            "currency": source["currency"],
            "description": source["description"],
            "discount_amounts": [],
            "discountable": source["discountable"],
            "discounts": [],
            "invoice": invoice["id"],
            "metadata": dict(source["metadata"]),
            "parent": source["parent"],
            "period": source["period"],
            "pretax_credit_amounts": [],
            "pricing": source["pricing"],
            "quantity": source["quantity"],
            "quantity_decimal": str(source["quantity"]),
            "subscription": None,
            "subtotal": source["amount"],
            "taxes": [_tax(rate, source["amount"]) for rate in rates],
        },
    )
    # A line has no creation time of its own.
    del line["created"]
    invoice["lines"]["data"].append(line)
    retotal(account, invoice)


def retotal(account: Account, invoice: Json) -> None:
    """Set the amounts of a draft from its lines and the customer's balance."""
    lines = invoice["lines"]["data"]
    taxes = [tax for line in lines for tax in line["taxes"]]
    subtotal = sum(line["amount"] for line in lines)
    inclusive = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive")
    exclusive = sum(tax["amount"] for tax in taxes) - inclusive
    total = subtotal + exclusive
    due = max(0, total + account.tables["customer"][invoice["customer"]]["balance"])
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - inclusive,
        "total": total,
        "total_excluding_tax": subtotal - inclusive,
        "total_taxes": taxes,
    }


def pricing(price: Json) -> Json:
    """Return how a line or an item names its price."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def item_of(line: Json) -> str | None:
    """Return the id of the invoice item behind a line, if there is one."""
    details: Json = line["parent"]["invoice_item_details"] or {}
    return details.get("invoice_item")


def _draft(account: Account, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id, "invoice")
    if invoice["status"] != "draft":
        message = "The specified invoice is not a draft: its items can no longer be changed."
        raise bad_request(message, "invoice", "invoice_not_editable")
    return invoice


def _price(account: Account, params: Json, invoice: Json | None) -> tuple[Json | None, Decimal, str]:
    """Return the price (none for a bare amount), the amount of one unit and the currency."""
    given = [name for name in _PRICE_SOURCES if name in params]
    if len(given) != 1:
        message = f"You must pass exactly one of: {', '.join(_PRICE_SOURCES)}."
        raise bad_request(message, given[-1] if given else "amount")
    if "price_data" in params:
        price = inline_price(account, params["price_data"], "price_data")
        return price, Decimal(price["unit_amount_decimal"]), price["currency"]
    if "pricing" in params:
        price = account.get("price", params["pricing"].get("price", ""), "pricing[price]")
        if price["type"] != "one_time":
            message = (
                "The price specified is set to `type=recurring` but this field only accepts "
                "prices with `type=one_time`."
            )
            raise bad_request(message, "pricing[price]")
        return price, Decimal(price["unit_amount_decimal"]), price["currency"]
    if "amount" in params and "quantity" in params:
        raise bad_request("You may only pass one of: amount, quantity.", "quantity")
    currency = params.get("currency") or (invoice and invoice["currency"]) or "usd"
    return None, Decimal(params[given[0]]), currency.lower()


def _product_name(account: Account, price: Json | None) -> str | None:
    return str(account.tables["product"][price["product"]]["name"]) if price else None


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def _tax(rate: Json, amount: int) -> Json:
    percentage = Decimal(str(rate["percentage"])) / 100
    share = percentage / (1 + percentage) if rate["inclusive"] else percentage
    return {
        "amount": _rounded(amount * share),
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": "standard_rated",
        "taxable_amount": amount,
        "type": "tax_rate_details",
    }
