"""GET /api/line-requests/{id} and GET /api/line-requests: where a line stands, and which there are."""

from typing import Any

from line_requests import auth, http, listing, responses
from line_requests.clock import Clock
from line_requests.errors import BillingRefused, BillingUnavailable, Unauthorized
from line_requests.lifecycle import Lifecycle
from line_requests.model import Line
from line_requests.registry import Registry
from line_requests.settings import Settings
from line_requests.store import Store

# A poll is answered within 8 s even when Stripe hangs (contract 39): time for one look, then for us.
BUDGET_S = 5.0

SETTINGS = Settings.from_environment()
TABLE = SETTINGS.table()
STORE = Store(TABLE)


def handler(event: dict[str, Any], _context: object) -> http.Response:
    """Answers one HTTP request."""
    try:
        request = http.receive(event)
        return _get(request) if request.path_id else _list(request)
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
        return http.failure(error)


def _get(request: http.Request) -> http.Response:
    """One read; Stripe is asked only about a line that awaits payment."""
    line = auth.open_line(request, SETTINGS, STORE)
    return http.respond_line(_up_to_date(line, request) if line.awaiting else line, SETTINGS.window_ms)


def _up_to_date(line: Line, request: http.Request) -> Line:
    clock = Clock(request.at_ms, BUDGET_S)
    lifecycle = Lifecycle(STORE, Registry(TABLE), SETTINGS.open_billing, clock, SETTINGS.window_ms)
    try:
        return lifecycle.poll(line)
    except (BillingUnavailable, BillingRefused):
        return STORE.line(line.workspace_id, line.id) or line


def _list(request: http.Request) -> http.Response:
    """The stored state, newest first; never asks Stripe (contract 42)."""
    credential = auth.read(request.headers.get("authorization"), SETTINGS, STORE, request.at_ms)
    opening = STORE.opening(credential.workspace_id)
    credential.confirm(opening.api_keys)
    if opening.workspace is None:
        raise Unauthorized
    page = listing.Page.of(request.query, opening.workspace.id)
    lines, before = STORE.lines_page(opening.workspace.id, limit=page.limit, before=page.before, status=page.status)
    cursor = listing.cursor(opening.workspace.id, before)
    return http.respond(200, responses.page_body(lines, cursor))
