"""One process's product, what is known of its actors, and the stories of what went wrong."""

from tests.proof.actors import Cast
from tests.proof.explorer import Explorer, Move, Outcome, State, tell
from tests.proof.invariants import Settled, safe
from tests.proof.observations import observed
from tests.proof.product import Product
from tests.proof.scenarios import Beginnings, scenario
from tests.proof.world import Violation, World


class Laboratory:
    """Explores scenarios by name."""

    def __init__(self) -> None:
        product = Product()
        self.cast = Cast(product)
        self._beginnings = Beginnings(product, self.cast)
        self._explorer = Explorer(self.cast, safe, Settled(self.cast), observed(product, self.cast).moved)

    def explore(self, name: str, states_max: int) -> Outcome:
        """What comes of a scenario."""
        try:
            one = scenario(name, self._beginnings)
        except Violation as violation:
            return Outcome(name, failure=f"while the beginning is prepared: {violation}")
        return self._explorer.explore(one, states_max)

    def begins(self, name: str) -> World:
        """The world that a scenario begins with."""
        return scenario(name, self._beginnings).world

    def story(self, outcome: Outcome) -> str:
        """A failure, told step by step, and the seed to tell it again."""
        told = self._tell(outcome.scenario, outcome.path) if outcome.path else outcome.scenario
        seed = f"{outcome.scenario}:{'.'.join(map(str, outcome.path))}"
        return f"\n{told}\n=> {outcome.failure}\n   again: python -m tests.proof --replay '{seed}'\n"

    def replay(self, seed: str) -> str:
        """The run that a seed stands for."""
        name, _, path = seed.partition(":")
        return self._tell(name, [int(number) for number in path.split(".") if number])

    def _tell(self, name: str, path: list[int]) -> str:
        one = scenario(name, self._beginnings)
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
