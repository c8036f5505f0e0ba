"""Invoice items and the invoice lines they become."""

from __future__ import annotations

from decimal import Decimal

from .account import Account, merge_metadata
from .catalogue import inline_price
from .discounts import round_half_up
from .errors import Json, bad_request, missing
from .taxes import require_tax_behavior
from .totals import add_line, retotal

_PRICE_SOURCES = ("amount", "price_data", "pricing", "unit_amount_decimal")


def create(account: Account, params: Json) -> Json:
    """POST /v1/invoiceitems: on a draft, or pending for the next invoice of a subscription or of the customer."""
    invoice = _draft(account, params["invoice"]) if "invoice" in params else None
    customer_id: str | None = params.get("customer", invoice["customer"] if invoice else None)
    if customer_id is None:
        raise missing("customer")
    account.get("customer", customer_id, "customer")
    if invoice and invoice["customer"] != customer_id:
        raise bad_request("The invoice belongs to another customer.", "invoice")
    subscription_id = params.get("subscription")
    price, unit_amount, currency = _price(account, params, invoice)
    if invoice and invoice["currency"] != currency:
        message = f"The currency of the item ({currency}) differs from the invoice's."
        raise bad_request(message, "currency")
    subscription = subscription_id and _subscription(account, subscription_id, customer_id, currency)
    quantity = params.get("quantity", 1)
    now = account.now()
    fields = {
        "amount": round_half_up(unit_amount * quantity),
        "currency": currency,
        "customer": customer_id,
        "description": params.get("description") or _product_name(account, price),
        "discountable": params.get("discountable", True),
        "metadata": merge_metadata({}, params.get("metadata")),
        "parent": subscription_parent(subscription_id) if subscription_id else None,
        "period": params.get("period", {"end": now, "start": now}),
        "pricing": price and pricing(price),
        "quantity": quantity,
        "tax_rates": [
            account.get("tax_rate", rate, f"tax_rates[{index}]")
            for index, rate in enumerate(params.get("tax_rates", []))
        ],
    }
    if taxed := invoice or subscription:
        require_tax_behavior(account, taxed, fields | {"tax_behavior": params.get("tax_behavior")})
    item = add_item(account, fields)
    account.hidden[item["id"]]["tax_behavior"] = params.get("tax_behavior")
    if invoice:
        put_on_invoice(account, item, invoice)
        account.emit("invoice.updated", invoice)
    return item


def add_item(account: Account, fields: Json) -> Json:
    """Store a pending item."""
    defaults: Json = {
        "customer_account": None,
        "date": account.now(),
        "discounts": [],
        "invoice": None,
        "invoicing_rules": None,
        "net_amount": fields["amount"],
        "proration": False,
        "quantity_decimal": str(fields["quantity"]),
        "test_clock": None,
    }
    item = account.add("invoiceitem", defaults | fields)
    del item["created"]  # it is called `date` there
    account.emit("invoiceitem.created", item)
    return item


def subscription_parent(subscription_id: str, item_id: str | None = None) -> Json:
    """Return what an item says about its subscription."""
    details = {"subscription": subscription_id} | ({"subscription_item": item_id} if item_id else {})
    return {"subscription_details": details, "type": "subscription_details"}


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
    """Delete an item, with its event."""
    account.emit("invoiceitem.deleted", account.tables["invoiceitem"].pop(item_id))


def pending_items(account: Account, customer_id: str, currency: str, subscription_id: str | None = None) -> list[Json]:
    """Return the items that the next invoice bills, oldest first.

    "When left blank, the invoice item is added to the next upcoming scheduled invoice. When set, scheduled invoices for
    subscriptions other than the specified subscription will ignore the invoice item": docstring of
    stripe.params.InvoiceItemCreateParams.subscription.
    """
    taken = (customer_id, currency, None)
    return [
        item
        for item in account.tables["invoiceitem"].values()
        if (item["customer"], item["currency"], item["invoice"]) == taken
        and (subscription_id is None or subscription_of(item) in (None, subscription_id))
    ]


def subscription_of(item: Json) -> str | None:
    """Return the id of the subscription that an item belongs to, if to any."""
    return item["parent"] and str(item["parent"]["subscription_details"]["subscription"])


def put_on_invoice(account: Account, item: Json, invoice: Json) -> None:
    """Attach an item to a draft as a line."""
    subscription_item = item["parent"] and item["parent"]["subscription_details"].get("subscription_item")
    details = {
        "invoice_item": item["id"],
        "proration": item["proration"],
        "proration_details": {"credited_items": None},
        "subscription": subscription_of(item),
    }
    if subscription_item:
        details["subscription_item"] = subscription_item
    kind = "subscription_item_details" if subscription_item else "invoice_item_details"
    parent = {"invoice_item_details": None, "subscription_item_details": None, "type": kind} | {kind: details}
    tax_behavior = account.hidden[item["id"]].get("tax_behavior")
    more = {"parent": parent, "subscription": details["subscription"], "tax_behavior": tax_behavior}
    add_line(account, invoice, item | more)
    item["invoice"] = invoice["id"]


def pricing(price: Json) -> Json:
    """Return how a line or an item names its price."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def item_of(line: Json) -> str | None:
    """Return the id of the invoice item behind a line, if there is one."""
    return (line["parent"][line["parent"]["type"]] or {}).get("invoice_item")


def _draft(account: Account, invoice_id: str) -> Json:
    invoice = account.get("invoice", invoice_id, "invoice")
    if invoice["status"] != "draft":
        message = "The specified invoice is not a draft: its items can no longer be changed."
        raise bad_request(message, "invoice", "invoice_not_editable")
    return invoice


def _subscription(account: Account, subscription_id: str, customer_id: str, currency: str) -> Json:
    subscription = account.get("subscription", subscription_id, "subscription")
    if subscription["customer"] != customer_id:
        raise bad_request("The subscription belongs to another customer.", "subscription")
    if subscription["status"] in ("canceled", "incomplete_expired"):  # assumed: nothing would ever charge it
        raise bad_request(f"The subscription {subscription_id} is canceled.", "subscription")
    if subscription["currency"] != currency:  # assumed: its invoices have one currency
        raise bad_request(f"The currency of the item ({currency}) differs from the subscription's.", "currency")
    return subscription


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
