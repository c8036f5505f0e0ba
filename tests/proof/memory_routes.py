"""What Stripe in memory answers, by route; a route is given the account and returns it as it is after the request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.proof.memory_billing import line_for_item, new_item, period_of
from tests.proof.memory_objects import Json, Params, Refusal, Thing, event, invoice_item_of, list_of, metadata
from tests.proof.memory_reversals import REVERSAL_ROUTES, amounts

if TYPE_CHECKING:
    from tests.proof.memory_stripe import MemoryStripe

Route = Callable[["MemoryStripe", str, Params, str, int], tuple["MemoryStripe", Json]]


def _create_invoice(stripe: MemoryStripe, _: str, params: Params, key: str, now_s: int) -> tuple[MemoryStripe, Json]:
    # Named by its key and not by a counter, so that the order of strangers makes no difference.
    invoice_id = "in_" + re.sub(r"\W", "_", key)
    while invoice_id in stripe.invoices:
        invoice_id += "_"
    invoice = {
        "id": invoice_id,
        "object": "invoice",
        "customer": params["customer"],
        "status": "draft",
        "created": now_s,
        "metadata": metadata(params),
        "hosted_invoice_url": None,
        "lines": list_of([]),
    }
    return stripe.with_invoice(invoice, now_s=now_s), invoice


def _add_item(stripe: MemoryStripe, _: str, params: Params, key: str, now_s: int) -> tuple[MemoryStripe, Json]:
    item: Json = {
        "id": f"ii_{key}".replace(":", "_"),
        "object": "invoiceitem",
        "customer": params.get("customer"),
        "amount": int(params["price_data[unit_amount]"]),
        "currency": params["price_data[currency]"],
        "date": now_s,
        "description": params.get("description"),
        "metadata": metadata(params),
        "period": {
            "start": int(params.get("period[start]", now_s)),
            "end": int(params.get("period[end]", now_s)),
        },
        "pricing": {"price": f"price_{key}", "product": params.get("price_data[product]")},
        "subscription": params.get("subscription"),
    }
    if "invoice" not in params:
        subscription = stripe.subscriptions[params["subscription"]]
        if subscription["status"] == "canceled":
            raise Refusal(400, "You can only add items to a subscription that is not canceled.")
        if subscription["currency"] != item["currency"]:
            raise Refusal(400, "The currency of the item is not the subscription's.")
        return replace(stripe, pending_items={**stripe.pending_items, item["id"]: Thing(item)}), item
    invoice = stripe.invoices.get(params["invoice"])
    if invoice is None:  # named by a parameter, not by the path
        raise Refusal(400, f"No such invoice: '{params['invoice']}'", "resource_missing")
    if invoice["status"] != "draft":
        raise Refusal(400, "You can only add items to a draft.", "invoice_not_editable")
    lines = list_of([*invoice["lines"]["data"], line_for_item(item)])
    return stripe.with_invoice(invoice | {"lines": lines}, now_s=now_s), item


def _take_item(stripe: MemoryStripe, item_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    answer = {"id": item_id, "object": "invoiceitem", "deleted": True}
    if item_id in stripe.pending_items:
        rest = {name: one for name, one in stripe.pending_items.items() if name != item_id}
        return replace(stripe, pending_items=rest), answer
    for invoice in stripe.invoices.values():
        lines = invoice["lines"]["data"]
        kept = [line for line in lines if invoice_item_of(line) != item_id]
        if len(kept) < len(lines):
            if invoice["status"] != "draft":
                raise Refusal(400, "You can only take items off a draft.", "invoice_not_editable")
            return stripe.with_invoice(invoice | {"lines": list_of(kept)}, now_s=now_s), answer
    raise Refusal(404, f"No such invoiceitem: '{item_id}'", "resource_missing")


def _list_items(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    since_s = int(params.get("created[gte]", 0))
    found: list[Json] = [
        item
        for item in stripe.pending_items.values()
        if item["customer"] == params["customer"] and item["date"] >= since_s
    ]
    if "pending" not in params:
        found += [
            {
                "id": invoice_item_of(line),
                "object": "invoiceitem",
                "date": invoice["created"],
                "metadata": line["metadata"],
                "period": line["period"],
            }
            for invoice in stripe.invoices.values()
            if invoice["customer"] == params["customer"] and invoice["created"] >= since_s
            for line in invoice["lines"]["data"]
            if invoice_item_of(line)
        ]
    return stripe, list_of(sorted(found, key=lambda item: str(item["id"])))


def _finalize(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoice(invoice_id)
    if invoice["status"] != "draft":
        raise Refusal(400, "This invoice is already finalized.", "invoice_not_editable")
    free = not sum(line["amount"] for line in invoice["lines"]["data"])
    url = f"https://pay.example/{invoice_id}"
    final = invoice | {"status": "paid" if free else "open", "hosted_invoice_url": url}
    events = ("invoice.finalized", "invoice.paid") if free else ("invoice.finalized",)
    return stripe.with_invoice(final, *events, now_s=now_s), final


def _void(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoice(invoice_id)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise Refusal(400, f"You can't void an invoice that is {invoice['status']}.", "invoice_not_editable")
    if invoice_id in stripe.debits:
        raise Refusal(400, "This invoice has a payment that is still processing.")
    if invoice.get("amount_paid"):
        raise Refusal(400, "You can't void an invoice that is partially paid.", "invoice_not_editable")
    void = invoice | {"status": "void"}
    return stripe.with_invoice(void, "invoice.voided", now_s=now_s), void


def _delete(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoice(invoice_id)
    if invoice["status"] != "draft":
        raise Refusal(400, "You can only delete drafts.", "invoice_not_editable")
    rest = {name: one for name, one in stripe.invoices.items() if name != invoice_id}
    left = {
        item["id"]: item
        for line in invoice["lines"]["data"]
        for item in [
            Thing(
                id=invoice_item_of(line),
                object="invoiceitem",
                customer=invoice["customer"],
                date=now_s,
                metadata=line["metadata"],
            )
        ]
    }
    gone = replace(
        stripe,
        invoices=rest,
        pending_items={**stripe.pending_items, **left},
        events=(*stripe.events, event("invoice.deleted", invoice, now_s)),
    )
    return gone, {"id": invoice_id, "object": "invoice", "deleted": True}


def _retrieve(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    return stripe, amounts(stripe.invoice(invoice_id))


def _list_invoices(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    since_s, customer, subscription = (
        int(params.get("created[gte]", 0)),
        params.get("customer"),
        params.get("subscription"),
    )
    found = [
        invoice
        for invoice in stripe.invoices.values()
        if invoice["created"] >= since_s
        and invoice["id"] not in stripe.unlisted
        and customer in {None, invoice["customer"]}
        and subscription in {None, _subscription_of(invoice)}
    ]
    return stripe, list_of(sorted(map(amounts, found), key=lambda i: (i["created"], i["id"]), reverse=True))


def _subscription_of(invoice: Json) -> str | None:
    parent: Json = invoice.get("parent") or {}
    return str(parent["subscription_details"]["subscription"]) if parent else None


def _list_subscriptions(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    found = [one for one in stripe.subscriptions.values() if one["customer"] == params["customer"]]
    return stripe, list_of(sorted(found, key=lambda s: (s["created"], s["id"]), reverse=True))


def _list_events(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    since_s, until_s = int(params["created[gte]"]), int(params["created[lte]"])
    types = {value for name, value in params.items() if name.startswith("types[")}
    found = [e for e in stripe.events if since_s <= e["created"] <= until_s and e["type"] in types]
    return stripe, list_of(sorted(found, key=lambda event: (event["created"], event["id"]), reverse=True))


def _set_item(stripe: MemoryStripe, subscription: Json, item_id: str, item: Json | None, now_s: int) -> MemoryStripe:
    if subscription["status"] == "canceled":
        raise Refusal(400, "A canceled subscription keeps its items.")
    rest = [one for one in subscription["items"]["data"] if one["id"] != item_id]
    items = list_of([*rest, item] if item else rest)
    return stripe.with_subscription(subscription | {"items": items}, "updated", now_s)


def _create_item(stripe: MemoryStripe, _: str, params: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    subscription = stripe.subscriptions[params["subscription"]]
    period = period_of(subscription)
    item = new_item(stripe.prices, subscription["id"], params["price"], int(params["quantity"]), period)
    item |= {"metadata": metadata(params)}
    if any(one["id"] == item["id"] for one in subscription["items"]["data"]):
        raise Refusal(400, "Cannot add multiple subscription items with the same price.")
    return _set_item(stripe, subscription, item["id"], item, now_s), item


def _owner(stripe: MemoryStripe, item_id: str) -> tuple[Json, Json]:
    for subscription in stripe.subscriptions.values():
        for item in subscription["items"]["data"]:
            if item["id"] == item_id:
                return subscription, item
    raise Refusal(404, f"No such subscription_item: '{item_id}'", "resource_missing")


def _update_item(stripe: MemoryStripe, item_id: str, params: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    subscription, item = _owner(stripe, item_id)
    item = item | {"quantity": int(params["quantity"])}
    return _set_item(stripe, subscription, item_id, item, now_s), item


def _delete_item(stripe: MemoryStripe, item_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    subscription, _ = _owner(stripe, item_id)
    after = _set_item(stripe, subscription, item_id, None, now_s)
    return after, {"id": item_id, "object": "subscription_item", "deleted": True}


# Method, name, whether an id follows, action.
ROUTES: dict[tuple[str, str, bool, str], Route] = {
    **REVERSAL_ROUTES,
    ("POST", "invoices", False, ""): _create_invoice,
    ("POST", "invoiceitems", False, ""): _add_item,
    ("DELETE", "invoiceitems", True, ""): _take_item,
    ("GET", "invoiceitems", False, ""): _list_items,
    ("POST", "invoices", True, "finalize"): _finalize,
    ("POST", "invoices", True, "void"): _void,
    ("DELETE", "invoices", True, ""): _delete,
    ("GET", "invoices", True, ""): _retrieve,
    ("GET", "invoices", False, ""): _list_invoices,
    ("GET", "subscriptions", False, ""): _list_subscriptions,
    ("GET", "events", False, ""): _list_events,
    ("POST", "subscription_items", False, ""): _create_item,
    ("POST", "subscription_items", True, ""): _update_item,
    ("DELETE", "subscription_items", True, ""): _delete_item,
}
