"""What has to hold of a workspace in the table and at Stripe, whatever happened to it; races and load runs use it.

The explorer's own invariants (tests/proof/invariants.py) share no code with the product; these read items as it does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from line_requests.domain import decision
from line_requests.domain.model import IdempotencyRecord, Line, PaymentStatus, Status, Workspace
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.attributes import Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from line_requests.storage.table import Table

Json = dict[str, Any]

IDEMPOTENCY = "IDEMPOTENCY#"
HOLDING = {Status.AWAITING_PAYMENT, Status.PROVISIONING, Status.ACTIVE}
FIRST = {Status.AWAITING_PAYMENT, Status.PROVISIONING}
STEPS = {
    (Status.AWAITING_PAYMENT, Status.PROVISIONING),
    (Status.AWAITING_PAYMENT, Status.CANCELED),
    (Status.PROVISIONING, Status.ACTIVE),
    (Status.PROVISIONING, Status.FAILED),
}
OPERATOR_STEPS = {
    (Status.FAILED, Status.PROVISIONING),
    (Status.FAILED, Status.CANCELED),
    (Status.ACTIVE, Status.CANCELED),
}


@dataclass(frozen=True)
class Tenant:
    """All that the table and Stripe hold of one workspace."""

    workspace: Workspace
    lines: Mapping[str, Line]
    records: Mapping[str, IdempotencyRecord]
    """By the hash of their key."""
    invoices: list[Json]
    """Those that were made for lines."""
    subscription: Json | None


def tenants(items: Iterable[Item], invoices: Iterable[Json] = (), subscriptions: Iterable[Json] = ()) -> list[Tenant]:
    """Sorts what was read by workspace."""
    by_workspace = defaultdict[str, dict[str, Item]](dict)
    for item in items:
        if item["pk"].startswith("W#"):
            by_workspace[records.workspace_id_of(item)][item["sk"]] = item
    of_workspace = defaultdict[str, list[Json]](list)
    for invoice in invoices:
        of_workspace[str(invoice["metadata"].get("workspace_id"))].append(invoice)
    of_customer = {subscription["customer"]: subscription for subscription in subscriptions}
    found = []
    for workspace_id, held in by_workspace.items():
        workspace = records.workspace(held["WORKSPACE"])
        keyed = {sk.removeprefix(IDEMPOTENCY): item for sk, item in held.items() if sk.startswith(IDEMPOTENCY)}
        found.append(
            Tenant(
                workspace,
                {line.id: line for line in (records.line(item) for sk, item in held.items() if sk.startswith("LINE#"))},
                {
                    idempotency_key_hash: records.idempotency_record(item)
                    for idempotency_key_hash, item in keyed.items()
                },
                of_workspace[workspace_id],
                of_customer.get(workspace.customer),
            )
        )
    return found


def assert_consistent(table: Table, workspace_id: str = "acme") -> list[Line]:
    """The lines of a workspace, oldest first, once its items agree with each other."""
    (tenant,) = tenants(table.query_all("#pk = :pk", values={"pk": f"W#{workspace_id}"}))
    assert list(_of_table(tenant)) == []
    return list(tenant.lines.values())


def violations(tenant: Tenant, *, settled: bool) -> Iterator[str]:
    """Every promise that one workspace breaks, in words; `settled`: nothing is left to provision or to reconcile."""
    for what in (*_of_table(tenant), *_plan(tenant), *_invoices(tenant), *(_unsettled(tenant) if settled else ())):
        yield f"{tenant.workspace.id}: {what}"


def _of_table(tenant: Tenant) -> Iterator[str]:
    for check in (_lock, _counts, _keys, _steps):
        yield from check(tenant)


def _lock(tenant: Tenant) -> Iterator[str]:
    waiting = [line.id for line in tenant.lines.values() if line.awaiting]
    lock = tenant.workspace.lock
    if waiting != ([lock] if lock else []):
        yield f"the lock is {lock}, but {waiting} await payment"


def _holding(tenant: Tenant, kind: Kind) -> tuple[int, int]:
    """Lines of the kind that hold a place, and those of them that are not paid for."""
    holding = [line for line in tenant.lines.values() if line.submission.kind is kind and line.status in HOLDING]
    return len(holding), sum(line.payment_status is not PaymentStatus.PAID for line in holding)


def _counts(tenant: Tenant) -> Iterator[str]:
    for kind in Kind:
        counted = tenant.workspace.held.get(kind, 0), tenant.workspace.unpaid.get(kind, 0)
        if counted != _holding(tenant, kind):
            yield f"{kind}: held and unpaid are {counted}, the lines say {_holding(tenant, kind)}"


def _plan(tenant: Tenant) -> Iterator[str]:
    subscription = tenant.workspace.subscription
    for kind in Kind:
        held, unpaid = _holding(tenant, kind)
        free = unpaid - (tenant.workspace.lock_kind is kind)
        allowance = subscription.allowances.get(kind) if subscription else None
        if allowance is None:
            if held:
                yield f"{kind} is not on the plan, and held"
        elif free > allowance.included or (allowance.cap is not None and held > allowance.cap):
            yield f"{kind}: {held} held and {free} of them not to be paid, beyond the plan"


def _keys(tenant: Tenant) -> Iterator[str]:
    lines_of_key = defaultdict[str, list[str]](list)
    for line in tenant.lines.values():
        record = tenant.records.get(line.idempotency_key_hash or "")
        # One that was canceled before its 201 has given its key back.
        freed = line.status is Status.CANCELED and (record is None or record.line_id != line.id)
        if line.idempotency_key_hash is not None and not freed:
            lines_of_key[line.idempotency_key_hash].append(line.id)
    for idempotency_key_hash, line_ids in lines_of_key.items():
        record = tenant.records.get(idempotency_key_hash)
        if len(line_ids) > 1 or record is None or record.line_id != line_ids[0]:
            yield f"the key {idempotency_key_hash[:8]} has the lines {line_ids} and the record {record}"
    if unknown := tenant.records.keys() - lines_of_key.keys():
        yield f"keys without a line: {unknown}"


def _steps(tenant: Tenant) -> Iterator[str]:
    for line in tenant.lines.values():
        allowed = [
            (before.status, after.status) in (OPERATOR_STEPS if after.cause.endswith("operator") else STEPS)
            for before, after in pairwise(line.history)
        ]
        if not all(allowed) or line.history[0].status not in FIRST or line.history[-1].status is not line.status:
            yield f"{line.id} is {line.status} and went {[str(change.status) for change in line.history]}"


def _invoices(tenant: Tenant) -> Iterator[str]:
    holder = tenant.lines.get(tenant.workspace.lock or "")
    opened = [invoice["id"] for invoice in tenant.invoices if invoice["status"] == "open"]
    if opened != ([holder.invoice_id] if holder else []):
        yield f"open invoices {opened}, the lock's holder is {holder and holder.id}"
    of_line = defaultdict[str, list[str]](list)
    for invoice in tenant.invoices:
        of_line[invoice["metadata"]["line_id"]].append(invoice["status"])
    for line in tenant.lines.values():
        statuses = of_line.pop(line.id, [])
        unpaid: list[list[str]] = [["void"], []] if line.history[0].status is Status.AWAITING_PAYMENT else [[]]
        expected: dict[PaymentStatus, list[list[str]]] = {
            PaymentStatus.PAID: [["paid"]],
            PaymentStatus.AWAITING_PAYMENT: [["open"]],
            PaymentStatus.CANCELED: unpaid,
            PaymentStatus.NOT_REQUIRED: unpaid,
        }
        if statuses not in expected[line.payment_status] or line.refund_due:
            yield f"{line.id} is {line.status}, {line.payment_status}; its invoices are {statuses}"
    if of_line:
        yield f"invoices of unknown lines: {dict(of_line)}"


def _unsettled(tenant: Tenant) -> Iterator[str]:
    statuses = Counter(line.status for line in tenant.lines.values())
    if statuses[Status.PROVISIONING]:
        yield f"{statuses[Status.PROVISIONING]} lines are still provisioning"
    items = tenant.subscription["items"]["data"] if tenant.subscription else []
    sold = {item["price"]["id"]: item["quantity"] for item in items}
    for price, quantity in decision.quantities_owed(tenant.workspace).items():
        if sold.get(price, 0) != quantity:
            yield f"{price}: {sold.get(price, 0)} sold, {quantity} owed"
