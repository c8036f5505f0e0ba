"""The worlds that others can leave: every combination of lines that the invariants permit.

Counts and lock are derived from the lines. A step sees only what it names; worlds that look alike to it are grouped.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from tests.proof import stage
from tests.proof.expressions import Typed
from tests.proof.invariants import safe
from tests.proof.memory_stripe import MemoryStripe
from tests.proof.memory_table import Key, MemoryTable, Stored
from tests.proof.others_account import AT_S, part_of, together
from tests.proof.others_line import Facet, facets, key_of, leads, plain_of, stored, typed
from tests.proof.others_weights import INCLUDED, coarse, not_waiting, permitted, sorts_of, weight, with_lease
from tests.proof.world import Violation, World

if TYPE_CHECKING:
    from tests.proof.others_sight import Sight

WORKSPACE: Key = (f"W#{stage.WORKSPACE}", "WORKSPACE")
KIND = "purchased_phone"
# In the narrower scope a line has no third keys at Stripe, and what would lead to them is not followed.
KEYS_MAX = 2
# What others change of a workspace at any time: its lines say so.
DERIVED = {"lock", "lock_kind", "held", "unpaid", "subscription", "revision"}
# Those who set quantities and charge change these at any time; nobody else reads them.
DUE = {"due_at", "due_shard"}
BILLED = DUE | {"quantities_revision", "charged", "charge_number", "counted", "pending_charge"}


class Slot(NamedTuple):
    """A line that may exist, and the key that it is requested with."""

    line_id: str
    idempotency_key_hash: str | None


class Standing(NamedTuple):
    """A subscription. The lines say whether it has room: a larger plan is like a place given back."""

    ended: bool = False

    def later(self) -> Iterator["Standing"]:
        """What it can become: it ends."""
        yield self
        if not self.ended:
            yield Standing(ended=True)


class Choice(NamedTuple):
    """One world of others: a facet of each line, and the subscription as stored and as it is at Stripe."""

    lines: tuple[Facet, ...]
    stored: Standing
    at_stripe: Standing
    far: int

    @property
    def counts(self) -> tuple[int, int, str | None]:
        """Held, unpaid, and who has the lock."""
        held = sum(weight(facet).held for facet in self.lines)
        unpaid = sum(weight(facet).unpaid for facet in self.lines)
        return held, unpaid, next((facet.line_id for facet in self.lines if weight(facet).waiting), None)

    def view(self, *, counts: bool) -> object:
        """What the workspace says; of counts that decide alike, one is enough where no line is requested."""
        held, unpaid, lock = self.counts
        return (held, unpaid, lock, self.stored) if counts else (unpaid <= INCLUDED, lock, self.stored)


@dataclass
class Others:
    """Everybody but the handler that is looked at."""

    slots: tuple[Slot, ...]
    creates: bool
    """Whether the handler requests a line."""
    cap: int
    snapshots: dict[Standing, Typed]
    """The attribute `subscription` of the workspace, by what stands in it."""
    bills: bool = False
    """Whether the handler sets quantities and charges."""
    stays: bool = False
    """Whether they leave a line alone once it is settled."""
    permitted: int = 0
    """Combinations of lines that were put together."""

    def __post_init__(self) -> None:
        self._now_of, self._now = (0, 0), Choice((), Standing(), Standing(), 0)
        self._accounts: dict[int, MemoryStripe] = {}
        """One part of Stripe for all that are equal: every prefix keeps its lines'."""
        self._workspaces: dict[object, Stored] = {}
        """A workspace with other counts, and with another subscription."""

    # --- a world, taken apart ---------------------------------------------------------------------

    def slots_in(self, world: World) -> list[Slot]:
        """The lines that may exist, with those that the handler has made."""
        known = {slot.line_id for slot in self.slots}
        found = list(self.slots)
        for (_, sk), one in world.table.items.items():
            if sk.startswith("LINE#") and sk.removeprefix("LINE#") not in known:
                found.append(Slot(sk.removeprefix("LINE#"), plain_of(one).get("idempotency_key_hash")))
        return found

    def rekeyed(self, world: World) -> bool:
        """Whether a line's keys at Stripe have changed twice or more."""
        return any(facet.line.get("stripe_key_version", 0) > KEYS_MAX for facet in self.now(world).lines)

    def made_in(self, world: World) -> set[str]:
        """The lines that the handler has made."""
        return {slot.line_id for slot in self.slots_in(world)[len(self.slots) :]}

    def facet_of(self, world: World, slot: Slot) -> Facet:
        """A line as it is in a world."""
        items = world.table.items
        record = items.get((WORKSPACE[0], f"IDEMPOTENCY#{slot.idempotency_key_hash}"))
        if record is not None and record.item["line_id"]["S"] != slot.line_id:
            record = None
        account = part_of(world.stripe, slot.line_id)
        account = self._accounts.setdefault(account.digest, account)
        return Facet(slot.line_id, items.get((WORKSPACE[0], f"LINE#{slot.line_id}")), record, account)

    def now(self, world: World) -> Choice:
        """The world as it is."""
        known = (world.table.digest, world.stripe.digest)
        if known != self._now_of:
            self._now_of, self._now = known, self._taken_apart(world)
        return self._now

    def _taken_apart(self, world: World) -> Choice:
        lines = tuple(self.facet_of(world, slot) for slot in self.slots_in(world))
        return Choice(lines, stored_standing(world), stripe_standing(world.stripe), 0)

    # --- what may come ----------------------------------------------------------------------------

    def choices(self, world: World, seen: "Sight", *, knows: bool = True) -> dict[object, list[Choice]]:
        """The worlds that others can leave, nearest first, by what a step sees of them.

        Of lines that it does not touch, what they count for; one completion of each is enough where it does not see the
        counts. `knows`: whether lines of others are not all one to the call.
        """
        now, slots = self.now(world), self.slots_in(world)
        full = [
            facets(facet, slot.idempotency_key_hash, stays=self.stays)
            for facet, slot in zip(now.lines, slots, strict=True)
        ]
        if not seen.leases:
            # No rule speaks of a lease, and others can take it right before the next step that looks at it.
            full = [with_lease(some, now.lines[number]) for number, some in enumerate(full)]
        # One line of others may wait: a call that is about neither cannot tell which one does.
        first = 1 if not knows else len(slots) if self.creates else 2
        full = [not_waiting(some) if first <= n < len(self.slots) else some for n, some in enumerate(full)]
        at = [number for number, slot in enumerate(slots) if slot.line_id in seen.touched]
        rest = [number for number in range(len(slots)) if number not in at]
        completions = sorted(product(*(coarse(full[number]) for number in rest)), key=lambda c: sum(f.far for f in c))
        subscriptions = _pairs(now, seen)
        groups: dict[object, dict[object, Choice]] = {}
        # Whether lines can stand together depends on their sorts alone.
        for sorts in product(*(sorts_of(full[number]) for number in at)):
            nearest = tuple(some[0] for some in sorts)
            fit: dict[object, tuple[Facet, ...]] = {}
            for completion in completions:
                lines = _merged(len(slots), at, nearest, rest, completion)
                if permitted(lines, self.cap):
                    view = Choice(lines, now.stored, now.at_stripe, 0).view(counts=self.creates)
                    # One is enough where the counts are not seen.
                    fit.setdefault(seen.workspace and view, completion)
            for chosen, completion in product(product(*sorts), fit.values()):
                lines = _merged(len(slots), at, chosen, rest, completion)
                self.permitted += 1
                far = sum(facet.far for facet in lines)
                for as_stored, at_stripe, more in subscriptions:
                    choice = Choice(lines, as_stored, at_stripe, far + more)
                    same = (tuple(map(key_of, chosen)), choice.view(counts=self.creates), at_stripe)
                    group = groups.setdefault(seen.of(choice), {})
                    if same not in group or group[same].far > choice.far:
                        group[same] = choice
        return {key: sorted(group.values(), key=lambda one: one.far) for key, group in groups.items()}

    def build(self, world: World, choice: Choice) -> World:
        """The world with these lines."""
        before = self.now(world)
        changes: list[tuple[Key, Stored | None]] = []
        records: dict[Key, Stored | None] = {}
        for was, facet, slot in zip(before.lines, choice.lines, self.slots_in(world), strict=True):
            if facet.item is not was.item:
                changes.append(((WORKSPACE[0], f"LINE#{facet.line_id}"), facet.item))
            if facet.record is not was.record:
                key = (WORKSPACE[0], f"IDEMPOTENCY#{slot.idempotency_key_hash}")
                records[key] = facet.record or records.get(key)
        changes += [(key, record) for key, record in records.items() if world.table.items.get(key) != record]
        if (choice.counts, choice.stored) != (before.counts, before.stored):
            workspace = world.table.items[WORKSPACE]
            known = workspace.digest, choice.counts, choice.stored
            if known not in self._workspaces:
                self._workspaces[known] = self._workspace(workspace, choice, before)
            changes.append((WORKSPACE, self._workspaces[known]))
        parts = [facet.account for facet in choice.lines]
        stripe = together(parts, _subscribed(world.stripe, before.at_stripe, choice.at_stripe))
        return replace(world, table=world.table.with_stored(changes), stripe=stripe, stream={})

    def covers(self, before: Choice, after: Choice) -> bool:
        """Whether others can have led from one world to the other: then what follows it was looked at already."""
        hashes = dict(self.slots)
        return (
            len(before.lines) == len(after.lines)
            and after.stored in before.stored.later()
            and after.at_stripe in before.at_stripe.later()
            and all(
                leads(was, now, hashes.get(was.line_id, was.line.get("idempotency_key_hash")), stays=self.stays)
                for was, now in zip(before.lines, after.lines, strict=True)
            )
        )

    def widened(self, world: World, named: frozenset[str]) -> World:
        """Without lines that no step of the call was about: others lead from there to wherever these are."""
        now = self.now(world)
        about = {*named, *self.made_in(world)} | (set() if self.creates or self.bills else {self.slots[0].line_id})
        kept = tuple(
            facet if facet.line_id in about else Facet(facet.line_id, None, None, MemoryStripe()) for facet in now.lines
        )
        return world if kept == now.lines else self.build(world, now._replace(lines=kept))

    def without_made(self, world: World) -> World:
        """Without the line that the handler has made, if it was canceled and its key is free again."""
        now, slots = self.now(world), self.slots_in(world)[len(self.slots) :]
        if any(facet.line["status"] != "canceled" or facet.record for facet in now.lines[len(self.slots) :]):
            return world
        table = world.table.with_stored([((WORKSPACE[0], f"LINE#{slot.line_id}"), None) for slot in slots])
        parts = [facet.account for facet in now.lines[: len(self.slots)]]
        return replace(world, table=table, stripe=together(parts, world.stripe)) if slots else world

    def least(self, group: list[Choice]) -> list[Choice]:
        """Those of these worlds that others lead to the rest from; the nearest is one of them."""
        found: list[Choice] = []
        for choice in group:
            if not any(self.covers(one, choice) for one in found):
                found.append(choice)
        return found

    def rest(self, world: World, *, bills: bool | None) -> int:
        """What others do not change of a world; `bills`: whether the call sets quantities, None once it has."""
        left_out = DERIVED | (BILLED if bills is None or not self.bills else set() if bills else BILLED - DUE)
        kept = {name: value for name, value in world.table.items[WORKSPACE].item.items() if name not in left_out}
        lines = [slot.line_id for slot in self.slots_in(world)]
        others = [one.digest for key, one in world.table.items.items() if key[0] != WORKSPACE[0]]
        return hash((json.dumps(kept, sort_keys=True), tuple(lines), world.now_ms, world.published, frozenset(others)))

    def _workspace(self, was: Stored, choice: Choice, before: Choice) -> Stored:
        held, unpaid, lock = choice.counts
        item = {n: v for n, v in was.item.items() if n not in {"lock", "lock_kind"}}
        item |= {"held": typed({KIND: held}), "unpaid": typed({KIND: unpaid})}
        item |= {"lock": typed(lock), "lock_kind": typed(KIND)} if lock else {}
        if choice.stored != before.stored:
            revision = int(item["revision"]["N"]) + 1
            item |= {"subscription": self.snapshots[choice.stored], "revision": typed(revision)}
        return stored(item)


def stands(world: World) -> str | None:
    """The invariant that a world breaks by itself; None: it keeps all."""
    same = replace(world, table=MemoryTable(dict(world.table.items), world.table.digest ^ 1))
    try:
        safe(same, world)
    except Violation as violation:
        return str(violation)
    return None


def _pairs(now: Choice, seen: "Sight") -> list[tuple[Standing, Standing, int]]:
    """The subscription as stored and as it is at Stripe: what is stored was true once."""
    found = [
        (as_stored, at_stripe, (at_stripe != now.at_stripe) + (as_stored != now.stored))
        for at_stripe in now.at_stripe.later()
        for as_stored in now.stored.later()
        if at_stripe in as_stored.later()
        and (seen.subscription or seen.workspace or at_stripe == now.at_stripe)
        and (seen.workspace or as_stored == now.stored)
    ]
    if seen.subscription:
        return found
    nearest: dict[Standing, tuple[Standing, Standing, int]] = {}
    for pair in sorted(found, key=lambda one: one[2]):
        nearest.setdefault(pair[0], pair)
    return [*nearest.values()]


def _merged(
    count: int, at: list[int], chosen: tuple[Facet, ...], rest: list[int], completion: tuple[Facet, ...]
) -> tuple[Facet, ...]:
    lines: list[Facet | None] = [None] * count
    for number, facet in (*zip(at, chosen, strict=True), *zip(rest, completion, strict=True)):
        lines[number] = facet
    return tuple(facet for facet in lines if facet is not None)


def stored_standing(world: World) -> Standing:
    """The subscription as the workspace has it."""
    return Standing(plain_of(world.table.items[WORKSPACE])["subscription"]["status"] == "canceled")


def stripe_standing(stripe: MemoryStripe) -> Standing:
    """The subscription as it is at Stripe."""
    return Standing(stripe.subscriptions[stage.SUBSCRIPTION]["status"] == "canceled")


def _subscribed(stripe: MemoryStripe, before: Standing, after: Standing) -> MemoryStripe:
    return stripe.end(stage.SUBSCRIPTION, AT_S) if after.ended and not before.ended else stripe
