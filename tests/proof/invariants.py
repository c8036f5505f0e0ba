"""What has to hold after every step.

All of it is read off the table and Stripe, never by the product's own code.
"""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from tests.proof import reversal_invariants
from tests.proof.actors import Json
from tests.proof.memory_table import MemoryTable
from tests.proof.tenants import Tenant, tenant
from tests.proof.workspace_events import attributes_of
from tests.proof.world import Violation, World

HOLDING = {"awaiting_payment", "provisioning", "active"}
MOVES = {
    ("awaiting_payment", "provisioning"),
    ("awaiting_payment", "canceled"),
    ("provisioning", "active"),
    ("provisioning", "failed"),
    ("active", "canceled"),
    *reversal_invariants.MOVES,
}
KNOWN_MAX = 100_000
# The names of scenarios that begin with a restored table.
RESTORED = "restored-"
CREDITED = ("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")
LIVE = {"draft", "open", "paid", "uncollectible"}


def expect(holds: object, otherwise: str) -> None:
    """Raises Violation."""
    if not holds:
        raise Violation(otherwise)


def kind_of(line: Json) -> str:
    """The kind that a line is counted by."""
    submission = line["submission"]
    return "email" if submission["channel_type"] == "email" else f"{submission['line_type']}_phone"


def standing(invoice: Json) -> str:
    """An invoice's status; one that is credited in full counts as void, whatever Stripe calls it."""
    credited = sum(invoice.get(name, 0) for name in CREDITED)
    total = sum(line["amount"] for line in invoice["lines"]["data"])
    return "void" if credited and credited >= total else str(invoice["status"])


def invoices_of(name: str, seen: "Seen") -> tuple[dict[str, str], dict[str, str]]:
    """How a line's invoices stand: those that the product made, with their revisions; and copies by people."""
    made: tuple[dict[str, str], dict[str, str]] = {}, {}
    for invoice_id, invoice in seen.invoices.items():
        if invoice["metadata"].get("line_id") == name:
            made["copy_of" in invoice][invoice_id] = standing(invoice)
    return made


def lost(thing: Json, seen: "Seen") -> bool:
    """Whether an object at Stripe is of a line that a restore has lost."""
    name = thing["metadata"].get("line_id")
    return name is not None and name not in seen.lines


def key_of(line: Json) -> str | None:
    """The hash of the Idempotency-Key that a line was requested with."""
    return line.get("idempotency_key_hash")


class Seen(NamedTuple):
    """The workspace, its lines and its invoices."""

    workspace: Json
    lines: dict[str, Json]
    records: dict[str, Json]
    invoices: dict[str, Json]


_read: dict[tuple[int, Tenant], tuple[Json, dict[str, Json], dict[str, Json]]] = {}


def see(world: World) -> Seen:
    """Reads a world, as far as it is the tenant's; tables that were read before are known."""
    whose = tenant()
    read = _read.get((world.table.digest, whose))
    if read is None:
        if len(_read) > KNOWN_MAX:
            _read.clear()
        read = _read[world.table.digest, whose] = _see(world.table, whose)
    invoices = world.stripe.invoices
    return Seen(*read, {name: one for name, one in invoices.items() if whose.customer in {"", one["customer"]}})


def _see(table: MemoryTable, whose: Tenant) -> tuple[Json, dict[str, Json], dict[str, Json]]:
    workspace: Json = {}
    lines, records = dict[str, Json](), dict[str, Json]()
    for (pk, sk), stored in table.items.items():
        if not whose.owns(pk) or sk.startswith("APIKEY#"):
            continue
        kind, _, name = sk.partition("#")
        item = attributes_of(stored)
        if kind == "WORKSPACE":
            workspace = item
        else:
            (lines if kind == "LINE" else records)[name] = item
    return workspace, lines, records


# --- after every step ---------------------------------------------------------------------------


def safe(
    before: World, after: World, moves: Collection[tuple[str, str]] = MOVES, *, clocks_differ: bool = False
) -> None:
    """Raises Violation when a step has broken something; `moves` are the transitions that there are.

    Where clocks differ two callers may hold one lease: one settles the line, the other makes a draft, which nobody can
    pay.
    """
    step = (before.table.digest, after.table.digest, after.stripe.digest, tenant(), clocks_differ)
    if step in _known_safe:
        return
    seen = see(after)
    if after.table is not before.table:
        _table(seen)
        _admitted(see(before), seen)
        _history(see(before), seen, moves)
        _paid_wins(see(before), seen)
    _money(seen, LIVE - {"draft"} if clocks_differ else LIVE)
    reversal_invariants.never_more_than_was_paid(after.stripe)
    if len(_known_safe) > KNOWN_MAX:
        _known_safe.clear()
    _known_safe.add(step)


_known_safe: set[tuple[int, int, int, Tenant, bool]] = set()


def forget() -> None:
    """Frees what was remembered of worlds that do not come back."""
    _read.clear()
    _known_safe.clear()


def _table(seen: Seen) -> None:
    """Lock, places and keys say what the lines are."""
    waiting = [name for name, line in seen.lines.items() if line["status"] == "awaiting_payment"]
    expect(len(waiting) <= 1, f"{len(waiting)} lines await payment at once")
    lock = seen.workspace.get("lock")
    expect(lock == next(iter(waiting), None), f"the lock names {lock}, awaiting payment is {waiting}")
    expect((lock is None) is ("lock_kind" not in seen.workspace), "lock and lock_kind come and go together")
    held, unpaid, included = Counter[str](), Counter[str](), Counter[str]()
    for line in seen.lines.values():
        kind = kind_of(line)
        if line["status"] in HOLDING:
            held[kind] += 1
            unpaid[kind] += line["payment_status"] != "paid"
            included[kind] += line["payment_status"] == "not_required"
    allowances = seen.workspace["subscription"]["allowances"]
    stored_held, stored_unpaid = seen.workspace["held"], seen.workspace["unpaid"]
    for kind in stored_held.keys() | stored_unpaid.keys() | held.keys():
        count = stored_held.get(kind, 0)
        expect(count == held[kind], f"held says {count} {kind}, lines say {held[kind]}")
        expect(stored_unpaid.get(kind, 0) == unpaid[kind], f"unpaid says {stored_unpaid.get(kind, 0)} {kind}")
        if kind in allowances:
            cap, grant = allowances[kind].get("cap"), allowances[kind]["included"]
            expect(cap is None or count <= cap, f"{count} {kind} lines over the cap of {cap}")
            expect(included[kind] <= grant, f"{included[kind]} {kind} lines for {grant} included places")
    for name, record in seen.records.items():
        line = seen.lines.get(record["line_id"], {})
        expect(key_of(line) == name, f"key {name[:8]} names a line that was not asked for with it")
    keyed = Counter(key_of(line) for line in seen.lines.values() if key_of(line) and _counts(line))
    expect(all(count == 1 for count in keyed.values()), "one key, several lines")


def _counts(line: Json) -> bool:
    """Whether it is its key's line: a request that was canceled unanswered frees its key."""
    return bool(line["status"] != "canceled")


def _admitted(before: Seen, after: Seen) -> None:
    """What a new line is told is what the plan says at the moment it is written."""
    for name in after.lines.keys() - before.lines.keys():
        line, subscription = after.lines[name], before.workspace["subscription"]
        expect(subscription["status"] in {"active", "trialing"}, f"line {name} is made without a subscription")
        kind = kind_of(line)
        free = before.workspace["unpaid"].get(kind, 0) < subscription["allowances"][kind]["included"]
        included = line["status"] == "provisioning"
        expect(included is free, f"line {name} is {line['status']}, a place was {'' if free else 'not '}free")


def _history(before: Seen, after: Seen, moves: Collection[tuple[str, str]]) -> None:
    """Lines move on along the contract's transitions, and never back."""
    for name, line in before.lines.items():
        expect(name in after.lines, f"line {name} vanished")
        was, now = line["history"], after.lines[name]["history"]
        expect(now[: len(was)] == was, f"the history of line {name} was rewritten")
        expect(len(now) - len(was) <= 1, f"line {name} moved twice in one step")
        if now != was:
            move = (was[-1]["status"], now[-1]["status"])
            expect(move in moves, f"line {name} moved from {move[0]} to {move[1]}")
        expect(after.lines[name]["status"] == now[-1]["status"], f"status and history of line {name} differ")
        if line["status"] == after.lines[name]["status"]:
            same = line["payment_status"] == after.lines[name]["payment_status"]
            expect(same, f"line {name} changed its payment without changing its status")
    for name, record in before.records.items():
        if "response_body" in record:
            now_answer = after.records.get(name, {}).get("response_body")
            expect(now_answer == record["response_body"], "the answer of a key changed")


def _paid_wins(before: Seen, after: Seen) -> None:
    for name, line in after.lines.items():
        if line["payment_status"] == "canceled" and before.lines[name]["payment_status"] != "canceled":
            own, _ = invoices_of(name, after)
            expect("paid" not in own.values(), f"line {name} is canceled though it is paid")


def _money(seen: Seen, needless: Collection[str]) -> None:
    """One invoice per line, one open per workspace, nothing for free and nothing for nothing.

    `needless` are the states in which a line that needs no payment has no invoice.
    """
    is_open = []
    for name in {invoice["metadata"].get("line_id", "") for invoice in seen.invoices.values()}:
        own, _ = invoices_of(name, seen)
        line = seen.lines.get(name, {})
        live = {invoice_id: status for invoice_id, status in own.items() if status in LIVE}
        expect(len(live) <= 1, f"line {name} has {len(live)} live invoices: {live}")
        if line.get("payment_status") == "paid":
            _paid(name, line, live, seen)
        # A restore forgets a request that was made after the backup: its invoice is the operator's to void.
        elif "open" in live.values() and name in seen.lines:
            is_open.append(name)
    expect(len(is_open) <= 1, f"{len(is_open)} invoices of the workspace are open at once")
    for name, line in seen.lines.items():
        own, _ = invoices_of(name, seen)
        found = [status for status in own.values() if status in needless]
        if line["payment_status"] == "paid":
            paying = seen.invoices.get(line["invoice_id"])
            # A credit after the payment changes no state.
            was_paid = paying and paying["status"] == "paid" and not paying.get("pre_payment_credit_notes_amount")
            expect(was_paid, f"line {name} counts as paid, its invoice is {paying}")
        elif line["payment_status"] == "not_required":
            expect(not found, f"line {name} needs no payment and has an invoice: {found}")
        elif line["payment_status"] == "canceled":
            expect("open" not in found, f"line {name} is canceled and its invoice can still be paid")
            expect("payment_url" not in line or own, f"line {name} is canceled, its invoice unknown")


def _paid(name: str, line: Json, live: dict[str, str], seen: Seen) -> None:
    """A paid line's other invoice is known, to be voided or to be refunded."""
    known = {line["invoice_id"], line.get("replaced_invoice_id"), line.get("refund_invoice_id")}
    for invoice_id in [*known]:
        while (invoice_id := seen.invoices.get(invoice_id, {}).get("latest_revision")) is not None:
            known.add(invoice_id)
    # The line names one payment to be refunded; the refund lists them all.
    left = {
        one for one, status in live.items() if one not in known and not (status == "paid" and line.get("refund_due"))
    }
    expect(not left, f"line {name} is paid by {line['invoice_id']}, and nobody remembers {left}")
    if line.get("refund_due") and line["status"] != "canceled":
        second = seen.invoices.get(line.get("refund_invoice_id", ""), {})
        expect(second.get("status") == "paid", f"line {name} is to be refunded, its invoice is {second.get('status')}")
