"""Provisioning results from the bus: each makes its line active or failed, once."""

from typing import Any

from line_requests.bus.results import ProvisioningResult
from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain.errors import Invalid
from line_requests.domain.ids import parse_iso_ms
from line_requests.flows.provisioning import apply_result
from line_requests.telemetry import logger

BUDGET_S = 20.0

DEPLOYMENT = Deployment.from_environment()


@logger.inject_lambda_context(correlation_id_path="id", clear_state=True)
def handler(event: dict[str, Any], _context: object) -> None:
    """Applies one result; one that is malformed, repeated or late changes nothing (contract 48)."""
    try:
        result = ProvisioningResult.parse(event["detail"])
    except Invalid as error:
        logger.error("provisioning result refused", extra={"reason": str(error)})
        return
    apply_result(DEPLOYMENT.stores.lines, result, Clock.at_event(parse_iso_ms(event["time"]), BUDGET_S))
