"""A table as it was some time ago, beside Stripe as it is: what a restore from a backup leaves.

A story is played to its end, and the table is set back to one of its moments: each that differs from the one before.
Streams do not survive a restore, leases do.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from tests.proof import beginnings, people, stage
from tests.proof.actors import Cast, Script
from tests.proof.invariants import RESTORED
from tests.proof.mutants import Mutant
from tests.proof.world import Violation, World

HOUR_MS = 3_600_000
# How long ago the backup was; Stripe forgets its idempotency keys after a day.
AGES_MS = {"hour": HOUR_MS, "day": 25 * HOUR_MS}


def pay_lost(*, delivered: int = 1) -> Script:
    """A customer pays an invoice whose line was lost."""

    def act(world: World, invoice: str) -> World:
        return replace(world, stripe=world.stripe.pay(invoice, world.now_ms // 1000))

    name = ("pay a lost line, webhook lost", "pay a lost line")[delivered]
    what = "the customer pays the invoice of a lost line"
    return people.at_stripe(name, what, _open_and_lost, act, *["invoice.paid"] * delivered)


def _open_and_lost(world: World) -> str | None:
    found = lost(world)
    return next((name for name in sorted(found) if found[name] == "open"), None)


def lost(world: World) -> dict[str, str]:
    """The invoices of lines that the table does not have, and how they stand."""
    invoices = world.stripe.invoices.values()
    known = {stage.id_of(line) for line in stage.lines(world)}
    return {one["id"]: one["status"] for one in invoices if one["metadata"].get("line_id", "") not in known}


ACTORS = {"pay-lost": pay_lost(), "pay-lost-unheard": pay_lost(delivered=0)}
# Where each story begins, what happens in it, and how many moments its table has.
STORIES: dict[str, tuple[Callable[[Cast, World], World], tuple[Script, ...], int]] = {
    "paid": (beginnings.full, (stage.create("A"), people.pay(), stage.provision(), stage.reconcile()), 10),
    "unheard": (beginnings.full, (stage.create("A"), people.pay(delivered=0)), 5),
    "unpaid": (beginnings.full, (stage.create("A"),), 5),
    "canceled": (beginnings.full, (stage.create("A"), stage.manage("cancel")), 8),
    "upgraded": (beginnings.full, (stage.create("A"), people.upgrade()), 9),
    "ended": (beginnings.full, (stage.create("A"), people.end()), 9),
    "refunded": (
        beginnings.failed_line,
        (stage.release(), stage.command("line refund", stage.flagged), stage.reconcile()),
        7,
    ),
    "renewed": (beginnings.renewed, (people.pay(), stage.reconcile()), 9),
}


def restored(cast: Cast, empty: World, name: str) -> World:
    """`hour-paid-3`: the table of a story's moment, after the hour or the day that its end came after."""
    age, story, number = name.split("-")
    begin, scripts, moments = STORIES[story]
    world = begin(cast, empty)
    tables = [world.table]

    def passed(_before: World, after: World) -> None:
        if after.table.digest != tables[-1].digest:
            tables.append(after.table)

    for script in scripts:
        world, _ = cast.play(script, world, passed)
        world = beginnings.drain_stream(cast, world)
    if len(tables) != moments:
        raise Violation(f"the story {story} has {len(tables)} moments: say so in {__name__}")
    return replace(world.after(AGES_MS[age]), table=tables[int(number)], stream={})


# --- names ----------------------------------------------------------------------------------------

CALLERS = ("create-A", "create-B", "poll", "cancel", "payment_link", "late-webhook", "reconcile")
PAYERS = ("pay", "pay-unheard", "pay-lost", "pay-lost-unheard")
# Of a backup a day old, by default: Stripe has forgotten the keys of what the table has as unfinished or unpaid.
DAYS = ("unheard", "unpaid", "canceled", "renewed")


# What every test run has time for: each story is played, and its moments are counted.
BOUNDED = tuple(f"{RESTORED}hour-{story}-0/reconcile" for story in STORIES)


def names(*, full: bool) -> Iterator[str]:
    """Each moment with each actor and a fault, a day later a poll and the reconciler; `full`: all, and pairs."""
    for story, (_, _, moments) in STORIES.items():
        for age in AGES_MS:
            if age == "day" and story not in DAYS and not full:
                continue
            actors = (*CALLERS, *(PAYERS if story == "unpaid" else ()))
            alone = ("poll", "reconcile") if age == "day" and not full else actors
            for beginning in (f"{RESTORED}{age}-{story}-{number}" for number in range(moments)):
                yield from (f"{beginning}/{actor}" for actor in alone)
                if full:
                    yield from (f"{beginning}/{'+'.join(pair)}" for pair in combinations(actors, 2))


MUTANTS = (
    Mutant.of(
        "the payment of a lost line is not alarmed",
        "flows.webhook",
        'alarm("InvoiceWithoutLine", ',
        "dict(cause=",
        "restored-hour-paid-0/reconcile",
    ),
    Mutant.of(
        "the feed is followed from half an hour ago",
        "flows.event_feed",
        "FEED_MAX_S = 29 * DAY_S\n",
        "FEED_MAX_S = DAY_S // 48\n",
        "restored-hour-paid-0/reconcile",
    ),
    Mutant.of(
        "what was charged after the backup is charged again",
        "flows.add_ons",
        "made = billing.subscriptions.charges_after(workspace, since_s)",
        "made = []",
        "restored-day-renewed-0/reconcile",
    ),
)
