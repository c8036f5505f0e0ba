"""What of a world a step depends on: worlds that look alike to it are one to it."""

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.proof.others_line import item_digest
from tests.proof.others_worlds import Choice, Slot
from tests.proof.world import DynamoDb, Step, Stripe


class Sight(NamedTuple):
    """What a step depends on."""

    touched: set[str]
    """Lines of which all counts."""
    workspace: bool = False
    """Whether it sees what the workspace counts."""
    subscription: bool = False
    """Whether it sees the subscription at Stripe."""
    leases: bool = False
    """Whether it looks at a line's lease, or shows one that the call may look at."""
    of: Callable[[Choice], object] = lambda _: 0
    """What tells worlds apart for it."""


def sight(step: Step, slots: Sequence[Slot], about: set[str], *, counts: bool) -> Sight:
    """What of a world a step depends on.

    `about`: the lines that a list or a query is about. `counts`: whether its result tells the workspace's counts.
    """
    ids = [slot.line_id for slot in slots]
    if isinstance(step, DynamoDb) and step.keys:
        return _of_items(step, slots, counts=counts)
    if isinstance(step, DynamoDb):
        # An index shows what is due of the line that the run is about.
        at = [number for number, line_id in enumerate(ids) if line_id in about]
        return Sight(about & set(ids), of=lambda c: tuple(item_digest(c.lines[number]) for number in at))
    if isinstance(step, Stripe):
        text = f"{step.path} {step.params.get('metadata[line_id]', '')} {step.params.get('payment_intent', '')}"
        named = [number for number, line_id in enumerate(ids) if line_id in text]
        subscription = "subscription" in step.path
        if named or subscription:
            return Sight(
                {ids[number] for number in named},
                subscription=subscription,
                of=lambda c: (*(c.lines[number].account.digest for number in named), subscription and c.at_stripe),
            )
        return Sight(about & set(ids), of=lambda c: tuple(facet.account.digest for facet in c.lines))
    return Sight(set())


def begins_to_bill(step: Step) -> bool:
    """Whether a reconciler goes on to a workspace, and with it from the lines that it has worked through."""
    return _update_of(step).startswith("SET #quantities_lease_until_ms")


def ends_billing(step: Step) -> bool:
    """Whether a reconciler has set a workspace's quantities, or gives up."""
    return "REMOVE #quantities_lease_until_ms" in _update_of(step)


def _update_of(step: Step) -> str:
    return str(step.request.get("UpdateExpression", "")) if isinstance(step, DynamoDb) else ""


def _of_items(step: DynamoDb, slots: Sequence[Slot], *, counts: bool) -> Sight:
    names = {sk for _, sk in step.keys}
    lines = [number for number, slot in enumerate(slots) if f"LINE#{slot.line_id}" in names]
    keyed = [number for number, slot in enumerate(slots) if f"IDEMPOTENCY#{slot.idempotency_key_hash}" in names]
    workspace = "WORKSPACE" in names

    def of(choice: Choice) -> object:
        records = tuple(choice.lines[n].record.digest if choice.lines[n].record else 0 for n in keyed)  # type: ignore[union-attr] # just looked at
        met = tuple(item_digest(choice.lines[number]) for number in lines)
        return met, records, choice.view(counts=counts) if workspace else None

    # A line that a write gives back is never asked for its lease: the call has taken it, or does not need it.
    leases = not step.writes or "lease_until_ms" in json.dumps(step.request.get("ExpressionAttributeNames", {}))
    return Sight({slots[number].line_id for number in (*lines, *keyed)}, workspace, leases=leases, of=of)
