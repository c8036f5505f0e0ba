"""The client's changes to a line: cancel, payment link, release."""

from typing import Any

from line_requests.api import change
from line_requests.api.door import answer
from line_requests.api.http import Response
from line_requests.clock import limit_calls
from line_requests.deployment import Deployment
from line_requests.telemetry import logger

DEPLOYMENT = Deployment.for_snapshot()
ROUTES = {
    "POST /api/line-requests/{id}": change.manage,
    "DELETE /api/lines/{id}": change.release,
}


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
@limit_calls(change.BUDGET_S)
def handler(event: dict[str, Any], _context: object) -> Response:
    """Answers one HTTP request."""
    return answer(DEPLOYMENT, ROUTES, event)
