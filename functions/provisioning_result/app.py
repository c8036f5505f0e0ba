"""The queue of provisioning results: each makes its line active or failed, once."""

import datetime
import json
from typing import Any

from line_requests import bus
from line_requests.model import Status
from line_requests.settings import Settings
from line_requests.store import Store
from line_requests.telemetry import about, logger

SETTINGS = Settings.from_environment()
STORE = Store(SETTINGS.table())


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Applies a batch of results; SQS delivers the failed ones again, then moves them to the dead-letter queue."""
    failed = [record["messageId"] for record in event["Records"] if not _applied(record)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _applied(record: dict[str, Any]) -> bool:
    try:
        _apply(json.loads(record["body"]))
    except Exception:  # noqa: BLE001 - whatever it is, it must not delay the other results of the batch
        logger.exception("provisioning result failed", extra={"message_id": record["messageId"]})
        return False
    return True


def _apply(event: dict[str, Any]) -> None:
    """Applies one EventBridge event; a duplicated or late one changes nothing (contract 48)."""
    about(event_id=str(event["id"]))
    result = bus.Result.of(event["detail"])
    line = STORE.line(result.workspace_id, result.line_id)
    if line is None or line.status is not Status.PROVISIONING or bus.event_id(line) != result.event_id:
        logger.info("provisioning result is not for the line's present state", extra={"line_id": result.line_id})
        return
    # An event's time is in whole seconds: a quick result must not seem older than the state that it answers.
    sent_ms = int(datetime.datetime.fromisoformat(event["time"]).timestamp() * 1000)
    now_ms = max(sent_ms, line.history[-1].at_ms)
    if result.succeeded:
        STORE.provisioned(line, now_ms)
    else:
        STORE.provisioning_failed(line, result.reason, now_ms)
