"""Random histories of 24 months: what was charged has to be what the oracle says."""

import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

from tests.proof import stage
from tests.proof.actors import Json
from tests.proof.ledger import charged, oracle, plans
from tests.proof.ledger.workspace import RETRY_S, Workspace
from tests.proof.product import Product

MONTHS = 24
DAY_S, HOUR_S = 86_400, 3_600
# A run that finds nothing due and no new event changes nothing, so not every one of them is made.
IDLE_S = 5 * DAY_S
LENGTH_S = MONTHS * 30 * DAY_S
BODIES = {"purchased_phone": stage.PHONE, "email": stage.EMAIL}
# A third of the histories each; the others have neither.
PRICES_CHANGE, LISTS_LAG = 1, 2
HEARD_OF = ("customer.subscription.", "invoice.paid", "invoice.voided")


@dataclass(frozen=True)
class Report:
    """What came of one history."""

    seed: int
    months: int
    invoices: int
    faults: int
    wrong: charged.Wrong


class Life:
    """What happens to a workspace, by chance; the reconciler runs each hour when there is a reason, else each day."""

    def __init__(self, product: Product, seed: int) -> None:
        self._seed = seed
        self._bases = plans.bases(seed)
        self.chance = random.Random(seed)
        kind = seed // 3 % 3
        self._prices_change, self._lists_lag = kind == PRICES_CHANGE, kind == LISTS_LAG
        self.it = Workspace(
            product,
            f"ledger {seed}",
            self.chance,
            silent=self.chance.random() < 0.5,
            lagging=self._lists_lag,
        )
        self._begin_s = self.it.now_s + self.chance.randrange(365 * DAY_S)
        self._end_s = self._begin_s + LENGTH_S
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()
        self._subscriptions = 0
        self._reconciled_s = self._begin_s
        self._outage_until_s = 0
        self._provisioning: set[str] = set()
        self._reason = True
        self._minute_s = self.chance.randrange(HOUR_S)

    # --- time -----------------------------------------------------------------------------------

    def live(self) -> Report:
        """All of it."""
        self.it.pass_until(self._begin_s)
        self.it.prepare()
        self.subscribe()
        self._reconcile()
        self._soon(self._next)
        while True:
            action_s, reconcile_s, renewal_s = self._agenda[0][0], self._reconcile_s(), self._renewal_s()
            at_s = int(min(action_s, reconcile_s, renewal_s))
            if at_s >= self._end_s:
                break
            self.it.pass_until(at_s)
            self._post()
            if at_s == action_s:
                heapq.heappop(self._agenda)[2]()
            elif at_s == reconcile_s:
                self._reconcile()
            self._reason |= at_s != reconcile_s
            self._post()
        self._outage_until_s = 0
        while not self._reconcile():
            self.it.pass_until(self.it.now_s + RETRY_S)
        account = self.it.world.stripe
        wrong = charged.compare(oracle.charges(self.it.history), charged.charged(account))
        return Report(self._seed, MONTHS, len(account.invoices), self.it.faults, wrong)

    def _at(self, at_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (int(at_s), next(self._number), action))

    def _soon(self, action: Callable[[], None], mean_s: float = 4 * DAY_S) -> None:
        self._at(self.it.now_s + 1 + self.chance.expovariate(1 / mean_s), action)

    def _renewal_s(self) -> float:
        account = self.it.world.stripe
        return min((account.next_period_s(one) for one in account.subscriptions), default=float("inf"))

    def _reconcile_s(self) -> float:
        """When the reconciler runs next."""
        earliest_s: float = max(self.it.now_s + 1, self._outage_until_s)
        if not self._reason:
            earliest_s = max(earliest_s, min(self._reconciled_s + IDLE_S, self.it.due_s()))
        return int(earliest_s) + (self._minute_s - int(earliest_s)) % HOUR_S

    def _reconcile(self) -> bool:
        done = self.it.reconcile()
        while not done and self.chance.random() < 0.9:
            self.it.pass_until(self.it.now_s + RETRY_S)
            done = self.it.reconcile()
        self._reconciled_s, self._reason = self.it.now_s, not done
        for line_id in sorted(set(self.it.lines("provisioning")) - self._provisioning):
            self._provisioning.add(line_id)
            self._soon(partial(self.provision, line_id), 2 * HOUR_S)
        if not done:
            self._out()
        return done

    def _out(self) -> None:
        self._outage_until_s = self.it.now_s + self.chance.randrange(26 * HOUR_S)

    def _post(self) -> None:
        """Stripe's events are delivered at once, late, twice or never."""
        mail, self.it.mail = self.it.mail, []
        for event in mail:
            if not event["type"].startswith(HEARD_OF):
                continue
            dice = self.chance.random()
            if dice < 0.3:
                continue
            if dice < 0.7:
                self._deliver(event)
            if dice > 0.6:
                self._soon(partial(self._deliver, event), DAY_S)

    def _deliver(self, event: Json) -> None:
        self.it.call("stripe_webhook", stage.delivery(event, self.it.world.now_ms))

    # --- what people do -------------------------------------------------------------------------

    def _next(self) -> None:
        """One of the things that may happen, and then the next."""
        acts = {
            self.request: 40,
            self.release: 14,
            self.cancel: 2,
            self.change_plan: 8,
            self.end: 2,
            self.end_later: 1,
            self.decline: 3,
            self._out: 8,
        }
        if self._prices_change:
            acts[self.apply_plan] = 4
        if self._lists_lag:
            acts[self.subscribe_again] = 3
        [act] = self.chance.choices(list(acts), list(acts.values()))
        if self._status == "canceled" and self.chance.random() < 0.4:
            act = self.subscribe
        renewal_s = self._renewal_s()
        near = act in {self.change_plan, self.end, self.subscribe_again, self.apply_plan} and renewal_s < self._end_s
        if near and self.chance.random() < 0.3:
            # Before the reconciler has seen what that renewal charged; or just before a renewal at the former price.
            apart_s = 1 + self.chance.randrange(HOUR_S)
            self._at(renewal_s - apart_s if act == self.apply_plan else renewal_s + apart_s, act)
        else:
            act()
        self._soon(self._next)

    @property
    def _subscription(self) -> str:
        return f"sub_{self._subscriptions}"

    @property
    def _status(self) -> str:
        return str(self.it.world.stripe.subscriptions[self._subscription]["status"])

    def subscribe(self) -> None:
        """A subscription, perhaps with a trial, perhaps in another currency."""
        self._subscriptions += 1
        trial_s = self.chance.choice([0, 0, 0, 14 * DAY_S, 30 * DAY_S + 5000])
        base = self.chance.choice([*self._bases, self._bases[0], "base_large"])
        self.it.change(
            self.it.world.stripe.subscribe(
                self._subscription,
                stage.CUSTOMER,
                base,
                self.it.now_s,
                currency=self.chance.choice(plans.CURRENCIES),
                trial_s=trial_s,
                billed=True,
            )
        )

    def request(self) -> None:
        """A client asks for a line, and may pay for it: at once, or after the renewal, or never."""
        body = BODIES[self.chance.choice(sorted(BODIES))]
        answer = self.it.call("create_line_request", stage.http(self.it.world.now_ms, body))
        if answer is not None and answer["statusCode"] == 201 and json.loads(answer["body"])["paymentRequired"]:
            dice = self.chance.random()
            then = self.pay if dice < 0.85 else self.cancel
            self._soon(then, HOUR_S if dice < 0.6 else 15 * DAY_S)

    def pay(self) -> None:
        """The customer pays what is open."""
        for line_id in self.it.lines("awaiting_payment"):
            invoice = stage.invoice_of(self.it.world, line_id, "open")
            if invoice is not None:
                self.it.change(self.it.world.stripe.pay(invoice, self.it.now_s))

    def cancel(self) -> None:
        """The client gives the request up."""
        for line_id in self.it.lines("awaiting_payment"):
            event = stage.http(self.it.world.now_ms, {"action": "cancel"}, line_id=line_id)
            self.it.call("manage_line_request", event)

    def provision(self, line_id: str) -> None:
        """The provisioner answers."""
        line = next(line for line in stage.lines(self.it.world) if stage.id_of(line) == line_id)
        detail = {
            "eventId": f"{line_id}:{len(line['history']['L'])}",
            "workspaceId": stage.WORKSPACE,
            "lineId": line_id,
            "outcome": "succeeded" if self.chance.random() < 0.93 else "failed",
        }
        event = {"id": "1", "detail": detail, "time": stage.at(self.it.world.now_ms)}
        self.it.call("provisioning_result", stage.queued(event))
        self._provisioning.discard(line_id)  # if the result was lost, the next one follows

    def release(self) -> None:
        """An operator gives a line back."""
        if lines := self.it.lines("active", "failed"):
            self.it.release(self.chance.choice(lines))

    def change_plan(self) -> None:
        """The customer takes another plan."""
        if self._status == "canceled":
            return
        subscription = self.it.world.stripe.subscriptions[self._subscription]
        [before] = [i["price"]["id"] for i in subscription["items"]["data"] if i["price"]["id"] in plans.BASES]
        after = self.chance.choice([base for base in self._bases if base != before])
        self.it.change(self.it.world.stripe.change_plan(self._subscription, before, after, self.it.now_s))

    def apply_plan(self) -> None:
        """An operator applies a plan with other add-on prices, or with those that it had before them."""
        state = self.it.history.states[-1]
        [current] = [name for name, plan in self.it.plans.items() if plan == state.plan]
        name = self.chance.choice([current, plans.BASES[self.chance.choice(self._bases)]])
        self.it.apply_plan(name, sync=self.chance.random() < 0.3)

    def end(self) -> None:
        """The subscription ends now."""
        if self._status != "canceled":
            self.it.change(self.it.world.stripe.end(self._subscription, self.it.now_s))

    def subscribe_again(self) -> None:
        """The subscription ends, and at once another begins."""
        self.end()
        self.it.pass_until(self.it.now_s + 1)
        self.subscribe()

    def end_later(self) -> None:
        """The subscription ends with its period."""
        if self._status != "canceled":
            self.it.change(self.it.world.stripe.end_at_period_end(self._subscription, self.it.now_s))

    def decline(self) -> None:
        """The next renewals are not paid, until they are, or the subscription is canceled."""
        if self._status != "canceled":
            subscription = self._subscription
            self.it.change(self.it.world.stripe.decline(subscription))
            self._soon(partial(self._collect, subscription), 40 * DAY_S)

    def _collect(self, subscription: str) -> None:
        if subscription != self._subscription or self._status == "canceled":
            return
        if self.chance.random() < 0.7:
            self.it.change(self.it.world.stripe.collect(subscription, self.it.now_s))
        else:
            self.end()


def lived(product: Product, seed: int) -> Report:
    """The history of this seed."""
    return Life(product, seed).live()
