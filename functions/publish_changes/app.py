"""The table's stream: tells the deployment's bus every state that a line enters, at least once."""

from typing import Any

from line_requests import items
from line_requests.bus import Bus
from line_requests.model import Line
from line_requests.settings import Settings
from line_requests.table import unmarshal

SETTINGS = Settings.from_environment()
BUS = Bus(SETTINGS.events_client(), SETTINGS.bus_name)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Publishes a batch of stream records; those that failed come again."""
    changed = {record["dynamodb"]["SequenceNumber"]: _changed(record) for record in event["Records"]}
    lines = {number: line for number, line in changed.items() if line is not None}
    rejected = BUS.publish(list(lines.values()))
    failed = [number for number, line in lines.items() if line in rejected]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def _changed(record: dict[str, Any]) -> Line | None:
    """The line as the record shows it, if it entered another state with it."""
    images = record["dynamodb"]
    if "NewImage" not in images:
        return None
    line = items.line(unmarshal(images["NewImage"]))
    before = items.line(unmarshal(images["OldImage"])) if "OldImage" in images else None
    return line if before is None or before.sequence != line.sequence else None
