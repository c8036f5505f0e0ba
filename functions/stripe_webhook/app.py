"""POST /stripe/webhook: takes each event as a hint, asks Stripe, and applies its present state."""

from typing import Any

from line_requests import http, webhook
from line_requests.clock import Clock
from line_requests.lifecycle import Lifecycle
from line_requests.registry import Registry
from line_requests.settings import Settings
from line_requests.store import Store

# Stripe waits some ten seconds for an answer and delivers again without one.
BUDGET_S = 9.0

SETTINGS = Settings.from_environment()
TABLE = SETTINGS.table()
STORE = Store(TABLE)


def handler(event: dict[str, Any], _context: object) -> http.Response:
    """Answers one delivery: 200 when it is dealt with, 400 when not Stripe's, 5xx to get it again."""
    try:
        request = http.receive(event)
        hint = webhook.verified(request, SETTINGS)
        clock = Clock(request.at_ms, BUDGET_S)
        registry = Registry(TABLE)
        lifecycle = Lifecycle(STORE, registry, SETTINGS.open_billing, clock, SETTINGS.window_ms)
        webhook.apply(hint, STORE, registry, lifecycle, clock)
        return http.respond(200, {"received": True})
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
        return http.failure(error)
