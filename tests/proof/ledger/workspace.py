"""One workspace over months: the real handlers on a Stripe in memory whose time passes, and what the oracle is told."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from tests.proof import stage
from tests.proof.actors import Context, Json
from tests.proof.ledger import history, plans
from tests.proof.ledger.charged import charges_at
from tests.proof.memory_billing import period_of
from tests.proof.memory_stripe import MemoryStripe
from tests.proof.product import Product
from tests.proof.runs import Alone
from tests.proof.world import Crash, DynamoDb, Pause, Result, Step, Stripe, World

FAULTS_PER_STEP = 0.004
# A crash keeps the quantities' lease for two minutes.
RETRY_S = 130
PASSES = 8
EVENT_LIFE_S = 30 * 86_400
EVENTS_KEPT = 400
IDLE_S = 5 * 86_400


class Progress(NamedTuple):
    """What of a reconcile's work can be seen at Stripe."""

    charges: dict[str, str]
    """Kinds by the number of the charge."""
    quantities: dict[str, int]
    counted: Any
    """The last period whose renewal was counted, as stored."""


class _Run(Alone):
    """A handler alone; at one of its steps something may go wrong."""

    def __init__(self, name: str, world: World, chance: random.Random, faults_per_step: float) -> None:
        super().__init__(name, world)
        self._chance = chance
        self._faults_per_step = faults_per_step
        self.faults = 0

    def ask(self, step: Step) -> Result:
        world = self.worlds[-1]
        fault = self._fault(step)
        if fault is not None:
            self.faults += 1
            world, result = fault(world)
        elif isinstance(step, DynamoDb):  # steps' memories and the stream would need to tell apart all that is stored
            table, result = world.table.call(step.operation, step.request)
            world = world if table is world.table else replace(world, table=table)
        elif isinstance(step, Stripe):
            account, result = world.stripe.call(step.method, step.path, step.params, step.key, world.now_ms // 1000)
            world = world if account is world.stripe else replace(world, stripe=account)
        else:
            world, result = step.apply(world.after(step.ms) if isinstance(step, Pause) else world)
        self.worlds = [world]
        self.now_ms = world.now_ms
        if result is Crash:
            raise Crash
        return result

    def _fault(self, step: Step) -> Callable[[World], tuple[World, Result]] | None:
        if self.faults or self._chance.random() >= self._faults_per_step:
            return None
        # The feed's order is not what this is about: an event that stays unseen for an hour is no fault of Stripe's.
        faults = [effect for name, effect in step.faults() if not name.startswith("the newest event")]
        return self._chance.choice(faults) if faults else None


class Workspace:
    """The product and the world around it; it tells the history as it happens."""

    def __init__(self, product: Product, name: str, chance: random.Random, *, silent: bool, lagging: bool) -> None:
        self.product = product
        self.chance = chance
        self.name = name
        self.history = history.History(plans.UNIT_AMOUNTS)
        self.world = replace(World(), stripe=MemoryStripe(prices=plans.PRICES))
        self.mail: list[Json] = []
        """Events that Stripe has made and nobody has delivered yet."""
        self.faults = 0
        self._silent = silent
        """Whether Stripe has no event for what time does to a subscription."""
        self._lagging = lagging
        """Whether Stripe's list of invoices lacks a renewal for a while."""
        self._listed_s = 0
        """From when on it has all."""
        self.plans = dict(plans.PLANS)
        """As applied last."""
        self._calls = 0
        self._items = self.world.table.items

    @property
    def now_s(self) -> int:
        return self.world.now_ms // 1000

    # --- the product ----------------------------------------------------------------------------

    def prepare(self) -> None:
        """A workspace, its key, the plans and the feed's mark, before anything is subscribed to."""
        from line_requests.domain.ids import sha256_hex
        from line_requests.domain.model import ApiKey
        from line_requests.flows import event_feed

        stores = self.product.deployment.stores
        # Few events in many days: a longer slice is read as one of six hours is.
        event_feed.FEED_SLICE_S = IDLE_S

        def prepare() -> None:
            stores.workspaces.insert(stage.WORKSPACE, stage.CUSTOMER, livemode=False)
            stores.api_keys.insert(stage.WORKSPACE, ApiKey(sha256_hex(stage.API_KEY), "ledger", self.world.now_ms))
            stores.plans.save(plans.for_the_product(*named) for named in self.plans.items())

        self._run(prepare)
        # The deployment is older than its first customer: its reconciler has run.
        mark = {"pk": {"S": "RECONCILER"}, "sk": {"S": "FEED"}, "watermark_s": {"N": str(self.now_s - 60)}}
        self.world = replace(self.world, table=self.world.table.with_item(("RECONCILER", "FEED"), mark))

    def apply_plan(self, name: str, *, sync: bool) -> None:
        """An operator applies the plan with other add-on prices; without `sync` the workspace gets them later."""
        from line_requests.clock import Clock
        from line_requests.operator import commands, plan_checks

        self.pass_until(self.now_s + 1)
        self.plans[name] = plans.with_other_prices(self.plans[name])
        stores, lifecycle = self.product.deployment.stores, self.product.deployment.lifecycle

        def apply() -> None:
            [before] = [plan for plan in stores.plans.all() if plan.name == name]
            plan = plans.for_the_product(name, self.plans[name])
            former = plan_checks._former_add_ons(before, plan)  # noqa: SLF001 - the command wants Stripe's own ids
            stores.plans.save([replace(plan, former_add_ons=former)])
            if sync:
                commands.sync(stores.workspaces, lifecycle, stage.WORKSPACE, Clock.start(20.0))

        self._tell(self.world.stripe.subscriptions[self.history.states[-1].subscription])
        self._run(apply)
        self._observe()

    def call(self, function: str, event: Json, *, faulty: bool = True) -> Json | None:
        """What a handler answers; None when it crashed."""
        answer = self._run(lambda: self.product.handlers[function](event, Context()), faulty=faulty)
        self._observe()
        return answer if isinstance(answer, dict) else None

    def _run(self, work: Callable[[], Any], *, faulty: bool = False) -> Any:  # noqa: ANN401 - a handler's answer
        self._calls += 1
        rate = FAULTS_PER_STEP if faulty else 0.0
        run = _Run(f"{self.name}/{self._calls}", self.world, self.chance, rate)
        try:
            run.start(work)
        except (Crash, Exception):
            if not run.faults:
                raise
            run.answer = None
        self.faults += run.faults
        self.world = replace(run.worlds[-1], stream={})
        return run.answer

    def lines(self, *statuses: str) -> list[str]:
        """The ids of the lines in these states."""
        return [stage.id_of(line) for line in stage.lines(self.world) if line["status"]["S"] in statuses]

    def release(self, line_id: str) -> None:
        """An operator gives an active or failed line back."""
        lines = self.product.deployment.stores.lines

        def release() -> None:
            line = lines.get(stage.WORKSPACE, line_id)
            assert line is not None
            lines.release(line, "released_by_operator", self.world.now_ms)

        self._run(release)
        self._observe()

    def reconcile(self) -> bool:
        """Runs the reconciler until nothing is due; whether it came to that."""
        before = self.world
        for _ in range(PASSES):
            answer = self.call("reconciler", {"time": stage.at(self.world.now_ms)})
            failed = answer is None or answer["failed"]
            if not failed and not self.due_s() <= self.now_s:
                unheard = [one for one in self.lines("awaiting_payment") if stage.invoice_of(self.world, one, "paid")]
                assert not unheard, f"a completed reconcile does not know that {unheard} are paid"
                if self._plan_known() in self.plans.values():  # else nothing has been due since a plan was applied
                    self.history.reconciles.append(history.Reconcile(self.now_s))
                    self.history.heard_s.append(self.now_s)
                # What follows is not in the same second: the oracle knows no other order.
                self.pass_until(self.now_s + 1)
                return True
            if failed:
                self.history.reconciles.append(self._reached(before))
                return False
        return False

    def due_s(self) -> float:
        """When something is due for the reconciler next."""
        items = self.world.table.items.values()
        due = [int(stored.item["due_at"]["N"]) for stored in items if "due_at" in stored.item]
        return min(due, default=float("inf")) / 1000

    # --- what the oracle is told ----------------------------------------------------------------

    def _observe(self) -> None:
        """Since when lines are what they are, and whether the product knows the subscription as it is."""
        before, self._items = self._items, self.world.table.items
        if before is self._items:
            return
        changed = [stored.item for key, stored in self._items.items() if before.get(key) is not stored]
        for item in (one for one in changed if "submission" in one):
            status = item["status"]["S"]
            kind = "email" if item["submission"]["M"]["channel_type"]["S"] == "email" else "purchased_phone"
            line = self.history.lines.setdefault(stage.id_of(item), history.Line(kind, self.now_s))
            if status in {"provisioning", "active"} and line.settled_s > self.now_s:
                line.settled_s, line.paid = self.now_s, item["payment_status"]["S"] == "paid"
            elif status in {"failed", "canceled"} and line.released_s > self.now_s:
                line.released_s = self.now_s
        if self._knows():
            self.history.heard_s.append(self.now_s)

    def _knows(self) -> bool:
        """Whether the stored snapshot is the subscription as it is at Stripe."""
        stored = _item(self.world).get("subscription", {}).get("M")
        if stored is None or not self.history.states:
            return False
        state = self.history.states[-1]
        known = stored["id"]["S"], stored["status"]["S"], int(stored["period"]["M"]["end_s"]["N"])
        return known == (state.subscription, state.status, state.period[1]) and self._plan_known() == state.plan

    def _plan_known(self) -> history.Plan:
        """The plan as the stored snapshot has it."""
        stored = _item(self.world)["subscription"]["M"]
        plan = self.plans[stored["plan"]["S"]]
        prices = {kind: grant["M"]["add_on"]["M"]["price"]["S"] for kind, grant in stored["allowances"]["M"].items()}
        return replace(plan, grants={kind: (included, prices[kind]) for kind, (included, _) in plan.grants.items()})

    def _reached(self, world: World) -> history.Reconcile:
        """A reconcile that failed: the kinds that it began to charge, and the prices whose quantity it set."""
        before, after = _progress(world), _progress(self.world)
        charged = {kind for number, kind in after.charges.items() if number not in before.charges}
        changed = {price for price, _ in before.quantities.items() ^ after.quantities.items()}
        counted = before.counted != after.counted
        return history.Reconcile(self.now_s, frozenset(charged), frozenset(changed), counted)

    # --- Stripe ---------------------------------------------------------------------------------

    def pass_until(self, at_s: int) -> None:
        """Time passes, at Stripe too."""
        self.world = replace(self.world, now_ms=max(self.world.now_ms, at_s * 1000))
        before = self.world.stripe
        after = before.advance(self.now_s)
        if self._lagging and after is not before:
            self._listed_s = self.now_s + self.chance.randrange(2 * 86_400)
            after = replace(after, unlisted=frozenset(after.invoices.keys() - before.invoices.keys()))
        elif after.unlisted and self.now_s >= self._listed_s:
            after = replace(after, unlisted=frozenset())
        if self._silent and after is not before:
            new = after.events[len(before.events) :]
            told = [event for event in new if event["data"]["object"]["object"] != "subscription"]
            after = replace(after, events=(*before.events, *told))
        self.change(after)

    def change(self, account: MemoryStripe) -> None:
        """Something happens at Stripe: its events are put in the mail, the subscription is told to the oracle."""
        before = self.world.stripe
        if account is before:
            return
        self.mail += account.events[len(before.events) :]
        if len(account.events) > EVENTS_KEPT:
            since_s = self.now_s - EVENT_LIFE_S
            account = replace(account, events=tuple(e for e in account.events if e["created"] >= since_s))
        latest = {one.get("latest_invoice") for one in account.subscriptions.values()}
        self.world = replace(self.world, stripe=replace(account, unlisted=account.unlisted & latest))
        for subscription in account.subscriptions.values():
            if subscription is not before.subscriptions.get(subscription["id"]):
                self._tell(subscription)

    def _tell(self, subscription: Json) -> None:
        base = next(item["price"]["id"] for item in subscription["items"]["data"] if item["price"]["id"] in plans.BASES)
        state = history.State(
            self.now_s,
            subscription["id"],
            subscription["status"],
            self.plans[plans.BASES[base]],
            subscription["currency"],
            period_of(subscription),
            subscription["billing_cycle_anchor"],
        )
        if not self.history.states or replace(self.history.states[-1], at_s=self.now_s) != state:
            self.history.states.append(state)


def _item(world: World) -> Any:  # noqa: ANN401 - a stored item
    return world.table.items[f"W#{stage.WORKSPACE}", "WORKSPACE"].item


def _progress(world: World) -> Progress:
    quantities = {
        item["price"]["id"]: item["quantity"]
        for subscription in world.stripe.subscriptions.values()
        if subscription["status"] != "canceled"
        for item in subscription["items"]["data"]
    }
    charges = {charge.number: charge.kind for charge in charges_at(world.stripe)}
    stored = _item(world).get("pending_charge", {}).get("M")
    pending = {stored["number"]["N"]: stored["kind"]["S"]} if stored else {}
    return Progress(charges | pending, quantities, _item(world).get("counted"))
