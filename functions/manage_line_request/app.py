"""POST /api/line-requests/{id}: cancel a request that awaits payment, or ask for its payment link."""

from typing import Any

from line_requests import auth, http, responses, validation
from line_requests.clock import Clock
from line_requests.errors import Invalid, NotInThisStatus
from line_requests.lifecycle import REQUEST_BUDGET_S, Lifecycle
from line_requests.model import Closing, Line, Status
from line_requests.registry import Registry
from line_requests.settings import Settings
from line_requests.store import Store

SETTINGS = Settings.from_environment()
TABLE = SETTINGS.table()
STORE = Store(TABLE)


def handler(event: dict[str, Any], _context: object) -> http.Response:
    """Answers one HTTP request."""
    try:
        return _manage(http.receive(event))
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
        return http.failure(error)


def _manage(request: http.Request) -> http.Response:
    """401, 400 for the id, 404, 400 for the action, then 409 or 200 (contract 41)."""
    line = auth.open_line(request, SETTINGS, STORE)
    clock = Clock(request.at_ms, REQUEST_BUDGET_S)
    lifecycle = Lifecycle(STORE, Registry(TABLE), SETTINGS.open_billing, clock, SETTINGS.window_ms)
    actions = {"cancel": _cancel, "payment_link": _payment_link}
    return actions[_action(request)](lifecycle, line)


def _action(request: http.Request) -> str:
    try:
        action = validation.read_object(request.body).get("action")
    except Invalid:
        action = None
    if action not in ("cancel", "payment_link"):  # a set would need something hashable
        raise Invalid("Unsupported action")
    return str(action)


def _cancel(lifecycle: Lifecycle, line: Line) -> http.Response:
    if line.awaiting:
        line = lifecycle.close(line, Closing.CANCELED)
    if line.awaiting:
        raise NotInThisStatus(line, "A payment is on its way; the request is canceled if it fails.")
    if line.status is not Status.CANCELED:
        raise NotInThisStatus(line, f"A line in status {line.status} cannot be canceled.")
    return http.respond_line(line, SETTINGS.window_ms)


def _payment_link(lifecycle: Lifecycle, line: Line) -> http.Response:
    if line.awaiting:
        line = lifecycle.renew(line)
    if line.awaiting:
        return http.respond(200, responses.link_body(line))
    if line.status is not Status.PROVISIONING:
        raise NotInThisStatus(line, f"A line in status {line.status} has nothing to pay.")
    return http.respond_line(line, SETTINGS.window_ms)
