"""What leaves the product, judged in the moment it leaves: answers, alarms, events on the bus, requests to Stripe.

A call is a function of what it was given, so its answer and its alarms belong to the place that it has come to. None
of this is kept in a state: what is observed makes no state more.
"""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NoReturn

from tests.proof import workspace_events
from tests.proof.actors import Cast, Context, Ended, Json, Taken
from tests.proof.answers import judge_answer
from tests.proof.explorer import Move, State
from tests.proof.facts import Facts, Seen
from tests.proof.invariants import expect, see
from tests.proof.memory_reversals import PAYMENT
from tests.proof.memory_table import Stored
from tests.proof.product import Product
from tests.proof.runs import Alarm, Alone
from tests.proof.workspace_events import Event, attributes
from tests.proof.world import DynamoDb, Publish, Step, Stripe, World

# What a step must not do before the same call has raised this alarm about the line.
REFUND_DUE, REFUSED, FAILED, MISSING = "RefundDue", "BillingRefused", "ProvisioningFailed", "InvoiceMissing"
KNOWN_MAX = 100_000


class Observer:
    """Judges every step of every call, and every answer. Raises Violation."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._due_alarms: dict[tuple[int, int], tuple[Alarm, ...]] = {}
        self._seen: dict[Ended, Seen] = {}

    def moved(self, before: State, move: Move, after: State) -> None:
        """One move of a run."""
        place, now = before.slots[move.actor].place, after.slots[move.actor].place
        if move.apply is None or place.call is None:
            return
        self._step(place.alarms, move.step, before.world, after.world)
        ends = now.ends[len(place.ends) :]
        raised, last = (ends[0].alarms, ends[0].last) if ends else (now.alarms, now.last)
        if len(raised) > len(place.alarms):
            self._alarms(raised, len(place.alarms), last, place.began_ms, after.world)
        for end in ends:
            self._ended(end, after.world)

    def played(self, alone: Alone, end: Ended) -> None:
        """A whole call with nobody beside it."""
        for number, (step, _, alarms) in enumerate(alone.steps):
            self._step(end.alarms[:alarms], step, alone.worlds[number], alone.worlds[number + 1])
        # Each alarm is judged by what its call had seen by then.
        taken, last = list[Taken | None](), end.last
        while last is not None:
            taken.append(last)
            last = last.before
        raised = [*(alarms for _, _, alarms in alone.steps), len(end.alarms)]
        for number, (before, now) in enumerate(pairwise([0, *raised])):
            if now > before:
                seen = [None, *reversed(taken)][number]
                self._alarms(end.alarms[:now], before, seen, end.began_ms, alone.worlds[-1])
        self._ended(end, alone.worlds[-1])

    # --- steps ----------------------------------------------------------------------------------

    def _step(self, alarms: tuple[Alarm, ...], step: Step, before: World, after: World) -> None:
        if isinstance(step, DynamoDb):
            if after.table is not before.table:
                for key in step.keys:
                    was, now = before.table.items.get(key), after.table.items.get(key)
                    if now is not None and was is not now:
                        self._written(key[1], was, now, alarms, after.now_ms)
        elif isinstance(step, Stripe):
            if step.writes:
                requested(step, before)
        elif isinstance(step, Publish):
            for detail, name in zip(step.details, step.names, strict=True):
                published(detail, name, before)

    def _written(self, sk: str, was: Stored | None, now: Stored, alarms: tuple[Alarm, ...], now_ms: int) -> None:
        change = (was.digest if was else 0, now.digest)
        due = self._due_alarms.get(change)
        if due is None:
            if len(self._due_alarms) > KNOWN_MAX:
                self._due_alarms.clear()
            due = self._due_alarms[change] = _due_alarms(sk, was, now)
            if sk == "WORKSPACE" or sk.startswith("LINE#"):
                self._would_publish(sk, was, now, now_ms)
        for alarm in due:
            raised = any(one.metric == alarm.metric and set(alarm.context) <= set(one.context) for one in alarms)
            expect(raised, f"{sk} is written as it is without the alarm {alarm.metric} {dict(alarm.context)}")

    def _would_publish(self, sk: str, was: Stored | None, now: Stored, now_ms: int) -> None:
        """What the stream's function makes of this write: exactly the changes that it stores."""
        images = {"NewImage": now.item} | ({"OldImage": was.item} if was else {})
        record = {"SequenceNumber": "1", "ApproximateCreationDateTime": now_ms / 1000, **images}
        alone = Alone(f"stream of {sk}", World(now_ms))
        alone.start(lambda: self._product.handlers["publish_changes"]({"Records": [{"dynamodb": record}]}, Context()))
        expect(alone.answer == {"batchItemFailures": []}, f"the stream's function answers {alone.answer} to {sk}")
        told = [
            (name, detail)
            for step, _, _ in alone.steps
            if isinstance(step, Publish)
            for name, detail in zip(step.names, step.details, strict=True)
        ]
        before, after = attributes(was.item) if was else None, attributes(now.item)
        wanted = _line_events(before, after) if sk.startswith("LINE#") else workspace_events.events(before, after)
        expect([name for name, _ in told] == [name for name, _ in wanted], f"the write of {sk} is published as {told}")
        for (_, detail), (_, facts) in zip(told, wanted, strict=True):
            wrong = {name: detail.get(name) for name, value in facts.items() if detail.get(name) != value}
            expect(not wrong, f"{sk} is published with {wrong}, stored is {facts}")
        over = [detail for (_, name), detail in told if name == "Workspace Over Plan" and detail["excess"]]
        raised = [alarm for alarm in alone.alarms if alarm.metric == "OverPlan"]
        expect(len(over) == len(raised), f"{len(over)} kinds came over plan, {len(raised)} alarms")

    # --- alarms and answers ---------------------------------------------------------------------

    def _alarms(self, raised: tuple[Alarm, ...], known: int, last: Taken | None, began_ms: int, world: World) -> None:
        facts = Facts(last, began_ms)
        for alarm in raised[known:]:
            _justified(alarm, facts, world)

    def _ended(self, end: Ended, world: World) -> None:
        if end.answer.get("crashed"):
            return
        seen = self._seen.get(end)
        if seen is None:
            seen = self._seen[end] = Seen(end)
        # After a failure the same is alarmed again rather than lost.
        once = seen.facts.trouble or len(set(end.alarms)) == len(end.alarms)
        expect(once, f"one cause, several alarms: {end.alarms}")
        for invoice_id in seen.facts.unknown:
            for line_id, versions in seen.facts.lines.items():
                lost = versions[0]["status"] == "awaiting_payment" and "payment_url" in versions[0]
                if lost and versions[0].get("invoice_id") == invoice_id:
                    raised = [a for a in end.alarms if a.metric == MISSING and a.value("line_id") == line_id]
                    # A function that fails is called again, and a run looks again where something went wrong.
                    left = end.answer.get("failed") and seen.facts.trouble
                    again = end.answer.get("statusCode") in {500, 503} or left
                    expect(
                        raised or again,
                        f"Stripe does not know {invoice_id} any more, and there is no alarm",
                    )
        judge_answer(seen, world)


# --- what a write has to be preceded by -----------------------------------------------------------


def _due_alarms(sk: str, was: Stored | None, now: Stored) -> tuple[Alarm, ...]:
    if not sk.startswith("LINE#") or was is None:
        return ()
    line_id, before, after = sk.removeprefix("LINE#"), attributes(was.item), attributes(now.item)
    subject = ("line_id", line_id)
    due: list[Alarm] = []
    if after.get("refund_due") and not (before.get("refund_due") and _to_refund(before) == _to_refund(after)):
        due.append(Alarm(REFUND_DUE, (subject,)))
    if after.get("void_reason") == "billing_refused" and before.get("void_reason") != "billing_refused":
        due.append(Alarm(REFUSED, (subject,)))
    if after["status"] == "failed" != before["status"]:
        due.append(Alarm(FAILED, (subject, ("paid", str(after["payment_status"] == "paid")))))
    return tuple(due)


def _to_refund(line: Json) -> str | None:
    """The invoice that a flagged line's refund is about."""
    return line.get("refund_invoice_id") or line.get("invoice_id")


def _justified(alarm: Alarm, facts: Facts, world: World) -> None:
    """An alarm has its cause, and was not raised before for the same."""
    line_id = alarm.value("line_id")
    line = see(world).lines.get(line_id or "")
    if alarm.metric == REFUND_DUE:
        expect(line is not None, f"a refund is due for the unknown line {line_id}")
        invoice: Json = world.stripe.invoices.get(alarm.value("invoice") or "") or {}
        paid = invoice.get("status") == "paid" and invoice["metadata"].get("line_id") == line_id
        expect(paid, f"a refund is due for line {line_id}, and its invoice is {invoice.get('status')}")
        # It may have read its own write, or have cleared the flag before.
        versions = facts.lines.get(line_id or "", [])
        flagged = [one for one in versions if one.get("refund_due") and _to_refund(one) == alarm.value("invoice")]
        known = versions and len(flagged) == len(versions)
        expect(not known, f"the refund of line {line_id} was known, and raises another alarm")
    elif alarm.metric == REFUSED:
        expect(facts.refused, f"Stripe has refused nothing, and there is an alarm: {alarm}")
    elif alarm.metric == MISSING:
        unknown = alarm.value("invoice") in facts.unknown or facts.refused
        expect(unknown, f"Stripe knows the invoice of line {line_id}, and there is an alarm")
    elif alarm.metric in {"StripeRefused", "ReconcileLineFailed"}:
        expect(facts.trouble, f"nothing went wrong, and there is an alarm: {alarm}")


# --- what is asked of Stripe ----------------------------------------------------------------------


def requested(step: Stripe, world: World) -> None:
    """Every charge is of a stored amount, for the line that it names; its key is its own; nothing is prorated."""
    params = step.params
    used = world.stripe.keys.get(step.key or "")
    own = used is None or (used.path, used.params) == (step.path, json.dumps(sorted(params.items())))
    expect(own, f"{step} has the key of another request")
    if step.path.startswith("/v1/subscription_items"):
        prorated = params.get("proration_behavior")
        expect(prorated == "none", f"{step} has proration_behavior {prorated}")
    line_id = params.get("metadata[line_id]")
    if line_id is None:
        return
    line = see(world).lines.get(line_id)
    if line is None:
        _unknown(step, line_id)
    if step.path in {"/v1/credit_notes", "/v1/refunds"}:
        subject = params.get("invoice") or params["payment_intent"].removeprefix(PAYMENT)
        theirs = world.stripe.invoices[subject]["metadata"]
        expect(theirs.get("line_id") == line_id, f"{step} gives back what was paid for {theirs}")
        return
    charge = line["charge"]
    expect(params.get("customer") == charge["customer"], f"{step} charges {params.get('customer')}")
    expect(params.get("metadata[workspace_id]") == line["pk"].removeprefix("W#"), f"{step} names another workspace")
    if "price_data[unit_amount]" in params:
        told = (params["price_data[unit_amount]"], params["price_data[currency]"], params["period[start]"])
        stored = (str(charge["amount"]), charge["currency"], str(charge["period"]["start_s"]))
        expect(told == stored, f"{step} charges {told}, stored is {stored}")


def _unknown(step: Step, line_id: str) -> NoReturn:
    expect(holds=False, otherwise=f"{step} is about line {line_id}, which is not stored")
    raise AssertionError


# --- what is published ------------------------------------------------------------------------------


def published(detail: Mapping[str, Any], name: tuple[str, str], world: World) -> None:
    """A line's event is a state that the line is, or was, in."""
    if name != ("line-requests", "Line State Changed"):
        return
    line = see(world).lines.get(detail["lineId"])
    expect(line is not None, f"{detail['eventId']} is published, and there is no such line")
    if line is not None:
        sequence = int(detail["eventId"].rpartition(":")[2])
        expect(sequence <= len(line["history"]), f"{detail['eventId']} is published before it is stored")
        _same(detail, _state(line, sequence))


def _same(detail: Mapping[str, Any], facts: Json) -> None:
    wrong = {name: detail.get(name) for name, value in facts.items() if detail.get(name) != value}
    expect(not wrong, f"{detail['eventId']} is published with {wrong}, stored is {facts}")


def _state(line: Json, sequence: int) -> Json:
    """One of a line's states, as the contract has it on the bus."""
    change = line["history"][sequence - 1]
    waiting = change["status"] == "awaiting_payment"
    return {
        "eventId": f"{line['sk'].removeprefix('LINE#')}:{sequence}",
        "workspaceId": line["pk"].removeprefix("W#"),
        "lineId": line["sk"].removeprefix("LINE#"),
        "status": change["status"],
        "previousStatus": line["history"][sequence - 2]["status"] if sequence > 1 else None,
        "paymentStatus": "awaiting_payment" if waiting else line["payment_status"],
        "cause": change["cause"],
    }


def _line_events(before: Json | None, after: Json) -> list[Event]:
    count = len(after["history"])
    if before is not None and len(before["history"]) == count:
        return []
    return [(("line-requests", "Line State Changed"), _state(after, count))]


def observed(product: Product, cast: Cast) -> Observer:
    """An observer of everything that the cast plays from now on."""
    observer = Observer(product)
    cast.judge = observer.played
    return observer
