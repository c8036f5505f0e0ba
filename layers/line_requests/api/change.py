"""The client's changes to a line: cancel the request, get its payment link, release the line."""

from line_requests.api import responses
from line_requests.api.door import open_line
from line_requests.api.http import Request, Response
from line_requests.api.requests import read_action
from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain import decision
from line_requests.domain.errors import BillingUnavailable, NotInThisStatus, PartlyPaid, PaymentUnderWay
from line_requests.domain.model import Line, Status, VoidReason
from line_requests.flows import provisioning
from line_requests.flows.leases import Until

# Below API Gateway's 30 s, whatever Stripe does.
BUDGET_S = 20.0


def manage(deployment: Deployment, request: Request) -> Response:
    """401, 400 for the id, 404, 400 for the action, then 403, 409 or 200 (contract 41)."""
    line = open_line(deployment, request)
    action = read_action(request, ACTIONS)
    try:
        return ACTIONS[action](deployment, Clock.at_event(request.at_ms, BUDGET_S), line)
    except BillingUnavailable as trouble:
        trouble.during = action
        raise


def _cancel(deployment: Deployment, clock: Clock, line: Line) -> Response:
    if line.awaiting:
        line = deployment.lifecycle.cancel(clock, line, VoidReason.CANCELED)
    if line.awaiting and line.amount_paid:
        raise PartlyPaid(line, "A part of the invoice is paid. Pay the rest, or ask support to refund it and cancel.")
    if line.awaiting:
        raise PaymentUnderWay(line, "A payment is under way; the request is canceled if it fails. Read the line again.")
    if line.status is not Status.CANCELED:
        waiting = line.status is Status.PROVISIONING
        instead = "Wait until it is active or failed, then release it" if waiting else "Release it"
        raise NotInThisStatus(line, f"A line in status {line.status} cannot be canceled. {instead}.")
    return responses.line_status(line, deployment.settings.window_ms)


def _payment_link(deployment: Deployment, clock: Clock, line: Line) -> Response:
    if line.awaiting:
        line = deployment.lifecycle.advance(clock, line, Until.CHECKED, wait=True)
    if line.awaiting:
        workspace = deployment.stores.workspaces.get(line.workspace_id)
        if workspace is not None:
            decision.require_active(workspace)
        return responses.payment_link(line)
    if line.status is not Status.PROVISIONING:
        instead = _INSTEAD_OF_PAYING[line.status]
        raise NotInThisStatus(line, f"A line in status {line.status} has nothing to pay. {instead}.")
    return responses.line_status(line, deployment.settings.window_ms)


_INSTEAD_OF_PAYING = {
    Status.ACTIVE: "It is ready to use",
    Status.FAILED: "Wait until it is provisioned again, or release it",
    Status.CANCELED: "Request another one with a new Idempotency-Key",
}


def release(deployment: Deployment, request: Request) -> Response:
    """401, 400 for the id, 404, then 409 or 200 (contract 63)."""
    line = open_line(deployment, request)
    released = provisioning.release(deployment.stores.lines, line, Clock.at_event(request.at_ms, BUDGET_S).now_ms())
    return responses.line_status(released, deployment.settings.window_ms)


ACTIONS = {"cancel": _cancel, "payment_link": _payment_link}
