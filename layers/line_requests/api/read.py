"""The client's reads: where a line stands and what happened to it, which lines there are, what more is allowed."""

from line_requests.api import responses
from line_requests.api.door import authenticate, open_line
from line_requests.api.http import Request, Response
from line_requests.api.pagination import Page, cursor_after, read_cursor
from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain.errors import BillingRefused, BillingUnavailable, LineNotFound
from line_requests.domain.model import Line
from line_requests.flows.leases import Until

# A poll is answered within 8 s even when Stripe hangs (contract 39): 5 for Stripe, the rest for us.
BUDGET_S = 5.0
LINES_IN_USE_MAX = 1000


def get(deployment: Deployment, request: Request) -> Response:
    """One read; Stripe is asked only about a line that awaits payment."""
    line = _poll(deployment, open_line(deployment, request), Clock.at_event(request.at_ms, BUDGET_S))
    return responses.line_status(line, deployment.settings.window_ms)


def _poll(deployment: Deployment, line: Line, clock: Clock) -> Line:
    """The line after a look at Stripe, at most once per interval; as stored when Stripe is in trouble.

    Raises LineNotFound if its workspace was deleted meanwhile.
    """
    until, wait = (Until.FINALIZED, True) if line.half_made else (Until.CHECKED, False)
    try:
        return deployment.lifecycle.advance(clock, line, until, wait=wait, throttled=True)
    except (BillingUnavailable, BillingRefused):
        stored = deployment.stores.lines.get(line.workspace_id, line.id)
    if stored is None:
        raise LineNotFound
    return stored


def events(deployment: Deployment, request: Request) -> Response:
    """The stored history; never asks Stripe (contract 61)."""
    return responses.events(open_line(deployment, request))


def list_lines(deployment: Deployment, request: Request) -> Response:
    """The stored state, newest first; never asks Stripe (contract 42)."""
    workspace, _ = authenticate(deployment, request)
    page = Page.of(request.query, workspace.id)
    lines, last = deployment.stores.lines.page(workspace.id, limit=page.limit, before=page.before, status=page.status)
    return responses.page(lines, cursor_after(workspace.id, last))


def list_in_use(deployment: Deployment, request: Request) -> Response:
    """The lines in provisioning or active, newest first (contract 59)."""
    workspace, _ = authenticate(deployment, request)
    before = read_cursor(request.query.get("cursor"), workspace.id)
    lines, last = deployment.stores.lines.in_use(workspace.id, limit=LINES_IN_USE_MAX, before=before)
    return responses.lines_in_use(workspace.id, lines, last)


def allowance(deployment: Deployment, request: Request) -> Response:
    """POST's decision for each kind of line, on the workspace as stored; never asks Stripe (contract 62)."""
    workspace, _ = authenticate(deployment, request)
    return responses.allowance(workspace, Clock.at_event(request.at_ms, BUDGET_S).now_ms())
