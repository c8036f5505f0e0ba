"""On a schedule: finishes what was left half done, promotes the paid, cancels the void and expired."""

from typing import Any

from line_requests.clock import Clock, limit_calls
from line_requests.deployment import Deployment
from line_requests.domain.ids import parse_iso_ms
from line_requests.telemetry import logger

# For the write that is under way when the time is up.
MARGIN_S = 20.0

DEPLOYMENT = Deployment.from_environment()


@logger.inject_lambda_context(correlation_id_path="id", clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ANN401 - Lambda's context
    """One run, bounded by the time that Lambda gives it; returns what it did."""
    budget_s = context.get_remaining_time_in_millis() / 1000 - MARGIN_S
    with limit_calls(budget_s):
        return DEPLOYMENT.reconciler(Clock.at_event(parse_iso_ms(event["time"]), budget_s)).run()
