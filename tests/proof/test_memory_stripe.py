"""Stripe in memory answers as the stateful double does, whatever the product asks in whatever order."""

from __future__ import annotations

import json
import random
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from line_requests.billing.events import FEED_INVOICE_EVENTS, SUBSCRIPTION_EVENTS
from tests.local.stripe_double import StripeDouble
from tests.proof import memory_dashboard
from tests.proof.memory_stripe import MemoryStripe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Json = dict[str, Any]

API_KEY = "sk_test_product"
REQUESTS = 700
ROUTES = 12
NEVER_REFUSED = {"GET invoices", "GET invoiceitems"}
FEED = {*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS}
BY_PEOPLE = {"pay_part": memory_dashboard.pay_part, "credit_note": memory_dashboard.credit}
ITEM = {
    "customer": "cus_acme",
    "price_data[currency]": "usd",
    "price_data[product]": "prod_line",
    "price_data[unit_amount]": "1500",
}


class Both:
    """The same account twice; names are those in memory, `there` has the double's."""

    def __init__(self, double: StripeDouble, http: httpx.Client) -> None:
        self.double = double
        self.http = http
        self.now_s = int(time.time())
        self.outcomes = set[tuple[str, int]]()
        product = self._made("products", name="Line")
        recurring = {"product": product, "currency": "usd", "unit_amount": 500, "recurring[interval]": "month"}
        self.there = {"prod_line": product, "cus_acme": self._made("customers", name="Acme")}
        self.there |= {price: self._made("prices", **recurring) for price in ("price_base", "price_extra")}
        subscribed = {"customer": self.there["cus_acme"], "items[0][price]": self.there["price_base"]}
        self.there["sub_acme"] = self._made("subscriptions", **subscribed)
        self.memory = MemoryStripe().subscribe("sub_acme", "cus_acme", "price_base", self.now_s)

    def _made(self, kind: str, **params: object) -> str:
        answer: Json = self.http.post(f"/v1/{kind}", data=params).raise_for_status().json()
        return str(answer["id"])

    def ask(
        self, method: str, path: str, params: Mapping[str, str], key: str | None = None, *, broken: bool = False
    ) -> Json:
        """Asks both, who have to answer alike; what memory answered."""
        if broken:
            self.double.set_faults("error_after", 1)
        fault = "after" if broken else None
        self.memory, reply = self.memory.call(method, f"/v1/{path}", params, key, self.now_s, broken=fault)
        sent = {name: self._there(value) for name, value in params.items()}
        headers = {"Idempotency-Key": key} if key else {}
        url, where = f"/v1/{self._there(path)}", "params" if method == "GET" else "data"
        answer = self.http.request(method, url, headers=headers, **{where: sent})  # type: ignore[arg-type] # one of the two
        mine, theirs = json.loads(reply.body), answer.json()
        replayed = answer.headers.get("idempotent-replayed"), dict(reply.headers).get("Idempotent-Replayed")
        assert (answer.status_code, replayed[0]) == (reply.status, replayed[1]), (method, path, params, theirs)
        if reply.status == 200:
            self._learn(mine, theirs)
            assert self._read(theirs, {}) == self._read(mine, self.there), (method, path, params)
        else:
            assert theirs["error"]["type"] == mine["error"]["type"], (method, path, params, theirs)
        self.outcomes.add((f"{method} {re.sub('/(in|ii|si)_[^/]*', '/id', path)}", reply.status))
        return dict(mine)

    def _there(self, text: str) -> str:
        return "/".join(self.there.get(part, part) for part in text.split("/"))

    def _learn(self, mine: Json, theirs: Json) -> None:
        """Which of the double's names stands for one in memory."""
        if mine["object"] in {"invoice", "invoiceitem", "subscription_item"} and "deleted" not in mine:
            self.there[mine["id"]] = theirs["id"]
        self.there |= {_item(line): _item(other) for line, other in zip(_lines(mine), _lines(theirs), strict=False)}

    def _read(self, answer: Json, there: Mapping[str, str]) -> Any:  # noqa: ANN401 - compared only
        """What the product reads of an answer, in the double's names."""
        if answer["object"] == "list":
            # Not the subscription's own invoice.
            ours = [self._read(one, there) for one in answer["data"] if one["metadata"]]
            return sorted(ours, key=lambda one: str(one["id"]))
        kept = {"invoice": ("customer", "status", "metadata"), "subscription_item": ("quantity",)}
        fields = ("id", "deleted", *kept.get(answer["object"], ()))
        read = {name: answer[name] for name in fields if name in answer}
        read = {name: there.get(value, value) if isinstance(value, str) else value for name, value in read.items()}
        lines = [(line["amount"], line["currency"], line["metadata"]) for line in _lines(answer)]
        return read | {"lines": lines, "linked": answer.get("hosted_invoice_url") is not None}

    def settle(self, act: str, invoice: str) -> None:
        """What a customer or an operator does at Stripe, if it can be done, in both."""
        before = self.memory
        if act in BY_PEOPLE:
            self.memory = BY_PEOPLE[act](before, invoice, self.now_s)
            if self.memory is not before:
                self.double.touch_invoice(self.there[invoice], act, 1 if act == "pay_part" else None)
        elif act == "paid":
            self.memory = before.pay(invoice, self.now_s)
            if self.memory is not before:
                self.double.pay_invoice(self.there[invoice])
        else:
            self.memory = before.write_off(invoice, self.now_s)
            self.http.post(f"/v1/invoices/{self.there[invoice]}/mark_uncollectible")

    def events(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """What both feeds tell; once, for memory tells of a quantity that was set to what it was, too."""

        def in_feed(events: Iterable[Json]) -> set[tuple[str, str]]:
            about = [(event["type"], event["data"]["object"]["id"]) for event in events if event["type"] in FEED]
            return {(kind, self.there.get(subject, subject)) for kind, subject in about}

        known = set(self.there.values())
        return in_feed(self.memory.events), {one for one in in_feed(self.double.all_of("event")) if one[1] in known}


def _lines(answer: Json) -> list[Json]:
    return list((answer.get("lines") or {}).get("data", []))


def _item(line: Json) -> str:
    return str(line["parent"]["invoice_item_details"]["invoice_item"])


@pytest.fixture
def both() -> Iterator[Both]:
    with (
        StripeDouble(product_api_key=API_KEY) as double,
        httpx.Client(base_url=double.url, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=10) as http,
    ):
        yield Both(double, http)


def test_random_requests_are_answered_alike(both: Both) -> None:
    chance = random.Random(5)
    invoices, items = ["in_unknown"], ["ii_unknown"]
    for number in range(REQUESTS):
        invoice, item = chance.choice(invoices), chance.choice(items)
        key = f"key:{number - (chance.random() < 0.1)}"
        add_on = "subscription_items/si_sub_acme_price_extra"
        amount = {"quantity": str(chance.randrange(1, 5)), "proration_behavior": "none"}
        ours = {"customer": "cus_acme", "metadata[line_id]": f"line-{chance.randrange(3)}"}
        newest = {"customer": "cus_acme", "limit": "100"}
        requests: list[tuple[str, str, Mapping[str, str]]] = [
            ("POST", "invoices", ours | {"currency": "usd"}),
            ("POST", "invoiceitems", ITEM | ours | {"invoice": invoice}),
            ("POST", "invoiceitems", ITEM | ours | {"invoice": invoices[-1]}),
            ("POST", f"invoices/{invoice}/finalize", {"auto_advance": "false"}),
            ("POST", f"invoices/{invoice}/void", {}),
            ("DELETE", f"invoices/{invoice}", {}),
            ("DELETE", f"invoiceitems/{item}", {}),
            ("GET", f"invoices/{invoice}", {}),
            ("GET", "invoices", newest | {"created[gte]": str(both.now_s)}),
            ("GET", "invoiceitems", newest | {"pending": "true"}),
            ("POST", "subscription_items", {"subscription": "sub_acme", "price": "price_extra"} | amount),
            ("POST", add_on, amount),
            ("DELETE", add_on, {"proration_behavior": "none"}),
        ]
        method, path, params = chance.choice(requests)
        broken = path == "invoiceitems" and method == "POST" and chance.random() < 0.1
        answer = both.ask(method, path, params, key if method == "POST" else None, broken=broken)
        if broken and params["invoice"] in both.memory.invoices:
            both.ask("GET", f"invoices/{params['invoice']}", {})  # which names the item that nobody was told of
        if method == "POST" and "id" in answer:
            {"invoices": invoices, "invoiceitems": items}.get(path, []).append(answer["id"])
        if invoice in both.memory.invoices and chance.random() < 0.1:
            both.settle(chance.choice(["paid", "written off", *BY_PEOPLE]), invoice)
    mine, theirs = both.events()
    assert mine == theirs
    asked = {what for what, _ in both.outcomes}
    assert len(asked) == ROUTES
    assert {what for what, status in both.outcomes if status == 200} == asked
    assert {what for what, status in both.outcomes if status >= 400} == asked - NEVER_REFUSED
