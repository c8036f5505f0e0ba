"""Two releases on the same items: one actor runs the previous release's functions, another the present one's.

A name marks what is of the previous release: in `previous:waiting/previous:create-A+poll` its items are as the previous
release wrote them, and it answers the create request; the poll is the present release's. The release that has not made
the beginning ends the run: the present one after a roll-out, the previous one after a roll-back.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product as combinations
from pathlib import Path

from tests.growth import trees
from tests.proof import mutants, scenarios
from tests.proof.actors import Call, Cast, Json, Lines, Script
from tests.proof.explorer import Outcome, Scenario, State
from tests.proof.invariants import Settled
from tests.proof.laboratory import Laboratory
from tests.proof.mutants import Mutant
from tests.proof.product import Product
from tests.proof.releases_peer import PREVIOUS, Peer, Unusable
from tests.proof.scenarios import scenario
from tests.proof.world import World


def previous(script: Script) -> Script:
    """The same, with the previous release's functions."""

    def lines() -> Lines:
        given, result = script.lines(), None
        while True:
            try:
                line = given.send(result)
            except StopIteration:
                return
            result = yield replace(line, release=PREVIOUS) if isinstance(line, Call) else line

    return Script(f"previous {script.name}", lines)


class RolledBack(Cast):
    """Plays everything with the previous release."""

    def play(
        self, script: Script, world: World, judge: Callable[[World, World], None] | None = None
    ) -> tuple[World, list[Json]]:
        return super().play(previous(script), world, judge)


class TwoReleases(Laboratory):
    """Explores scenarios of two releases."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        product = Product()
        product.handlers |= self._peer.handlers
        super().__init__(product)
        back = RolledBack(product)
        back.judge = self.cast.judge
        self._settled_back = Settled(back)
        self._made: dict[str, World] = {}

    def scenario(self, name: str) -> Scenario:
        beginning, _, actors = name.partition("/")
        one = scenario(name.replace(PREVIOUS, ""), self._beginnings)
        scripts = tuple(
            previous(script) if actor.startswith(PREVIOUS) else script
            for actor, script in zip(actors.split("+"), one.scripts, strict=True)
        )
        world = one.world
        if beginning.startswith(PREVIOUS):
            if beginning not in self._made:
                self._made[beginning] = self._peer.begins(one.name)
            world = self._made[beginning]
        return replace(one, name=name, world=world, scripts=scripts)

    def _settles(self, scenario: Scenario, state: State) -> None:
        rolled_out = scenario.name.startswith(PREVIOUS)
        (self._settled if rolled_out else self._settled_back)(scenario, state)

    def explore(self, name: str, states_max: int) -> Outcome:
        try:
            return super().explore(name, states_max)
        except Unusable as refusal:
            return Outcome(name, failure=str(refusal))


@contextmanager
def tree_of(release: str) -> Iterator[Path]:
    """The directory of a release: it is one, or it is committed; raises Unusable unless the proof can run it."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(release).absolute()
        if not (root / "layers").is_dir():
            root = _committed(release, Path(directory))
        peer = Peer(root)
        try:
            for beginning in scenarios.PAIRS:
                peer.begins(f"{beginning}/reconcile")
        except Unusable as refusal:
            raise Unusable(f"{release} is too old for this proof, or is no release: {refusal}") from None
        peer.close()
        yield root


def _committed(release: str, to: Path) -> Path:
    known = ["git", "rev-parse", "--verify", "--quiet", f"{release}^{{commit}}"]
    found = subprocess.run(known, cwd=trees.ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        raise Unusable(f"{release} is neither a commit nor a directory with a release")
    return trees.previous(to, found.stdout.strip()).path


# --- names ----------------------------------------------------------------------------------------

# Nothing of the product runs for them.
SILENT = ("pay-unheard", "write-off", "add-item", "part", "copy-unheard", "revise-unheard", "refund-unheard")


def mixes(name: str) -> Iterator[str]:
    """Every way in which two releases can share a pair's scenario, after a roll-out and after a roll-back."""
    beginning, _, pair = name.partition("/")
    actors = pair.split("+")
    ways = [("",) if actor in SILENT else ("", PREVIOUS) for actor in actors]
    seen = set[tuple[str, ...]]()
    for marks in combinations(*ways):
        marked = tuple(mark + actor for mark, actor in zip(marks, actors, strict=True))
        if tuple(sorted(marked)) not in seen:  # two of a kind are one another's mirror images
            seen.add(tuple(sorted(marked)))
            yield f"{PREVIOUS}{beginning}/{'+'.join(marked)}"
            yield f"{beginning}/{'+'.join(marked)}"


def names(*, full: bool) -> Iterator[str]:
    """The pairs, mixed; `full`: all of them, in every way."""
    pairs = [name for name in scenarios.names() if name.count("+") == 1]
    for name in pairs:
        yield from mixes(name)


def hunted(mutant: Mutant, states_max: int) -> Outcome:
    """Plants a break in the present release of this process, beside the same tree without it."""
    peer = Peer(trees.ROOT)
    mutants.plant(mutant)
    laboratory = TwoReleases(peer)
    [name] = mutant.scenarios
    return laboratory.explore(name, states_max)
