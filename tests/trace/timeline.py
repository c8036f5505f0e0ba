"""The states of each workspace, in table and at Stripe together, in the order in which they came to be."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.proof import invariants
from tests.proof.world import Violation, World
from tests.trace.reader import Change
from tests.trace.translation import PARTITION, Account, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.trace.reader import Trace

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

    @property
    def states(self) -> int:
        """How many states the table has had."""
        return sum(not step.at_stripe for step in self._steps)

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
        """The workspace after everything that had begun by then: a change can be seen before its call returns."""
        found = bisect_right(self._steps, moment_ns, key=lambda step: step.change.began_ns)
        return self._steps[found - 1].after if found else World()


def _judge(before: World, after: World) -> None:
    if (PARTITION, "WORKSPACE") in after.table.items:
        invariants.safe(before, after, MOVES)


def _holds_swapped(before: World, step: Step, following: Step) -> bool:
    if step.at_stripe == following.at_stripe or following.change.began_ns > step.change.ended_ns:
        return False
    table, stripe = (
        (before.table, following.after.stripe) if following.at_stripe else (following.after.table, before.stripe)
    )
    between = World(table=table, stripe=stripe)
    try:
        _judge(before, between)
        _judge(between, following.after)
    except Violation:
        return False
    return True


def timelines(trace: Trace) -> dict[str, Timeline]:
    """By workspace."""
    customers = {
        item["customer"]["S"]: pk.removeprefix("W#")
        for commit in trace.commits
        for (pk, sk), item in commit.objects.items()
        if sk == "WORKSPACE" and item is not None
    }
    invoice_of, customer_of = payments(trace.acts), dict[str, str]()

    def whose(act: Change) -> Iterator[str]:
        for (kind, name), found in act.objects.items():
            if kind == "invoice" and found is not None:
                customer_of[name] = found["customer"]
            yield customers.get(customer_of.get(_invoice(kind, name, found, invoice_of), ""), "")

    commits = _apart(
        trace.commits,
        lambda commit: (pk.removeprefix("W#") if pk.startswith("W#") else "" for pk, _ in commit.objects),
    )
    acts = _apart(trace.acts, whose)
    return {name: Timeline(some, acts[name], invoice_of) for name, some in commits.items() if name}


def _apart(changes: list[Change], whose: Callable[[Change], Iterator[str]]) -> defaultdict[str, list[Change]]:
    """Each workspace's part of each change."""
    found = defaultdict[str, list[Change]](list)
    for change in changes:
        parts = defaultdict[str, dict[tuple[str, str], Any]](dict)
        for owner, (name, value) in zip(whose(change), change.objects.items(), strict=True):
            parts[owner][name] = value
        for owner, objects in parts.items():
            found[owner].append(change._replace(objects=objects))
    return found


def payments(acts: list[Change]) -> dict[str, str]:
    """The invoice that each payment intent pays."""
    payments = [
        found for act in acts for (kind, _), found in act.objects.items() if kind == "invoice_payment" and found
    ]
    return {str(one["payment"].get("payment_intent")): one["invoice"] for one in payments}


def _invoice(kind: str, name: str, found: dict[str, Any] | None, invoice_of: dict[str, str]) -> str:
    """The invoice that an object belongs to."""
    if kind == "invoice":
        return name
    if found is None:
        return ""
    return str(found["invoice"]) if "invoice" in found else invoice_of.get(found["payment_intent"], "")
