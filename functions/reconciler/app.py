"""On a schedule: finishes what was left half done, promotes the paid, cancels the void and expired."""

import datetime
from typing import Any

from line_requests.bus import Bus
from line_requests.clock import Clock
from line_requests.lifecycle import Lifecycle
from line_requests.reconciliation import Reconciliation
from line_requests.registry import Registry
from line_requests.settings import Settings
from line_requests.store import Store
from line_requests.telemetry import about

# What is left for the write that is under way when the time runs out.
MARGIN_S = 20.0

SETTINGS = Settings.from_environment()
TABLE = SETTINGS.table()


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ANN401 - Lambda's context
    """One run, bounded by the time that Lambda gives it; returns what it did."""
    about(event_id=str(event.get("id")))
    at = datetime.datetime.fromisoformat(event["time"])
    budget_s = context.get_remaining_time_in_millis() / 1000 - MARGIN_S
    clock = Clock(int(at.timestamp() * 1000), budget_s)
    store, registry = Store(TABLE), Registry(TABLE)
    lifecycle = Lifecycle(store, registry, SETTINGS.open_billing, clock, SETTINGS.window_ms)
    bus = Bus(SETTINGS.events_client(), SETTINGS.bus_name)
    return Reconciliation(store, registry, lifecycle, bus, clock).run()
