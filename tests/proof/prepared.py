"""The worlds that scenarios begin with."""

from dataclasses import replace

from tests.proof import beginnings, observed, people, restores, stage
from tests.proof.actors import Cast
from tests.proof.explorer import Scenario, State, begin, moves, take
from tests.proof.invariants import RESTORED
from tests.proof.product import Product
from tests.proof.world import Stripe, World

HOUR_MS = 3_600_000
# Beginnings that are played from an empty world.
PLAYED = {
    "full": beginnings.full,
    "waiting": beginnings.waiting,
    "touched": beginnings.waiting,
    "provisioning": beginnings.provisioning,
    "unvoidable": beginnings.unvoidable,
    "renewed": beginnings.renewed,
    "failed": beginnings.failed_line,
    "released": beginnings.released_line,
    "late": beginnings.paid_after_cancel,
    "canceled": observed.canceled,
}


class Beginnings:
    """By name, made when they are first asked for."""

    def __init__(self, product: Product, cast: Cast) -> None:
        self._product = product
        self._cast = cast
        self._made: dict[str, World] = {}

    def __getitem__(self, name: str) -> World:
        if name not in self._made:
            restored = name.startswith(RESTORED)
            world = self._restored(name.removeprefix(RESTORED)) if restored else self._make(name)
            # But for long histories, which begin with nothing at all.
            world = world if name == "fresh" else beginnings.busy(self._cast, world)
            # A stale index shows what it showed when the scenario began.
            self._made[name] = replace(world, stream={}, indexed=world.table)
        return self._made[name]

    def _make(self, name: str) -> World:
        empty = beginnings.empty(self._product)
        beginning, _, made = name.partition("-")
        if beginning in PLAYED:
            return PLAYED[beginning](self._cast, empty)
        match beginning:
            case "room" | "fresh":
                return empty
            case "capped":
                return self._capped(empty)
            case "old":
                return self._half_made(empty, {"asked": 0, "draft": 1, "item": 2, "final": 3}[made])
            case "missing":
                world = beginnings.waiting(self._cast, empty)
                return replace(world, stripe=replace(world.stripe, invoices={}))
            case "refusing":
                world = beginnings.full(self._cast, empty)
                return replace(world, stripe=replace(world.stripe, refusing="/v1/invoiceitems"))
        raise KeyError(name)

    def _restored(self, name: str) -> World:
        return restores.restored(self._cast, beginnings.empty(self._product), name)

    def _capped(self, empty: World) -> World:
        """A paid line holds one of two places, and a new plan includes two."""
        world = beginnings.with_plans(self._product, empty, included=0)
        world = beginnings.played(self._cast, world, [stage.create(), people.pay()])
        world = beginnings.played(self._cast, beginnings.drain_stream(self._cast, world), [stage.provision()])
        return beginnings.with_plans(self._product, beginnings.settled(self._cast, world), included=2, cap=2)

    def _half_made(self, empty: World, posts: int) -> World:
        """A request of key A that crashed a day ago, after so many of Stripe's steps."""
        state = begin(Scenario("", beginnings.full(self._cast, empty), (stage.create("A"),)), self._cast)
        while not state.faults:
            state, posts = self._towards(state, posts)
        return beginnings.drain_stream(self._cast, state.world.after(25 * HOUR_MS))

    def _towards(self, state: State, posts: int) -> tuple[State, int]:
        now, possible = moves(state)
        step = possible[0].step
        at_stripe = isinstance(step, Stripe) and step.writes
        transaction = "TransactWriteItems" in str(step)
        crash = (posts == 0 and transaction) or (posts == 1 and at_stripe)
        wanted = "the function crashes after it" if crash else None
        move = next(move for move in possible if move.fault == wanted)
        return take(now, move, self._cast), posts - at_stripe
