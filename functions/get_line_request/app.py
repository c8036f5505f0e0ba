"""GET /api/line-requests/{id} and GET /api/line-requests: where a line stands, and which there are."""

from typing import Any

from line_requests.api import responses
from line_requests.api.door import authenticate, open_line
from line_requests.api.http import Request, Response
from line_requests.api.pagination import Page, cursor_after
from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain.errors import BillingRefused, BillingUnavailable
from line_requests.domain.model import Line
from line_requests.flows.lifecycle import Until
from line_requests.telemetry import logger

# A poll is answered within 8 s even when Stripe hangs (contract 39): 5 for Stripe, the rest for us.
BUDGET_S = 5.0

DEPLOYMENT = Deployment.for_snapshot()


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
def handler(event: dict[str, Any], _context: object) -> Response:
    """Answers one HTTP request."""
    try:
        request = Request.of(event)
        return _get(request) if request.path_id else _list(request)
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


def _list(request: Request) -> Response:
    """The stored state, newest first; never asks Stripe (contract 42)."""
    workspace, _ = authenticate(DEPLOYMENT, request)
    page = Page.of(request.query, workspace.id)
    lines, last = DEPLOYMENT.stores.lines.page(workspace.id, limit=page.limit, before=page.before, status=page.status)
    return responses.page(lines, cursor_after(workspace.id, last))
