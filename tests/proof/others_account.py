"""One line's part of Stripe, and what it can become: by calls for the line, by customers, banks and people."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from tests.proof import memory_reversals, stage
from tests.proof.memory_objects import Json
from tests.proof.memory_stripe import MemoryStripe
from tests.proof.world import START_MS

AT_MS = START_MS + 60_000
AT_S = AT_MS // 1000


def invoice_name(line_id: str, version: int) -> str:
    """What Stripe in memory calls an invoice that is created under the line's key."""
    return f"in_{line_id}_invoice_v{version}"


def part_of(stripe: MemoryStripe, line_id: str) -> MemoryStripe:
    """What is a line's own in an account."""
    invoices = {name: one for name, one in stripe.invoices.items() if one["metadata"].get("line_id") == line_id}
    return MemoryStripe(
        invoices=invoices,
        pending_items={
            name: one for name, one in stripe.pending_items.items() if one["metadata"].get("line_id") == line_id
        },
        keys={name: use for name, use in stripe.keys.items() if name.startswith(line_id)},
        debits=frozenset(name for name in stripe.debits if name in invoices),
        refunds={
            name: one
            for name, one in stripe.refunds.items()
            if one["payment_intent"].removeprefix(memory_reversals.PAYMENT) in invoices
        },
    )


def together(parts: list[MemoryStripe], rest: MemoryStripe) -> MemoryStripe:
    """The account of these lines; events are what may come late."""
    return replace(
        rest,
        invoices={name: one for part in parts for name, one in part.invoices.items()},
        pending_items={name: one for part in parts for name, one in part.pending_items.items()},
        keys={name: use for part in parts for name, use in part.keys.items()},
        debits=frozenset(name for part in parts for name in part.debits),
        refunds={name: one for part in parts for name, one in part.refunds.items()},
        events=(),
    )


def _after(account: MemoryStripe, line: Json, version: int) -> Iterator[MemoryStripe]:
    """One more thing at Stripe: a call of the product's for this line, a customer, a bank, a person."""
    line_id, charge = line["sk"].removeprefix("LINE#"), line["charge"]
    ours = {"metadata[workspace_id]": stage.WORKSPACE, "metadata[line_id]": line_id}
    if not account.invoices:
        params = {
            "customer": charge["customer"],
            "currency": charge["currency"],
            "auto_advance": "false",
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "automatic_tax[enabled]": "false",
        }
        yield account.call("POST", "/v1/invoices", params | ours, f"{line_id}:invoice:v{version}", AT_S)[0]
    for name, invoice in account.invoices.items():
        if invoice["status"] == "draft" and not invoice["lines"]["data"]:
            params = {
                "customer": charge["customer"],
                "invoice": name,
                "price_data[currency]": charge["currency"],
                "price_data[product]": charge["product"],
                "price_data[unit_amount]": str(charge["amount"]),
                "price_data[tax_behavior]": charge["tax_behavior"],
                "quantity": "1",
                "description": charge["description"],
                "period[start]": str(charge["period"]["start_s"]),
                "period[end]": str(charge["period"]["end_s"]),
            }
            yield account.call("POST", "/v1/invoiceitems", params | ours, f"{line_id}:item:v{version}", AT_S)[0]
        elif invoice["status"] == "draft":
            path, key = f"/v1/invoices/{name}/finalize", f"{line_id}:finalize:v{version}"
            yield account.call("POST", path, {"auto_advance": "false"}, key, AT_S)[0]
        if invoice["status"] == "open" and name not in account.debits:
            yield account.start_debit(name)
            yield account.write_off(name, AT_S)
        yield account.end_debit(name, AT_S, succeeded=False)
        yield account.pay(name, AT_S)
        yield account.end_debit(name, AT_S, succeeded=True)
        yield account.void(name, AT_S)
        yield account.delete(name, AT_S)
        if invoice["status"] == "paid" and not account.refunds:
            yield memory_reversals.by_hand(account, name, AT_S)
    yield replace(account, pending_items={})


@cache
def _accounts(line_id: str, charge: str, version: int, account: "_Account") -> list[tuple[MemoryStripe, int]]:
    line = {"sk": f"LINE#{line_id}", "charge": json.loads(charge)}
    found, layer, far = {account.stripe.digest: (account.stripe, 0)}, [account.stripe], 0
    while layer:
        far += 1
        after = [replace(one, events=()) for stripe in layer for one in _after(stripe, line, version)]
        layer = list({one.digest: one for one in after if one.digest not in found}.values())
        found |= {one.digest: (one, far) for one in layer}
    return list(found.values())


class _Account:
    """An account, by its content."""

    def __init__(self, stripe: MemoryStripe) -> None:
        self.stripe = stripe

    def __hash__(self) -> int:
        return self.stripe.digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Account) and other.stripe.digest == self.stripe.digest


_charges: dict[int, tuple[Json, str]] = {}


def accounts(line: Json, account: MemoryStripe) -> list[tuple[MemoryStripe, int]]:
    """Everything that the line's part of Stripe can have become under its present keys."""
    charge = line.get("charge")
    if charge is None:
        return [(account, 0)]
    if id(charge) not in _charges:
        # The charge is kept, too: nothing else may have its id meanwhile.
        _charges[id(charge)] = charge, json.dumps(charge, sort_keys=True)
    text = _charges[id(charge)][1]
    return _accounts(line["sk"].removeprefix("LINE#"), text, line["stripe_key_version"], _Account(account))
