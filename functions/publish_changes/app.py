"""The table's stream: publishes what its writes changed on the deployment's bus, at least once."""

from typing import Any

from line_requests.deployment import Deployment
from line_requests.flows.publishing import publish_changes
from line_requests.telemetry import logger

DEPLOYMENT = Deployment.from_environment()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Publishes a batch of stream records; those that the bus refused come again."""
    failed = publish_changes(DEPLOYMENT.bus, event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
