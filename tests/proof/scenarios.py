"""What is explored: beginnings, and who acts in them together."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations_with_replacement

from tests.proof import observed, people, restores, stage
from tests.proof.actors import Script
from tests.proof.explorer import Scenario
from tests.proof.invariants import RESTORED
from tests.proof.prepared import Beginnings

ACTORS: dict[str, Script] = {
    "create": stage.create(),
    "create-email": stage.create(body=stage.EMAIL),
    "create-A": stage.create("A"),
    "create-B": stage.create("B"),
    "insistent-A": stage.insistent("A"),
    "poll": stage.poll(),
    "cancel": stage.manage("cancel"),
    "payment_link": stage.manage("payment_link"),
    "pay": people.pay(),
    "pay-doubled": people.pay(delivered=2),
    "pay-unheard": people.pay(delivered=0),
    "debit": people.debit(),
    "debit-fails": people.debit(succeeds=False),
    "late-webhook": people.stray_webhook(),
    "void": people.void(),
    "delete-draft": people.delete_draft(),
    "add-item": people.add_item(),
    "write-off": people.write_off(),
    "part": people.pay_part(),
    "copy": people.copy_and_pay(),
    "copy-unheard": people.copy_and_pay(delivered=0),
    "revise": people.revise(),
    "revise-unheard": people.revise(delivered=0),
    "credit": people.credit(),
    "upgrade": people.upgrade(),
    "switch": people.switch(),
    "end": people.end(),
    "end-unheard": people.unheard(people.end()),
    "reconcile": stage.reconcile(),
    "reconcile-ahead": replace(stage.reconcile(), name="reconcile, clock +30 s", skew_ms=30_000),
    "release": stage.release(),
    "retry": stage.command("line retry", stage.failed),
    "refund": stage.command("line refund", stage.flagged),
    "refund-outside": stage.command("line refund --sent-outside", stage.flagged),
    "refund-by-hand": people.refund_by_hand(),
    "refund-unheard": people.refund_by_hand(delivered=0),
    "refund-pending": people.refund_by_hand("pending"),
    "refund-fails": people.refund_fails(),
    "provisioned": stage.provision(),
    "not-provisioned": stage.provision("failed"),
    "stream": stage.stream(),
    "stream-doubled": stage.stream(doubled=True),
    **observed.ACTORS,
    **restores.ACTORS,
}
CREATORS = ("create", "create-email", "create-A", "create-B", "insistent-A")
AT_STRIPE = ("pay", "pay-doubled", "pay-unheard", "debit", "debit-fails", "void", "write-off", "late-webhook")
ON_A_DRAFT = ("delete-draft", "add-item")
ON_A_LINE = ("poll", "cancel", "payment_link", *AT_STRIPE)
ON_AN_INVOICE = ("part", "copy", "copy-unheard", "revise", "revise-unheard", "credit", "switch")
ANYTIME = ("upgrade", "end", "reconcile")
PROVISIONING = ("provisioned", "not-provisioned", "stream", "stream-doubled")
REFUNDS = (
    "refund",
    "refund-outside",
    "refund-by-hand",
    "refund-pending",
    "refund-fails",
    "late-webhook",
    "reconcile",
)
HEALERS = ("insistent-A", "poll", "payment_link", "cancel", "reconcile", "late-webhook", "upgrade", "end", "create-B")

# Beginning: who may meet there in pairs.
PAIRS = {
    "room": (*CREATORS, "upgrade", "end", "provisioned", "stream"),
    "full": (*CREATORS, *ON_A_LINE, *ON_A_DRAFT, *ANYTIME),
    "waiting": (*CREATORS, *ON_A_LINE, *ANYTIME),
    "provisioning": (
        *PROVISIONING,
        "refund-by-hand",
        "create-A",
        "create-B",
        "pay",
        "poll",
        "cancel",
        "late-webhook",
        *ANYTIME,
    ),
    "failed": ("release", "retry", *REFUNDS),
    "released": (*REFUNDS, "refund-unheard"),
    "late": ("refund", "refund-outside", "refund-by-hand", "late-webhook", "reconcile"),
    "old-asked": HEALERS,
    "old-draft": (*HEALERS, *ON_A_DRAFT),
    "old-item": (*HEALERS, *ON_A_DRAFT),
    "old-final": HEALERS,
    "missing": (
        "create-A",
        "create-B",
        "poll",
        "cancel",
        "payment_link",
        "late-webhook",
        "reconcile",
        "upgrade",
        "end",
    ),
    "canceled": observed.PAIRS,
    "touched": (*ON_AN_INVOICE, "pay", "poll", "cancel", "reconcile", "create-A"),
    "unvoidable": ("cancel", "poll", "reconcile", "pay", "upgrade", "end", "switch"),
    "renewed": ("pay", "pay-unheard", "poll", "reconcile"),
    "capped": ("create-A", "create-B", "insistent-A", "reconcile"),
    "refusing": ("create-A", "create-B", "insistent-A", "poll", "reconcile"),
}
# These begin with a fault, a crash or an invoice that is gone or a Stripe that refuses: a second one meets each alone.
FAULTY = ("old-asked", "old-draft", "old-item", "old-final", "missing", "refusing", "unvoidable")
# Of three, these meet a fault, too; all others only each other.
FAULTY_TRIPLES = (
    "room/create-A+create-A+create-B",
    "room/create-A+provisioned+stream",
    "room/create-A+not-provisioned+create-B",
    "full/create-A+create-A+pay",
    "full/create-A+create-B+pay-unheard",
    "full/create-A+poll+pay-unheard",
    "full/create-A+cancel+pay-unheard",
    "full/create-A+upgrade+poll",
    "full/create-A+pay+provisioned",
    "full/create-email+create-A+pay-unheard",
    "waiting/pay+cancel+poll",
    "waiting/pay+cancel+late-webhook",
    "waiting/pay+end+poll",
    "waiting/pay+void+poll",
    "waiting/pay+poll+payment_link",
    "waiting/pay+poll+reconcile",
    "waiting/pay+create-A+cancel",
    "waiting/pay+provisioned+reconcile",
    "waiting/pay+stream+provisioned",
    "waiting/pay-unheard+cancel+upgrade",
    "waiting/debit+cancel+poll",
    "waiting/debit-fails+cancel+reconcile",
    "waiting/write-off+pay-unheard+poll",
    "waiting/void+cancel+create-A",
    "waiting/cancel+payment_link+create-A",
    "provisioning/provisioned+not-provisioned+create-B",
    "provisioning/provisioned+not-provisioned+reconcile",
    "provisioning/provisioned+stream-doubled+reconcile",
    "provisioning/not-provisioned+create-B+reconcile",
)
TRIPLES = {
    "room": (
        ("create", "create-A", "create-B"),
        ("create-A", "create-A", "create-B"),
        ("create", "create-A", "upgrade"),
        ("create", "create-A", "end"),
        ("create-A", "provisioned", "stream"),
        ("create-A", "not-provisioned", "create-B"),
    ),
    "full": (
        ("create-A", "create-A", "pay"),
        ("create-A", "create-B", "pay-unheard"),
        ("create-A", "poll", "pay-unheard"),
        ("create-A", "cancel", "pay-unheard"),
        ("create-A", "late-webhook", "reconcile"),
        ("create-A", "upgrade", "poll"),
        ("create-A", "pay", "provisioned"),
        ("end", "stream"),
        ("create-email", "create-A", "pay-unheard"),
    ),
    "waiting": (
        ("pay", "cancel", "poll"),
        ("pay", "cancel", "reconcile"),
        ("pay", "cancel", "late-webhook"),
        ("pay", "upgrade", "poll"),
        ("pay", "end", "poll"),
        ("pay", "void", "poll"),
        ("pay", "poll", "payment_link"),
        ("pay", "poll", "reconcile"),
        ("pay", "create-A", "create-B"),
        ("pay", "create-A", "cancel"),
        ("pay", "provisioned", "reconcile"),
        ("pay", "stream", "provisioned"),
        ("pay-unheard", "create-B", "reconcile"),
        ("pay-unheard", "cancel", "upgrade"),
        ("pay-doubled", "cancel", "create-B"),
        ("debit", "cancel", "poll"),
        ("debit", "cancel", "reconcile"),
        ("debit", "end", "reconcile"),
        ("debit-fails", "cancel", "reconcile"),
        ("write-off", "pay-unheard", "poll"),
        ("write-off", "cancel", "reconcile"),
        ("void", "cancel", "create-A"),
        ("void", "upgrade", "poll"),
        ("void", "create-A", "create-B"),
        ("cancel", "upgrade", "poll"),
        ("cancel", "end", "reconcile"),
        ("cancel", "payment_link", "create-A"),
        ("upgrade", "end", "poll"),
        ("upgrade", "create", "pay-unheard"),
    ),
    "failed": (
        ("release", "refund", "refund-by-hand"),
        ("release", "refund", "retry"),
    ),
    "released": (
        ("refund", "refund", "refund-by-hand"),
        ("refund", "refund-fails", "reconcile"),
    ),
    "provisioning": (
        ("provisioned", "not-provisioned", "create-B"),
        ("provisioned", "not-provisioned", "reconcile"),
        ("provisioned", "stream-doubled", "reconcile"),
        ("not-provisioned", "create-B", "reconcile"),
    ),
}
# With clocks apart.
APART = (
    "room/upgrade+reconcile-ahead+end-unheard",
    "provisioning/reconcile+reconcile-ahead",
)
# Explored with two faults, where that takes no more than some 60,000 states; the name says so.
TWO_FAULTS = ", two faults"
FAULTS_TWO = (
    "full/create-A",
    "waiting/payment_link",
    "waiting/reconcile",
    "waiting/end",
    "waiting/upgrade",
    "waiting/cancel+poll",
    "waiting/pay+poll",
    "waiting/poll+pay-unheard",
    "waiting/void+poll",
    "waiting/cancel+void",
    "waiting/cancel+pay-unheard",
    "full/create-A+pay-unheard",
    "room/insistent-A+create-A",
    "provisioning/provisioned+not-provisioned",
    "touched/part+cancel",
    "touched/credit+poll",
    "failed/release+retry",
    "failed/release+refund-by-hand",
    "released/refund",
)
# What `make test` has time for.
BOUNDED = (
    "room/create-A+create-B",
    "room/insistent-A",
    "room/upgrade+stream",
    "full/create-A",
    "full/create-A+pay-unheard",
    "waiting/cancel+pay",
    "waiting/cancel+void",
    "waiting/create-A+pay",
    "waiting/debit+cancel",
    "waiting/end",
    "waiting/poll+pay",
    "waiting/reconcile+pay-unheard",
    "waiting/upgrade",
    "waiting/write-off+poll",
    "provisioning/not-provisioned+reconcile",
    "provisioning/provisioned+not-provisioned",
    "provisioning/provisioned+stream-doubled",
    "failed/release+refund-by-hand",
    "released/refund+refund-by-hand",
    "released/refund-unheard",
    "released/refund-pending",
    "released/refund+refund-fails",
    "released/refund-outside+reconcile",
    "old-asked/reconcile",
    "old-draft/poll",
    "old-item/add-item",
    "old-item/delete-draft",
    "old-item/cancel+delete-draft",
    "old-final/cancel",
    "missing/poll",
    "touched/part+cancel",
    "touched/credit+poll",
    "touched/copy-unheard+poll",
    "touched/revise-unheard+poll",
    "touched/switch+poll",
    "unvoidable/cancel",
    "renewed/pay+poll",
    "capped/create-A",
    "refusing/create-A",
    "canceled/pay-copy",
    "provisioning/garbled-batch",
)
# Nothing happens without a line: these are paired only with who makes one.
_NEEDS_LINE = {"full": (*ON_A_LINE, *ON_A_DRAFT, *ANYTIME), "room": PROVISIONING}
# Where no line of key A is there yet, keys A and B are one another's mirror images, and a request
# without a key takes fewer steps of the same.
_MIRRORED = ("room", "full", "capped", "refusing")


def _worthwhile(beginning: str, pair: tuple[str, str]) -> bool:
    unmakable = all(actor in _NEEDS_LINE.get(beginning, ()) for actor in pair)
    # If nobody touches the invoice, it is the same as in `waiting`.
    idle = beginning == "touched" and not set(pair) & set(ON_AN_INVOICE)
    if unmakable or idle or (beginning == "refusing" and set(pair) == {"insistent-A"}):
        return False  # nothing to act on; each try of each is a new line
    if beginning == "canceled":
        return bool({"pay-copy", "link-of-canceled"} & set(pair))
    if "create-email" in pair:
        return "create-A" in pair or beginning == "waiting"
    if beginning in _MIRRORED and set(pair) == {"create", "insistent-A"}:
        return False
    if beginning in _MIRRORED and {"create", "create-B"} & set(pair):
        return all(actor in CREATORS for actor in pair) and pair != ("create-B", "create-B")
    return True


def names(*, full: bool = False) -> Iterator[str]:
    """Every scenario: `beginning/actor+actor`, and `beginning/actor` where two faults can meet.

    `full`: also those with two faults.
    """
    if full:
        yield from (name + TWO_FAULTS for name in FAULTS_TWO)
    for beginning, actors in PAIRS.items():
        if beginning in FAULTY:
            yield from (f"{beginning}/{actor}" for actor in actors)
        for pair in combinations_with_replacement(actors, 2):
            if _worthwhile(beginning, pair):
                yield f"{beginning}/{'+'.join(pair)}"
    for beginning, triples in TRIPLES.items():
        for triple in triples:
            yield f"{beginning}/{'+'.join(triple)}"
    yield from observed.NAMES
    yield from APART


def scenario(name: str, beginnings: Beginnings) -> Scenario:
    """The scenario of that name."""
    plain = name.removesuffix(TWO_FAULTS)
    beginning, _, actors = plain.partition("/")
    scripts: list[Script] = []
    for actor in actors.split("+"):
        script = ACTORS[actor]
        # Two of a kind are two.
        scripts.append(replace(script, name=f"another {script.name}") if script in scripts else script)
    # A restore is a fault, too.
    some = (beginning in FAULTY or beginning.startswith(RESTORED)) and len(scripts) > 1
    many = len(scripts) > 2 and name not in FAULTY_TRIPLES
    # Those in FAULTY begin with a fault already.
    faults_max = 2 if name != plain and beginning not in FAULTY else 0 if name == plain and (some or many) else 1
    return Scenario(name, beginnings[beginning], tuple(scripts), faults_max)
