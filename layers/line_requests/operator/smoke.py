"""`line-requests smoke`: the deployment proved from outside, on a workspace of its own that is removed again."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import requests

from line_requests.billing.operator_account import OperatorBilling
from line_requests.bus.events import event_id
from line_requests.clock import Clock, wall_time_ms
from line_requests.domain.model import Line, Status, Subscription
from line_requests.domain.prices import Allowance, Plan
from line_requests.domain.submission import Kind
from line_requests.operator import commands, doctor, doctor_aws, doctor_stripe
from line_requests.operator.errors import EXPECTED, one_line
from line_requests.operator.refusal import Refused, Row
from line_requests.operator.target import Target
from line_requests.storage.erasure import Erasure

T = TypeVar("T")

CALL_TIMEOUT_S = 30.0
# A provisioner that answers by itself does so within seconds in a test environment; after that the smoke test answers.
PROVISIONER_S = 10.0
HEARD_S, POLL_S = 15.0, 0.2
# From awaiting payment over provisioning and active to canceled, and one for a step that a provisioner takes first.
GIVE_BACK_STEPS, CANCEL_S = 4, 10.0
# More would order that many lines from a real provisioner.
INCLUDED_MAX = 3
BUDGET_S = 55.0
DETAILS = {"email": "smoke@example.com", "phone": "+15550100000"}

STREAM = ("event source mappings", "provisioner on the bus")
ANSWERS = ("provisioners' answers", "answers set aside")
WEBHOOK = ("Stripe secret", "webhook endpoint", "webhook events", "webhook version")
RECONCILER = ("reconciler's schedule",)
# Where to look when the doctor finds nothing.
HINTS: dict[tuple[str, ...], str] = {
    WEBHOOK: "is the signing secret another endpoint's? line-requests setup-stripe --rotate; else the webhook's log",
    (*STREAM, *ANSWERS): "the logs of PublishChanges and ProvisioningResult: docs/operate.md",
}


class Failed(Exception):
    """A step of the smoke test failed; the text says what was seen."""


@dataclass
class Smoke:
    """One smoke test."""

    target: Target
    billing: OperatorBilling
    api_url: str
    clock: Clock
    workspace_id: str = field(default_factory=lambda: f"smoke-{secrets.token_hex(5)}")
    rows: list[Row] = field(default_factory=list)
    customer: str = ""
    api_key: str = ""
    left: str = ""
    """The commands that remove what is left behind."""

    @property
    def failed(self) -> int:
        """How many steps failed."""
        return sum(row["result"] == "failed" for row in self.rows)

    def run(self) -> None:
        """Every step; the first that fails ends it, because the next ones build on it."""
        plan, kind, allowance = _choose(self.target.deployment.stores.plans.all())
        try:
            self._create_workspace(plan)
            self._step("the reconciler is scheduled", RECONCILER, self._scheduled)
            included = [self._included(kind, number) for number in range(max(1, allowance.included))]
            self._step(
                "the line is published and the answer heard", (*STREAM, *ANSWERS), lambda: self._heard(included[0])
            )
            if allowance.add_on is None or self.billing.livemode:
                why = "the key is of live mode" if self.billing.livemode else "no plan has an add-on"
                self.rows.append({"step": "the paid story", "result": "skipped", "detail": why, "look": None})
            else:
                self._paid_story(kind)
        except Failed:
            pass
        finally:
            self.left = f"line-requests workspace delete {self.workspace_id}"
            self.left += f"; then delete the customer {self.customer} at Stripe" if self.customer else ""
            with suppress(Failed), self._reported("the workspace is removed", (), self.left):
                self._remove()
                self.left = ""

    # --- steps ----------------------------------------------------------------------------------

    def _scheduled(self) -> None:
        faults = self._faults(RECONCILER)
        if faults:
            raise Failed("; ".join(faults))

    def _included(self, kind: Kind, number: int) -> str:
        key = f"smoke-{number}"

        def request() -> str:
            status, _, body = self._post(kind, key)
            if status != HTTPStatus.CREATED or body.get("paymentRequired"):
                raise Failed(f"POST /api/line-requests answered {status} {body}")
            return str(body["line"]["_id"])

        line_id = self._step("an included line is requested", WEBHOOK[:1], request)
        if number == 0:
            self._step("its key replays the answer", (), lambda: self._replayed(kind, key, line_id))
        return line_id

    def _replayed(self, kind: Kind, key: str, line_id: str) -> None:
        status, headers, body = self._post(kind, key)
        same = status == HTTPStatus.CREATED and body["line"]["_id"] == line_id
        if not same or headers.get("Idempotency-Replayed") != "true":
            raise Failed(f"the same Idempotency-Key answered {status} {body}")

    def _heard(self, line_id: str) -> str:
        """The provisioner's own answer, or one in its place: over the bus either way."""
        if self._becomes(line_id, Status.ACTIVE, PROVISIONER_S):
            return "a provisioner answered"
        line = self._line(line_id)
        if line.status is Status.FAILED:
            raise Failed(f"the provisioner answered failed: {line.history[-1].cause}")
        commands.publish_result(
            self.target.deployment.stores.lines, self.target.bus(), self.workspace_id, line_id, succeeded=True
        )
        if not self._becomes(line_id, Status.ACTIVE, HEARD_S):
            raise Failed(f"the answer to {event_id(line)} was not heard within {HEARD_S:.0f} s")
        unheard = self._faults(STREAM)
        if unheard:
            raise Failed("; ".join(unheard))
        return "no provisioner answered, so this test did"

    def _paid_story(self, kind: Kind) -> None:
        line_id = self._step("a paid line is requested", WEBHOOK[:1], lambda: self._payable(kind, "smoke-paid"))
        self._step("meanwhile another request conflicts", (), lambda: self._conflicts(kind))
        self._step("it can be canceled", (), lambda: self._canceled(line_id))
        line_id = self._step("another is requested", (), lambda: self._payable(kind, "smoke-paid-again"))
        self._step("its payment is heard by the webhook", WEBHOOK, lambda: self._paid(line_id))

    def _payable(self, kind: Kind, key: str) -> str:
        status, _, body = self._post(kind, key)
        if status != HTTPStatus.CREATED or not body.get("paymentUrl"):
            raise Failed(f"POST /api/line-requests answered {status} {body}")
        return str(body["line"]["_id"])

    def _conflicts(self, kind: Kind) -> None:
        status, _, body = self._post(kind, "smoke-conflict")
        if status != HTTPStatus.CONFLICT:
            raise Failed(f"a second request answered {status} {body}")

    def _canceled(self, line_id: str) -> None:
        status, _, body = self._call("POST", f"/{line_id}", {"action": "cancel"})
        if status != HTTPStatus.OK or body.get("status") != Status.CANCELED:
            raise Failed(f"cancel answered {status} {body}")

    def _paid(self, line_id: str) -> None:
        """Looks at the table alone: a poll of the API would find the payment without any webhook."""
        invoice_id = self._line(line_id).invoice_id or ""
        self.billing.setup.pay_out_of_band(invoice_id)
        if not self._becomes(line_id, (Status.PROVISIONING, Status.ACTIVE), HEARD_S):
            raise Failed(f"the payment of {invoice_id} was not heard within {HEARD_S:.0f} s")

    # --- workspace ------------------------------------------------------------------------------

    def _create_workspace(self, plan: Plan) -> None:
        with self._reported("a workspace is created", ("Stripe account", "key scopes")):
            stores, setup, now_ms = self.target.deployment.stores, self.billing.setup, wall_time_ms()
            self.customer = setup.create_customer(f"line-requests smoke test {self.workspace_id}")
            if not self.billing.livemode:
                setup.start_trial(self.customer, self._sold(plan))
            read = self.target.deployment.lifecycle.subscriptions.current(self.billing, self.customer)
            # A live subscription would be charged: there the snapshot says what a subscription would.
            made_up = Subscription(f"sub_{self.workspace_id}", "active", plan.name, plan.allowances)
            if not stores.workspaces.insert(
                self.workspace_id, self.customer, livemode=self.billing.livemode, subscription=read or made_up
            ):
                raise Failed("the workspace could not be stored")
            self.api_key = commands.issue_key(stores.workspaces, stores.api_keys, self.workspace_id, "smoke", now_ms)

    def _sold(self, plan: Plan) -> str:
        """A base price that a new subscription may have; the plan also names archived ones of older subscriptions."""
        prices = map(self.billing.catalogue.price, plan.base_prices)
        return next((price.id for price in prices if price is not None and price.active), plan.base_prices[0])

    def _remove(self) -> None:
        stores = self.target.deployment.stores
        for line in stores.lines.of_workspace(self.workspace_id):
            self._give_back(line)
        if self.customer:
            self.billing.setup.delete_customer(self.customer)
        erasure, keys = Erasure(stores.table), stores.api_keys.list(self.workspace_id)
        if not erasure.delete_workspace(self.workspace_id, self.customer, [], keys):
            raise Failed(f"the workspace {self.workspace_id} still holds lines")
        erasure.delete_lines(self.workspace_id)

    def _give_back(self, line: Line) -> None:
        """Cancels the line in as many steps as it takes, so that a provisioner hears that it is given back."""
        lines, now_ms = self.target.deployment.stores.lines, wall_time_ms()
        for _ in range(GIVE_BACK_STEPS):
            if line.status is Status.CANCELED:
                return
            if line.awaiting:
                commands.cancel(self.target.deployment.lifecycle, line, self.clock.limited(CANCEL_S))
            elif line.status is Status.PROVISIONING:
                lines.mark_active(line, now_ms)
            else:
                lines.release(line, commands.RELEASED, now_ms)
            line = self._line(line.id)

    # --- small parts ----------------------------------------------------------------------------

    def _step(self, name: str, look: tuple[str, ...], step: Callable[[], T]) -> T:
        with self._reported(name, look) as row:
            result = step()
            row["detail"] = result if isinstance(result, str) else None
        return result

    @contextmanager
    def _reported(self, name: str, look: tuple[str, ...], hint: str | None = None) -> Iterator[Row]:
        """Notes how a step went, and on failure what the doctor says of where to look, or the hint."""
        row: Row = {"step": name, "result": "ok", "detail": None, "look": None}
        self.rows.append(row)
        try:
            yield row
        except (Failed, requests.RequestException, *EXPECTED) as error:
            where = "; ".join(self._faults(look)) or hint or HINTS.get(look)
            row |= {"result": "failed", "detail": one_line(error), "look": where}
            raise Failed(str(error)) from None

    def _faults(self, names: tuple[str, ...]) -> list[str]:
        patient = doctor.Patient(self.target, wall_time_ms())
        checks = [check for check in (*doctor_aws.CHECKS, *doctor_stripe.CHECKS) if check.name in names]
        found = doctor.examine(patient, checks)
        return [f"{one.check}: {one.detail} ({one.fix})" for one in found if one.result == "fault"]

    def _post(self, kind: Kind, key: str) -> tuple[int, Any, dict[str, Any]]:
        """A request for a line; where the deployment's rate limit is low, when that lets it through."""
        body = {"firstName": "Smoke", "lastName": "Test", "channelType": kind.channel_type, "lineType": kind.line_type}
        while True:
            answer = self._call("POST", "", body | DETAILS, {"Idempotency-Key": f"{self.workspace_id}-{key}"})
            wait_s = answer[2].get("retryAfterMs", 0) / 1000
            if answer[0] != HTTPStatus.TOO_MANY_REQUESTS or not 0 < wait_s < self.clock.remaining_s():
                return answer
            self.clock.sleep(wait_s)

    def _call(
        self, method: str, path: str, body: dict[str, str], headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, Any]]:
        answer = requests.request(
            method,
            f"{self.api_url}/api/line-requests{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.api_key}", **(headers or {})},
            timeout=CALL_TIMEOUT_S,
        )
        try:
            parsed = answer.json()
        except ValueError:
            parsed = {"text": answer.text[:200]}
        return answer.status_code, answer.headers, parsed if isinstance(parsed, dict) else {"text": parsed}

    def _line(self, line_id: str) -> Line:
        return commands.line(self.target.deployment.stores.lines, self.workspace_id, line_id)

    def _becomes(self, line_id: str, status: Status | tuple[Status, ...], within_s: float) -> bool:
        wanted = status if isinstance(status, tuple) else (status,)
        until_ms = self.clock.now_ms() + within_s * 1000
        while self._line(line_id).status not in wanted:
            if self.clock.now_ms() > until_ms:
                return False
            self.clock.sleep(POLL_S)
        return True


def _choose(plans: list[Plan]) -> tuple[Plan, Kind, Allowance]:
    """The kind of line that shows the most with the fewest lines: with an add-on, if there is one."""
    offers = [
        (plan, kind, allowance)
        for plan in plans
        for kind, allowance in plan.allowances.items()
        if 1 <= allowance.included <= INCLUDED_MAX and (allowance.cap is None or allowance.cap > allowance.included)
    ]
    if not offers:
        raise Refused(f"no applied plan includes 1 to {INCLUDED_MAX} lines of a kind: apply one first")
    return min(offers, key=lambda offer: (offer[2].add_on is None, offer[2].included, offer[0].name))
