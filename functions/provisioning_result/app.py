"""A provisioner's answer on the bus: makes its line active or failed, once."""

import datetime
from typing import Any

from line_requests import bus
from line_requests.errors import Invalid
from line_requests.model import Status
from line_requests.settings import Settings
from line_requests.store import Store
from line_requests.telemetry import about, logger

SETTINGS = Settings.from_environment()
STORE = Store(SETTINGS.table())


def handler(event: dict[str, Any], _context: object) -> None:
    """Applies one answer; one that is malformed, doubled or late changes nothing (contract 48)."""
    about(event_id=str(event.get("id")))
    try:
        result = bus.Result.of(event["detail"])
    except Invalid as error:
        logger.error("provisioning result refused", extra={"reason": str(error)})
        return
    line = STORE.line(result.workspace_id, result.line_id)
    if line is None or line.status is not Status.PROVISIONING or bus.event_id(line) != result.event_id:
        logger.info("provisioning result is not for the line's present state", extra={"line_id": result.line_id})
        return
    # The bus tells whole seconds: a quick answer must not seem to be older than what it answers.
    told_ms = int(datetime.datetime.fromisoformat(event["time"]).timestamp() * 1000)
    now_ms = max(told_ms, line.history[-1].at_ms)
    if result.succeeded:
        STORE.provisioned(line, now_ms)
    else:
        STORE.provisioning_failed(line, result.reason, now_ms)
