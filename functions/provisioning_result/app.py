"""The queue of provisioning results: each makes its line active or failed, once."""

import json
from typing import Any

from line_requests.bus.results import ProvisioningResult
from line_requests.clock import Clock, limit_calls
from line_requests.deployment import Deployment
from line_requests.domain.errors import UnreadableRecord
from line_requests.domain.ids import parse_iso_ms
from line_requests.flows.provisioning import apply_result
from line_requests.telemetry import alarm, logger

BUDGET_S = 20.0

DEPLOYMENT = Deployment.from_environment()


@logger.inject_lambda_context(clear_state=True)
@limit_calls(BUDGET_S)
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Applies a batch of results; SQS delivers the failed ones again, then moves them to the dead-letter queue."""
    failed = [record["messageId"] for record in event["Records"] if not _applied(record)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _applied(record: dict[str, Any]) -> bool:
    """Whether the result was applied; a repeated or late one changes nothing (contract 48)."""
    try:
        event = json.loads(record["body"])
        logger.set_correlation_id(event["id"])
        result = ProvisioningResult.parse(event["detail"])
        apply_result(DEPLOYMENT.stores.lines, result, Clock.at_event(parse_iso_ms(event["time"]), BUDGET_S))
    except UnreadableRecord as error:
        alarm("UnreadableRecord", f"a newer release wrote the line; the result stays queued: {error}")
        return False
    except Exception:  # noqa: BLE001 - a malformed result is one, too, and none must delay the others
        logger.exception("the provisioning result failed", extra={"message_id": record["messageId"]})
        return False
    return True
