"""The calls that are looked at one by one, and the least worlds that each begins in."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.proof import beginnings, memory_reversals, stage
from tests.proof.actors import Call, Cast, Json, Lines, Place, Script, digest_of
from tests.proof.expressions import Typed
from tests.proof.observations import Observer
from tests.proof.others_account import AT_MS, AT_S, invoice_name
from tests.proof.others_line import facets, new_item
from tests.proof.others_places import continuation, moves_a_line, share, starts_over, text_of
from tests.proof.others_worlds import WORKSPACE, Choice, Others, Slot, Standing
from tests.proof.product import Product
from tests.proof.runs import ONE_ID
from tests.proof.world import Pause, Result, Step, World

FOCUS, OTHER, THIRD = (f"01a2029be1a0{number}{number:011d}" for number in (1, 2, 3))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _call(name: str, function: str, event: Callable[[int], Json]) -> Script:
    def lines() -> Lines:
        yield Call(function, event)

    return Script(name, lines)


def _managed(action: str) -> Script:
    return _call(action, "manage_line_request", lambda now_ms: stage.http(now_ms, {"action": action}, line_id=FOCUS))


def _webhook(kind: str, subject: Json) -> Script:
    event = {"id": "evt_stray", "object": "event", "type": kind, "livemode": False, "data": {"object": subject}}
    return _call("webhook", "stripe_webhook", lambda now_ms: stage.delivery(event, now_ms))


def _provisioned(outcome: str) -> Script:
    detail = {"eventId": f"{FOCUS}:1", "workspaceId": stage.WORKSPACE, "lineId": FOCUS, "outcome": outcome}

    def event(now_ms: int) -> Json:
        return stage.queued({"id": "1", "detail": detail, "time": stage.at(now_ms)})

    return _call(f"provisioning {outcome}", "provisioning_result", event)


def _published() -> Script:
    image = new_item(FOCUS, _hash("A"), free=True)
    record = {"eventSource": "aws:dynamodb", "dynamodb": {"SequenceNumber": "1", "NewImage": image}}
    return _call("stream", "publish_changes", lambda _: {"Records": [record]})


_INVOICE: Json = {
    "id": invoice_name(FOCUS, 1),
    "object": "invoice",
    "customer": stage.CUSTOMER,
    "metadata": {"workspace_id": stage.WORKSPACE, "line_id": FOCUS},
}
_PAYMENT = memory_reversals.PAYMENT + invoice_name(FOCUS, 1)
_RELEASE = {"routeKey": "DELETE /api/lines/{id}"}
_REFUND: Json = {"id": "re_hand_0", "object": "refund", "payment_intent": _PAYMENT, "metadata": {}}
# Calls of one name are looked at together: they go on alike from where they have read what they are about.
HANDLERS: dict[str, tuple[Script, ...]] = {
    "create": (stage.create(),),
    "create, capped": (stage.create(),),
    "create A": (stage.create("A"),),
    "poll": (_call("poll", "get_line_request", lambda now_ms: stage.http(now_ms, line_id=FOCUS)),),
    "cancel": (_managed("cancel"),),
    "payment_link": (_managed("payment_link"),),
    "release": (_call("release", "manage_line_request", lambda now_ms: stage.http(now_ms, line_id=FOCUS) | _RELEASE),),
    "webhook invoice": (_webhook("invoice.paid", _INVOICE), _webhook("invoice.voided", _INVOICE)),
    "webhook refunded": (_webhook("refund.created", _REFUND),),
    "reconciler": (stage.reconcile(),),
    "provisioned": (_provisioned("succeeded"),),
    "not provisioned": (_provisioned("failed"),),
    "publish_changes": (_published(),),
}
# A line that is requested is the third; with a cap of two it may be one too many.
CAPS = {"create": 3, "create, capped": 2, "create A": 3}
# With `--full` or `--settled` these are exhausted in a narrower scope; the longest first.
NARROW = ("create A", "reconciler", "create, capped", "create", "webhook invoice", "payment_link", "poll", "cancel")
# How the line that a handler is about begins, at the least.
BEGINS: dict[str, tuple[str, ...]] = {
    "publish_changes": ("provisioning",),
    "provisioned": ("provisioning",),
    "not provisioned": ("provisioning",),
}


@contextmanager
def unhurried() -> Iterator[None]:
    """A pass takes any number of steps, and a request that starts over reads again what its failed write has shown it.

    Then nothing follows from how often a loop has gone round.
    """
    from line_requests.flows import create, lifecycle  # here, because bugs are planted before these are loaded

    before = lifecycle.STEPS_MAX, create.PAUSES_S
    lifecycle.STEPS_MAX, create.PAUSES_S = 1_000, create.PAUSES_S[-1:]
    try:
        yield
    finally:
        lifecycle.STEPS_MAX, create.PAUSES_S = before


class Bench:
    """One process's product, and the worlds that its handlers begin in."""

    def __init__(self) -> None:
        self.product = Product()
        share(self.product.deployment)
        self.cast = Cast(self.product)
        self.observer = Observer(self.product)
        self._alike: dict[int, Place] = {}
        """One place for all that go on alike."""
        self._steps: dict[str, Step] = {}
        """One step for all that are equal: each keeps what came of it, by the worlds that it met."""
        self._results: dict[int, Result] = {}
        """One result for all that are equal: each place keeps those that led to it."""
        self.starting_over = set[Place]()
        """Requests for a line that begin another attempt."""
        self.moving = set[tuple[Place, int]]()
        """The steps, by their strands, that move a line."""
        self._knowing = set[Place]()
        """Requests for a line that have met a line of others."""
        self._telling: dict[int, bool] = {}
        """Of each result, whether a line of others is in it."""
        self._after: dict[tuple[Place, int, int, int], Place] = {}
        self._empty = beginnings.busy(self.cast, beginnings.empty(self.product))
        feed = {"pk": {"S": "RECONCILER"}, "sk": {"S": "FEED"}, "watermark_s": {"N": str(AT_S - 120)}}
        self._empty = replace(self._empty, table=self._empty.table.with_item(("RECONCILER", "FEED"), feed))

    def starts(self, name: str, now_ms: int, *, narrow: bool = False) -> list[Place]:
        """The handler's calls before their first steps; a cast keeps one for each name of a script."""
        scripts = [replace(one, name=f"{one.name} {ONE_ID}") if narrow else one for one in HANDLERS[name]]
        return [Cast(self.product).start(script, now_ms) for script in scripts]

    def deliver(  # noqa: PLR0913 - a result and where it goes; the rest as of `continuation`
        self, place: Place, strand: int, result: Result, now_ms: int, *, creates: bool, calm: bool
    ) -> Place:
        """The call after this result; of places that go on alike, always the same one."""
        digest = digest_of(result)
        given = (place, strand, digest, now_ms)
        if given not in self._after:
            result = self._results.setdefault(digest, result)
            after = self.cast.deliver(place, strand, result, now_ms)
            place.known.clear()
            run = after.run
            if run is not None and not after.finished:
                over = calm and starts_over(run)
                if over:
                    after.last, after.alarms = None, ()
                elif place in self._knowing or self._tells(digest, result):
                    self._knowing.add(after)
                first = self._alike.setdefault(continuation(after, run, creates=creates, calm=calm), after)
                if first is not after:
                    self._knowing.discard(after)
                    after.give_up_run()
                    after = first
                else:
                    self.moving |= {(after, number) for number in after.pending if moves_a_line(run, number)}
                    after.pending = {number: self._shared(step) for number, step in after.pending.items()}
                    self.starting_over |= {after} if over else set()
            self._after[given] = after
        return self._after[given]

    def knows(self, place: Place) -> bool:
        """Whether lines of others are not all one to a call: it has met one, or names the key of one."""
        return place in self._knowing or "with key" in place.script.name

    def _tells(self, digest: int, result: Result) -> bool:
        if digest not in self._telling:
            text = repr(result)
            self._telling[digest] = any(line_id in text for line_id in (FOCUS, OTHER, THIRD))
        return self._telling[digest]

    def _shared(self, step: Step) -> Step:
        return step if isinstance(step, Pause) else self._steps.setdefault(text_of(step), step)

    def others(self, name: str, *, stays: bool = False) -> Others:
        """Two lines of others beside the one that is requested, or beside the one that a handler is about.

        `stays`: they leave a line alone once it is settled.
        """
        slots = [Slot(FOCUS, _hash("A")), Slot(OTHER, _hash("B")), Slot(THIRD, None)]
        creates, cap = name in CAPS, CAPS.get(name, 3)
        slots = slots[: len(slots) - creates]
        return Others(tuple(slots), creates, cap, self._snapshots(cap), name == "reconciler", stays=stays)

    def _snapshots(self, cap: int) -> dict[Standing, Typed]:
        """The subscription as it is stored, by what stands in it; everything else is constructed."""
        return {
            Standing(ended): self._synced(cap, ended=ended).table.items[WORKSPACE].item["subscription"]
            for ended in (False, True)
        }

    def _synced(self, cap: int, *, ended: bool = False) -> World:
        stripe = self._empty.stripe.end(stage.SUBSCRIPTION, AT_S) if ended else self._empty.stripe
        world = beginnings.with_plans(self.product, replace(self._empty, now_ms=AT_MS, stripe=stripe), cap=cap)
        return replace(world, stripe=replace(world.stripe, events=()), stream={})

    def beginnings(self, name: str, others: Others) -> list[World]:
        """The least worlds: all that others can have done before the first step comes on top."""
        empty = self._synced(others.cap)
        now = others.now(empty)
        if others.creates:
            return [empty]
        return [
            others.build(empty, self._with(now, status))
            for status in BEGINS.get(name, ("awaiting_payment", "provisioning"))
        ]

    def _with(self, now: Choice, status: str) -> Choice:
        first = next(one for one in facets(now.lines[0], _hash("A")) if one.line.get("status") == status)
        return now._replace(lines=(first, *now.lines[1:]))
