"""The doctor's checks of lines and workspaces."""

from collections.abc import Iterator

from line_requests.domain import over_plan
from line_requests.domain.model import Line, Status, Workspace
from line_requests.domain.submission import Kind
from line_requests.flows.late import PAYMENT_LATE_MS, PROVISIONING_LATE_MS
from line_requests.operator.counting import HOLDS_PLACE, counted
from line_requests.operator.doctor import Check, Patient, few


def _suspects(patient: Patient) -> Iterator[tuple[Workspace, list[Line]]]:
    """The workspaces that are not as their lines say, read again: requests come in meanwhile."""
    for workspace in patient.workspaces.values():
        scanned = patient.lines_of.get(workspace.id, [])
        if counted(workspace, scanned) != workspace or sum(line.awaiting for line in scanned) > 1:
            now = patient.stores.workspaces.get(workspace.id)
            if now is not None:
                yield now, patient.stores.lines.of_workspace(workspace.id)


def _counters(patient: Patient) -> Iterator[str]:
    for workspace, lines in _suspects(patient):
        there = counted(workspace, lines)
        for kind in Kind:
            counts = [one.get(kind, 0) for one in (workspace.held, workspace.unpaid, there.held, there.unpaid)]
            if counts[:2] != counts[2:]:
                told = "{0} counts {1} {2} lines, {3} unpaid; there are {4}, {5} unpaid"
                yield told.format(workspace.id, counts[0], kind, *counts[1:])


def _locks(patient: Patient) -> Iterator[str]:
    for workspace, lines in _suspects(patient):
        there, waiting = counted(workspace, lines), [line.id for line in lines if line.awaiting]
        if workspace.lock != there.lock:
            yield f"{workspace.id} is locked by {workspace.lock}, {there.lock} awaits payment"
        if len(waiting) > 1:
            yield f"{len(waiting)} lines of {workspace.id} await payment: {few(waiting)}"


def _homeless(patient: Patient) -> Iterator[str]:
    for workspace_id in patient.lines_of.keys() - patient.workspaces.keys():
        for line in patient.lines_of[workspace_id]:
            if line.status in HOLDS_PLACE:
                yield f"the line {line.id} is {line.status}, its workspace {workspace_id} does not exist"


def _index(patient: Patient) -> Iterator[str]:
    if patient.stale:
        yield f"lists show {len(patient.stale)} lines or workspaces wrongly: {few(patient.stale)}"


def _over_plan(patient: Patient) -> Iterator[str]:
    for workspace in patient.workspaces.values():
        for kind, standing in over_plan.excess(workspace).items():
            yield f"{workspace.id} holds {standing.held} {kind.words} lines, {standing.allowed} are allowed"


def _unknown_plans(patient: Patient) -> Iterator[str]:
    for workspace in patient.workspaces.values():
        if workspace.subscription and workspace.subscription.plan is None and not workspace.subscription.ended:
            yield f"no plan names the base price of {workspace.subscription.id} of {workspace.id}"


def _refunds(patient: Patient) -> Iterator[str]:
    for line in patient.open_lines:
        if line.refund_due:
            paid = f"what was paid for the {line.status} line {line.id} by the invoice {line.invoice_to_refund}"
            yield f"{paid} did not go back"


def _waiting(patient: Patient) -> Iterator[str]:
    for line in patient.open_lines:
        if line.awaiting and patient.now_ms - line.created_at_ms > PAYMENT_LATE_MS:
            days = (patient.now_ms - line.created_at_ms) // 86_400_000
            yield f"the line {line.id} of {line.workspace_id} has awaited its payment for {days} days"


def _provisioning(patient: Patient) -> Iterator[str]:
    for line in patient.open_lines:
        since_ms = line.history[-1].at_ms
        if line.status is Status.PROVISIONING and patient.now_ms - since_ms > PROVISIONING_LATE_MS:
            hours = (patient.now_ms - since_ms) // 3_600_000
            yield f"the line {line.id} of {line.workspace_id} has been in provisioning for {hours} h"


CHECKS = [
    Check("counters", _counters, "line-requests workspace recount WORKSPACE"),
    Check("locks", _locks, "line-requests workspace recount WORKSPACE"),
    Check("operator's index", _index, "line-requests reindex"),
    Check("workspaces of lines", _homeless, "docs/recover.md: restored tables"),
    Check("over plan", _over_plan, "line-requests workspace list --over-plan, then line-requests line release LINE"),
    Check("known plans", _unknown_plans, "name the price in a plan, then line-requests plans apply FILE --sync"),
    Check("refunds", _refunds, "line-requests line refund LINE"),
    Check("waiting for payment", _waiting, "line-requests line cancel LINE; or set PaymentWindowHours"),
    Check(
        "waiting for the provisioner", _provisioning, "line-requests provisioning answer LINE failed: docs/operate.md"
    ),
]
