"""The previous release in a process of its own, called step by step.

A call of it runs here as one of the present release would: this process asks for its steps and delivers their results.
So the explorer takes, breaks and shares them like any other.
"""

import itertools
import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from tests.proof.actors import Context, Json
from tests.proof.explorer import Outcome
from tests.proof.product import COMMANDS, FUNCTIONS, Product
from tests.proof.runs import Alarm, Delivery, Run, current
from tests.proof.world import Step, World

PREVIOUS = "previous:"


class Unusable(BaseException):
    """The previous release does not run on the proof's ground: nothing that the product may catch."""


class Raised(Exception):
    """What a function of the previous release has raised."""

    def __repr__(self) -> str:
        return str(self)


class Stand(NamedTuple):
    """How far a call has come in the other process."""

    pending: dict[int, Step]
    strands: int
    """How many it has begun."""
    alarms: list[Alarm]
    """Those raised since the last time."""
    ended: bool
    answer: Any
    raised: str | None


class Peer:
    """The previous release, as handlers of the present process; made before the product is imported here."""

    def __init__(self, root: Path) -> None:
        self._channel, theirs = multiprocessing.Pipe()
        # A worker of a pool may have no children by `multiprocessing`. The child ends with the channel.
        self._process_id = os.fork()
        if self._process_id == 0:
            try:
                self._channel.close()
                _serve(theirs, root)
            finally:
                os._exit(0)
        theirs.close()
        self._numbers = itertools.count()
        self._dropped: list[int] = []
        self._take()

    @property
    def handlers(self) -> dict[str, Callable[[Any, Any], Any]]:
        """Its functions and commands, under their names with the prefix `previous:`."""
        return {f"{PREVIOUS}{name}": partial(self._handle, name) for name in (*FUNCTIONS, *COMMANDS)}

    def begins(self, name: str) -> World:
        """A beginning as the previous release makes it."""
        world: World = self.ask("begins", name)
        return world

    def explore(self, name: str, states_max: int) -> Outcome:
        """What comes of a scenario with the previous release alone."""
        outcome: Outcome = self.ask("explore", name, states_max)
        return outcome

    def close(self) -> None:
        """Ends the other process."""
        self._channel.close()
        os.waitpid(self._process_id, 0)

    def ask(self, *request: Any) -> Any:  # noqa: ANN401 - what each request is answered
        """Asks the other process; raises Unusable when it cannot do it."""
        dropped, self._dropped = self._dropped, []
        self._channel.send((dropped, request))
        return self._take()

    def _take(self) -> Any:  # noqa: ANN401 - what each request is answered
        good, answer = self._channel.recv()
        if not good:
            raise Unusable(answer)
        return answer

    def drop(self, number: int) -> None:
        """Forgets a call that nobody goes on with; told with the next request, for this may come at any moment."""
        self._dropped.append(number)

    def _handle(self, function: str, event: Json, _context: object) -> Any:  # noqa: ANN401 - a handler's answer
        return _Call(self, next(self._numbers), function, event).follow()


class _Call:
    """One call of the previous release, in step with the run that it is made in."""

    def __init__(self, peer: Peer, number: int, function: str, event: Json) -> None:
        self._peer, self._number = peer, number
        self._strands = 1
        run = current()
        self._stand: Stand = peer.ask("begin", number, function, event, run.name, run.now_ms)

    def __del__(self) -> None:
        self._peer.drop(self._number)

    def follow(self) -> Any:  # noqa: ANN401 - a handler's answer
        """Takes its steps until it has answered."""
        self._arrive()
        self._follow(0)
        while not self._stand.ended:
            current().join()
            self._follow(0)
        if self._stand.raised is not None:
            raise Raised(self._stand.raised)
        return self._stand.answer

    def _follow(self, strand: int) -> None:
        while (step := self._stand.pending.get(strand)) is not None:
            result = current().ask(step)
            delivery = Delivery(current().now_ms, result)
            self._stand = self._peer.ask("deliver", self._number, strand, delivery)
            self._arrive()

    def _arrive(self) -> None:
        """Its new alarms are raised here, and its new strands begun."""
        current().alarms += self._stand.alarms
        # Noted first: one that has its results already comes here again.
        begun, self._strands = self._strands, self._stand.strands
        for strand in range(begun, self._strands):
            current().beside(partial(self._follow, strand))


# --- the other process ----------------------------------------------------------------------------


def _serve(channel: Connection, root: Path) -> None:
    server: _Server | None = None
    dropped, request = list[int](), ("start",)
    while True:
        try:
            server = server or _Server(root)
            for number in dropped:
                server.calls.pop(number, None)
            channel.send((True, server.answer(*request)))
        except Exception as error:  # noqa: BLE001 - told to the other process
            # An assert says by itself what the product lacks.
            told = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            channel.send((False, told))
        try:
            dropped, request = channel.recv()
        except EOFError:
            return


class _Server:
    """Runs the calls of the previous release as far as they come."""

    def __init__(self, root: Path) -> None:
        from tests.proof.laboratory import Laboratory

        self._product = Product(root)
        self._laboratory = Laboratory(self._product)
        self.calls: dict[int, tuple[Run, int]] = {}
        """Each run with the number of its alarms that were told."""

    def answer(self, what: str, *arguments: Any) -> Any:  # noqa: ANN401 - of every kind
        requests: Mapping[str, Callable[..., Any]] = {
            "start": lambda: None,
            "begin": self._start,
            "deliver": self._deliver,
            "begins": self._laboratory.begins,
            "explore": self._laboratory.explore,
        }
        return requests[what](*arguments)

    def _start(self, number: int, function: str, event: Json, name: str, now_ms: int) -> Stand:
        def handle() -> tuple[Any, str | None]:
            try:
                return self._product.handlers[function](event, Context()), None
            except Exception as error:  # noqa: BLE001 - its caller raises it again
                return None, repr(error)

        run = Run(name, now_ms, {})
        self.calls[number] = run, 0
        run.start(handle)
        return self._stand(number)

    def _deliver(self, number: int, strand: int, delivery: Delivery) -> Stand:
        self.calls[number][0].deliver(strand, delivery)
        return self._stand(number)

    def _stand(self, number: int) -> Stand:
        run, told = self.calls[number]
        self.calls[number] = run, len(run.alarms)
        ended = run.ended
        answer, raised = run.answer if ended else (None, None)
        return Stand(dict(run.pending), len(run.strands), run.alarms[told:], ended, answer, raised)
