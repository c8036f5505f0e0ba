"""What every write of others keeps beyond the invariants; each step of a handler is held to the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.proof.invariants import standing
from tests.proof.world import Stripe

if TYPE_CHECKING:
    from tests.proof.memory_objects import Json
    from tests.proof.memory_stripe import MemoryStripe
    from tests.proof.others_line import Facet
    from tests.proof.world import Step


def broken(facet: Facet) -> str | None:
    """The rule that a line, its key's record and its part of Stripe break; None: they keep all."""
    line, account = facet.line, facet.account
    if not line:
        left = facet.record or account.invoices or account.keys
        return "something is left of a line that is not stored" if left else None
    record = facet.record.item if facet.record else None
    rules = [
        *_key(line, record is not None, record is not None and "response_body" in record),
        *(_unpaid(facet.line_id, line, account) if line["status"] == "awaiting_payment" else _settled(line, account)),
    ]
    version = line["stripe_key_version"]
    rules.append((not _used(account, facet.line_id, version + 1), "a key at Stripe is stored before it is used"))
    # A caller that creates a draft has found none: under the same keys none was filled before.
    filled = all(_fills_its_own(account, facet.line_id, number) for number in range(1, version + 1))
    rules.append((filled, "the keys that made a draft have filled no other"))
    stored = "invoice_id" in line or f"{facet.line_id}:item:v{version}" not in account.keys
    rules.append((stored, "a draft that is forgotten was filled under earlier keys"))
    # Within a day: a call that is given up takes effect within minutes. Later ones may find an invoice and create none.
    used = version == 1 or _used(account, facet.line_id, 1)
    rules.append((used, "new keys at Stripe follow those that were used"))
    return next((f"line {facet.line_id}: {rule}" for holds, rule in rules if not holds), None)


def _key(line: Json, recorded: bool, answered: bool) -> list[tuple[bool, str]]:  # noqa: FBT001 - two facts
    if line.get("idempotency_key_hash") is None:
        return []
    if line["payment_status"] == "canceled":
        return [(not recorded or answered, "a request that was canceled unanswered frees its key")]
    half_made = line["status"] == "awaiting_payment" and "payment_url" not in line
    return [
        (recorded, "a key stays bound to its line"),
        (not (answered and half_made), "a key is answered once the invoice is finalized"),
    ]


def _used(account: MemoryStripe, line_id: str, version: int) -> bool:
    return f"{line_id}:invoice:v{version}" in account.keys


def _fills_its_own(account: MemoryStripe, line_id: str, version: int) -> bool:
    use = account.keys.get(f"{line_id}:item:v{version}")
    return use is None or not _used(account, line_id, version) or f'"in_{line_id}_invoice_v{version}"' in use.params


def left_out(step: Step, facet: Facet) -> bool:
    """Whether a step would make a draft that is not needed, because others deleted an earlier one since it searched.

    The line is settled, or these keys have filled the earlier one, which the line is still to forget. The caller finds
    that when it comes to store the draft's id; of a line that is not to be paid it deletes the draft. If it crashes
    before, the draft is found by the next search, or stays and is never charged.
    """
    if not isinstance(step, Stripe) or step.path != "/v1/invoices" or not step.writes:
        return False
    if step.key is None or step.key in facet.account.keys:
        return False
    settled = facet.line.get("status") not in {None, "awaiting_payment"}
    return settled or step.key.replace(":invoice:", ":item:") in facet.account.keys


def _made(account: MemoryStripe, line_id: str, line: Json) -> bool:
    """Whether the invoice that is stored was created under the key that it is named by."""
    versions = range(1, line["stripe_key_version"] + 1)
    names = {f"in_{line_id}_invoice_v{version}" for version in versions if _used(account, line_id, version)}
    return line.get("invoice_id") in names


def _unpaid(line_id: str, line: Json, account: MemoryStripe) -> list[tuple[bool, str]]:
    own = account.invoices.get(line.get("invoice_id", ""))
    rules = [
        (
            invoice["id"] == line.get("invoice_id") or (invoice["status"] == "draft" and not invoice["lines"]["data"]),
            "an invoice is stored before it is filled or finalized",
        )
        for invoice in account.invoices.values()
    ]
    # A caller that finds its draft gone deletes what it left, and only then takes new keys.
    gone = "invoice_id" in line and own is None
    rules.append((gone or not account.pending_items, "what a deleted draft left is deleted before another is made"))
    if "invoice_id" in line:
        # One of earlier keys, too: a call that was given up may store it late, and the next look finds it gone.
        made = _made(account, line_id, line)
        rules.append((own is not None or made, "its invoice was made"))
    if "payment_url" in line:
        rules.append((own is not None and own["status"] != "draft", "a link is of a finalized invoice"))
    return rules


def _settled(line: Json, account: MemoryStripe) -> list[tuple[bool, str]]:
    rules = [
        (not account.pending_items, "nothing is left for the customer's next invoice"),
        ("void_reason" not in line, "a settled line has no reason to void left"),
    ]
    if "charge" not in line:
        return [*rules, (not account.invoices, "an included line has no invoice")]
    line_id, others = line["sk"].removeprefix("LINE#"), dict(account.invoices)
    if line["payment_status"] == "paid":
        own = others.pop(line.get("invoice_id", ""), None)
        rules.append((own is not None and own["status"] == "paid", "its own invoice is paid"))
    else:
        version, stored = line["stripe_key_version"], _made(account, line_id, line)
        rules.append((stored or _used(account, line_id, version), "its invoice can be created no more"))
        kept = "payment_url" not in line or line["invoice_id"] in account.invoices
        rules.append((kept, "an invoice with a link cannot be deleted"))
    rules += [(standing(one) == "void", "what it does not pay is void") for one in others.values()]
    if line["history"][-1]["cause"] == "invoice_voided":
        rules.append(("void" in {one["status"] for one in account.invoices.values()}, "it is voided"))
    return rules
