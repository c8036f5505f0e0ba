"""Who takes part in a scenario: scripts of handler calls and acts, and how far each has come.

A handler is a function of the answers it gets. So an actor's place is known by the answers it was
given so far, the step it takes next is found by running the real code on them, and each such run
is made once, however many interleavings lead there.
"""

import json
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

from tests.proof.memory_stripe import Reply
from tests.proof.memory_table import Answer
from tests.proof.product import Product
from tests.proof.runs import Alarm, Alone, Delivery, Run
from tests.proof.tenants import tenant
from tests.proof.world import Act, Crash, Pause, Result, Step, Stripe, Violation, World

Json = dict[str, Any]

RUNS_KEPT = 4_000  # each is a stack of some ten kilobytes; one that is given up can be made again


@dataclass(frozen=True)
class Call:
    """A call of a handler; the event is made when it begins."""

    function: str
    event: Callable[[int], Json]
    release: str = ""
    """Whose function it is: empty, or a prefix of the product's handlers."""


Line = Call | Act | Pause
Lines = Generator[Line, Any, None]


@dataclass(frozen=True)
class Script:
    """What one actor does, from the beginning; scripts of one name are the same."""

    name: str
    lines: Callable[[], Lines]
    skew_ms: int = 0
    """How far the clock of its functions is ahead of the world's."""


class Context:
    """Lambda's, as far as handlers look at it."""

    function_name = invoked_function_arn = aws_request_id = "proof"
    memory_limit_in_mb = 1024

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Taken(NamedTuple):
    """A step of a call, with its result, and those before it."""

    before: "Taken | None"
    step: Step
    result: Result
    now_ms: int


@dataclass(frozen=True, eq=False)
class Ended:
    """A call of a handler, from its event to its answer."""

    call: Call
    began_ms: int
    last: Taken | None
    alarms: tuple[Alarm, ...]
    answer: Json


CRASHED: Json = {"statusCode": 500, "body": '{"message":"Internal Server Error"}', "crashed": True}


def digest_of(result: Result) -> int:
    """Tells results apart."""
    if isinstance(result, Answer):
        if result.content is not None:
            return hash((result.error, result.content))
        return hash((result.error, json.dumps(result.body, sort_keys=True)))
    if isinstance(result, Reply):
        return hash((result.status, result.body, result.headers))
    return hash(json.dumps(result, sort_keys=True) if isinstance(result, dict | list) else repr(result))


@dataclass(frozen=True)
class Given:
    """A result that was delivered, and what tells it apart."""

    digest: int
    delivery: Delivery


@dataclass(eq=False, slots=True)
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
    unchecked: bool = False
    """Whether it holds a draft that Stripe has only repeated, and may be another by now."""
    call: Call | None = None
    """The call that it is in."""
    last: Taken | None = None
    """The newest step of that call."""
    alarms: tuple[Alarm, ...] = ()
    """Those that this call has raised."""
    ends: tuple[Ended, ...] = ()
    """The calls that were answered."""
    run: Run | None = None
    """The run that has come here, to go on with once."""
    known: dict[tuple[int, int, int], "Place"] = field(default_factory=dict)
    """Where results have led to already."""

    @property
    def finished(self) -> bool:
        return not self.pending

    def give_up_run(self) -> None:
        """Gives its run up; going on from here makes another."""
        if self.run is not None:
            self.run.give_up()
            self.run = None


class Cast:
    """Runs the product for all actors of a process, each piece once."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._starts: dict[tuple[str, int], Place] = {}
        self._waiting: deque[Place] = deque()
        self.runs = 0
        """How often a handler was run."""
        self.raised: list[Alarm] = []
        """The alarms of what was played last."""
        self.judge: Callable[[Alone, Ended], None] | None = None
        """Judges each call that is played."""

    def start(self, script: Script, now_ms: int) -> Place:
        """The actor before its first step."""
        place = self._starts.get((script.name, now_ms))
        if place is None:
            place = self._starts[script.name, now_ms] = self._go_on(script, now_ms, (), None)
        return place

    def places(self) -> list[Place]:
        """Every place that an actor has come to."""
        found, left = list[Place](), [*self._starts.values()]
        while left:
            place = left.pop()
            found.append(place)
            left += place.known.values()
        return found

    def deliver(self, place: Place, strand: int, result: Result, now_ms: int) -> Place:
        """The actor after this result."""
        given = Given(digest_of(result), Delivery(now_ms, result))
        known = (strand, given.digest, now_ms)
        after = place.known.get(known)
        if after is None:
            after = place.known[known] = self._advance(place, strand, given)
        return after

    def _advance(self, place: Place, strand: int, given: Given) -> Place:
        script, now_ms = place.script, given.delivery.now_ms
        if place.deliveries is None:
            return self._go_on(script, now_ms, (*place.results, given), place)
        if given.delivery.result is Crash:
            return self._answered(place, CRASHED, now_ms)
        deliveries = {**place.deliveries, strand: (*place.deliveries.get(strand, ()), given)}
        run, place.run = place.run, None
        if run is not None:
            run.deliver(strand, given.delivery)
        else:
            line = _line(script, place.results)
            assert isinstance(line, Call)
            run = self._call(line, _run_name(script, place.results), place.began_ms, deliveries)
        unchecked = _unchecked(place.unchecked, place.pending[strand], given.delivery.result)
        after = replace(
            place,
            pending=dict(run.pending),
            deliveries=deliveries,
            unchecked=unchecked,
            run=run,
            known={},
            last=Taken(place.last, place.pending[strand], given.delivery.result, now_ms),
            alarms=tuple(run.alarms),
        )
        if unchecked and any(isinstance(step, Stripe) and step.writes for step in run.pending.values()):
            raise Violation("a draft that Stripe has only repeated is believed, without another look")
        return self._paused(after) if run.pending else self._answered(after, run.answer, now_ms)

    def _go_on(self, script: Script, now_ms: int, results: tuple[Given, ...], before: Place | None) -> Place:
        """The first step of the line that comes after these results."""
        line = _line(script, results)
        answers, ends = (before.answers, before.ends) if before else ((), ())
        if line is None:
            key = hash((script.name, json.dumps(answers, sort_keys=True)))
            return Place(script, key, {}, results, answers, ends=ends)
        key = hash((script.name, tuple(given.digest for given in results)))
        if not isinstance(line, Call):
            return Place(script, key, {0: line}, results, answers, ends=ends)
        run = self._call(line, _run_name(script, results), now_ms, {})
        begun = Place(script, key, dict(run.pending), results, answers, now_ms, {}, run=run, call=line, ends=ends)
        begun.alarms = tuple(run.alarms)
        return self._paused(begun) if run.pending else self._answered(begun, run.answer, now_ms)

    def _paused(self, place: Place) -> Place:
        """A place inside of a call; only so many runs are kept to go on with."""
        deliveries = place.deliveries or {}
        given = tuple(
            (strand, one.digest, one.delivery.now_ms) for strand in sorted(deliveries) for one in deliveries[strand]
        )
        line = tuple(one.digest for one in place.results)
        place.key = hash((place.script.name, line, place.began_ms, given))
        self._waiting.append(place)
        if len(self._waiting) > RUNS_KEPT:
            self._waiting.popleft().give_up_run()
        return place

    def _answered(self, place: Place, answer: Json, now_ms: int) -> Place:
        results = (*place.results, Given(digest_of(answer), Delivery(now_ms, answer)))
        assert place.call is not None
        end = Ended(place.call, place.began_ms, place.last, place.alarms, answer)
        answered = replace(place, answers=(*place.answers, answer), ends=(*place.ends, end))
        return self._go_on(place.script, now_ms, results, answered)

    def _call(self, line: Call, name: str, began_ms: int, deliveries: dict[int, tuple[Given, ...]]) -> Run:
        """Runs the handler on what was delivered, until it waits for more or answers."""
        given = {strand: [one.delivery for one in some] for strand, some in deliveries.items()}
        run = Run(name, began_ms, given)
        run.start(self._handling(line, began_ms))
        return run

    def _handling(self, line: Call, now_ms: int) -> Callable[[], Json]:
        event = line.event(now_ms)
        key = (event.get("headers") or {}).get("idempotency-key")
        self.runs += 1

        def handle() -> Json:
            try:
                answer = self._product.handlers[line.release + line.function](event, Context())
            except Exception as error:  # noqa: BLE001 - no client waits for it: Lambda takes note of the error
                return {"raised": repr(error), "crashed": True}
            answer = answer if isinstance(answer, dict) else {"answer": answer}
            return answer | {"key": key} if key else answer

        return handle

    def play(
        self, script: Script, world: World, judge: Callable[[World, World], None] | None = None
    ) -> tuple[World, list[Json]]:
        """The whole script at once, with nobody beside it; every step is judged by what it changes."""
        results: list[Given] = []
        answers: list[Json] = []
        self.raised = []
        while (line := _line(script, tuple(results))) is not None:
            if isinstance(line, Call):
                alone = Alone(_run_name(script, results), world)
                alone.start(self._handling(line, world.now_ms))
                worlds, result = alone.worlds, alone.answer
                answers.append(result)
                self.raised += alone.alarms
                if self.judge is not None:
                    self.judge(alone, _ended(line, alone))
            else:
                after, result = line.apply(world)
                worlds = [world, after]
            if judge is not None:
                for before, after in pairwise(worlds):
                    judge(before, after)
            world = worlds[-1]
            results.append(Given(0, Delivery(world.now_ms, result)))
        return world, answers


def _ended(call: Call, alone: Alone) -> Ended:
    last: Taken | None = None
    for step, result, _ in alone.steps:
        last = Taken(last, step, result, alone.now_ms)
    return Ended(call, alone.worlds[0].now_ms, last, tuple(alone.alarms), alone.answer)


def _unchecked(before: bool, step: Step, result: Result) -> bool:  # noqa: FBT001 - a state, not an option
    """Whether an invoice is to be looked at before the next step with it."""
    if not isinstance(step, Stripe) or not isinstance(result, Reply):
        return before
    return step.writes and (before or (step.path == "/v1/invoices" and result.status == 200 and bool(result.headers)))


def _run_name(script: Script, results: Sequence[Given]) -> str:
    return f"{tenant().tag}{script.name}/{len(results)}"


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
