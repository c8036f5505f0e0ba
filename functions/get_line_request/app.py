"""The client's reads: lines, what happened to one, and what more is allowed."""

from typing import Any

from line_requests.api import read
from line_requests.api.door import answer
from line_requests.api.http import Response
from line_requests.clock import limit_calls
from line_requests.deployment import Deployment
from line_requests.telemetry import logger

DEPLOYMENT = Deployment.for_snapshot()
ROUTES = {
    "GET /api/line-requests": read.list_lines,
    "GET /api/line-requests/{id}": read.get,
    "GET /api/line-requests/{id}/events": read.events,
    "GET /api/lines/by-user": read.list_in_use,
    "GET /api/allowance": read.allowance,
}


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
@limit_calls(read.BUDGET_S)
def handler(event: dict[str, Any], _context: object) -> Response:
    """Answers one HTTP request."""
    return answer(DEPLOYMENT, ROUTES, event)
