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
from typing import NamedTuple

from tests.growth import trees
from tests.proof import mutants, scenarios
from tests.proof.actors import Call, Cast, Json, Lines, Script
from tests.proof.explorer import Outcome, Scenario, State
from tests.proof.laboratory import Laboratory
from tests.proof.mutants import Mutant
from tests.proof.product import Product
from tests.proof.releases_peer import PREVIOUS, Peer, Unusable
from tests.proof.scenarios import scenario
from tests.proof.settled import Settled
from tests.proof.world import Violation, World

# The end of a name: its actors meet each other, and no fault.
FAULTLESS = " without a fault"
# Nothing of the product runs for them.
SILENT = ("pay-unheard", "write-off", "add-item", "part", "copy-unheard", "revise-unheard", "refund-unheard")
# Two of these take the longest.
LONG = {"reconcile", "upgrade", "end", "switch", "insistent-A"}
# With one fault also by default: each writes or reads what another one relies on.
FAULTY = (
    "room/create-A+create-A",
    "room/create-A+end",
    "full/create-A+poll",
    "full/create-A+pay-unheard",
    "waiting/create-A+pay",
    "waiting/poll+pay",
    "waiting/cancel+pay",
    "waiting/payment_link+pay",
    "provisioning/provisioned+not-provisioned",
    "provisioning/provisioned+stream-doubled",
    "provisioning/not-provisioned+create-A",
    "failed/release+refund-by-hand",
    "released/refund+refund-by-hand",
    "touched/copy+poll",
    "renewed/pay+poll",
)


class Release(NamedTuple):
    """The previous release."""

    name: str
    root: Path
    same: frozenset[str]
    """The beginnings that the present release makes exactly as it does."""


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

    return replace(script, name=f"previous {script.name}", lines=lines)


class RolledBack(Cast):
    """Plays everything with the previous release."""

    def play(
        self, script: Script, world: World, judge: Callable[[World, World], None] | None = None
    ) -> tuple[World, list[Json]]:
        return super().play(previous(script), world, judge)


class TwoReleases(Laboratory):
    """Explores scenarios of two releases."""

    def __init__(self, release: Release, peer: Peer | None = None) -> None:
        self._release = release
        self._peer = peer or Peer(release.root)
        product = Product()
        product.handlers |= self._peer.handlers
        super().__init__(product)
        back = RolledBack(product)
        back.judge = self.cast.judge
        self._settled_back = Settled(back)
        self._made: dict[str, World] = {}
        self._alone: dict[str, str | None] = {}
        self.command += f" --previous {release.name}"

    def scenario(self, name: str) -> Scenario:
        beginning, _, actors = name.removesuffix(FAULTLESS).partition("/")
        one = scenario(plain(name), self._beginnings)
        scripts = tuple(
            previous(script) if actor.startswith(PREVIOUS) else script
            for actor, script in zip(actors.split("+"), one.scripts, strict=True)
        )
        world = one.world
        if beginning.startswith(PREVIOUS) and beginning.removeprefix(PREVIOUS) not in self._release.same:
            if beginning not in self._made:
                self._made[beginning] = self._peer.begins(one.name)
            world = self._made[beginning]
        faults_max = 0 if name.endswith(FAULTLESS) else one.faults_max
        return replace(one, name=name, world=world, scripts=scripts, faults_max=faults_max)

    def explore(self, name: str, states_max: int) -> Outcome:
        try:
            outcome = super().explore(name, states_max)
            alone = self._fails_alone(name, states_max) if outcome.failure else None
            outcome.excuse = f"fails with the previous release alone, too: {alone}" if alone else None
        except Unusable as refusal:
            return Outcome(name, failure=str(refusal))
        return outcome

    def _fails_alone(self, name: str, states_max: int) -> str | None:
        """What the previous release breaks in this scenario with nothing of the present one beside it."""
        if plain(name) not in self._alone:
            self._alone[plain(name)] = self._peer.explore(plain(name), states_max).failure
        return self._alone[plain(name)]

    def _settles(self, scenario: Scenario, state: State) -> None:
        beginning = scenario.name.partition("/")[0]
        if beginning.startswith(PREVIOUS):
            self._settled(scenario, state)
            if beginning.removeprefix(PREVIOUS) not in self._release.same:
                return
        try:
            self._settled_back(scenario, state)
        except Violation as violation:
            raise Violation(f"after a roll-back: {violation}") from None


def plain(name: str) -> str:
    """The scenario of one release that a name is a mix of."""
    return name.replace(PREVIOUS, "").removesuffix(FAULTLESS)


# --- trees ----------------------------------------------------------------------------------------


@contextmanager
def release_of(name: str) -> Iterator[Release]:
    """A release by its directory or its commit; raises Unusable unless the proof can run it."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(name).absolute()
        if not (root / "layers").is_dir():
            root = _committed(name, Path(directory))
        try:
            made = _beginnings(root)
        except Unusable as refusal:
            raise Unusable(f"{name} is too old for this proof: {refusal}") from None
        present = _beginnings(trees.ROOT)
        yield Release(name, root, frozenset(one for one in made if made[one] == present[one]))


def _committed(release: str, to: Path) -> Path:
    known = ["git", "rev-parse", "--verify", "--quiet", f"{release}^{{commit}}"]
    found = subprocess.run(known, cwd=trees.ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        raise Unusable(f"{release} is neither a commit nor a directory with a release")
    return trees.previous(to, found.stdout.strip()).path


def _beginnings(root: Path) -> dict[str, int]:
    """What tells a release's beginnings apart from another's."""
    peer = Peer(root)
    made = {name: peer.begins(f"{name}/reconcile").digest for name in scenarios.PAIRS}
    peer.close()
    return made


# --- names ----------------------------------------------------------------------------------------


def mixes(name: str) -> Iterator[str]:
    """Every way in which two releases can share the actors of a pair."""
    beginning, _, pair = name.partition("/")
    actors = pair.split("+")
    ways = [("",) if actor in SILENT else ("", PREVIOUS) for actor in actors]
    seen = set[tuple[str, ...]]()
    for marks in combinations(*ways):
        marked = tuple(mark + actor for mark, actor in zip(marks, actors, strict=True))
        if tuple(sorted(marked)) not in seen:  # two of a kind are one another's mirror images
            seen.add(tuple(sorted(marked)))
            yield f"{beginning}/{'+'.join(marked)}"


def names(same: frozenset[str], *, full: bool) -> Iterator[str]:
    """The pairs, mixed; `full`: all, in every way, with a fault, and rolled back unless a run stands for both already.

    Else what is short: one function of each release after a roll-out, with a fault in `FAULTY`.
    """
    for name in scenarios.names():
        beginning, _, pair = name.partition("/")
        if pair.count("+") != 1:
            continue
        for mix in mixes(name):
            if full:
                yield from (PREVIOUS + mix, mix)[: 1 if beginning in same else 2]
            elif mix.count(PREVIOUS) == 1 and not _long(beginning, set(pair.split("+"))):
                yield PREVIOUS + mix + ("" if name in FAULTY else FAULTLESS)


def _long(beginning: str, actors: set[str]) -> bool:
    return actors <= LONG or (beginning == "refusing" and "insistent-A" in actors)


def hunted(mutant: Mutant, states_max: int, *, tell: bool) -> str:
    """Plants a break in the present release, beside the same tree without it; what gave it away, or nothing."""
    peer = Peer(trees.ROOT)
    mutants.plant(mutant)
    laboratory = TwoReleases(Release(".", trees.ROOT, frozenset()), peer)
    [name] = mutant.scenarios
    outcome = laboratory.explore(name, states_max)
    if not outcome.failure or outcome.excuse:
        return ""
    return laboratory.story(outcome) if tell else f"{name}: {outcome.failure}"
