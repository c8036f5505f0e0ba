"""What must hold of every workspace when a load run is over, and the reconciler has run once."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from line_requests.domain import decision
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import Line, PaymentStatus, Status, Workspace
from line_requests.domain.submission import Kind
from line_requests.storage import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from line_requests.storage.table import Item

Json = dict[str, Any]

KEY = "IDEMPOTENCY#"
HOLDING = {Status.AWAITING_PAYMENT, Status.PROVISIONING, Status.ACTIVE}
STEPS = {
    (None, Status.AWAITING_PAYMENT),
    (None, Status.PROVISIONING),
    (Status.AWAITING_PAYMENT, Status.PROVISIONING),
    (Status.AWAITING_PAYMENT, Status.CANCELED),
    (Status.PROVISIONING, Status.ACTIVE),
    (Status.PROVISIONING, Status.FAILED),
}


@dataclass(frozen=True)
class Tenant:
    """All that the table and Stripe hold of one workspace."""

    workspace: Workspace
    lines: Mapping[str, Line]
    records: Mapping[str, Item]
    invoices: list[Json]
    """Those that were made for lines."""
    subscription: Json


def tenants(table_items: Iterable[Item], invoices: Iterable[Json], subscriptions: Iterable[Json]) -> list[Tenant]:
    """Sort what was read by workspace."""
    by_workspace = defaultdict[str, list[Any]](list)
    for item in table_items:
        if item["pk"].startswith("W#"):
            by_workspace[item["pk"]].append(item)
    of_line = defaultdict[str, list[Json]](list)
    for invoice in invoices:
        of_line[f"W#{invoice['metadata'].get('workspace_id')}"].append(invoice)
    of_customer = {subscription["customer"]: subscription for subscription in subscriptions}
    found = []
    for pk, held in by_workspace.items():
        workspace = next(records.workspace(item) for item in held if item["sk"] == "WORKSPACE")
        found.append(
            Tenant(
                workspace,
                {line.id: line for line in (records.line(i) for i in held if i["sk"].startswith("LINE#"))},
                {i["sk"].removeprefix(KEY): i for i in held if i["sk"].startswith(KEY)},
                of_line[pk],
                of_customer[workspace.customer],
            )
        )
    return found


def violations(tenant: Tenant) -> Iterator[str]:
    """Every promise that one workspace breaks, in words."""
    for check in (_lock, _places, _keys, _invoices, _steps, _quantities):
        for what in check(tenant):
            yield f"{tenant.workspace.id}: {what}"


def _lock(tenant: Tenant) -> Iterator[str]:
    waiting = [line.id for line in tenant.lines.values() if line.awaiting]
    lock = tenant.workspace.lock
    if waiting != ([lock] if lock else []):
        yield f"the lock is {lock}, but {waiting} await payment"


def _places(tenant: Tenant) -> Iterator[str]:
    subscription = tenant.workspace.subscription
    for kind in Kind:
        holding = [line for line in tenant.lines.values() if line.submission.kind is kind and line.status in HOLDING]
        unpaid = sum(line.payment_status is not PaymentStatus.PAID for line in holding)
        counted = tenant.workspace.held.get(kind, 0), tenant.workspace.unpaid.get(kind, 0)
        if counted != (len(holding), unpaid):
            yield f"{kind}: held and unpaid are {counted}, the lines say {len(holding), unpaid}"
        allowance = subscription.allowances.get(kind) if subscription else None
        settled = unpaid - (tenant.workspace.lock_kind is kind)
        if allowance is None:
            if holding:
                yield f"{kind} is not on the plan, and held"
        elif settled > allowance.included or (allowance.cap is not None and len(holding) > allowance.cap):
            yield f"{kind}: {len(holding)} held and {settled} of them not to be paid, beyond the plan"


def _keys(tenant: Tenant) -> Iterator[str]:
    lines_of_key = defaultdict[str, list[str]](list)
    for line in tenant.lines.values():
        record = tenant.records.get(line.idempotency_key_hash or "")
        # One that was canceled before its 201 has given its key back.
        freed = line.status is Status.CANCELED and (record is None or record["line_id"] != line.id)
        if line.idempotency_key_hash is not None and not freed:
            lines_of_key[line.idempotency_key_hash].append(line.id)
    for key_hash, line_ids in lines_of_key.items():
        record = tenant.records.get(key_hash)
        if len(line_ids) > 1 or record is None or record["line_id"] != line_ids[0]:
            yield f"the key {key_hash[:8]} has the lines {line_ids} and the record {record}"
    if unknown := tenant.records.keys() - lines_of_key.keys():
        yield f"keys without a line: {unknown}"


def _invoices(tenant: Tenant) -> Iterator[str]:
    open_invoices = [invoice["id"] for invoice in tenant.invoices if invoice["status"] == "open"]
    holder = tenant.lines.get(tenant.workspace.lock or "")
    if open_invoices != ([holder.invoice_id] if holder else []):
        yield f"open invoices {open_invoices}, the lock's holder is {holder and holder.id}"
    of_line = defaultdict[str, list[str]](list)
    for invoice in tenant.invoices:
        of_line[invoice["metadata"]["line_id"]].append(invoice["status"])
    for line in tenant.lines.values():
        statuses = of_line.pop(line.id, [])
        wanted: dict[PaymentStatus, list[list[str]]] = {
            PaymentStatus.PAID: [["paid"]],
            PaymentStatus.AWAITING_PAYMENT: [["open"]],
            PaymentStatus.CANCELED: [["void"], []],
            PaymentStatus.NOT_REQUIRED: [[]],
        }
        if statuses not in wanted[line.payment_status] or line.refund_due:
            yield f"{line.id} is {line.status}, {line.payment_status}; its invoices are {statuses}"
        if line.status is Status.PROVISIONING:
            yield f"{line.id} is still provisioning"
    if of_line:
        yield f"invoices of unknown lines: {dict(of_line)}"


def _steps(tenant: Tenant) -> Iterator[str]:
    for line in tenant.lines.values():
        statuses = [change.status for change in line.history]
        if not STEPS.issuperset(zip([None, *statuses], statuses, strict=False)) or statuses[-1] is not line.status:
            yield f"{line.id} went {statuses}"


def _quantities(tenant: Tenant) -> Iterator[str]:
    sold = {item["price"]["id"]: item["quantity"] for item in tenant.subscription["items"]["data"]}
    for price, quantity in decision.quantities_owed(tenant.workspace).items():
        if sold.get(price, 0) != quantity:
            yield f"{price}: {sold.get(price, 0)} sold, {quantity} owed"


def answers_broken(seen: Json, held: Iterable[Tenant]) -> Iterator[str]:
    """What clients were told and the table does not hold."""
    by_id = {tenant.workspace.id: tenant for tenant in held}
    for line_id, workspace_id in seen["lines"].items():
        if line_id not in by_id[workspace_id].lines:
            yield f"{workspace_id}: {line_id} was answered, and is lost"
    for name, bodies in seen["answers"].items():
        workspace_id, key = name.split(" ")
        record = by_id[workspace_id].records.get(sha256_hex(key))
        if len(bodies) > 1 or record is None or json.loads(record["response_body"]) != json.loads(bodies[0]):
            yield f"{workspace_id}: the key {key} was answered {bodies}, and has the record {record}"
