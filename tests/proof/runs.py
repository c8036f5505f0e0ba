"""Runs of product code: each asks for one step after the other, and goes on with its result."""

import dataclasses
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet

from tests.proof.world import Pause, Result, Step, World

# A script whose name has this reads the items of a batch in an order that follows from its name.
ANY_ORDER = "in any order"
# One whose name has this draws one id and one key: what it repeats has stored nothing, and it sends nothing again.
ONE_ID = "with one id"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True)
class Delivery:
    """A step's result, and when it came."""

    now_ms: int
    result: Result


class Alarm(NamedTuple):
    """A metric that an alarm of the template watches, and what was logged with it."""

    metric: str
    context: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str | None:
        """What its context says: its line, its invoice."""
        return dict(self.context).get(name)


class Run:
    """One run of product code, one strand for each thing it does at a time.

    It goes on to the first step of each strand whose answer was not given with it, and further with
    each that is delivered.
    """

    def __init__(self, name: str, now_ms: int, given: Mapping[int, Sequence[Delivery]]) -> None:
        self.name = name
        self.now_ms = self._began_ms = now_ms
        self.pending: dict[int, Step] = {}
        """What each strand waits for; none: it has ended."""
        self.alarms: list[Alarm] = []
        """Those that were raised so far."""
        self.answer: Any = None
        self.context: tuple[tuple[str, str], ...] = ()
        """What the newest alarm has logged."""
        self._given = {strand: iter(deliveries) for strand, deliveries in given.items()}
        self._strands: list[greenlet] = []
        self._caller = getcurrent()
        self._drawn = 0
        self._keys: dict[str, str] = {}

    def start(self, call: Callable[[], Any]) -> None:
        """Runs product code, as far as it comes."""

        def strand() -> None:
            self.answer = call()

        self._start_strand(strand)

    def deliver(self, strand: int, delivery: Delivery) -> None:
        """Goes on with an answer."""
        del self.pending[strand]
        self._enter(self._strands[strand], delivery)
        if not self.pending and not self._strands[0].dead:
            self._enter(self._strands[0])

    def give_up(self) -> None:
        """Ends each strand where it waits: one whose frames refer to its own run is never collected."""
        self.pending.clear()
        for strand in self._strands:
            if not strand.dead:
                self._enter(strand, thrown=True)
            assert strand.dead, "a run that is given up takes another step"

    def ask(self, step: Step) -> Result:
        """A step's result, as soon as it is delivered."""
        strand = self._strands.index(getcurrent())
        delivery: Delivery | None = next(self._given.get(strand, iter(())), None)
        if delivery is None:
            self.pending[strand] = step
            delivery = self._caller.switch()
        self.now_ms = delivery.now_ms
        return delivery.result

    @property
    def ended(self) -> bool:
        """Whether the first strand has its answer."""
        return self._strands[0].dead

    def beside(self, call: Callable[..., Any], *args: object) -> "Future[Any]":
        """Begins another strand."""
        future: Future[Any] = Future()

        def strand() -> None:
            try:
                future.set_result(call(*args))
            except Exception as error:  # noqa: BLE001 - it is the caller's, who asks for the result
                future.set_exception(error)

        self._start_strand(strand)
        return future

    @property
    def strands(self) -> "Sequence[greenlet]":
        """Each thing that it does at a time."""
        return self._strands

    def join(self) -> None:
        """Waits for the strands that were begun."""
        while self.pending:
            self._caller.switch()

    def _start_strand(self, strand: Callable[[], None]) -> None:
        begun = greenlet(strand)
        self._strands.append(begun)
        self._enter(begun)

    def _enter(self, strand: greenlet, *delivery: Delivery, thrown: bool = False) -> None:
        """Runs a strand until it asks, waits or ends; `thrown`: ends it."""
        global _current
        before, _current = _current, self
        caller, self._caller = self._caller, getcurrent()
        strand.parent = self._caller
        try:
            if thrown:
                strand.throw()
            else:
                strand.switch(*delivery)
        finally:
            _current, self._caller = before, caller

    def order_of(self, key: object) -> int:
        """When an item of a batch is read: in the batch's order, or in one that the name has drawn."""
        return zlib.crc32(f"{self.name} {key}".encode()) if ANY_ORDER in self.name else 0

    def draw(self) -> str:
        """A number that no other run draws, and that the same run draws again."""
        self._drawn = 1 if ONE_ID in self.name else self._drawn + 1
        return f"{zlib.crc32(self.name.encode()):08x}{self._drawn:04x}"

    def key(self, key: str | None) -> str | None:
        """The SDK draws keys of its own: named by their order, the same in every run."""
        if key is None or not _UUID.fullmatch(key):
            return key
        number = 0 if ONE_ID in self.name else len(self._keys)
        return self._keys.setdefault(key, f"{self.name}@{self._began_ms}/{number}")


class Alone(Run):
    """Product code that takes its steps at once, with nobody beside it."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world.now_ms, {})
        self.worlds = [world]
        """Before the first step, and after each."""
        self.steps: list[tuple[Step, Result, int]] = []
        """Each step with its result, and how many alarms were raised before it."""

    def ask(self, step: Step) -> Result:
        world = self.worlds[-1]
        world, result = step.apply(world.after(step.ms) if isinstance(step, Pause) else world)
        self.worlds.append(world)
        self.steps.append((step, result, len(self.alarms)))
        self.now_ms = world.now_ms
        return result


_current: Run | None = None


def current() -> Run:
    """The run that product code is called from."""
    assert _current is not None, "product code runs only inside of a run"
    return _current
