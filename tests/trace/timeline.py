"""The states of each workspace, in table and at Stripe together, in the order in which they came to be."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.proof import invariants
from tests.proof.world import Violation, World
from tests.trace.translation import PARTITION, Account, Table

if TYPE_CHECKING:
    from tests.trace.reader import Change, Trace

# The client's release of an active line, which no scenario of the explorer has.
MOVES = invariants.MOVES | {("active", "canceled")}


class Step(NamedTuple):
    """A change of a workspace's items, or of its customer's account, and the world after it."""

    change: Change
    at_stripe: bool
    after: World


class Timeline:
    """One workspace. Table and account change one after the other, each by itself; times put them in one order."""

    def __init__(self, commits: list[Change], acts: list[Change], invoice_of: dict[str, str]) -> None:
        table, account = Table(), Account(invoice_of)
        world, self._steps = World(), list[Step]()
        changes = [(change, False) for change in commits] + [(change, True) for change in acts]
        for change, at_stripe in sorted(changes, key=lambda one: one[0].began_ns):
            if at_stripe:
                world = World(table=world.table, stripe=account.change(change.objects))
            else:
                world = World(table=table.change(change.objects), stripe=world.stripe)
            self._steps.append(Step(change, at_stripe, world))

    def violation(self) -> tuple[int, str] | None:
        """The moment of the first step that breaks an invariant, and how."""
        before, number = World(), 0
        while number < len(self._steps):
            step, following = self._steps[number], self._steps[number + 1 : number + 2]
            try:
                _judge(before, step.after)
            except Violation as violation:
                # Two changes at one moment, in the table and at Stripe: one of their orders was it.
                if not following or not _holds_swapped(before, step, following[0]):
                    return step.change.began_ns, str(violation)
                number += 1
                step = following[0]
            before, number = step.after, number + 1
        return None

    def at(self, moment_ns: int) -> World:
        """The workspace after everything that had happened by then."""
        found = bisect_right(self._steps, moment_ns, key=lambda step: step.change.ended_ns)
        return self._steps[found - 1].after if found else World()

    @property
    def end(self) -> World:
        return self._steps[-1].after


def _judge(before: World, after: World) -> None:
    if (PARTITION, "WORKSPACE") in after.table.items:
        invariants.safe(before, after, MOVES)


def _holds_swapped(before: World, step: Step, following: Step) -> bool:
    if step.at_stripe == following.at_stripe or following.change.began_ns > step.change.ended_ns:
        return False
    table, stripe = (before.table, following.after.stripe) if following.at_stripe else (following.after.table, before.stripe)
    between = World(table=table, stripe=stripe)
    try:
        _judge(before, between)
        _judge(between, following.after)
    except Violation:
        return False
    return True


def timelines(trace: Trace) -> dict[str, Timeline]:
    """By workspace."""
    commits, acts = defaultdict[str, list[Any]](list), defaultdict[str, list[Any]](list)
    customers: dict[str, str] = {}
    for commit in trace.commits:
        mine = defaultdict[str, dict[Any, Any]](dict)
        for key, item in commit.objects.items():
            if key[0].startswith("W#"):
                mine[key[0].removeprefix("W#")][key] = item
            if key[1] == "WORKSPACE" and item is not None:
                customers[item["customer"]["S"]] = key[0].removeprefix("W#")
        for workspace_id, objects in mine.items():
            commits[workspace_id].append(commit._replace(objects=objects))
    invoice_of, customer_of = _payments(trace.acts), dict[str, str]()
    for act in trace.acts:
        theirs = defaultdict[str, dict[Any, Any]](dict)
        for (kind, name), found in act.objects.items():
            if kind == "invoice" and found is not None:
                customer_of[name] = found["customer"]
            customer = customer_of.get(_invoice(kind, name, found, invoice_of), "")
            if customer in customers:
                theirs[customers[customer]][kind, name] = found
        for workspace_id, objects in theirs.items():
            acts[workspace_id].append(act._replace(objects=objects))
    return {name: Timeline(some, acts[name], invoice_of) for name, some in commits.items()}


def _payments(acts: list[Change]) -> dict[str, str]:
    """The invoice that each payment intent pays."""
    payments = [found for act in acts for (kind, _), found in act.objects.items() if kind == "invoice_payment" and found]
    return {str(one["payment"].get("payment_intent")): one["invoice"] for one in payments}


def _invoice(kind: str, name: str, found: dict[str, Any] | None, invoice_of: dict[str, str]) -> str:
    """The invoice that an object belongs to."""
    if kind == "invoice":
        return name
    if found is None:
        return ""
    return str(found["invoice"]) if "invoice" in found else invoice_of.get(found["payment_intent"], "")
