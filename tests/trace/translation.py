"""One workspace of a trace as a workspace of the explorer's: what the invariants of tests/proof read.

A recorded account has what no scenario of the explorer has. It is taken out here, so that the invariants stay the same.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.proof import stage
from tests.proof.memory_reversals import PAYMENT
from tests.proof.memory_stripe import MemoryStripe, Thing
from tests.proof.memory_table import Key, MemoryTable, Stored
from tests.proof.tenants import FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.proof.expressions import Typed

Json = dict[str, Any]
HOLDING = {"awaiting_payment", "provisioning", "active"}
PARTITION = f"W#{stage.WORKSPACE}"


class Table:
    """A workspace's items, step by step.

    A plan that becomes smaller leaves lines that it does not include, and more than its cap (contract 54). Their number
    counts as included, until there are fewer: no write may add to them.
    """

    def __init__(self) -> None:
        self.items: dict[Key, Typed] = {}
        """As recorded."""
        self.shown = MemoryTable()
        """As the explorer has them."""
        self._allowances: Json = {}
        self._floors: dict[tuple[str, str], int] = {}

    @property
    def workspace(self) -> Typed | None:
        return next((item for (_, sk), item in self.items.items() if sk == "WORKSPACE"), None)

    def change(self, changes: Mapping[Key, Typed | None]) -> MemoryTable:
        """The table after these changes."""
        counted = self._counts()
        for key, item in changes.items():
            if item is None:
                self.items.pop(key, None)
            else:
                self.items[key] = item
        stored = [((PARTITION, sk), _stored(item, PARTITION)) for (_, sk), item in changes.items()]
        workspace = self.workspace
        if workspace is not None:
            known = _typed(workspace, "subscription", "allowances")
            if known != self._allowances:
                self._allowances, counted = known, self._counts()
                self._floors = dict(counted)
            self._floors = {name: min(floor, counted[name]) for name, floor in self._floors.items()}
            stored.append(((PARTITION, "WORKSPACE"), _stored(self._workspace(workspace), PARTITION)))
        self.shown = self.shown.with_stored(stored)
        return self.shown

    def _counts(self) -> Counter[tuple[str, str]]:
        """How many lines of each kind need no payment, and how many hold a place."""
        counted = Counter[tuple[str, str]]()
        for (_, sk), line in self.items.items():
            if sk.startswith("LINE#") and line["status"]["S"] in HOLDING:
                submission = line["submission"]["M"]
                email = submission["channel_type"]["S"] == "email"
                kind = "email" if email else f"{submission['line_type']['S']}_phone"
                counted[kind, "included"] += line["payment_status"]["S"] == "not_required"
                counted[kind, "cap"] += 1
        return counted

    def _workspace(self, item: Typed) -> Typed:
        if "subscription" not in item:
            none = {"status": {"S": "none"}, "allowances": {"M": {}}}
            return item | {"subscription": {"M": none}}
        allowances = {
            kind: {"M": allowance["M"] | {name: self._raised(kind, name, allowance["M"]) for name in allowance["M"]}}
            for kind, allowance in self._allowances.items()
        }
        subscription = item["subscription"]["M"] | {"allowances": {"M": allowances}}
        return item | {"subscription": {"M": subscription}}

    def _raised(self, kind: str, name: str, allowance: Json) -> Json:
        value: Json = allowance[name]
        if "N" not in value:
            return value
        return {"N": str(max(int(value["N"]), self._floors.get((kind, name), 0)))}


def _typed(item: Typed, *path: str) -> Json:
    for name in path:
        item = item.get(name, {}).get("M", {})
    return item


def _stored(item: Typed | None, partition: str) -> Stored | None:
    if item is None:
        return None
    shown = item | {"pk": {"S": partition}}
    return Stored(shown, hash(json.dumps(shown, sort_keys=True)))


class Account:
    """What Stripe has of one customer, step by step."""

    def __init__(self, invoice_of: Mapping[str, str]) -> None:
        """`invoice_of` names the invoice that each payment intent pays."""
        self.shown = MemoryStripe()
        self._invoice_of = invoice_of
        self._copies: dict[str, bool] = {}

    def change(self, changes: Mapping[tuple[str, str], Json | None]) -> MemoryStripe:
        """The account after these changes."""
        invoices, refunds = dict(self.shown.invoices), dict(self.shown.refunds)
        notes = dict(self.shown.credit_notes)
        for (kind, name), found in changes.items():
            if kind == "invoice":
                shown = None if found is None else self._invoice(found)
                _put(invoices, name, shown)
            elif kind == "refund" and found is not None:
                _put(refunds, name, found | {"payment_intent": PAYMENT + self._invoice_of[found["payment_intent"]]})
            elif kind == "credit_note" and found is not None:
                # What was credited before the payment was never paid; a note that was voided credits nothing.
                issued = found["status"] == "issued"
                _put(notes, name, found | {"total": found["post_payment_amount"]} if issued else None)
        self.shown = MemoryStripe(invoices=invoices, refunds=refunds, credit_notes=notes)
        return self.shown

    def _invoice(self, found: Json) -> Json | None:
        revised = found["from_invoice"]
        if revised and found["status"] == "draft":
            return None  # a revision that nobody has finalized yet has no effect
        # A person's duplicate of an invoice is finalized in the act that makes it.
        copied = self._copies.setdefault(found["id"], not revised and found["status"] != "draft")
        original = self.shown.invoices.get(revised["invoice"]) if revised else None
        # A person may take the metadata from a revision; it still replaces its original.
        metadata = original["metadata"] if original else found["metadata"]
        credited, total = found["pre_payment_credit_notes_amount"], found["total"]
        if credited < total:
            credited, total = 0, total - credited
        names = ("id", "status", "currency", "hosted_invoice_url", "latest_revision", "amount_paid")
        shown = {name: found[name] for name in (*names, "post_payment_credit_notes_amount")}
        shown |= {"metadata": metadata, "pre_payment_credit_notes_amount": credited, "customer": FIRST.customer}
        return shown | {"lines": {"data": [{"amount": total}]}} | ({"copy_of": "another"} if copied else {})


def _put(things: dict[str, Thing], name: str, found: Json | None) -> None:
    if found is None:
        things.pop(name, None)
    else:
        things[name] = Thing(found)
