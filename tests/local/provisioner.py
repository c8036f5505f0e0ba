"""The other side of the deployment's bus: hears which lines to provision, and answers like a real provisioner."""

import json
import threading
from typing import TYPE_CHECKING, Any, Literal

from tests.local.ministack import MiniStack

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from mypy_boto3_sqs.type_defs import MessageTypeDef

Json = dict[str, Any]
Mode = Literal["auto", "manual"]

# Long enough to see a line in provisioning, short enough to wait for.
PROVISIONING_SECONDS = 1


class Provisioner:
    """Answers `succeeded` to every line in mode `auto`; in mode `manual` it only listens."""

    def __init__(self, ministack: MiniStack, bus: str) -> None:
        self._bus = bus
        self._events = ministack.session.client("events", endpoint_url=ministack.endpoint)
        self._sqs = ministack.session.client("sqs", endpoint_url=ministack.endpoint)
        # Kept as long as SQS can, because the clock may be moved before a message is read.
        created = self._sqs.create_queue(
            QueueName="local-provisioner",
            Attributes={"DelaySeconds": str(PROVISIONING_SECONDS), "MessageRetentionPeriod": str(14 * 86_400)},
        )
        self._queue = created["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        pattern = {"detail-type": ["Line State Changed"], "detail": {"status": ["provisioning"]}}
        self._events.put_rule(Name="local-provisioner", EventBusName=bus, EventPattern=json.dumps(pattern))
        self._events.put_targets(
            Rule="local-provisioner", EventBusName=bus, Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}]
        )
        self.mode: Mode = "auto"
        self._unanswered: dict[str, Json] = {}
        self._guard = threading.Lock()
        self._handling = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True, name="provisioner")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Nothing is answered afterwards; the thread still waits for messages, at most a second."""
        self._stopping.set()
        with self._handling:
            return

    def set_delay(self, seconds: int) -> None:
        """How long a line that is requested from now on stays in provisioning, at least, in mode `auto`."""
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"DelaySeconds": str(seconds)})

    def set_mode(self, mode: Mode) -> None:
        """Change the mode; lines that `manual` has left waiting are answered by `auto`."""
        self.mode = mode
        self._answer_all()

    def answer(self, told: Json, outcome: str, **more: object) -> None:
        """Publish the outcome for a line, with `delivered` or `reasonCode` and `reason`, if given.

        `told` has the eventId, workspaceId and lineId of what was heard.
        """
        with self._guard:
            self._unanswered.pop(told["lineId"], None)
        self._put([_result(self._bus, told, outcome, **more)])

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                got = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
                with self._handling:
                    if not self._stopping.is_set():
                        self._handle(got.get("Messages", []))
            except Exception:  # noqa: BLE001 - MiniStack goes away when the stack stops; else the next round tries again
                self._stopping.wait(0.2)

    def _handle(self, messages: "list[MessageTypeDef]") -> None:
        heard = [json.loads(message["Body"])["detail"] for message in messages]
        with self._guard:
            self._unanswered.update({told["lineId"]: told for told in heard})
        self._answer_all()
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])

    def _answer_all(self) -> None:
        if self.mode != "auto":
            return
        with self._guard:
            waiting, self._unanswered = list(self._unanswered.values()), {}
        for start in range(0, len(waiting), 10):  # as many as one PutEvents takes
            self._put([_succeeded(self._bus, told) for told in waiting[start : start + 10]])

    def _put(self, entries: list["PutEventsRequestEntryTypeDef"]) -> None:
        self._events.put_events(Entries=entries)


def _succeeded(bus: str, told: Json) -> "PutEventsRequestEntryTypeDef":
    """A purchased number is one of those that nobody has: 555-0100 to 555-0199."""
    if told["kind"] != "purchased_phone":
        return _result(bus, told, "succeeded")
    return _result(bus, told, "succeeded", delivered={"phone": f"+1 415 555 01{int(told['lineId'], 16) % 100:02}"})


def _result(bus: str, told: Json, outcome: str, **more: object) -> "PutEventsRequestEntryTypeDef":
    detail = {name: told[name] for name in ("eventId", "workspaceId", "lineId")} | {"outcome": outcome}
    return {
        "EventBusName": bus,
        "Source": "line-provisioner",
        "DetailType": "Line Provisioning Result",
        "Detail": json.dumps(detail | more),
    }
