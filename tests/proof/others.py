"""One call of a handler, every prefix of its run, against everything that any number of others can do in between.

Others may do anything that the invariants permit between two steps, as often as they like: one change of theirs stands
for all of them, because these changes follow each other to no new one. A prefix that goes on like another, from a world
that others could have led to, was looked at already.
"""

import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tests.proof.actors import Place
from tests.proof.explorer import Move, State
from tests.proof.explorer import Slot as Actor
from tests.proof.invariants import expect, safe
from tests.proof.others_handlers import FOCUS, Bench, unhurried
from tests.proof.others_rules import broken, left_out
from tests.proof.others_sight import begins_to_bill, ends_billing, sight
from tests.proof.others_worlds import WORKSPACE, Choice, Others, stands
from tests.proof.workspace_events import attributes
from tests.proof.world import Crash, Pause, Result, Step, Violation, World

# Past a lease, and past what a call may take; a poll may take less than a lease.
LATER_MS, BRIEF = (14_000, 25_000), {"poll"}
SHOWN = (
    *("status", "payment_status", "invoice_id", "void_reason", "lease_until_ms", "stripe_key_version"),
    *("held", "unpaid", "lock", "line_id", "response_body"),
)


class At(NamedTuple):
    """How far a call has come, and the least world that it may be in by now."""

    place: Place
    world: World
    jumped: bool = False
    """Whether time has passed in between."""
    faults: int = 0
    """How many of its own calls have failed."""
    named: frozenset[str] = frozenset()
    """The lines that its steps have been about."""
    bills: bool | None = False
    """Whether it sets quantities and charges; None once it has: it looks at a workspace once."""


@dataclass(eq=False)
class _Prefix:
    """A call that was found at a place, in a world."""

    at: At | None
    """None: it was gone on with, or another one stands for it."""
    now: Choice
    jumped: bool
    faults: int


@dataclass
class Outcome:
    """What one handler met."""

    handler: str
    narrow: bool = False
    """Whether it is the narrower scope, in which nothing of its own fails and no time passes."""
    stays: bool = False
    """Whether others leave a line alone once it is settled."""
    prefixes: int = 0
    steps: int = 0
    """Next steps, by what they can see."""
    writes: int = 0
    """Changes of others that these met."""
    permitted: int = 0
    """Combinations of lines that were put together for them."""
    left: int = 0
    """Prefixes that were found and not gone on with."""
    seed: int = 1
    """Decides the sample."""
    seconds: float = 0
    failure: str | None = None
    story: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """One row of the table."""
        found = self.prefixes + self.left
        share = f"sample (seed {self.seed}): {self.prefixes / max(found, 1):.0%} of {found:,} prefixes found so far"
        bound = "failed" if self.failure else share if self.left else "exhausted"
        numbers = f"{self.prefixes:8,} {self.steps:10,} {self.writes:12,} {self.permitted:12,}"
        scope = (", narrow" if self.stays else ", settled") if self.narrow else ""
        return f"{self.handler + scope:24} {numbers} {self.seconds:6.0f} s  {bound}"


def check(  # noqa: PLR0913 - a handler, how much of it, and its scope
    bench: Bench, name: str, prefixes_max: int, seed: int = 1, *, narrow: bool = False, stays: bool = False
) -> Outcome:
    """Every prefix of a handler's run; beyond so many a seeded sample of them."""
    others = bench.others(name, stays=stays)
    run = _Run(bench, others, Outcome(name, narrow, stays, seed=seed))
    began = time.monotonic()
    worlds = bench.beginnings(name, others)
    try:
        starts = ((world, bench.starts(name, world.now_ms, narrow=narrow)) for world in worlds)
        with unhurried() if narrow else nullcontext():
            run.explore([At(start, world) for world, some in starts for start in some], prefixes_max)
    except Violation as violation:
        run.outcome.failure = str(violation)
    run.outcome.permitted = others.permitted
    run.outcome.seconds = time.monotonic() - began
    return run.outcome


class _Run:
    def __init__(self, bench: Bench, others: Others, outcome: Outcome) -> None:
        self.outcome = outcome
        self._bench, self._others = bench, others
        self._about = set[str]() if others.creates else {FOCUS}
        self._left: dict[str, deque[_Prefix]] = defaultdict(deque)
        """What to go on with, by the next step and whether all has gone well so far."""
        self._taken = Counter[str]()
        self._found: dict[tuple[Place, int], list[_Prefix]] = {}
        self._judged: set[tuple[Place, int, int]] = set()
        self._lawful: set[int] = set()
        """The worlds that keep all rules, by their digests."""

    def explore(self, beginnings: list[At], prefixes_max: int) -> None:
        for one in beginnings:
            self._add(one)
        chance = random.Random(self.outcome.seed)
        while kinds := [kind for kind, some in self._left.items() if some]:
            if self.outcome.prefixes >= prefixes_max:
                self.outcome.left = sum(one.at is not None for some in self._left.values() for one in some)
                return
            # Of the kind of next step that was looked at least: in turn the first and any.
            kind = min(kinds, key=lambda one: self._taken[one])
            self._taken[kind] += 1
            some = self._left[kind]
            if self._taken[kind] % 2 == 0:
                some.rotate(chance.randrange(len(some)))
            prefix = some.popleft()
            at, prefix.at = prefix.at, None
            if at is None:
                continue
            self.outcome.prefixes += 1
            for strand, step in at.place.pending.items():
                self._step(at, strand, step)

    def _add(self, at: At) -> None:
        new = _Prefix(at, self._others.now(at.world), at.jumped, at.faults)
        found = self._found.setdefault((at.place, self._others.rest(at.world, bills=at.bills)), [])
        if any(self._stands_for(one, new) for one in found):
            return
        # One that was found later stands for earlier ones as well.
        needless = [one for one in found if self._stands_for(new, one)]
        for one in needless:
            one.at = None
            found.remove(one)
        found.append(new)
        well = not at.faults and not at.jumped
        self._left[f"{next(iter(at.place.pending.values()))} {well}"].append(new)

    def _stands_for(self, one: _Prefix, other: _Prefix) -> bool:
        """Whether all that can follow the other can follow this one: others may do the rest, and no more has failed."""
        fewer = one.jumped <= other.jumped and one.faults <= other.faults
        return fewer and self._others.covers(one.now, other.now)

    def _step(self, at: At, strand: int, step: Step) -> None:
        world = at.world
        if step.quiet or isinstance(step, Pause):
            after = world.after(step.ms) if isinstance(step, Pause) and not self.outcome.narrow else world
            self._go(at, strand, after, step.apply(after)[1])
            return
        slots = self._others.slots_in(world)
        made = {slot.line_id for slot in slots} - {slot.line_id for slot in self._others.slots}
        counts = self._others.creates and (at.place, strand) not in self._bench.moving
        seen = sight(step, slots, self._about | made, counts=counts)
        at = at._replace(named=at.named | seen.touched)
        if begins_to_bill(step):
            at = at._replace(named=frozenset(), bills=True)
        elif ends_billing(step):
            at = at._replace(bills=None)
        touched = [number for number, slot in enumerate(slots) if slot.line_id in seen.touched]
        kept = (
            [one for one in group if not any(left_out(step, one.lines[number]) for number in touched)]
            for group in self._others.choices(world, seen, knows=self._knows(at, step)).values()
        )
        groups = sorted((group for group in kept if group), key=lambda group: group[0].far)
        effective = False
        for number, group in enumerate(groups):
            before = self._others.build(world, group[0])
            after, result = _applied(step, before)
            self.outcome.steps += 1
            self.outcome.writes += len(group)
            changed = after.digest != before.digest
            for choice in group if changed else group[:1]:
                self._judge(at, strand, step, choice)
            self._go(at, strand, after, result)
            for choice in self._others.least(group)[1:]:
                self._go(at, strand, *_applied(step, self._others.build(world, choice)))
            if number == 0:
                self._later(at, strand, after, result)
            if number == 0 or (changed and not effective):
                self._faults(at, strand, step, before)
                effective |= changed

    def _knows(self, at: At, step: Step) -> bool:
        """Whether lines of others are not all one to the call; what ends billing tells what has the lock anew."""
        if self._others.creates:
            return self._bench.knows(at.place)
        return bool(at.named) or not ends_billing(step)

    def _later(self, at: At, strand: int, world: World, result: Result) -> None:
        """The same, and time passes before the next step."""
        if not at.jumped and not self.outcome.narrow:
            for ms in LATER_MS[: 1 + (self.outcome.handler not in BRIEF)]:
                self._go(at._replace(jumped=True), strand, world.after(ms), result)

    def _faults(self, at: At, strand: int, step: Step, before: World) -> None:
        """Its own call fails; a crash is a prefix that nothing follows."""
        if at.faults or self.outcome.narrow:
            return
        for _, apply in step.faults():
            after, result = apply(before)
            if result is not Crash:
                self._go(at._replace(faults=1), strand, _still(after), result)

    def _judge(self, at: At, strand: int, step: Step, choice: Choice) -> None:
        before = self._others.build(at.world, choice)
        known = (at.place, strand, before.digest)
        if known in self._judged:
            return
        self._judged.add(known)
        after, result = _applied(step, before)
        try:
            if before.digest not in self._lawful:
                rule = stands(before)
                expect(rule is None, f"others may not leave this world: {rule}")
            safe(before, after)
            if after.digest not in self._lawful:
                for slot in self._others.slots_in(after):
                    rule = broken(self._others.facet_of(after, slot))
                    expect(rule is None, f"the step breaks a rule: {rule}")
            self._lawful |= {before.digest, after.digest}
            place = self._deliver(at.place, strand, result, after.now_ms)
            move = Move(0, strand, step, None, step.apply)
            states = [State(world, (Actor(where),)) for world, where in ((before, at.place), (after, place))]
            self._bench.observer.moved(states[0], move, states[1])
        except Violation:
            self.outcome.story = list(_story(at.place, step, before))
            raise

    def _deliver(self, place: Place, strand: int, result: Result, now_ms: int) -> Place:
        creates, calm = self._others.creates, self.outcome.narrow
        return self._bench.deliver(place, strand, result, now_ms, creates=creates, calm=calm)

    def _go(self, at: At, strand: int, world: World, result: Result) -> None:
        place = self._deliver(at.place, strand, result, world.now_ms)
        if place.finished or (self.outcome.narrow and self._others.rekeyed(world)):
            return
        over = place in self._bench.starting_over
        if over:
            world = self._others.without_made(world)
        # A call that has just made the line that it requests is about no other; one that starts over is about none.
        about_none = over or self._others.made_in(world) != self._others.made_in(at.world)
        named = frozenset[str]() if about_none else at.named
        self._add(At(place, self._others.widened(world, named), at.jumped, at.faults, named, at.bills))


def _applied(step: Step, before: World) -> tuple[World, Result]:
    after, result = step.apply(before)
    return _still(after), result


def _still(world: World) -> World:
    """Without the stream's records and Stripe's events, which may always come later."""
    if not world.stream and not world.stripe.events:
        return world
    return replace(world, stream={}, stripe=replace(world.stripe, events=()))


def _story(place: Place, step: Step, world: World) -> Iterator[str]:
    """The prefix of a run, and the world that its next step meets."""
    steps, last = list[str](), place.last
    while last is not None:
        steps.append(f"  {last.step}")
        last = last.before
    yield from reversed(steps)
    yield f"  then {step}, in the world:"
    for (pk, sk), one in sorted(world.table.items.items()):
        if pk == WORKSPACE[0] and not sk.startswith("APIKEY"):
            item = attributes(one.item)
            yield f"    {sk[:36]}: {', '.join(f'{name} {item[name]}' for name in SHOWN if name in item)}"
    yield from (f"    {name}: {one['status']}" for name, one in world.stripe.invoices.items())
