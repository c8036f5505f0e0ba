"""A subscriber of the deployment's event bus."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.local.ministack import MiniStack

Json = dict[str, Any]


class Listener:
    """Has its own rule and queue; keeps the EventBridge envelopes in order of arrival."""

    def __init__(self, ministack: MiniStack, bus: str) -> None:
        self._sqs = ministack.session.client("sqs", endpoint_url=ministack.endpoint)
        self._events = ministack.session.client("events", endpoint_url=ministack.endpoint)
        self._bus = bus
        self._heard: defaultdict[str, list[Json]] = defaultdict(list)
        self._queue = self._sqs.create_queue(QueueName="stories")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        pattern = {"source": ["line-requests"]}
        self._events.put_rule(Name="stories", EventBusName=bus, EventPattern=json.dumps(pattern))
        targets = [{"Id": "queue", "Arn": attributes["QueueArn"]}]
        self._events.put_targets(Rule="stories", EventBusName=bus, Targets=targets)  # type: ignore[arg-type] # plain dictionaries

    def close(self) -> None:
        self._sqs.close()
        self._events.close()

    def heard(self, subject: str) -> list[Json]:
        """The details of all events about a line, or about a workspace itself, so far."""
        return [event["detail"] for event in self.envelopes(subject)]

    def envelopes(self, subject: str) -> list[Json]:
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                detail = event["detail"]
                self._heard[detail.get("lineId", detail["workspaceId"])].append(event)
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return self._heard[subject]

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
        answer = self._events.put_events(Entries=[entry])  # type: ignore[list-item] # plain dictionaries
        assert answer["FailedEntryCount"] == 0
