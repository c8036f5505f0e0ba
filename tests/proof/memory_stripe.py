"""Stripe in memory, as a value: a call gives a reply and another Stripe.

Only what `line_requests.billing` asks for and what it reads of the answers; test_memory_stripe.py holds
it against the stateful double, which in turn is held against Stripe's own SDK.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from tests.proof import memory_billing
from tests.proof.memory_billing import Price
from tests.proof.memory_objects import Json, Params, Refusal, Reply, Thing, event
from tests.proof.memory_routes import ROUTES

__all__ = ["Json", "MemoryStripe", "Params", "Price", "Refusal", "Reply", "Thing"]

KEY_LIFE_S = 24 * 3600


class _Use(NamedTuple):
    path: str
    params: str
    first_used_s: int
    reply: Reply


@dataclass(frozen=True)
class MemoryStripe:
    """An account that never changes."""

    invoices: Mapping[str, Thing] = field(default_factory=dict)
    pending_items: Mapping[str, Thing] = field(default_factory=dict)
    """For a subscription's next invoice; items of deleted drafts too: what becomes of them, Stripe does not say."""
    subscriptions: Mapping[str, Thing] = field(default_factory=dict)
    keys: Mapping[str, _Use] = field(default_factory=dict)
    events: tuple[Thing, ...] = ()
    debits: frozenset[str] = frozenset()
    """Invoices that a bank debit is on its way for."""
    refunds: Mapping[str, Thing] = field(default_factory=dict)
    credit_notes: Mapping[str, Thing] = field(default_factory=dict)
    declined: frozenset[str] = frozenset()
    """Subscriptions whose renewals are not paid."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Recurring prices that are not $15 a month; they never change."""
    unlisted: frozenset[str] = frozenset()
    """Invoices that the list of invoices lacks, because it lags."""
    refusing: str = ""
    """Paths with this prefix are refused for good: the customer or the price is not right."""

    @cached_property
    def digest(self) -> int:
        """The same for the same account, but for the order of what happened to different objects."""
        things = (
            *self.invoices.values(),
            *self.pending_items.values(),
            *self.subscriptions.values(),
            *self.refunds.values(),
            *self.credit_notes.values(),
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
        route = ROUTES[method, name, bool(identifier), action]
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

    def with_invoice(self, invoice: Json, *events: str, now_s: int) -> "MemoryStripe":
        told = tuple(event(kind, invoice, now_s) for kind in events)
        return replace(self, invoices={**self.invoices, invoice["id"]: Thing(invoice)}, events=self.events + told)

    def with_subscription(self, subscription: Json, kind: str, now_s: int) -> "MemoryStripe":
        return replace(
            self,
            subscriptions={**self.subscriptions, subscription["id"]: Thing(subscription)},
            events=(*self.events, event(f"customer.subscription.{kind}", subscription, now_s)),
        )

    # --- what customers, banks and operators do -------------------------------------------------

    def pay(self, invoice_id: str, now_s: int) -> "MemoryStripe":
        """The hosted page's button; nothing once the invoice is settled or a debit is on its way."""
        invoice = self.invoices[invoice_id]
        if invoice["status"] not in {"open", "uncollectible"} or invoice_id in self.debits:
            return self
        return self.with_invoice(invoice | {"status": "paid"}, "invoice.paid", "invoice.payment_succeeded", now_s=now_s)

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
        return self.with_invoice(written_off, "invoice.marked_uncollectible", now_s=now_s)

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

    def subscribe(  # noqa: PLR0913 - what a subscription begins with
        self,
        subscription_id: str,
        customer: str,
        price: str,
        now_s: int,
        *,
        currency: str = "usd",
        trial_s: int = 0,
        billed: bool = False,
    ) -> "MemoryStripe":
        """A new subscription to a base price, active or in its trial; `billed`: with its first invoice."""
        subscription = memory_billing.new_subscription(
            self.prices, subscription_id, customer, price, now_s, currency=currency, trial_s=trial_s
        )
        if billed:
            return self._billed(subscription, "subscription_create", "created", now_s)
        return self.with_subscription(subscription, "created", now_s)

    def change_plan(self, subscription_id: str, before: str, after: str, now_s: int) -> "MemoryStripe":
        """The customer changes to another base price, without proration; another interval begins and bills a period."""
        subscription = self.subscriptions[subscription_id]
        changed = memory_billing.with_base(self.prices, subscription, before, after, now_s)
        if changed["billing_cycle_anchor"] != subscription["billing_cycle_anchor"]:
            return self._billed(changed, "subscription_update", "updated", now_s)
        return self.with_subscription(changed, "updated", now_s)

    def end(self, subscription_id: str, now_s: int) -> "MemoryStripe":
        """The subscription is canceled; its pending items stay."""
        canceled = self.subscriptions[subscription_id] | {"status": "canceled"}
        return self.with_subscription(canceled, "deleted", now_s)

    def end_at_period_end(self, subscription_id: str, now_s: int) -> "MemoryStripe":
        """The subscription will be canceled at the end of its period."""
        ending = self.subscriptions[subscription_id] | {"cancel_at_period_end": True}
        return self.with_subscription(ending, "updated", now_s)

    def decline(self, subscription_id: str) -> "MemoryStripe":
        """From now on the subscription's invoices are not paid."""
        return replace(self, declined=self.declined | {subscription_id})

    def collect(self, subscription_id: str, now_s: int) -> "MemoryStripe":
        """Whatever the subscription has open is paid, and what comes after."""
        after = replace(self, declined=self.declined - {subscription_id})
        for invoice in self.invoices.values():
            details = invoice.get("parent", {}).get("subscription_details", {})
            if details.get("subscription") == subscription_id and invoice["status"] == "open":
                after = after.pay(invoice["id"], now_s)
        subscription = self.subscriptions[subscription_id]
        if subscription["status"] != "past_due":
            return after
        return after.with_subscription(subscription | {"status": "active"}, "updated", now_s)

    # --- what time does -------------------------------------------------------------------------

    def advance(self, now_s: int) -> "MemoryStripe":
        """The account at that time: every period that has ended by then is followed by the next, and invoiced."""
        after = self
        for subscription_id in self.subscriptions:
            while after.next_period_s(subscription_id) <= now_s:
                after = after._renewed(after.subscriptions[subscription_id])
        return after

    def next_period_s(self, subscription_id: str) -> float:
        """When the subscription's period ends; never, once it is canceled."""
        subscription = self.subscriptions[subscription_id]
        if subscription["status"] == "canceled":
            return float("inf")
        return memory_billing.period_of(subscription)[1]

    def _renewed(self, subscription: Json) -> "MemoryStripe":
        now_s = memory_billing.period_of(subscription)[1]
        if subscription["cancel_at_period_end"]:
            return self.end(subscription["id"], now_s)
        next_period = memory_billing.renewed(self.prices, subscription)
        if subscription["id"] in self.declined:
            next_period |= {"status": "past_due"}
        return self._billed(next_period, "subscription_cycle", "updated", now_s)

    def _billed(self, subscription: Json, reason: str, kind: str, now_s: int) -> "MemoryStripe":
        """The subscription with the invoice of a period that begins, which takes up its pending items."""
        pending = [item for item in self.pending_items.values() if item.get("subscription") == subscription["id"]]
        invoice = memory_billing.invoice_for(
            self.prices, subscription, pending, reason, now_s, paid=subscription["id"] not in self.declined
        )
        taken = {item["id"] for item in pending}
        rest = {name: item for name, item in self.pending_items.items() if name not in taken}
        events = ("invoice.created", "invoice.paid") if invoice["status"] == "paid" else ("invoice.created",)
        after = replace(self, pending_items=rest).with_invoice(invoice, *events, now_s=now_s)
        return after.with_subscription(subscription | {"latest_invoice": invoice["id"]}, kind, now_s)


_BROKEN = Reply(500, json.dumps({"error": {"type": "api_error", "message": "Something went wrong."}}))
