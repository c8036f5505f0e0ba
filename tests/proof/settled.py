"""What has to hold once faults have stopped: after the last step, and after one run of the reconciler."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.proof import beginnings, reversal_invariants, stage
from tests.proof.actors import Cast, Json, Place
from tests.proof.explorer import Scenario, State
from tests.proof.invariants import (
    HOLDING,
    RESTORED,
    Seen,
    expect,
    invoices_of,
    key_of,
    kind_of,
    lost,
    safe,
    see,
    standing,
)
from tests.proof.tenants import EVERYONE, Tenant, for_tenant, tenant
from tests.proof.world import World

if TYPE_CHECKING:
    from tests.proof.runs import Alarm

# A process that crashed held a lease of two minutes at most.
LEASES_MS = 150_000
# Faults that nobody outside may notice, for a retry hides them; of two, the second may meet that retry.
HARMLESS = {
    "UnprocessedKeys",
    "TransactionConflict",
    "TransactionConflictException",
    "the index is stale",
    "the newest event is not visible yet",
    "times out after it has an effect, and the SDK retries",
}
# An invoice whose line does not exist (contract 56).
LOST = "InvoiceWithoutLine"


class Settled:
    """Faults have stopped: one reconcile, and no webhook, brings everything where it belongs."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._ended: set[tuple[int, Tenant]] = set()
        self._retried: set[tuple[int, Tenant, tuple[tuple[str, str], ...]]] = set()
        self._raised: dict[tuple[int, Tenant], list[Alarm]] = {}
        self._restored = False
        self._clocks_differ = False

    def __call__(self, scenario: Scenario, state: State) -> None:
        """Raises Violation."""
        self._restored = scenario.name.startswith(RESTORED)
        self._clocks_differ = any(slot.place.script.skew_ms for slot in state.slots)
        seen, answered = see(state.world), dict[str, str]()
        # A Stripe that refuses, or does not know an invoice, warrants what would be a fault of ours.
        refusing = bool(state.world.stripe.refusing) or _lost_sight(state.world)
        # The rate window counts by the clocks of those who move it: where these differ it may refuse.
        usual = {200, 201, 403, 409} | ({429} if self._clocks_differ else set())
        faultless = len(state.faults) <= 1 and HARMLESS.issuperset(state.faults)
        for slot in state.slots:
            for answer in slot.place.answers:
                _answer(answer, usual, faultless=faultless, refusing=refusing)
                _same(answered, answer, seen)
            _heard(slot.place, seen)
        _plan_heard(state, seen)
        _caused(seen, scenario)
        retried = (state.world.digest, tenant(), tuple(sorted(answered.items())))
        if retried not in self._retried:
            self._retried.add(retried)
            world = self._reconciled(state.world)
            for key in ("A", "B"):
                world = self._retry(world, key, answered)
        self._lost_alarmed(state, seen)

    def _lost_alarmed(self, state: State, seen: Seen) -> None:
        """A payment for a line that a restore has lost was alarmed, at the latest by the reconciler."""
        paid = {name for name, invoice in seen.invoices.items() if standing(invoice) == "paid" and lost(invoice, seen)}
        alarms = [alarm for slot in state.slots for end in slot.place.ends for alarm in end.alarms]
        alarms += self._raised[state.world.digest, tenant()]
        heard = {alarm.value("invoice") for alarm in alarms if alarm.metric == LOST}
        expect(paid <= heard, f"{paid - heard} is paid, its line is lost, and there was no alarm")

    def _reconciled(self, world: World) -> World:
        began = (world.digest, tenant())
        due = set(world.workspace_events())
        world = beginnings.drain_stream(self._cast, world.after(LEASES_MS))
        world, answers = self._cast.play(stage.reconcile(), world)
        self._raised[began] = self._cast.raised
        expect(_lost_sight(world) or not answers[0].get("failed"), f"the reconciler fails: {answers[0]}")
        due |= set(world.workspace_events())
        world = beginnings.drain_stream(self._cast, world)
        expect(due <= world.published, f"no event was published for {due - world.published}")
        if (world.digest, tenant()) not in self._ended:
            _settled(see(world), world, {"open"} if self._clocks_differ else {"draft", "open"})
            reversal_invariants.reversals_heard(see(world).lines, world, restored=self._restored)
            self._refund(world)
            self._ended.add((world.digest, tenant()))
        return world

    def _refund(self, world: World) -> None:
        """An operator who refunds what is flagged is done with one command."""
        name = reversal_invariants.to_refund(see(world).lines, world)
        if name is None:
            return
        world, [answer] = self._cast.play(stage.command("line refund", lambda _: name), world, self._safe)
        expect(answer.get("statusCode") == 200, f"line refund fails: {answer}")
        expect(not see(world).lines[name].get("refund_due"), f"line {name} was refunded, and its flag stays")
        line, stripe = see(world).lines[name], world.stripe
        own = None if reversal_invariants.owes_refund(line) else line["invoice_id"]
        of_own = reversal_invariants.left(stripe, own, line) if own else 0
        kept = reversal_invariants.kept(name, line, stripe) - of_own
        expect(not kept, f"line {name} was refunded in part")

    def _retry(self, world: World, key: str, answered: dict[str, str]) -> World:
        """A client that asks once more gets its answer, or the one that it had."""
        before = see(world)
        world, [answer] = self._cast.play(stage.create(key), world)
        usual = {201, 403, 409} | ({502} if world.stripe.refusing else set())
        expect(answer["statusCode"] in usual, f"a retry is answered {answer['statusCode']}")
        if key in answered:
            expect(answer["statusCode"] == 201, f"a retry of what was answered 201 gets {answer['statusCode']}")
            expect(answer["body"] == answered[key], "a retry gets another answer")
            expect(see(world).lines.keys() == before.lines.keys(), "a retry makes another line")
        self._safe(world, world)
        return world

    def _safe(self, before: World, after: World) -> None:
        safe(before, after, clocks_differ=self._clocks_differ)


def _answer(answer: Json, usual: set[int], *, faultless: bool, refusing: bool) -> None:
    status = answer.get("statusCode", 200)
    if faultless:
        expect(status < 500 or (refusing and status in {502, 503}), f"a {status} without any fault")
        expect("raised" not in answer, f"without any fault a function fails: {answer.get('raised')}")
    expect(status in usual or status >= 500, f"an unwarranted {status}: {answer.get('body')}")
    if status == 201:
        body = json.loads(answer["body"])
        url = body.get("paymentUrl")
        expect(bool(url) is (body["status"] == "awaiting_payment"), f"201 {body['status']} with paymentUrl {url}")


def _heard(place: Place, seen: Seen) -> None:
    """A webhook about an invoice that was answered 200 has had its effect by then."""
    event = _event_of(place)
    line = seen.lines.get(event["data"]["object"].get("metadata", {}).get("line_id", "")) if event else None
    # The next caller makes a deleted draft again: that settles nothing.
    if event is not None and line is not None and _taken(place) and event["type"] != "invoice.deleted":
        # Or the line has gone over to the revision of what was voided.
        if event["type"] == "invoice.voided" and line["invoice_id"] != event["data"]["object"]["id"]:
            return
        expect(line["status"] != "awaiting_payment", f"the webhook {event['type']} was answered 200, without effect")


def _plan_heard(state: State, seen: Seen) -> None:
    """Once every webhook about the subscription was answered 200, the plan is what Stripe says."""
    places = [slot.place for slot in state.slots if "subscription" in ((_event_of(slot.place) or {}).get("type", ""))]
    if places and all(_taken(place) for place in places):
        _plan_known(seen, state.world)


def _plan_known(seen: Seen, world: World) -> None:
    """The stored plan and status are Stripe's."""
    subscription = world.stripe.subscriptions[tenant().subscription]
    prices = {item["price"]["id"] for item in subscription["items"]["data"]}
    holds = (subscription["status"], next(plan for price, plan in stage.PLANS.items() if price in prices))
    stored = (seen.workspace["subscription"]["status"], seen.workspace["subscription"]["plan"])
    expect(stored == holds, f"by now the plan has to be known, but {stored} is stored and {holds} holds")


def _event_of(place: Place) -> Json | None:
    """The event that an actor's act at Stripe has made."""
    made = [given.delivery.result for given in place.results if isinstance(given.delivery.result, list)]
    return made[0][0] if made and made[0] else None


def _taken(place: Place) -> bool:
    return bool(place.answers) and place.answers[-1].get("statusCode") == 200


# What has to be in a scenario for a line to move for this reason.
CAUSES = {
    "invoice_voided": {"void at Stripe", "credit note"},
    "not_on_plan": {"switch to a plan without phones"},
    "canceled": {"cancel"},
    "subscription_ended": {"subscription ends", "subscription ends, webhook lost"},
    "retried_by_operator": {"line retry"},
    "released_by_operator": {"line refund", "line refund --sent-outside"},
    "released_by_client": {"release"},
    "plan_includes_line": {"upgrade", "provisioning failed"},  # either leaves an included place free
    "invoice_paid": {
        "pay",
        "pay, webhook lost",
        "pay, webhook doubled",
        "bank debit that succeeds",
        "paid copy",
        "paid copy, webhook lost",
    },
}


def _caused(seen: Seen, scenario: Scenario) -> None:
    """Nothing happens to a line that nobody has done; before a restore, everybody has."""
    if scenario.name.startswith(RESTORED):
        return
    scripts = {script.name.removeprefix("previous ").removeprefix("another ") for script in scenario.scripts}
    for name, line in seen.lines.items():
        for change in line["history"]:
            causes = CAUSES.get(change["cause"])
            if causes and change["at_ms"] >= scenario.world.now_ms:
                expect(
                    causes & scripts, f"line {name} moved to {change['status']} ({change['cause']}), without a cause"
                )


def _lost_sight_of(line: Json, seen: Seen) -> bool:
    """Stripe does not know the invoice that the line was to be paid by: a wrong key, most likely."""
    return line["status"] == "awaiting_payment" and "payment_url" in line and line["invoice_id"] not in seen.invoices


def _lost_sight(world: World) -> bool:
    """Whether this is so of any line in the world."""
    with for_tenant(EVERYONE):
        seen = see(world)
    return any(_lost_sight_of(line, seen) for line in seen.lines.values())


def _same(answered: dict[str, str], answer: Json, seen: Seen) -> None:
    """One key, one answer; and nobody is told to wait for what is their own."""
    key = answer.get("key")
    if key is None:
        return
    if answer.get("statusCode") == 201:
        expect(answered.setdefault(key, answer["body"]) == answer["body"], f"key {key} has two answers")
    if answer.get("statusCode") == 409:
        holder = seen.lines[json.loads(answer["body"])["existingLine"]["_id"]]
        own = hashlib.sha256(key.encode()).hexdigest()
        expect(key_of(holder) != own, f"key {key} is told to wait for its own line")


def _settled(seen: Seen, world: World, beside: Collection[str]) -> None:
    pending = [item for item in world.stripe.pending_items.values() if item["metadata"]]  # others are not ours
    left = [one["id"] for one in pending if "charge" not in one["metadata"] and not lost(one, seen)]
    expect(not left, f"the customer's next invoice would charge {left}")
    for name, line in seen.lines.items():
        if _lost_sight_of(line, seen):
            continue
        own, copies = invoices_of(name, seen)
        if line["status"] == "awaiting_payment":
            _waits(name, line, seen, world)
            expect("paid" not in copies.values(), f"line {name} still awaits payment, though a copy is paid")
        else:
            _paid_for(name, line, own | copies, world)
            left = [i for i, status in own.items() if status in beside and not _unvoidable(i, seen, world)]
            expect(not left, f"line {name} is {line['payment_status']}, and {left} can still be paid")
        event_id = f"{name}:{len(line['history'])}"
        expect(event_id in world.published, f"nobody published {event_id} {line['status']}")
    _plan_known(seen, world)
    if seen.workspace["subscription"]["status"] != "canceled":
        owed = _quantities(seen, world)
        late = [item for item in pending if item["customer"] == tenant().customer and "charge" in item["metadata"]]
        _late(seen, world, late, owed=owed)


def _unvoidable(invoice_id: str, seen: Seen, world: World) -> bool:
    """Whether Stripe refuses to void it for now: a debit is on its way, a part is paid, or for no reason."""
    part = seen.invoices[invoice_id].get("amount_paid", 0) > 0
    return part or invoice_id in world.stripe.debits or world.stripe.refusing.startswith(f"/v1/invoices/{invoice_id}/")


def _waits(name: str, line: Json, seen: Seen, world: World) -> None:
    """A line that still awaits payment has what to pay, and a reason to wait."""
    own = seen.invoices.get(line.get("invoice_id", ""), {})
    state = own.get("status", "missing")
    expect(state in {"open", "uncollectible"}, f"line {name} still awaits payment; its invoice is {state}")
    expect(line.get("payment_url") == own.get("hosted_invoice_url"), f"line {name} has no payment link")
    if own.get("amount_paid", 0):
        noted = "void_reason" not in line or line.get("amount_paid")
        expect(noted, f"line {name} is to be voided, and nobody notes that a part is paid")
    if _unvoidable(own["id"], seen, world):
        return
    expect("void_reason" not in line, f"line {name} is still to be voided: {line.get('void_reason')}")
    subscription = seen.workspace["subscription"]
    expect(subscription["status"] != "canceled", f"line {name} awaits payment though the subscription has ended")
    kind = kind_of(line)
    expect(kind in subscription["allowances"], f"line {name} awaits payment though the plan has none of its kind")
    included, unpaid = subscription["allowances"][kind]["included"], seen.workspace["unpaid"].get(kind, 0)
    expect(unpaid > included, f"line {name} awaits payment though the plan includes it")


def _paid_for(name: str, line: Json, invoices: dict[str, str], world: World) -> None:
    """Every payment but the one that pays the line is to be refunded, or went back."""
    by_own = line["invoice_id"] if line["payment_status"] == "paid" else None
    kept = [invoice_id for invoice_id, status in invoices.items() if status == "paid" and invoice_id != by_own]
    kept = [invoice_id for invoice_id in kept if reversal_invariants.left(world.stripe, invoice_id, line)]
    expect(not kept or line.get("refund_due"), f"line {name} is {line['payment_status']}, and {kept} is kept")


def _late(seen: Seen, world: World, charges: Sequence[Mapping[str, Any]], *, owed: bool) -> None:
    """A line that was paid after its invoice's period is charged for the present one by one pending item, if owed."""
    [item] = [one for one in world.stripe.subscriptions.values() if one["id"] == tenant().subscription]
    start_s = item["items"]["data"][0]["current_period_start"]
    lines = [line for line in seen.lines.values() if line["status"] in HOLDING and line["payment_status"] == "paid"]
    late = [line for line in lines if line["charge"]["period"]["end_s"] <= start_s]
    # What was charged before a larger plan included it stays.
    right = len(charges) <= bool(late) if late and not owed else len(charges) == bool(late)
    expect(right, f"{len(late)} lines were paid after a renewal, pending are {charges}")


def _quantities(seen: Seen, world: World) -> bool:
    """What the subscription is billed for is what the lines say; returns whether that is anything."""
    owed: dict[str, int] = {}
    for kind, price in stage.ADD_ONS.items():
        kinds = [line for line in seen.lines.values() if (kind_of(line)) == kind]
        settled = [line for line in kinds if line["status"] in HOLDING - {"awaiting_payment"}]
        paid = sum(line["payment_status"] == "paid" for line in settled)
        allowance = seen.workspace["subscription"]["allowances"].get(kind)
        owed[price] = min(paid, max(0, len(settled) - allowance["included"])) if allowance else 0
    subscription = world.stripe.subscriptions[tenant().subscription]
    set_ = {item["price"]["id"]: item["quantity"] for item in subscription["items"]["data"]}
    for price, quantity in owed.items():
        expect(set_.get(price, 0) == quantity, f"{price}: billed for {set_.get(price, 0)}, owed {quantity}")
    return any(owed.values())
