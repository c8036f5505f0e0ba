"""POST /api/line-requests: decides, once, whether a line is included, needs payment or is refused."""

from typing import Any

from line_requests.api import create
from line_requests.api.door import answer
from line_requests.api.http import Response
from line_requests.clock import limit_calls
from line_requests.deployment import Deployment
from line_requests.telemetry import logger

DEPLOYMENT = Deployment.for_snapshot()
ROUTES = {"POST /api/line-requests": create.create}


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId", clear_state=True)
@limit_calls(create.BUDGET_S)
def handler(event: dict[str, Any], _context: object) -> Response:
    """Answers one HTTP request."""
    return answer(DEPLOYMENT, ROUTES, event)
