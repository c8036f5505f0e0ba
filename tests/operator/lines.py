"""Lines as they come to be: written by the product's own transactions."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from line_requests.domain import decision
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import Change, IdempotencyRecord, Line, PaymentStatus, Status
from line_requests.domain.submission import Submission
from line_requests.flows.leases import Until
from line_requests.operator.target import Target, new_clock
from line_requests.storage import records
from line_requests.storage.table import Write

if TYPE_CHECKING:
    from line_requests.storage.stores import Stores
    from tests.local.stripe_double import StripeDouble
    from tests.operator.conftest import Deployment


class HasStores(Protocol):
    """A deployment, on moto or on the local stack."""

    @property
    def stores(self) -> Stores: ...


ADA = Submission(first_name="Ada", last_name="Lovelace", channel_type="phone", line_type="purchased")
AT_MS = 1_795_000_000_000


def requested(deployment: HasStores, workspace_id: str, submission: Submission = ADA) -> Line:
    """A line as create writes it: included, or awaiting payment beyond that."""
    workspace = deployment.stores.workspaces.get(workspace_id)
    assert workspace is not None
    add_on = decision.judge(workspace, submission.kind)
    status = Status.AWAITING_PAYMENT if add_on else Status.PROVISIONING
    line = Line(
        id=secrets.token_hex(12),
        workspace_id=workspace_id,
        submission=submission,
        status=status,
        payment_status=PaymentStatus.AWAITING_PAYMENT if add_on else PaymentStatus.NOT_REQUIRED,
        created_at_ms=AT_MS,
        history=(Change(AT_MS, status, "over_plan_limit" if add_on else "included"),),
        charge=decision.charge_for(workspace, submission, add_on, AT_MS) if add_on else None,
    )
    record = IdempotencyRecord(line.id, sha256_hex(line.id))
    assert deployment.stores.lines.insert_line(workspace, line, record, limit=None, now_ms=AT_MS) is None
    return line


def paid(deployment: HasStores, workspace_id: str) -> Line:
    line = requested(deployment, workspace_id)
    return deployment.stores.lines.mark_paid(line, AT_MS + 1, invoice_id="in_1", url=None)


def invoiced(deployment: HasStores, workspace_id: str, target: Target | None = None) -> Line:
    """A request that awaits the payment of an invoice at Stripe."""
    active(deployment, workspace_id)
    waiting = requested(deployment, workspace_id)
    return (target or Target(None)).deployment.lifecycle.advance(new_clock(), waiting, Until.FINALIZED)


def paid_and_failed(deployment: HasStores, double: StripeDouble, waiting: Line) -> Line:
    """The request once its invoice was paid and its provisioner failed it."""
    assert waiting.invoice_id is not None
    double.pay_invoice(waiting.invoice_id)
    paid = deployment.stores.lines.mark_paid(waiting, AT_MS + 1, invoice_id=waiting.invoice_id, url=None)
    return deployment.stores.lines.mark_failed(paid, "no numbers left", AT_MS + 2)


def unreadable(deployment: Deployment, line: Line) -> str:
    """Gives the line a status of a newer release; returns how a command refuses it."""
    key = records.line_key(line.workspace_id, line.id)
    deployment.table.write(Write(key, update="SET #status = :newer", values={"newer": "paused"}))
    item = f"W#{line.workspace_id} LINE#{line.id}: status"
    return f"this release cannot read {item}; use the console of the deployed release"


def active(deployment: HasStores, workspace_id: str) -> Line:
    return deployment.stores.lines.mark_active(requested(deployment, workspace_id), AT_MS + 2)


def failed(deployment: HasStores, workspace_id: str) -> Line:
    line = requested(deployment, workspace_id)
    return deployment.stores.lines.mark_failed(line, "carrier said no", AT_MS + 2)
