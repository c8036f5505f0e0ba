"""What goes over the wire, watched and disturbed below boto3."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse

from line_requests.storage.attributes import marshal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.client import DynamoDBClient

Json = dict[str, Any]


@dataclass
class Wire:
    """Registers itself with a client; sees each call once, however often botocore repeats it."""

    client: DynamoDBClient
    calls: list[tuple[str, Json]] = field(default_factory=list)
    units: float = 0
    """Consumed capacity since `watch`."""
    _instead: dict[str, deque[Json]] = field(default_factory=dict)
    _before: dict[str, deque[Callable[[], object]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        events = self.client.meta.events
        events.register("before-parameter-build.dynamodb.*", self._ask_for_units)
        events.register("before-call.dynamodb.*", self._answer)  # type: ignore[arg-type] # a handler of this event may answer
        events.register("after-call.dynamodb.*", self._count_units)

    def watch(self) -> None:
        """Forget what was seen so far."""
        self.calls, self.units = [], 0

    @property
    def operations(self) -> Counter[str]:
        return Counter(operation for operation, _ in self.calls)

    def instead(self, operation: str, *answers: Json) -> None:
        """Answers the next calls of this operation so, without making them."""
        self._instead.setdefault(operation, deque()).extend(answers)

    def before(self, operation: str, act: Callable[[], object]) -> None:
        """Lets another caller act just before the next call of this operation."""
        self._before.setdefault(operation, deque()).append(act)

    def _ask_for_units(self, params: Json, model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"
        self.calls.append((model.name, params))

    def _answer(self, model: Any, **_: object) -> tuple[AWSResponse, Json] | None:  # noqa: ANN401 - botocore's
        if acts := self._before.get(model.name):
            acts.popleft()()
        if answers := self._instead.get(model.name):
            answer = answers.popleft()
            return AWSResponse("", 400 if "Error" in answer else 200, {}, None), answer  # type: ignore[arg-type] # nothing reads the raw body
        return None

    def _count_units(self, parsed: Json, **_: object) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        self.units += sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))


def refusal(code: str, **fields: object) -> Json:
    """An error of DynamoDB's."""
    return {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {}, **fields}


def canceled(*codes: str) -> Json:
    """A transaction that was canceled for these reasons, in the order of its writes."""
    return refusal("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


def next_page(start: Json) -> Json:
    """A page of a query or a scan without items, after which another one starts."""
    return {"Items": [], "LastEvaluatedKey": marshal(start), "ResponseMetadata": {}}
