"""Who takes part in a scenario: scripts of handler calls and acts, and how far each has come.

A handler is a function of the answers it gets. So an actor's place is known by the answers it was
given so far, the step it takes next is found by running the real code on them, and each such run
is made once, however many interleavings lead there.
"""

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from tests.proof.memory_stripe import Reply
from tests.proof.memory_table import Answer
from tests.proof.product import Delivery, Product, Run, Suspended, run
from tests.proof.world import Act, Crash, Pause, Result, Step, World

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of a handler; the event is made when it begins."""

    function: str
    event: Callable[[int], Json]


Line = Call | Act | Pause
Lines = Generator[Line, Any, None]


@dataclass(frozen=True)
class Script:
    """What one actor does, from the beginning; scripts of one name are the same."""

    name: str
    lines: Callable[[], Lines]


class Context:
    """Lambda's, as far as handlers look at it."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


CRASHED: Json = {"statusCode": 500, "body": '{"message":"Internal Server Error"}', "crashed": True}


def digest_of(result: Result) -> int:
    """Tells results apart."""
    if isinstance(result, Answer):
        return hash((result.error, json.dumps(result.body, sort_keys=True)))
    if isinstance(result, Reply):
        return hash((result.status, result.body, result.headers))
    return hash(json.dumps(result, sort_keys=True) if isinstance(result, dict | list) else repr(result))


@dataclass(frozen=True)
class Given:
    """A result that was delivered, and what tells it apart."""

    digest: int
    delivery: Delivery


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """How far an actor has come: what it will ask next, and what its calls were answered."""

    script: Script
    key: int
    pending: dict[int, Step]
    """By strand; none: it has finished."""
    results: tuple[Given, ...]
    """Of the script's own lines."""
    answers: tuple[Json, ...] = ()
    """Those of them that handlers gave."""
    began_ms: int = 0
    """When the call that it is in began."""
    deliveries: dict[int, tuple[Given, ...]] | None = None
    """Of the call that it is in, by strand; None between calls."""
    known: dict[tuple[int, int, int], "Place"] = field(default_factory=dict)
    """Where results have led to already."""

    @property
    def finished(self) -> bool:
        return not self.pending


class Cast:
    """Runs the product for all actors of a process, each piece once."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._starts: dict[tuple[str, int], Place] = {}
        self.runs = 0
        """How often a handler was run."""

    def start(self, script: Script, now_ms: int) -> Place:
        """The actor before its first step."""
        place = self._starts.get((script.name, now_ms))
        if place is None:
            place = self._starts[script.name, now_ms] = self._go_on(script, now_ms, (), ())
        return place

    def deliver(self, place: Place, strand: int, result: Result, now_ms: int) -> Place:
        """The actor after this result."""
        given = Given(digest_of(result), Delivery(now_ms, result))
        known = (strand, given.digest, now_ms)
        after = place.known.get(known)
        if after is None:
            after = place.known[known] = self._advance(place, strand, given)
        return after

    def _advance(self, place: Place, strand: int, given: Given) -> Place:
        now_ms = given.delivery.now_ms
        if place.deliveries is None:
            return self._go_on(place.script, now_ms, (*place.results, given), place.answers)
        deliveries = {**place.deliveries, strand: (*place.deliveries.get(strand, ()), given)}
        return self._go_on(place.script, now_ms, place.results, place.answers, place.began_ms, deliveries)

    def _go_on(  # noqa: PLR0913 - what a place is made of
        self,
        script: Script,
        now_ms: int,
        results: tuple[Given, ...],
        answers: tuple[Json, ...],
        began_ms: int | None = None,
        deliveries: dict[int, tuple[Given, ...]] | None = None,
    ) -> Place:
        """The next step of the line that comes after these results."""
        line = _line(script, results)
        if line is None:
            key = hash((script.name, json.dumps(answers, sort_keys=True)))
            return Place(script, key, {}, results, answers)
        key = hash((script.name, tuple(given.digest for given in results)))
        if not isinstance(line, Call):
            return Place(script, key, {0: line}, results, answers)
        began_ms, deliveries = began_ms or now_ms, deliveries or {}
        answer = self._call(line, f"{script.name}/{len(results)}", began_ms, deliveries)
        if isinstance(answer, Run):
            given = tuple(
                (strand, one.digest, one.delivery.now_ms) for strand in sorted(deliveries) for one in deliveries[strand]
            )
            return Place(
                script, hash((key, began_ms, given)), answer.pending, results, answers, began_ms, deliveries
            )
        results = (*results, Given(digest_of(answer), Delivery(now_ms, answer)))
        return self._go_on(script, now_ms, results, (*answers, answer))

    def _call(
        self, line: Call, name: str, began_ms: int, deliveries: dict[int, tuple[Given, ...]]
    ) -> Json | Run:
        """Runs the handler on what was delivered: its answer, or the run that has stopped at its next step."""
        self.runs += 1
        given = {strand: [one.delivery for one in some] for strand, some in deliveries.items()}
        run_ = Run(name, began_ms, given)
        try:
            return self._answer(line, run_)
        except Suspended:
            return run_
        except Crash:
            return CRASHED
        except Exception as error:  # noqa: BLE001 - no client waits for this handler: Lambda takes note of the error
            return {"raised": repr(error), "crashed": True}

    def _answer(self, line: Call, run_: Run) -> Json:
        event = line.event(run_.now_ms)
        answer = run(run_, lambda: self._product.handlers[line.function](event, Context()))
        answer = answer if isinstance(answer, dict) else {"answer": answer}
        key = (event.get("headers") or {}).get("idempotency-key")
        return answer | {"key": key} if key else answer

    def play(self, script: Script, world: World) -> tuple[World, list[Json]]:
        """The whole script at once, with nobody beside it."""
        results: list[Given] = []
        answers: list[Json] = []
        while (line := _line(script, tuple(results))) is not None:
            if isinstance(line, Call):
                alone = _Alone(f"{script.name}/{len(results)}", world)
                self.runs += 1
                result = self._answer(line, alone)
                answers.append(result)
                world = alone.world
            else:
                world, result = line.apply(world)
            results.append(Given(0, Delivery(world.now_ms, result)))
        return world, answers


class _Alone(Run):
    """A run that takes its steps itself."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world.now_ms, {})
        self.world = world

    def ask(self, step: Step) -> Result:
        if isinstance(step, Pause):
            self.world = self.world.after(step.ms)
        self.world, result = step.apply(self.world)
        self.now_ms = self.world.now_ms
        return result


def _line(script: Script, results: tuple[Given, ...]) -> Line | None:
    """What the script does once it has these results; None at its end."""
    lines = script.lines()
    try:
        line = next(lines)
        for given in results:
            line = lines.send(given.delivery.result)
    except StopIteration:
        return None
    return line
