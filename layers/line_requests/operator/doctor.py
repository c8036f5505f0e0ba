"""`line-requests doctor`: read-only checks of one deployment, each with what fixes it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from line_requests.billing.client import is_live
from line_requests.billing.operator_account import OperatorBilling
from line_requests.domain.errors import LineRequestError
from line_requests.domain.model import Line, Status, Workspace
from line_requests.operator import render
from line_requests.operator.errors import one_line
from line_requests.operator.refusal import Refused
from line_requests.operator.target import Target, new_clock
from line_requests.secret import api_key_of
from line_requests.storage.operator_index import Scanned, ScannedLine

# Every workspace's subscription is one call to Stripe.
BUDGET_S = 600.0
# A finding names so many faults and says how many more there are.
SHOWN_MAX = 20
WAITING = frozenset({Status.AWAITING_PAYMENT, Status.PROVISIONING})


class Skipped(Exception):
    """A check that cannot be made here; the text says why."""


class Fault(NamedTuple):
    """A fault with a fix of its own, which names what is there."""

    detail: str
    fix: str


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `run` returns what is wrong, one text for each fault."""

    name: str
    run: "Callable[[Patient], Iterator[str | Fault]]"
    fix: str
    """The command or page that fixes a fault without a fix of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    check: str
    result: Literal["ok", "fault", "skipped"]
    detail: str
    fix: str


class Patient:
    """The deployment under examination; what several checks read is read once."""

    def __init__(self, target: Target, now_ms: int) -> None:
        self.target = target
        self.stores = target.deployment.stores
        self.now_ms = now_ms

    @cached_property
    def billing(self) -> OperatorBilling:
        """Stripe, with the operator's own key if there is one."""
        return self.target.billing(new_clock(BUDGET_S))

    @cached_property
    def product_billing(self) -> OperatorBilling:
        """Stripe with the key that the functions use."""
        if not self.target.environment.get("STRIPE_SECRET_ARN"):
            return self.billing
        deployment = self.target.deployment
        api_key = api_key_of(deployment.secret.read())
        client = deployment.stripe_client(api_key, new_clock(BUDGET_S))
        return OperatorBilling(client, livemode=is_live(api_key))

    @cached_property
    def _scanned(self) -> list[Scanned]:
        return list(render.count(self.stores.operator.scan(), "Reading the whole table"))

    @cached_property
    def workspaces(self) -> dict[str, Workspace]:
        """Every workspace."""
        ids = [scanned.workspace_id for scanned in self._scanned if scanned.line is None]
        return {workspace.id: workspace for workspace in self.stores.workspaces.get_many(ids)}

    @cached_property
    def lines_of(self) -> Mapping[str, list[ScannedLine]]:
        """Every line, by its workspace."""
        found = defaultdict[str, list[ScannedLine]](list)
        for scanned in self._scanned:
            if scanned.line is not None:
                found[scanned.workspace_id].append(scanned.line)
        return found

    @cached_property
    def open_lines(self) -> list[Line]:
        """The lines that need attention, whole."""
        ids = [
            (scanned.workspace_id, scanned.line.id)
            for scanned in self._scanned
            if scanned.line is not None and (scanned.line.refund_due or scanned.line.status in WAITING)
        ]
        return self.stores.lines.get_many(ids)

    @property
    def stale(self) -> list[str]:
        """The lines and workspaces that lists do not show as they are."""
        return [one.line.id if one.line else one.workspace_id for one in self._scanned if one.is_stale]

    def output(self, name: str) -> str:
        """An output of the stack."""
        if self.target.stack is None:
            raise Skipped("needs --stack")
        value = self.target.outputs.get(name)
        if not value:
            raise Skipped(f"the stack has no output {name}")
        return value


def examine(patient: Patient, checks: list[Check]) -> Iterator[Finding]:
    """Makes every check; one that cannot be made is a fault, not an end."""
    for check in checks:
        try:
            faults = [one if isinstance(one, Fault) else Fault(one, check.fix) for one in check.run(patient)]
        except Skipped as skipped:
            yield Finding(check.name, "skipped", str(skipped), "")
            continue
        except (Refused, LineRequestError, BotoCoreError, ClientError) as error:
            faults = [Fault(one_line(error), check.fix)]
        if faults:
            shown = faults[:SHOWN_MAX]
            more = [f"and {len(faults) - SHOWN_MAX} more"] if len(faults) > SHOWN_MAX else []
            fixes = dict.fromkeys(fault.fix for fault in shown)
            yield Finding(check.name, "fault", "; ".join([fault.detail for fault in shown] + more), "; ".join(fixes))
        else:
            yield Finding(check.name, "ok", "", "")


def few(names: list[str]) -> str:
    """The first of many names."""
    shown = 5
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
