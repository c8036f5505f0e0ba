"""What others can make of one line: its item, its key's record and its part of Stripe, by the contract's moves alone.

The values are constructed, never made by the product's code. Times of others are equal: no rule depends on them.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.proof import stage
from tests.proof.expressions import Typed
from tests.proof.memory_objects import Json
from tests.proof.memory_stripe import MemoryStripe
from tests.proof.memory_table import Stored
from tests.proof.others_account import AT_MS, AT_S, accounts, invoice_name
from tests.proof.others_rules import broken
from tests.proof.workspace_events import attributes

# A lease that another caller holds, for longer than any handler waits.
HELD_UNTIL_MS = AT_MS + 3_600_000
REPUBLISH_MS = 600_000
AMOUNT, PERIOD_END_S = 1350, 1_797_672_600
# The other reasons take the path of `canceled`, only their cause differs.
REASONS = ("canceled", "included")
AWAITING = "awaiting_payment"
HOLDING = {AWAITING, "provisioning", "active"}


class Facet(NamedTuple):
    """One line with all that is its own."""

    line_id: str
    item: Stored | None
    record: Stored | None
    account: MemoryStripe
    """Its invoices, their keys, debits, refunds and pending items; nothing else."""
    far: int = 0
    """How many changes led here."""

    @property
    def line(self) -> Json:
        """The item as plain values; empty without a line."""
        return plain_of(self.item) if self.item else {}


_plain: dict[int, Json] = {}


def plain_of(stored: Stored) -> Json:
    """An item as plain values, read once."""
    known = _plain.get(stored.digest)
    if known is None:
        known = _plain[stored.digest] = attributes(stored.item)
    return known


def stored(item: Typed) -> Stored:
    """An item with what tells it apart."""
    return Stored(item, hash(json.dumps(item, sort_keys=True)))


def typed(value: Any) -> Typed:  # noqa: ANN401 - any of JSON's types
    """A plain value as DynamoDB has it."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, dict):
        return {"M": {name: typed(inner) for name, inner in value.items()}}
    return {"L": [typed(inner) for inner in value]} if isinstance(value, list) else {"S": value}


# --- items ----------------------------------------------------------------------------------------


def new_item(line_id: str, idempotency_key_hash: str | None, *, free: bool) -> Typed:
    """A line as it is requested: included, or to be paid."""
    status = "provisioning" if free else AWAITING
    line: Json = {
        "pk": f"W#{stage.WORKSPACE}",
        "sk": f"LINE#{line_id}",
        "submission": {
            "first_name": "Ada",
            "last_name": "Lovelace",
            "channel_type": "phone",
            "line_type": "purchased",
        },
        "status": status,
        "payment_status": "not_required" if free else AWAITING,
        "created_at_ms": AT_MS,
        "history": [{"at_ms": AT_MS, "status": status, "cause": "requested"}],
        "stripe_key_version": 1,
        "stripe_keyed_at_ms": AT_MS,
        "amount_paid": 0,
        "lease_until_ms": 0,
        "next_poll_at_ms": 0,
        "refund_due": False,
        "due_at": AT_MS + (REPUBLISH_MS if free else 0),
        "due_shard": "0",
    }
    if not free:
        line |= {"charge": CHARGE, "op_status": AWAITING, "since_ms": AT_MS}
    if idempotency_key_hash is not None:
        line["idempotency_key_hash"] = idempotency_key_hash
    return {name: typed(value) for name, value in line.items()}


CHARGE: Json = {
    "customer": stage.CUSTOMER,
    "livemode": False,
    "product": "prod_purchased_phone",
    "currency": "usd",
    "amount": AMOUNT,
    "period": {"start_s": AT_S, "end_s": PERIOD_END_S},
    "description": "Purchased phone line: Ada Lovelace",
    "tax_behavior": "unspecified",
    "automatic_tax": False,
    "tax_rates": [],
}


def _moved(item: Typed, status: str, payment: str, cause: str, **more: object) -> Typed:
    """The item after a move."""
    change = typed({"at_ms": AT_MS, "status": status, "cause": cause})
    after = {name: value for name, value in item.items() if name not in {"void_reason", "due_at", "due_shard"}}
    after |= {"status": typed(status), "payment_status": typed(payment)}
    after["history"] = {"L": [*item["history"]["L"], change]}
    after |= {name: typed(value) for name, value in more.items()}
    if status == "provisioning":
        after |= {"due_at": typed(AT_MS + REPUBLISH_MS), "due_shard": typed("0")}
    flagged = after["refund_due"]["BOOL"]
    if flagged or status == "failed":
        after |= {"op_status": typed("refund_due" if flagged else status), "since_ms": typed(AT_MS)}
    else:
        after.pop("op_status", None)
        after.pop("since_ms", None)
    return after


def _awaiting(item: Typed) -> Iterator[tuple[Typed, int]]:
    """The line still awaits its payment; how far its invoice, its reason and its lease have come meanwhile."""
    # In the same order in each process, or the seeded sample is another.
    leases = sorted({item["lease_until_ms"]["N"], "0", str(HELD_UNTIL_MS)})
    for reached, steps in _progress(item):
        for reason in ("", *(() if "void_reason" in item else REASONS)):
            after = reached | ({"void_reason": typed(reason)} if reason else {})
            yield from ((leased, steps + bool(reason) + far) for leased, far in _leased(after, leases))
    # New keys at Stripe after a failure, or after a draft was deleted; others do that once.
    if "payment_url" not in item and item["stripe_key_version"]["N"] == "1":
        kept = item | {"stripe_key_version": typed(2)}
        # With a reason to void, a deleted draft is not made again.
        forgets = [] if "void_reason" in item else [{n: value for n, value in kept.items() if n != "invoice_id"}]
        found = {stored(one).digest: (one, steps) for start in (kept, *forgets) for one, steps in _progress(start)}
        for reached, steps in found.values():
            yield from ((leased, steps + 3 + far) for leased, far in _leased(reached, leases))


def _leased(item: Typed, leases: list[str]) -> Iterator[tuple[Typed, int]]:
    yield from ((item | {"lease_until_ms": {"N": one}}, one != item["lease_until_ms"]["N"]) for one in leases)


def _progress(item: Typed) -> Iterator[tuple[Typed, int]]:
    yield item, 0
    versions = range(1, int(item["stripe_key_version"]["N"]) + 1)
    names = [item["invoice_id"]] if "invoice_id" in item else [typed(invoice_name(_id_of(item), v)) for v in versions]
    for name in names:
        if "invoice_id" not in item:
            yield item | {"invoice_id": name}, 1
        if "payment_url" not in item:
            yield item | {"invoice_id": name, "payment_url": typed(f"https://pay.example/{name['S']}")}, 2


def _settled(item: Typed, depth: int, *, stays: bool) -> Iterator[tuple[Typed, int]]:
    """The line after one move, or more."""
    line = plain_of(stored(item))
    after: list[Typed] = []
    match line["status"]:
        case "awaiting_payment":
            if "invoice_id" in item:
                url = line.get("payment_url", f"https://pay.example/{line['invoice_id']}")
                after.append(_moved(item, "provisioning", "paid", "invoice_paid", payment_url=url))
            reason = line.get("void_reason")
            if reason == "included":
                after.append(_moved(item, "provisioning", "not_required", "plan_includes_line"))
            else:
                after.append(_moved(item, "canceled", "canceled", reason or "invoice_voided"))
        case "provisioning":
            after.append(_moved(item, "active", line["payment_status"], "provisioned"))
            after.append(_moved(item, "failed", line["payment_status"], "provisioning_failed"))
        case "active":
            after.append(_moved(item, "canceled", line["payment_status"], "released_by_client"))
        case "failed":
            due = line["payment_status"] == "paid"
            after.append(_moved(item, "canceled", line["payment_status"], "released_by_client", refund_due=due))
            if not any(change["cause"] == "retried_by_operator" for change in line["history"]):
                after.append(_moved(item, "provisioning", line["payment_status"], "retried_by_operator"))
    for moved in after:
        yield moved, depth
        if not stays:
            yield from _settled(moved, depth + 10, stays=False)


_known_items: dict[tuple[int, bool], dict[int, tuple[Stored, int]]] = {}


def _items(item: Stored, *, stays: bool) -> dict[int, tuple[Stored, int]]:
    """Everything that the item can have become, and how far that is; by what tells it apart."""
    known = item.digest, stays
    if known not in _known_items:
        found = _known_items[known] = {}
        for after, far in _become(item.item, stays=stays):
            one = stored(after)
            found.setdefault(one.digest, (one, far))
    return _known_items[known]


def _become(item: Typed, *, stays: bool) -> Iterator[tuple[Typed, int]]:
    if item["status"]["S"] != AWAITING:
        yield item, 0
        yield from () if stays else _settled(item, 10, stays=False)
        return
    for waiting, far in _awaiting(item):
        yield waiting, far
        # The lease says nothing once the line has moved.
        if waiting["lease_until_ms"] == item["lease_until_ms"]:
            yield from _settled(waiting, far + 10, stays=stays)


# --- records --------------------------------------------------------------------------------------


def new_record(line: Json, answered: str | None) -> Typed:
    """What is stored under the key of a request for a line."""
    body = {"response_body": typed(answered)} if answered else {}
    return body | {
        "pk": typed(f"W#{stage.WORKSPACE}"),
        "sk": typed(f"IDEMPOTENCY#{line['idempotency_key_hash']}"),
        "line_id": typed(line["sk"].removeprefix("LINE#")),
        "fingerprint": typed("831ba7e514c0e2519bde41bd72dab159f3eb0855a049293f82e5bedf339356c2"),
    }


def _answer_of(line: Json) -> str:
    """The body of a 201 for the line as it is."""
    waits = line["status"] == AWAITING
    link = {"stripeInvoiceId": line["invoice_id"], "paymentLinkUrl": line["payment_url"]} if waits else {}
    payment = {"paymentReason": "over_plan_limit", "paymentUrl": line.get("payment_url"), "expiresAt": None}
    status = AWAITING if waits else "provisioning"
    body = {"success": True, "status": status, "paymentRequired": waits, **(payment if waits else {})}
    names = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone", "lineType": "purchased"}
    told = {"_id": line["sk"].removeprefix("LINE#"), **names, "provisioningStatus": status}
    return json.dumps(body | {"line": told | {"paymentStatus": line["payment_status"]} | link})


def _records(line: Json, record: Stored | None) -> list[Stored | None]:
    """What the line's key can have become."""
    if line.get("idempotency_key_hash") is None:
        return [None]
    if record is not None and "response_body" in record.item:
        return [record]
    canceled = line["payment_status"] == "canceled"
    answered = [] if canceled or is_half_made(line) else [stored(new_record(line, _answer_of(line)))]
    if "charge" not in line:
        return [*answered]
    free: list[Stored | None] = [None] if canceled else [record or stored(new_record(line, None))]
    if "payment_url" in line and line["status"] != AWAITING:
        waiting = line | {"status": AWAITING, "payment_status": AWAITING}
        answered.append(stored(new_record(line, _answer_of(waiting))))
    return [*free, *answered]


def is_half_made(line: Json) -> bool:
    """Whether no link is stored for a line that awaits payment."""
    return line["status"] == AWAITING and "payment_url" not in line


def _id_of(item: Typed) -> str:
    return str(item["sk"]["S"]).removeprefix("LINE#")


# --- all of a line ----------------------------------------------------------------------------------

Key = tuple[int, int, int]
_known_facets: dict[tuple[str, str | None, bool, Key], list[Facet]] = {}
_known_leads: dict[tuple[str, str | None, bool, Key, int], set[Key]] = {}


def key_of(facet: Facet) -> Key:
    """Tells facets of one line apart."""
    return item_digest(facet), facet.record.digest if facet.record else 0, facet.account.digest


def facets(now: Facet, idempotency_key_hash: str | None, *, stays: bool = False) -> list[Facet]:
    """Everything that others can have made of a line, the nearest first; the first is the line as it is.

    `stays`: once it is settled, others leave it alone.
    """
    known = (now.line_id, idempotency_key_hash, stays, key_of(now))
    if known not in _known_facets:
        found: dict[Key, Facet] = {} if now.item else {(0, 0, 0): now}
        for beginning, far in _begun(now, idempotency_key_hash):
            for item, more in _items(beginning, stays=stays).values():
                for facet in _with(item, beginning, now, far + more):
                    found.setdefault(key_of(facet), facet)
        _known_facets[known] = sorted(found.values(), key=lambda facet: facet.far)
    return _known_facets[known]


def leads(was: Facet, now: Facet, idempotency_key_hash: str | None, *, stays: bool) -> bool:
    """Whether `now` is one of what others can have made of `was`; without making all of them."""
    before, after = key_of(was), key_of(now)
    if before == after:
        return True
    known = (was.line_id, idempotency_key_hash, stays, before, after[0])
    if known not in _known_leads:
        found = _known_leads[known] = set()
        for beginning, _ in _begun(was, idempotency_key_hash):
            if after[0] in (items := _items(beginning, stays=stays)):
                found |= {key_of(facet) for facet in _with(items[after[0]][0], beginning, was, 0)}
    return after in _known_leads[known]


def _begun(now: Facet, idempotency_key_hash: str | None) -> list[tuple[Stored, int]]:
    """The line as it is; without one, as it is requested."""
    if now.item is not None:
        return [(now.item, 0)]
    return [(stored(new_item(now.line_id, idempotency_key_hash, free=free)), 10) for free in (True, False)]


def _with(item: Stored, was: Stored, now: Facet, far: int) -> Iterator[Facet]:
    """The line with each record and each part of Stripe it may have; after two moves, the nearest."""
    line, moves = plain_of(item), len(item.item["history"]["L"]) - len(was.item["history"]["L"])
    for record in _records(line, now.record):
        for account, at_stripe in _reachable(line, plain_of(was), now.account):
            facet = Facet(now.line_id, item, record, account, far + at_stripe + (record != now.record))
            if _lawful(facet) and _follows(facet, was.item, now.account):
                yield facet
                if moves > 1:
                    break


_known_lawful: dict[Key, bool] = {}


def _lawful(facet: Facet) -> bool:
    key = key_of(facet)
    if key not in _known_lawful:
        _known_lawful[key] = broken(facet) is None
    return _known_lawful[key]


def _follows(facet: Facet, was: Typed, account: MemoryStripe) -> bool:
    """Whether drafts are forgotten once they are deleted, stored while they exist, and created where none is stored."""
    line, invoices = facet.line, facet.account.invoices
    before, now = was.get("invoice_id", {}).get("S"), line.get("invoice_id")
    version = line["stripe_key_version"]
    key, earlier = f"{facet.line_id}:invoice:v{version}", now not in {None, invoice_name(facet.line_id, version)}
    if earlier and key in facet.account.keys and key not in account.keys:
        return False
    # A caller that takes second keys after the reason to void was stored has read the reason, and fills no draft.
    filled = f"{facet.line_id}:item:v{version}"
    if version > 1 and "void_reason" in was and filled in facet.account.keys and filled not in account.keys:
        return False
    return before == now or (before not in invoices and (not earlier or now in invoices))


def item_digest(facet: Facet) -> int:
    """Tells the items of facets apart; 0 without one."""
    return facet.item.digest if facet.item else 0


def _reachable(line: Json, was: Json, account: MemoryStripe) -> list[tuple[MemoryStripe, int]]:
    first = accounts(was, account)
    if line["stripe_key_version"] == was["stripe_key_version"]:
        return first
    found: dict[int, tuple[MemoryStripe, int]] = {}
    for one, far in first:
        for later, more in accounts(line, one):
            found.setdefault(later.digest, (later, far + more))
    return [*found.values()]
