"""POST /api/line-requests: decides, once, whether a line is included, needs payment or is refused."""

from typing import Any

from line_requests import auth, http, validation
from line_requests.clock import Clock
from line_requests.errors import Invalid, Unauthorized
from line_requests.intake import Intake
from line_requests.items import hash_of
from line_requests.lifecycle import REQUEST_BUDGET_S, Lifecycle
from line_requests.model import Submission
from line_requests.registry import Registry
from line_requests.settings import Settings
from line_requests.store import Store

# Made while the environment starts, where the CPU is not billed to a request.
SETTINGS = Settings.from_environment()
TABLE = SETTINGS.table()
STORE = Store(TABLE)


def handler(event: dict[str, Any], _context: object) -> http.Response:
    """Answers one HTTP request."""
    try:
        return _create(http.receive(event))
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
        return http.failure(error)


def _create(request: http.Request) -> http.Response:
    """401, then 429, then 400, then the decision (the contract's order of checks)."""
    clock = Clock(request.at_ms, REQUEST_BUDGET_S)
    credential = auth.read(request.headers.get("authorization"), SETTINGS, STORE, request.at_ms)
    form, key_hash = _form(request)
    opening = STORE.opening(credential.workspace_id, key_hash=key_hash)
    credential.confirm(opening.api_keys)
    if opening.workspace is None:
        raise Unauthorized

    lifecycle = Lifecycle(STORE, Registry(TABLE), SETTINGS.open_billing, clock, SETTINGS.window_ms)
    intake = Intake(STORE, lifecycle, clock, SETTINGS.limit, SETTINGS.window_ms)
    if isinstance(form, Invalid):
        raise intake.refuse(opening.workspace, form)
    answer = intake.submit(opening.workspace, opening.record, form, key_hash)
    flags = {"Idempotency_Replayed": answer.replayed, "Idempotency_Mismatch": answer.mismatch}
    return http.respond(201, answer.body, **{name: "true" for name, flag in flags.items() if flag})


def _form(request: http.Request) -> tuple[Submission | Invalid, str | None]:
    """What is asked for, or why it is not valid, which counts only after 401 and 429; and the key's hash."""
    try:
        submission, key = validation.read(request)
    except Invalid as error:
        return error, None
    return submission, hash_of(key) if key else None
