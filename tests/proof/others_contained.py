"""Whether the constructed worlds are enough: every world that exhaustive scenarios reach has to be one of them."""

from typing import NamedTuple

from tests.proof import scenarios
from tests.proof.explorer import Explorer
from tests.proof.invariants import standing
from tests.proof.others_handlers import Bench
from tests.proof.others_line import Facet, facets
from tests.proof.others_rules import broken
from tests.proof.others_weights import permitted
from tests.proof.others_worlds import Others
from tests.proof.prepared import Beginnings
from tests.proof.world import World

SCENARIOS = (
    "room/create-A+create-B",
    "full/create-A+pay-unheard",
    "full/create-A+delete-draft",
    "waiting/cancel+pay",
    "waiting/create-A+debit",
    "waiting/poll+write-off",
    "provisioning/not-provisioned+reconcile",
)
CAP = 3
STATES_MAX = 50_000


class Contained(NamedTuple):
    """How many of the worlds of a scenario others can leave, and what speaks against the rest."""

    scenario: str
    worlds: int
    lines: int
    outside: list[str]


def contained(bench: Bench, name: str) -> Contained:
    """Explores a scenario, and looks for each of its worlds among the constructed ones."""
    reached: dict[int, World] = {}

    def collect(_: World, after: World) -> None:
        reached.setdefault(after.digest, after)

    explorer = Explorer(bench.cast, collect, lambda *_: None, lambda *_: None)
    beginning = scenarios.scenario(name, Beginnings(bench.product, bench.cast))
    explorer.explore(beginning, STATES_MAX)
    others = Others((), creates=True, cap=CAP, snapshots={})
    outside, lines = set[str](), set[object]()
    for world in reached.values():
        choice = others.now(world)
        if not permitted(choice.lines, CAP):
            outside.add("its lines may not stand together")
        for facet in choice.lines:
            seen = _abstract(facet, world.now_ms)
            lines.add(seen)
            rule = broken(facet)
            if rule is not None:
                outside.add(f"{rule.partition(': ')[2]}: {seen}")
            elif seen not in _family(facet):
                outside.add(f"not constructed: {seen}")
    return Contained(name, len(reached), len(lines), sorted(outside))


_families: dict[bool, set[object]] = {}


def _family(facet: Facet) -> set[object]:
    """All that a line with, or without, an idempotency key can be."""
    key = facet.line.get("idempotency_key_hash")
    if bool(key) not in _families:
        absent = Facet("01a2029be1a0" + "f" * 12, None, None, facet.account.__class__())
        found = facets(absent, "hash" if key else None)
        _families[bool(key)] = {_abstract(one, one.line.get("created_at_ms", 0)) for one in found}
    return _families[bool(key)]


def _abstract(facet: Facet, now_ms: int) -> object:
    """What a line is, but for its names and times."""
    line, account = facet.line, facet.account
    waits = line.get("status") == "awaiting_payment"
    record = facet.record.item if facet.record else None
    invoices = sorted(
        (standing(one), bool(one["lines"]["data"]), name in account.debits) for name, one in account.invoices.items()
    )
    return (
        tuple(change["status"] for change in line.get("history", ())),
        line.get("payment_status"),
        waits and min(line["stripe_key_version"], 2),  # third keys at Stripe follow as second ones do
        "invoice_id" in line,
        "payment_url" in line,
        (line["void_reason"] == "included" if "void_reason" in line else None),
        waits and line["lease_until_ms"] > now_ms,
        None if record is None else "response_body" in record,
        tuple(invoices),
        bool(account.refunds),
        bool(account.pending_items),
    )
