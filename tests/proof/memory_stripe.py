"""Stripe in memory, as a value: a call gives a reply and another Stripe.

Only what `line_requests.billing` asks for and what it reads of the answers; test_memory_stripe.py holds
it against the stateful double, which in turn is held against Stripe's own SDK.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

Json = dict[str, Any]


class Thing(Json):
    """An object or an event; it never changes, so what tells it apart is reckoned once."""

    @cached_property
    def digest(self) -> int:
        return hash(json.dumps(self, sort_keys=True))


Params = Mapping[str, str]
"""Flat, as on the wire: `metadata[line_id]`."""

KEY_LIFE_S = 24 * 3600


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


class _Use(NamedTuple):
    path: str
    params: str
    first_used_s: int
    reply: Reply


class Refusal(Exception):
    """A 4xx."""

    def __init__(self, status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        error = {"type": kind, "message": message} | ({"code": code} if code else {})
        self.reply = Reply(status, json.dumps({"error": error}))


@dataclass(frozen=True)
class MemoryStripe:
    """An account that never changes."""

    invoices: Mapping[str, Thing] = field(default_factory=dict)
    pending_items: Mapping[str, Thing] = field(default_factory=dict)
    """Items of deleted drafts, for the customer's next invoice: what becomes of them, Stripe does not say."""
    subscriptions: Mapping[str, Thing] = field(default_factory=dict)
    keys: Mapping[str, _Use] = field(default_factory=dict)
    events: tuple[Thing, ...] = ()
    debits: frozenset[str] = frozenset()
    """Invoices that a bank debit is on its way for."""
    refusing: str = ""
    """Paths with this prefix are refused for good: the customer or the price is not right."""

    @cached_property
    def digest(self) -> int:
        """The same for the same account, but for the order of what happened to different objects."""
        things = (
            *self.invoices.values(),
            *self.pending_items.values(),
            *self.subscriptions.values(),
            *self.events,
        )
        known = frozenset(thing.digest for thing in things)
        return hash((known, frozenset(self.keys.items()), self.debits, self.refusing))

    # --- what the product does ------------------------------------------------------------------

    def call(  # noqa: PLR0913 - what a request consists of
        self, method: str, path: str, params: Params, key: str | None, now_s: int, *, broken: str | None = None
    ) -> tuple["MemoryStripe", Reply]:
        """One request. `broken` is `before` or `after`: a 500 that Stripe saves under the key."""
        if key is not None and method != "GET":
            text = json.dumps(sorted(params.items()))
            use = self.keys.get(key)
            if use is not None and now_s - use.first_used_s < KEY_LIFE_S:
                if (use.path, use.params) != (path, text):
                    refusal = Refusal(400, "Keys can only be used with the same parameters.", kind="idempotency_error")
                    return self, refusal.reply
                return self, use.reply._replace(headers=(("Idempotent-Replayed", "true"),))
            after, reply = (self, _BROKEN) if broken == "before" else self._carry_out(method, path, params, key, now_s)
            if broken == "after":
                reply = _BROKEN
            return replace(after, keys={**after.keys, key: _Use(path, text, now_s, reply)}), reply
        return self._carry_out(method, path, params, "", now_s)

    def _carry_out(self, method: str, path: str, params: Params, key: str, now_s: int) -> tuple["MemoryStripe", Reply]:
        name, _, rest = path.removeprefix("/v1/").partition("/")
        identifier, _, action = rest.partition("/")
        route = _ROUTES[method, name, bool(identifier), action]
        try:
            if self.refusing and method == "POST" and path.startswith(self.refusing):
                raise Refusal(400, "This cannot be billed.", "resource_missing")  # noqa: TRY301 - as a route would
            after, answer = route(self, identifier, params, key, now_s)
        except Refusal as refusal:
            return self, refusal.reply
        return after, Reply(200, json.dumps(answer))

    def invoice(self, invoice_id: str) -> Json:
        """One invoice; raises Refusal."""
        if invoice_id not in self.invoices:
            raise Refusal(404, f"No such invoice: '{invoice_id}'", "resource_missing")
        return self.invoices[invoice_id]

    def _with_invoice(self, invoice: Json, *events: str, now_s: int) -> "MemoryStripe":
        told = tuple(_event(kind, invoice, now_s) for kind in events)
        return replace(self, invoices={**self.invoices, invoice["id"]: Thing(invoice)}, events=self.events + told)

    def _with_subscription(self, subscription: Json, kind: str, now_s: int) -> "MemoryStripe":
        return replace(
            self,
            subscriptions={**self.subscriptions, subscription["id"]: Thing(subscription)},
            events=(*self.events, _event(f"customer.subscription.{kind}", subscription, now_s)),
        )

    # --- what customers, banks and operators do -------------------------------------------------

    def pay(self, invoice_id: str, now_s: int) -> "MemoryStripe":
        """The hosted page's button; nothing once the invoice is settled or a debit is on its way."""
        invoice = self.invoices[invoice_id]
        if invoice["status"] not in {"open", "uncollectible"} or invoice_id in self.debits:
            return self
        return self._with_invoice(
            invoice | {"status": "paid"}, "invoice.paid", "invoice.payment_succeeded", now_s=now_s
        )

    def void(self, invoice_id: str, now_s: int) -> "MemoryStripe":
        """An operator voids it in the dashboard, if that can be done."""
        return self.call("POST", f"/v1/invoices/{invoice_id}/void", {}, None, now_s)[0]

    def delete(self, invoice_id: str, now_s: int) -> "MemoryStripe":
        """An operator deletes it in the dashboard, if it is a draft."""
        return self.call("DELETE", f"/v1/invoices/{invoice_id}", {}, None, now_s)[0]

    def add_item(self, invoice_id: str, now_s: int) -> "MemoryStripe":
        """An operator charges something else in the dashboard, too, if it is a draft."""
        item = {"invoice": invoice_id, "price_data[unit_amount]": "777", "price_data[currency]": "usd"}
        return self.call("POST", "/v1/invoiceitems", item, f"{invoice_id}:theirs", now_s)[0]

    def write_off(self, invoice_id: str, now_s: int) -> "MemoryStripe":
        """An operator takes it for uncollectible."""
        invoice = self.invoices[invoice_id]
        if invoice["status"] != "open":
            return self
        written_off = invoice | {"status": "uncollectible"}
        return self._with_invoice(written_off, "invoice.marked_uncollectible", now_s=now_s)

    def start_debit(self, invoice_id: str) -> "MemoryStripe":
        """A bank debit sets out: the invoice stays open and cannot be voided meanwhile."""
        if self.invoices[invoice_id]["status"] not in {"open", "uncollectible"}:
            return self
        return replace(self, debits=self.debits | {invoice_id})

    def end_debit(self, invoice_id: str, now_s: int, *, succeeded: bool) -> "MemoryStripe":
        """The bank has answered."""
        if invoice_id not in self.debits:
            return self
        arrived = replace(self, debits=self.debits - {invoice_id})
        return arrived.pay(invoice_id, now_s) if succeeded else arrived

    def subscribe(self, subscription_id: str, customer: str, price: str, now_s: int) -> "MemoryStripe":
        """A new active subscription to a base price."""
        subscription = {
            "id": subscription_id,
            "object": "subscription",
            "customer": customer,
            "status": "active",
            "created": now_s,
            "items": _list([_item(subscription_id, price, 1)]),
        }
        return self._with_subscription(subscription, "created", now_s)

    def change_plan(self, subscription_id: str, before: str, after: str, now_s: int) -> "MemoryStripe":
        """The customer changes to another base price."""
        subscription = self.subscriptions[subscription_id]
        items = [
            _item(subscription_id, after, 1) if item["price"]["id"] == before else item
            for item in subscription["items"]["data"]
        ]
        return self._with_subscription(subscription | {"items": _list(items)}, "updated", now_s)

    def end(self, subscription_id: str, now_s: int) -> "MemoryStripe":
        """The subscription is canceled."""
        canceled = self.subscriptions[subscription_id] | {"status": "canceled"}
        return self._with_subscription(canceled, "deleted", now_s)


_BROKEN = Reply(500, json.dumps({"error": {"type": "api_error", "message": "Something went wrong."}}))


def _event(kind: str, subject: Json, now_s: int) -> Thing:
    """An event carries no snapshot worth reading: the product has to look for itself."""
    kept = {name: subject[name] for name in ("id", "object", "customer", "metadata") if name in subject}
    return Thing(
        id=f"evt_{kind}_{subject['id']}_{now_s}",
        object="event",
        type=kind,
        livemode=False,
        created=now_s,
        data={"object": kept},
    )


def _list(data: list[Json]) -> Json:
    return {"object": "list", "data": data, "has_more": False, "url": "/v1/none"}


def _item(subscription_id: str, price: str, quantity: int) -> Json:
    return {
        "id": f"si_{subscription_id}_{price}",
        "object": "subscription_item",
        "price": {"id": price, "object": "price"},
        "quantity": quantity,
    }


def _metadata(params: Params) -> Json:
    return {name[9:-1]: value for name, value in params.items() if name.startswith("metadata[")}


Route = Callable[[MemoryStripe, str, Params, str, int], tuple[MemoryStripe, Json]]


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
        "metadata": _metadata(params),
        "hosted_invoice_url": None,
        "lines": _list([]),
    }
    return stripe._with_invoice(invoice, now_s=now_s), invoice  # noqa: SLF001 - its own module


def _add_item(stripe: MemoryStripe, _: str, params: Params, key: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoices.get(params["invoice"])
    if invoice is None:  # named by a parameter, not by the path
        raise Refusal(400, f"No such invoice: '{params['invoice']}'", "resource_missing")
    if invoice["status"] != "draft":
        raise Refusal(400, "You can only add items to a draft.", "invoice_not_editable")
    amount, currency = int(params["price_data[unit_amount]"]), params["price_data[currency]"]
    item_id = f"ii_{key}".replace(":", "_")
    line = {
        "id": f"il_{key}",
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "metadata": _metadata(params),
        "parent": {"invoice_item_details": {"invoice_item": item_id}},
    }
    lines = _list([*invoice["lines"]["data"], line])
    answer = {"id": item_id, "object": "invoiceitem", "amount": amount, "currency": currency}
    return stripe._with_invoice(invoice | {"lines": lines}, now_s=now_s), answer  # noqa: SLF001 - its own module


def _take_item(stripe: MemoryStripe, item_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    answer = {"id": item_id, "object": "invoiceitem", "deleted": True}
    if item_id in stripe.pending_items:
        rest = {name: one for name, one in stripe.pending_items.items() if name != item_id}
        return replace(stripe, pending_items=rest), answer
    for invoice in stripe.invoices.values():
        lines = invoice["lines"]["data"]
        kept = [line for line in lines if _item_of(line) != item_id]
        if len(kept) < len(lines):
            if invoice["status"] != "draft":
                raise Refusal(400, "You can only take items off a draft.", "invoice_not_editable")
            return stripe._with_invoice(invoice | {"lines": _list(kept)}, now_s=now_s), answer  # noqa: SLF001 - its own module
    raise Refusal(404, f"No such invoiceitem: '{item_id}'", "resource_missing")


def _list_items(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    found = [item for item in stripe.pending_items.values() if item["customer"] == params["customer"]]
    return stripe, _list(sorted(found, key=lambda item: item["id"]))


def _item_of(line: Json) -> str:
    return str(line["parent"]["invoice_item_details"]["invoice_item"])


def _finalize(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoice(invoice_id)
    if invoice["status"] != "draft":
        raise Refusal(400, "This invoice is already finalized.", "invoice_not_editable")
    free = not sum(line["amount"] for line in invoice["lines"]["data"])
    url = f"https://pay.example/{invoice_id}"
    final = invoice | {"status": "paid" if free else "open", "hosted_invoice_url": url}
    events = ("invoice.finalized", "invoice.paid") if free else ("invoice.finalized",)
    return stripe._with_invoice(final, *events, now_s=now_s), final  # noqa: SLF001 - its own module


def _void(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoice(invoice_id)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise Refusal(400, f"You can't void an invoice that is {invoice['status']}.", "invoice_not_editable")
    if invoice_id in stripe.debits:
        raise Refusal(400, "This invoice has a payment that is still processing.")
    void = invoice | {"status": "void"}
    return stripe._with_invoice(void, "invoice.voided", now_s=now_s), void  # noqa: SLF001 - its own module


def _delete(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    invoice = stripe.invoice(invoice_id)
    if invoice["status"] != "draft":
        raise Refusal(400, "You can only delete drafts.", "invoice_not_editable")
    rest = {name: one for name, one in stripe.invoices.items() if name != invoice_id}
    left = {
        _item_of(line): Thing(
            id=_item_of(line), object="invoiceitem", customer=invoice["customer"], metadata=line["metadata"]
        )
        for line in invoice["lines"]["data"]
    }
    gone = replace(
        stripe,
        invoices=rest,
        pending_items={**stripe.pending_items, **left},
        events=(*stripe.events, _event("invoice.deleted", invoice, now_s)),
    )
    return gone, {"id": invoice_id, "object": "invoice", "deleted": True}


def _retrieve(stripe: MemoryStripe, invoice_id: str, _p: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    return stripe, stripe.invoice(invoice_id)


def _list_invoices(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    since_s, customer = int(params["created[gte]"]), params.get("customer")
    found = [
        invoice
        for invoice in stripe.invoices.values()
        if invoice["created"] >= since_s and customer in {None, invoice["customer"]}
    ]
    return stripe, _list(sorted(found, key=lambda i: (i["created"], i["id"]), reverse=True))


def _list_subscriptions(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    found = [one for one in stripe.subscriptions.values() if one["customer"] == params["customer"]]
    return stripe, _list(sorted(found, key=lambda s: (s["created"], s["id"]), reverse=True))


def _list_events(stripe: MemoryStripe, _: str, params: Params, _k: str, _n: int) -> tuple[MemoryStripe, Json]:
    since_s, until_s = int(params["created[gte]"]), int(params["created[lte]"])
    types = {value for name, value in params.items() if name.startswith("types[")}
    found = [e for e in stripe.events if since_s <= e["created"] <= until_s and e["type"] in types]
    return stripe, _list(sorted(found, key=lambda event: (event["created"], event["id"]), reverse=True))


def _set_item(stripe: MemoryStripe, subscription: Json, item_id: str, item: Json | None, now_s: int) -> MemoryStripe:
    if subscription["status"] == "canceled":
        raise Refusal(400, "A canceled subscription keeps its items.")
    rest = [one for one in subscription["items"]["data"] if one["id"] != item_id]
    items = _list([*rest, item] if item else rest)
    return stripe._with_subscription(subscription | {"items": items}, "updated", now_s)  # noqa: SLF001 - its own module


def _create_item(stripe: MemoryStripe, _: str, params: Params, _k: str, now_s: int) -> tuple[MemoryStripe, Json]:
    subscription = stripe.subscriptions[params["subscription"]]
    item = _item(subscription["id"], params["price"], int(params["quantity"]))
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
_ROUTES: dict[tuple[str, str, bool, str], Route] = {
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
