"""Random walks through what the explorer cannot exhaust: more actors, several faults, two workspaces, clocks apart.

A walk takes the explorer's own moves, keeps its invariants after every step and ends as its runs do. What it does
follows from its seed and its number alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from tests.proof.actors import Cast, Script
from tests.proof.explorer import Move, Scenario, Slot, State, begin, moves, take
from tests.proof.invariants import expect, safe, see
from tests.proof.observations import observed
from tests.proof.prepared import Beginnings
from tests.proof.product import Product
from tests.proof.scenarios import PAIRS
from tests.proof.settled import Settled
from tests.proof.swarm_actors import NEIGHBOURS, Actor, cast_for
from tests.proof.swarm_isolation import TENANTS, isolated, shows_only_own
from tests.proof.tenants import EVERYONE, SECOND, Tenant, for_tenant
from tests.proof.world import DynamoDb, Publish, Step, Stripe, Violation, World

FAULTS_MAX = 3
# With these a walk of some fifty steps meets the faults that it may.
FAULT_CHANCE, CHANGE_CHANCE = 0.2, 0.1
# No walk takes so many: one that does has found callers that chase one another.
STEPS_MAX = 2_000
FEED = ("RECONCILER", "FEED")
# Ids, and Stripe's keys.
_NAMED = re.compile(r"[0-9a-f]{24,}\S*|\(key .*\)")


@dataclass
class Walk:
    """What one walk came to."""

    number: int
    setting: str
    steps: int = 0
    faults: list[str] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    """What tells each of its states apart."""
    situations: list[int] = field(default_factory=list)
    """The same without ids, times and who was given what."""
    failure: str | None = None


def beside(first: World, second: World) -> World:
    """One world with the workspaces of both."""
    now_ms = max(first.now_ms, second.now_ms)
    ours = first.table.items
    added = [(key, stored) for key, stored in second.table.items.items() if key not in ours]
    table = first.table.with_stored(added)
    # The feed was followed to where the slower has come, or to the last minute: only new deployments have no mark.
    marks = [world.table.items.get(FEED) for world in (first, second)]
    seen_s = min([int(mark.item["watermark_s"]["N"]) for mark in marks if mark] or [now_ms // 1000 - 60])
    mark = {"pk": {"S": FEED[0]}, "sk": {"S": FEED[1]}, "watermark_s": {"N": str(seen_s)}}
    table = table.with_item(FEED, mark)
    a, b = first.stripe, second.stripe
    stripe = replace(
        a,
        invoices={**a.invoices, **b.invoices},
        pending_items={**a.pending_items, **b.pending_items},
        subscriptions={**a.subscriptions, **b.subscriptions},
        keys={**a.keys, **b.keys},
        events=tuple(sorted((*a.events, *b.events), key=lambda event: event["created"])),
        refunds={**a.refunds, **b.refunds},
        credit_notes={**a.credit_notes, **b.credit_notes},
    ).advance(now_ms // 1000)
    published = first.published | second.published
    return replace(first, now_ms=now_ms, table=table, stripe=stripe, published=published, indexed=table)


def fault_kinds() -> list[str]:
    """Every fault that a step can meet."""
    samples: list[Step] = [
        DynamoDb("TransactWriteItems", {"TransactItems": [{}]}),
        DynamoDb("UpdateItem", {}),
        DynamoDb("GetItem", {}, of_batch=True),
        DynamoDb("Query", {"IndexName": "due"}),
        Stripe("GET", "/v1/events", {}, None),
        Stripe("POST", "/v1/invoices", {}, "key"),
        Publish((), ()),
    ]
    stalls = ("stalls for 25 s before it", "times out, and has its effect later")
    kinds = {f"{type(step).__name__} {fault}" for step in samples for fault, _ in step.faults()}
    return sorted(kinds | {f"{kind} {fault}" for kind in ("DynamoDb", "Stripe") for fault in stalls})


class Swarm:
    """The walks of one process."""

    def __init__(self) -> None:
        self._product = Product()
        self._first = Beginnings(self._product, Cast(self._product))
        self._second = Beginnings(self._product, Cast(self._product))

    def walk(self, seed: int, number: int) -> Walk:
        """One walk to its end, or to what it violates."""
        return self._walk(seed, number, [])

    def tell(self, seed: int, number: int) -> tuple[Walk, list[tuple[Move, State, State]]]:
        """The same walk with its steps."""
        taken: list[tuple[Move, State, State]] = []
        return self._walk(seed, number, taken), taken

    def _walk(self, seed: int, number: int, taken: list[tuple[Move, State, State]]) -> Walk:
        rng = Random(f"{seed}:{number}")
        beginning = rng.choice(sorted(PAIRS))
        # Plans are everyone's: where they are others, the neighbour begins with them, too.
        neighbours = beginning if beginning == "capped" else rng.choice(NEIGHBOURS)
        actors = cast_for(rng, beginning, neighbours)
        setting = f"{beginning} beside {neighbours}: {'; '.join(actor.name for actor in actors)}"
        walk = Walk(number, setting)
        try:
            world = beside(self._first[beginning], self._of_second(neighbours))
            scenario = Scenario(setting, world, actors, faults_max=rng.randint(0, FAULTS_MAX))
            taken.extend(self._steps(rng, scenario, walk))
        except Violation as violation:
            walk.failure = str(violation)
        return walk

    def _of_second(self, neighbours: str) -> World:
        with for_tenant(SECOND):
            return self._second[neighbours]

    def _steps(self, rng: Random, scenario: Scenario, walk: Walk) -> Iterator[tuple[Move, State, State]]:
        cast = Cast(self._product)
        observer = observed(self._product, cast)
        played = observer.played

        def judge(*call: object) -> None:
            with for_tenant(EVERYONE):
                played(*call)  # type: ignore[arg-type] # as it is given

        cast.judge = judge
        chooser, state = _Chooser(rng), begin(scenario, cast)
        differ = any(script.skew_ms for script in scenario.scripts)
        while True:
            now, possible = moves(state)
            if not possible:
                break
            expect(walk.steps < STEPS_MAX, "the walk does not end")
            move = chooser.choose(possible)
            who = _who(now.slots[move.actor])
            walk.steps += 1
            if move.fault is not None:
                walk.faults.append(f"{type(move.step).__name__} {move.fault}")
            isolated(move.step, who, now.world)
            state = take(now, move, cast)
            yield move, now, state
            walk.states.append(state.key())
            walk.situations.append(_situation(state))
            for tenant in TENANTS:
                with for_tenant(tenant):
                    safe(now.world, state.world, clocks_differ=differ)
            before, after = now.slots[move.actor].place, state.slots[move.actor].place
            for end in after.ends[len(before.ends) :]:
                shows_only_own(end, who, state.world)
            with for_tenant(who):
                observer.moved(now, move, state)
        _end(scenario, state, Settled(cast))


def _who(slot: Slot) -> Tenant:
    script = slot.place.script
    return script.who if isinstance(script, Actor) else EVERYONE


def _situation(state: State) -> int:
    """Where the lines and invoices of each workspace are, and what each actor will do next."""
    found: list[object] = []
    for tenant in TENANTS:
        with for_tenant(tenant):
            seen = see(state.world)
        lines = [(one["status"], one["payment_status"], one.get("void_reason")) for one in seen.lines.values()]
        found.append((lines, sorted(one["status"] for one in seen.invoices.values())))
    places = [slot.place for slot in state.slots]
    steps = [(_plain(place.script), str(step)) for place in places for step in place.pending.values()]
    found.append(sorted((name, _NAMED.sub("", step)) for name, step in steps))
    return hash(repr(found))


def _plain(script: Script) -> str:
    return script.plain.name if isinstance(script, Actor) else "late"


def _end(scenario: Scenario, state: State, settled: Settled) -> None:
    """Each workspace is settled as the explorer's runs are, by what its own actors have done."""
    for tenant in TENANTS:
        whose = {tenant, EVERYONE}
        scripts = tuple(actor.plain for actor in scenario.scripts if isinstance(actor, Actor) and actor.who in whose)
        slots = tuple(slot for slot in state.slots if _who(slot) in whose)
        with for_tenant(tenant):
            settled(replace(scenario, scripts=scripts), state._replace(slots=slots))


class _Chooser:
    """Half of the walks choose anyone each time; in the others somebody goes on until somebody overtakes."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._steady = rng.random() < 0.5
        self._ranks: dict[int, float] = {}

    def choose(self, possible: list[Move]) -> Move:
        rng = self._rng
        usual = [move for move in possible if move.fault is None]
        faults = sorted({move.fault for move in possible if move.fault is not None})
        if faults and rng.random() < FAULT_CHANCE:
            fault = rng.choice(faults)
            return rng.choice([move for move in possible if move.fault == fault])
        if not self._steady:
            return rng.choice(usual)
        for move in usual:
            self._ranks.setdefault(move.actor, rng.random())
        first = max(usual, key=lambda move: self._ranks[move.actor])
        if rng.random() < CHANGE_CHANCE:
            self._ranks[first.actor] = rng.random()
        return first
