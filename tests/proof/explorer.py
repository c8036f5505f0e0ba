"""Every interleaving of a scenario's actors, with at most so many faults as it allows: breadth first, so that the
first failure is a shortest one.

States that are equal go on equally, whatever led to them: each is visited once, and the number of
interleavings that run through it is counted. A step that only reads what nobody writes is taken
at once. Time passes when nobody can go on without.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tests.proof.actors import Call, Cast, Place, Script
from tests.proof.world import STALL_MS, Act, DynamoDb, NoReply, Pause, Result, Step, Stripe, Violation, World


class Slot(NamedTuple):
    """An actor at its place; it goes on at `wake_ms` at the earliest."""

    place: Place
    wake_ms: int = 0


class State(NamedTuple):
    """Everything that decides how a run can go on."""

    world: World
    slots: tuple[Slot, ...]
    faults: tuple[str, ...] = ()
    """Those that there were, in the order of their names."""
    faults_left: int = 1
    """How many more there may be."""

    def key(self) -> int:
        slots = tuple((slot.place.key, slot.wake_ms) for slot in self.slots)
        return hash((self.world.digest, slots, self.faults, self.faults_left))


class Move(NamedTuple):
    """One thing that can happen next."""

    actor: int
    strand: int
    step: Step
    fault: str | None
    apply: Callable[[World], tuple[World, Result]] | None
    """None: the actor stalls."""


@dataclass
class Scenario:
    """A beginning and those who act in it."""

    name: str
    world: World
    scripts: tuple[Script, ...]
    faults_max: int = 1
    """How many there may be in one run."""


@dataclass
class Outcome:
    """What was explored, and the shortest failure if there is one."""

    scenario: str
    states: int = 0
    steps: int = 0
    schedules: int = 0
    exhausted: bool = False
    failure: str | None = None
    excuse: str | None = None
    """Why the failure is not counted."""
    path: list[int] = field(default_factory=list)


def begin(scenario: Scenario, cast: Cast) -> State:
    """The state before the first step."""
    world = scenario.world
    slots = tuple(_at(cast.start(script, world.now_ms + script.skew_ms), world) for script in scenario.scripts)
    return State(world, slots, faults_left=scenario.faults_max)


def _at(place: Place, world: World) -> Slot:
    """The slot of an actor who has come to a place; at a pause it sleeps from now on."""
    step = place.pending.get(0)
    return Slot(place, world.now_ms + step.ms) if isinstance(step, Pause) else Slot(place)


def moves(state: State) -> tuple[State, list[Move]]:
    """What can happen next, in a fixed order; time has passed if it had to."""
    possible = list(_normal(state))
    if not possible:
        sleeping = [slot.wake_ms for slot in state.slots if slot.wake_ms > state.world.now_ms]
        if not sleeping:
            return state, []
        state = state._replace(world=replace(state.world, now_ms=min(sleeping)))
        possible = list(_normal(state))
    quiet = next((move for move in possible if move.step.quiet), None)
    if quiet is not None:
        possible = [quiet]
    if not state.faults_left:
        return state, possible
    return state, possible + [fault for move in possible for fault in _faults(state, move)]


def _normal(state: State) -> Iterator[Move]:
    for actor, slot in enumerate(state.slots):
        if slot.wake_ms > state.world.now_ms:
            continue
        for strand, step in slot.place.pending.items():
            if isinstance(step, Act) and step.effect(state.world) is None:
                continue
            yield Move(actor, strand, step, None, step.apply)


def _faults(state: State, move: Move) -> Iterator[Move]:
    step = move.step
    for name, apply in step.faults():
        yield move._replace(fault=name, apply=apply)
    if step.writes and isinstance(step, DynamoDb | Stripe) and not state.slots[move.actor].wake_ms:
        yield move._replace(fault="stalls for 25 s before it", apply=None)
        yield move._replace(fault="times out, and has its effect later", apply=lambda world: (world, NoReply()))


def take(state: State, move: Move, cast: Cast) -> State:
    """The state after a move."""
    slots, world = list(state.slots), state.world
    place = slots[move.actor].place
    faults, left = state.faults, state.faults_left
    if move.fault is not None:
        faults, left = tuple(sorted((*faults, move.fault))), left - 1
    if move.apply is None:
        slots[move.actor] = Slot(place, world.now_ms + STALL_MS)
        return State(world, tuple(slots), faults, left)
    world, result = move.apply(world)
    slots[move.actor] = _at(cast.deliver(place, move.strand, result, world.now_ms + place.script.skew_ms), world)
    if move.fault == "times out, and has its effect later":
        slots.append(_at(cast.start(_late(place, move.step), world.now_ms), world))
    return State(world, tuple(slots), faults, left)


def _late(place: Place, step: Step) -> Script:
    """A call whose caller has given up, still on its way."""
    what = f"late {place.script.name} {place.key} {step}"
    return Script(what, lambda: iter_act(Act(f"a call that was given up takes effect: {step}", step.apply)))


def iter_act(act: Act) -> Generator[Call | Act | Pause, Any, None]:
    yield act


class Explorer:
    """Explores scenarios one after the other."""

    def __init__(
        self,
        cast: Cast,
        safe: Callable[[World, World], None],
        settled: Callable[[Scenario, State], None],
        judge: Callable[[State, Move, State], None],
    ) -> None:
        self._cast = cast
        self._safe = safe
        self._settled = settled
        self._judge = judge

    def explore(self, scenario: Scenario, states_max: int) -> Outcome:
        """Visits every state, or as many as may be."""
        outcome = Outcome(scenario.name)
        first = begin(scenario, self._cast)
        layer: dict[int, tuple[State, int]] = {first.key(): (first, 1)}
        came_from: dict[int, tuple[int, int]] = {}
        while layer:
            after: dict[int, tuple[State, int]] = {}
            for key, (state, count) in layer.items():
                outcome.states += 1
                now, possible = moves(state)
                path = (key, -1)
                try:
                    if not possible:
                        outcome.schedules += count
                        self._settled(scenario, state)
                    for number, move in enumerate(possible):
                        path = (key, number)
                        successor = take(now, move, self._cast)
                        if successor.world is not now.world:
                            self._safe(now.world, successor.world)
                        self._judge(now, move, successor)
                        outcome.steps += 1
                        its_key = successor.key()
                        if its_key in after:
                            seen, others = after[its_key]
                            after[its_key] = (seen, others + count)
                        elif its_key not in came_from:
                            came_from[its_key] = path
                            after[its_key] = (successor, count)
                except Violation as violation:
                    outcome.failure = str(violation)
                    outcome.path = _path(came_from, path)
                    return outcome
            layer = after
            if outcome.states > states_max:
                return outcome
        outcome.exhausted = True
        return outcome


def _path(came_from: dict[int, tuple[int, int]], last: tuple[int, int]) -> list[int]:
    path = []
    key, number = last
    while True:
        if number >= 0:
            path.append(number)
        if key not in came_from:
            return path[::-1]
        key, number = came_from[key]


def tell(scenario: Scenario, cast: Cast, path: list[int]) -> Iterator[tuple[Move, State, State]]:
    """Goes along a path again."""
    state = begin(scenario, cast)
    for number in path:
        now, possible = moves(state)
        state = take(now, possible[number], cast)
        yield possible[number], now, state
