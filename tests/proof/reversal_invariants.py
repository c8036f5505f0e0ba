"""What has to hold of money that goes back: read off the table and Stripe, never by the product's own code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.proof.memory_reversals import amounts, refunds_of
from tests.proof.world import Violation, World

if TYPE_CHECKING:
    from tests.proof.memory_objects import Json
    from tests.proof.memory_stripe import MemoryStripe

MOVES = {("failed", "provisioning"), ("failed", "canceled")}


def never_more_than_was_paid(stripe: MemoryStripe) -> None:
    """Raises Violation when an invoice gave back more than it took."""
    for name, invoice in stripe.invoices.items():
        paid = amounts(invoice)["amount_paid"]
        went = sum(int(one["amount"]) for one in refunds_of(stripe, name) if one["status"] != "failed")
        credited = sum(one["post_payment_amount"] for one in stripe.credit_notes.values() if one["invoice"] == name)
        if max(went, credited) > paid:
            raise Violation(f"{went} refunded and {credited} credited of {paid} on {name}")


def owes_refund(line: Json) -> bool:
    """Whether the line was canceled before it was paid, or released because it failed."""
    if line["payment_status"] == "paid":
        return [change["status"] for change in line["history"]][-2:] == ["failed", "canceled"]
    return line["payment_status"] == "canceled"  # type: ignore[no-any-return] # JSON


def kept(name: str, line: Json, stripe: MemoryStripe) -> int:
    """What was paid for a line and did not go back, as Stripe and its operator say."""
    invoices = [one["id"] for one in stripe.invoices.values() if one["metadata"].get("line_id") == name]
    return sum(left(stripe, invoice_id, line) for invoice_id in invoices)


def sent_outside(line: Json, invoice_id: str) -> int:
    """What an operator has sent back of an invoice outside Stripe."""
    return sum(int(one["amount"]) for one in line.get("reversals", ()) if one.get("invoice_id") == invoice_id)


def left(stripe: MemoryStripe, invoice_id: str, line: Json) -> int:
    """What was paid by an invoice and did not go back, as Stripe and the line's operator say."""
    went = sum(int(one["amount"]) for one in refunds_of(stripe, invoice_id) if one["status"] == "succeeded")
    invoice = amounts(stripe.invoices[invoice_id])
    noted = sum(int(one["post_payment_amount"]) for one in stripe.credit_notes.values() if one["invoice"] == invoice_id)
    # A person's credit note, of which nothing but its amount is known.
    other = int(invoice.get("post_payment_credit_notes_amount", 0)) - noted
    # An operator who refunds at the same time sends it twice.
    return max(0, int(invoice["amount_paid"]) - went - other - sent_outside(line, invoice_id))


def reversals_heard(lines: dict[str, Json], world: World, *, restored: bool = False) -> None:
    """Once nothing is on its way: every flag is right, and everything was heard of once.

    A restored table has lost releases, so a line that was refunded may stand as before.
    """
    for name, line in lines.items():
        left = kept(name, line, world.stripe)
        if owes_refund(line) and bool(line.get("refund_due")) is not (left > 0):
            raise Violation(f"line {name} is canceled, {left} did not go back, its flag is {line.get('refund_due')}")
        notes = [one for one in world.stripe.credit_notes.values() if one["metadata"].get("line_id") == name]
        # A line stays whose second payment went back.
        own = line.get("invoice_id", "")
        of_own = any(one["invoice"] == own for one in notes) or sent_outside(line, own)
        sent = sum(sent_outside(line, one) for one in world.stripe.invoices)
        if sent > sum(amounts(one)["amount_paid"] for one in world.stripe.invoices.values()):
            raise Violation(f"{sent} was sent back outside Stripe for line {name}")
        if of_own and line["status"] != "canceled" and not restored:
            raise Violation(f"line {name} was refunded, and is {line['status']}")
        written = Counter((one["id"], one["cause"]) for one in line.get("reversals", ()))
        if any(count > 1 for count in written.values()):
            raise Violation(f"a reversal of line {name} is written twice")
        invoices = [one["id"] for one in world.stripe.invoices.values() if one["metadata"].get("line_id") == name]
        happened = {(one["id"], f"refund_{one['status']}") for i in invoices for one in refunds_of(world.stripe, i)}
        happened |= {(one["id"], f"credit_note_{one['status']}") for one in notes}
        if happened - written.keys():
            raise Violation(f"of line {name} nobody heard {sorted(happened - written.keys())}")


def to_refund(lines: dict[str, Json], world: World) -> str | None:
    """A line that the operator's command can refund now: no bank is still at work on it."""
    pending = any(one["status"] == "pending" for one in world.stripe.refunds.values())
    return None if pending else next((name for name, line in lines.items() if line.get("refund_due")), None)
