"""What is put on an event bus, as a subscriber hears it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


class Subscription:
    """A rule of its own with a queue; keeps the EventBridge envelopes in order of arrival."""

    def __init__(self, aws: Callable[[str], Any], bus: str, name: str, pattern: Json) -> None:
        self._sqs, self._events = aws("sqs"), aws("events")
        self._rule, self._bus = name, bus
        self._received: list[Json] = []
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        queue = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        self._events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
        targets = [{"Id": "queue", "Arn": queue["QueueArn"]}]
        self._events.put_targets(Rule=name, EventBusName=bus, Targets=targets)

    def received(self) -> list[Json]:
        """All envelopes so far."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._received.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return self._received

    def close(self) -> None:
        self._events.remove_targets(Rule=self._rule, EventBusName=self._bus, Ids=["queue"])
        self._events.delete_rule(Name=self._rule, EventBusName=self._bus)
        self._sqs.delete_queue(QueueUrl=self._queue)
        self._events.close()
        self._sqs.close()
