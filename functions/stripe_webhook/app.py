"""POST /stripe/webhook: takes each event as a hint, reads Stripe, and applies what it has now."""

from typing import Any

from line_requests.api import responses
from line_requests.api.http import Request, Response, respond
from line_requests.clock import Clock, limit_calls
from line_requests.deployment import Deployment
from line_requests.telemetry import logger

# Stripe waits some ten seconds for an answer and delivers again without one.
BUDGET_S = 9.0

DEPLOYMENT = Deployment.from_environment()


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
@limit_calls(BUDGET_S)
def handler(event: dict[str, Any], _context: object) -> Response:
    """Answers one delivery: 200 when it is dealt with, 400 when it is not Stripe's, 5xx to get it again."""
    try:
        request = Request.of(event)
        signature = request.headers.get("stripe-signature", "")
        hint = DEPLOYMENT.webhook.verify(request.body, signature, request.at_ms)
        DEPLOYMENT.webhook.apply(Clock.at_event(request.at_ms, BUDGET_S), hint)
        return respond(200, {"received": True})
    except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
        return responses.failure(error)
