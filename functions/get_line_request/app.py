"""The client's reads: where a line stands and what happened to it, which lines there are, what more is allowed."""

from typing import Any

from line_requests.api import responses
from line_requests.api.door import authenticate, open_line
from line_requests.api.http import Request, Response
from line_requests.api.pagination import Page, cursor_after, read_cursor
from line_requests.clock import Clock, limit_calls
from line_requests.deployment import Deployment
from line_requests.domain.errors import BillingRefused, BillingUnavailable
from line_requests.domain.model import Line
from line_requests.flows.leases import Until
from line_requests.telemetry import logger

# A poll is answered within 8 s even when Stripe hangs (contract 39): 5 for Stripe, the rest for us.
BUDGET_S = 5.0
LINES_IN_USE_MAX = 1000

DEPLOYMENT = Deployment.for_snapshot()


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
@limit_calls(BUDGET_S)
def handler(event: dict[str, Any], _context: object) -> Response:
    """Answers one HTTP request."""
    try:
        request = Request.of(event)
        return ROUTES[request.route](request)
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
        return responses.failure(error)


def _get(request: Request) -> Response:
    """One read; Stripe is asked only about a line that awaits payment."""
    line = open_line(DEPLOYMENT, request)
    current = _poll(line, Clock.at_event(request.at_ms, BUDGET_S)) if line.awaiting else line
    return responses.line_status(current, DEPLOYMENT.settings.window_ms)


def _poll(line: Line, clock: Clock) -> Line:
    """The line after a look at Stripe, at most once per interval; as stored when Stripe is in trouble."""
    until, wait = (Until.FINALIZED, True) if line.half_made else (Until.CHECKED, False)
    try:
        return DEPLOYMENT.lifecycle.advance(clock, line, until, wait=wait, throttled=True)
    except (BillingUnavailable, BillingRefused):
        return DEPLOYMENT.stores.lines.get(line.workspace_id, line.id) or line


def _events(request: Request) -> Response:
    """The stored history; never asks Stripe (contract 61)."""
    return responses.events(open_line(DEPLOYMENT, request))


def _list(request: Request) -> Response:
    """The stored state, newest first; never asks Stripe (contract 42)."""
    workspace, _ = authenticate(DEPLOYMENT, request)
    page = Page.of(request.query, workspace.id)
    lines, last = DEPLOYMENT.stores.lines.page(workspace.id, limit=page.limit, before=page.before, status=page.status)
    return responses.page(lines, cursor_after(workspace.id, last))


def _list_in_use(request: Request) -> Response:
    """The lines in provisioning or active, newest first (contract 59)."""
    workspace, _ = authenticate(DEPLOYMENT, request)
    before = read_cursor(request.query.get("cursor"), workspace.id)
    lines, last = DEPLOYMENT.stores.lines.in_use(workspace.id, limit=LINES_IN_USE_MAX, before=before)
    return responses.lines_in_use(workspace.id, lines, last)


def _allowance(request: Request) -> Response:
    """POST's decision for each kind of line, on the workspace as stored; never asks Stripe (contract 62)."""
    workspace, _ = authenticate(DEPLOYMENT, request)
    return responses.allowance(workspace, Clock.at_event(request.at_ms, BUDGET_S).now_ms())


ROUTES = {
    "GET /api/line-requests": _list,
    "GET /api/line-requests/{id}": _get,
    "GET /api/line-requests/{id}/events": _events,
    "GET /api/lines/by-user": _list_in_use,
    "GET /api/allowance": _allowance,
}
