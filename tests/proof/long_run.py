"""Long random histories of one workspace against a model of what a client should see.

Webhooks are dropped, doubled, reordered, a week late; clocks are off; the model knows none of that.
"""

import argparse
import json
import secrets
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.proof import beginnings, stage
from tests.proof.actors import Call, Json, Lines, Script
from tests.proof.invariants import safe, see
from tests.proof.laboratory import Laboratory
from tests.proof.memory_stripe import MemoryStripe

BODIES = {"purchased_phone": stage.PHONE, "email": stage.EMAIL}
WEEK_MS, HOUR_MS = 7 * 86_400_000, 3_600_000
CAP = 3
# A workspace without an active subscription has no history worth telling.
CALLS_BEFORE_CHANGE = 12


# --- the model ----------------------------------------------------------------------------------


@dataclass
class Line:
    """A line as a client knows it, and how its invoice stands at Stripe."""

    kind: str
    status: str
    payment: str
    invoice: str = "none"

    @property
    def holds(self) -> bool:
        return self.status in {"awaiting_payment", "provisioning", "active"}

    def learn(self) -> None:
        """An answer about its invoice tells how the payment went."""
        if self.status == "awaiting_payment" and self.invoice == "paid":
            self.status, self.payment = "provisioning", "paid"
        elif self.status == "awaiting_payment" and self.invoice == "void":
            self.status, self.payment = "canceled", "canceled"

    def close(self, payment: str) -> None:
        """It need not be paid any more: void, unless it was paid."""
        self.learn()
        if self.status == "awaiting_payment":
            self.invoice, self.payment = "void", payment
            self.status = "canceled" if payment == "canceled" else "provisioning"


@dataclass
class Model:
    """A workspace: one place included per kind, five on the larger plan; one line at a time awaits payment."""

    lines: dict[str, Line] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    included: int = 1
    cap: int = CAP
    active: bool = True

    @property
    def waiting(self) -> Line | None:
        return next((line for line in self.lines.values() if line.status == "awaiting_payment"), None)

    @property
    def includable(self) -> bool:
        """Whether the line that waits need not be paid: another has given back an included place."""
        one = self.waiting
        unpaid = [o for o in self.lines.values() if one and o.kind == one.kind and o.holds and o.payment != "paid"]
        return one is not None and len(unpaid) <= self.included

    def advance(self, line: Line) -> None:
        """Every poll, cancel or webhook brings its line up to date."""
        line.learn()
        if line is self.waiting and self.includable:
            line.close("not_required")

    def judge(self, kind: str) -> tuple[int, str]:
        """What a new request is answered."""
        lines = [line for line in self.lines.values() if line.kind == kind and line.holds]
        if not self.active:
            return 403, "subscription_required"
        if len(lines) >= self.cap:
            return 403, "forbidden_line_type"
        if self.waiting is not None:
            self.advance(self.waiting)
            return (409, "request_in_progress") if self.waiting is not None else self.judge(kind)  # type: ignore[redundant-expr] # look() may have closed it
        included = sum(line.payment != "paid" for line in lines) < self.included
        return 201, "provisioning" if included else "awaiting_payment"

    def subscribe(self, *, included: int, cap: int, active: bool) -> None:
        """The plan changes, and everybody knows."""
        self.included, self.cap, self.active = included, cap, active
        if self.waiting is not None and not active:
            self.waiting.close("canceled")
        elif self.waiting is not None and self.includable:
            self.waiting.close("not_required")


# --- the histories ------------------------------------------------------------------------------

_laboratory: list[Laboratory] = []


def laboratory() -> Laboratory:
    """One for all histories."""
    if not _laboratory:
        _laboratory.append(Laboratory())
    return _laboratory[0]


class History(RuleBasedStateMachine):
    """Everybody acts on the product and on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.cast = laboratory().cast
        self.world = laboratory().begins("fresh/create")
        self.model = Model()
        self.mail: list[Json] = []
        self.calls = 0
        self.skew_ms = 0
        self.large = False

    def call(self, function: str, **event: Any) -> Json:  # noqa: ANN401 - an event's parts
        """A handler is called by a clock that is a little off."""
        self.calls += 1
        skew_ms = self.skew_ms

        def script() -> Lines:
            yield Call(function, lambda now_ms: stage.http(now_ms + skew_ms, **event))

        self.world, [answer] = self.cast.play(Script(f"call {self.calls}", script), self.world, safe)
        return answer

    @rule(ms=st.sampled_from([4_000, 30_000, HOUR_MS, 25 * HOUR_MS, WEEK_MS]), skew_ms=st.integers(-2_000, 2_000))
    def time_passes(self, ms: int, skew_ms: int) -> None:
        self.world, self.skew_ms = self.world.after(ms), skew_ms

    @rule(kind=st.sampled_from(sorted(BODIES)), key=st.sampled_from([None, None, *"ABCDEFGH"]))
    def create(self, kind: str, key: str | None) -> None:
        self.world = self.world.after(4_000)
        answer = self.call("create_line_request", body=BODIES[kind], key=key)
        if key in self.model.answers:
            assert (answer["statusCode"], answer["body"]) == (201, self.model.answers[key])
            return
        code, status = self.model.judge(kind)
        body = json.loads(answer["body"])
        assert (answer["statusCode"], body["status"]) == (code, status)
        if code == 201:
            payment = "awaiting_payment" if status == "awaiting_payment" else "not_required"
            invoice = "open" if status == "awaiting_payment" else "none"
            self.model.lines[body["line"]["_id"]] = Line(kind, status, payment, invoice)
            if key is not None:
                self.model.answers[key] = answer["body"]

    @precondition(lambda self: self.model.lines)
    @rule(data=st.data(), action=st.sampled_from(["poll", "payment_link", "cancel"]))
    def manage_line(self, data: st.DataObject, action: str) -> None:
        self.world = self.world.after(5_000)
        line_id = data.draw(st.sampled_from(sorted(self.model.lines)))
        line, awaited = self.model.lines[line_id], self.model.lines[line_id].status == "awaiting_payment"
        if action == "poll":
            self.model.advance(line)
            answer = self.call("get_line_request", line_id=line_id)
            assert json.loads(answer["body"])["status"] == line.status
            return
        line.close("canceled") if action == "cancel" else self.model.advance(line)
        answer = self.call("manage_line_request", line_id=line_id, body={"action": action})
        good = {"canceled"} if action == "cancel" else {"awaiting_payment", "provisioning"}
        assert answer["statusCode"] == (200 if line.status in good else 409), (action, awaited, answer)

    @precondition(lambda self: self.model.waiting and self.model.waiting.invoice == "open")
    @rule(paid=st.booleans(), copies=st.integers(0, 2))
    def invoice_settled(self, paid: bool, copies: int) -> None:  # noqa: FBT001 - Hypothesis draws it
        assert self.model.waiting is not None
        self.model.waiting.invoice = "paid" if paid else "void"
        invoice = stage.invoice_of(self.world, stage.payable(self.world), "open")
        assert invoice is not None
        now_s = self.world.now_ms // 1000
        stripe = self.world.stripe.pay(invoice, now_s) if paid else self.world.stripe.void(invoice, now_s)
        self.mail += copies * self._changed(stripe)

    def _changed(self, stripe: MemoryStripe) -> list[Json]:
        told: list[Json] = list(stripe.events[len(self.world.stripe.events) :])
        self.world = replace(self.world, stripe=stripe)
        return told

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def webhook(self, data: st.DataObject) -> None:
        """Any of those on their way, in any order, however old."""
        event = self.mail.pop(data.draw(st.integers(0, len(self.mail) - 1)))
        line_id = event["data"]["object"].get("metadata", {}).get("line_id")
        self._deliver(event)
        if line_id is None:
            self.model.subscribe(included=self.model.included, cap=self.model.cap, active=self.model.active)
        else:
            self.model.lines[line_id].learn()

    def _deliver(self, event: Json) -> None:
        def script() -> Lines:
            yield Call("stripe_webhook", partial(stage.delivery, event))

        self.world, [answer] = self.cast.play(Script("webhook", script), self.world, safe)
        assert answer["statusCode"] == 200, answer

    @precondition(lambda self: self.model.active and self.calls > CALLS_BEFORE_CHANGE)
    @rule(dice=st.integers(1, 6))
    def subscription_changes(self, dice: int) -> None:
        ends = dice == 6
        self.world = self.world.after(30_000)
        stripe, now_s = self.world.stripe, self.world.now_ms // 1000
        if self.large or ends:
            [event] = self._changed(stripe.end(stage.SUBSCRIPTION, now_s))
            self.model.subscribe(included=self.model.included, cap=self.model.cap, active=False)
        else:
            self.large = True
            [event] = self._changed(stripe.change_plan(stage.SUBSCRIPTION, stage.SMALL, stage.LARGE, now_s))
            self.model.subscribe(included=5, cap=10, active=True)
        self._deliver(event)
        self.mail.append(event)

    @rule()
    def reconcile(self) -> None:
        self.world = beginnings.drain_stream(self.cast, self.world.after(150_000))
        self.world, [answer] = self.cast.play(stage.reconcile(), self.world, safe)
        assert not answer["failed"], answer
        for name, line in self.model.lines.items():
            line.learn()
            # Included meanwhile: the reconciler finds out when the line is due, which the model does not know.
            if line is self.model.waiting and see(self.world).lines[name]["payment_status"] == "not_required":
                self.model.advance(line)

    @precondition(lambda self: any(line.status == "provisioning" for line in self.model.lines.values()))
    @rule(outcome=st.sampled_from(["succeeded", "failed"]))
    def provisioner(self, outcome: str) -> None:
        provisioning = sorted(i for i, line in self.model.lines.items() if line.status == "provisioning")
        stored = [i for i, line in see(self.world).lines.items() if line["status"] == "provisioning"]
        assert provisioning == sorted(stored)
        self.world, _ = self.cast.play(stage.provision(outcome), self.world)
        self.model.lines[provisioning[0]].status = "active" if outcome == "succeeded" else "failed"

    @invariant()
    def as_the_model_says(self) -> None:
        seen = see(self.world)
        stored = {name: (line["status"], line["payment_status"]) for name, line in seen.lines.items()}
        assert stored == {name: (line.status, line.payment) for name, line in self.model.lines.items()}
        assert [i["status"] for i in seen.invoices.values()].count("open") <= 1


def main() -> None:
    """Runs so many histories of so many steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=30)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="the same histories again")
    options = parser.parse_args()
    print(f"--histories {options.histories} --steps {options.steps} --seed {options.seed}", flush=True)
    run_state_machine_as_test(
        seed(options.seed)(History),
        settings=settings(
            max_examples=options.histories,
            stateful_step_count=options.steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print("as the model says")


if __name__ == "__main__":
    main()
