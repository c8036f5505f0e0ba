"""One process's product, what is known of its actors, and the stories of what went wrong."""

from tests.proof.actors import Cast
from tests.proof.explorer import Explorer, Move, Outcome, Scenario, State, tell
from tests.proof.invariants import safe
from tests.proof.observations import observed
from tests.proof.prepared import Beginnings
from tests.proof.product import Product
from tests.proof.scenarios import scenario
from tests.proof.settled import Settled
from tests.proof.world import Violation, World


class Laboratory:
    """Explores scenarios by name."""

    command = "python -m tests.proof"
    """What tells a failure again."""

    def __init__(self, product: Product | None = None) -> None:
        product = product or Product()
        self.cast = Cast(product)
        self._beginnings = Beginnings(product, self.cast)
        self._settled = Settled(self.cast)
        self._explorer = Explorer(self.cast, safe, self._settles, observed(product, self.cast).moved)

    def scenario(self, name: str) -> Scenario:
        """The scenario of that name."""
        return scenario(name, self._beginnings)

    def _settles(self, scenario: Scenario, state: State) -> None:
        self._settled(scenario, state)

    def explore(self, name: str, states_max: int) -> Outcome:
        """What comes of a scenario."""
        try:
            one = self.scenario(name)
        except Violation as violation:
            return Outcome(name, failure=f"while the beginning is prepared: {violation}")
        return self._explorer.explore(one, states_max)

    def begins(self, name: str) -> World:
        """The world that a scenario begins with."""
        return self.scenario(name).world

    def story(self, outcome: Outcome) -> str:
        """A failure, told step by step, and the seed to tell it again."""
        told = self._tell(outcome.scenario, outcome.path) if outcome.path else outcome.scenario
        seed = f"{outcome.scenario}:{'.'.join(map(str, outcome.path))}"
        return f"\n{told}\n=> {outcome.failure}\n   again: {self.command} --replay '{seed}'\n"

    def replay(self, seed: str) -> str:
        """The run that a seed stands for."""
        name, _, path = seed.rpartition(":")
        return self._tell(name, [int(number) for number in path.split(".") if number])

    def _tell(self, name: str, path: list[int]) -> str:
        one = self.scenario(name)
        lines = [f"{name}, {len(path)} steps"]
        try:
            for number, (move, before, after) in enumerate(tell(one, self.cast, path), 1):
                lines += step_lines(number, move, before, after)
        except Violation as violation:
            lines.append(f"      {violation}")
        return "\n".join(lines)


def step_lines(number: int, move: Move, before: State, after: State) -> list[str]:
    """One step of a story, and what it made a handler answer."""
    return [f"{number:4}  {_who(move, before)}: {move.step}{_fault(move)}", *_answers(move, before, after)]


def _who(move: Move, state: State) -> str:
    return state.slots[move.actor].place.script.name.partition(" place ")[0]


def _fault(move: Move) -> str:
    return f"   <-- {move.fault}" if move.fault else ""


def _answers(move: Move, before: State, after: State) -> list[str]:
    """What a handler has answered with this step."""
    known, now = before.slots[move.actor].place.answers, after.slots[move.actor].place.answers
    return [
        f"        answered {answer.get('statusCode', '')} {answer.get('body', answer)}" for answer in now[len(known) :]
    ]
