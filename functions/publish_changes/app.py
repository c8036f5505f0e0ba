"""The table's stream: publishes every state that a line enters on the deployment's bus, at least once."""

from typing import Any

from line_requests.deployment import Deployment
from line_requests.domain.errors import UnreadableRecord
from line_requests.domain.model import Line
from line_requests.flows.provisioning import entered_by
from line_requests.storage import records
from line_requests.storage.table import unmarshal
from line_requests.telemetry import alarm, logger

DEPLOYMENT = Deployment.from_environment()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Publishes a batch of stream records; those that the bus refused come again."""
    changed = {record["dynamodb"]["SequenceNumber"]: _changed(record["dynamodb"]) for record in event["Records"]}
    lines = {number: line for number, line in changed.items() if line is not None}
    refused = DEPLOYMENT.bus.publish(list(lines.values()))
    failed = [number for number, line in lines.items() if line in refused]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def _changed(images: dict[str, Any]) -> Line | None:
    """The line, if the record shows that it entered another state; one that only a newer release reads is set aside."""
    line = _line(images.get("NewImage"))
    return line if line is not None and entered_by(_line(images.get("OldImage")), line) else None


def _line(image: dict[str, Any] | None) -> Line | None:
    try:
        return records.line(unmarshal(image)) if image else None
    except UnreadableRecord as error:
        alarm("UnreadableRecord", f"a newer release wrote this state: {error}")
        return None
