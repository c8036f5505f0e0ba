"""A subscriber of the deployment's event bus."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.support.bus import Subscription

if TYPE_CHECKING:
    from tests.local.ministack import MiniStack

Json = dict[str, Any]


class Listener(Subscription):
    """Hears what the product publishes, and answers as a provisioner."""

    def __init__(self, ministack: MiniStack, bus: str) -> None:
        client = partial(ministack.session.client, endpoint_url=ministack.endpoint)
        super().__init__(client, bus, "stories", {"source": ["line-requests"]})

    def heard(self, subject: str) -> list[Json]:
        """The details of all events about a line, or about a workspace itself, so far."""
        return [event["detail"] for event in self.envelopes(subject)]

    def envelopes(self, subject: str) -> list[Json]:
        details = [(event["detail"], event) for event in self.received()]
        return [event for detail, event in details if detail.get("lineId", detail["workspaceId"]) == subject]

    def answer(self, event: Json, outcome: str, **more: object) -> None:
        """Publishes a provisioner's result about an event."""
        detail = {name: event[name] for name in ("eventId", "workspaceId", "lineId")} | {"outcome": outcome} | more
        self.put("a-provisioner", "Line Provisioning Result", detail)

    def put(self, source: str, detail_type: str, detail: object) -> None:
        entry = {
            "EventBusName": self._bus,
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Time": int(time.time()),
        }
        answer = self._events.put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0
