"""DynamoDB's operations as this product uses them.

Expressions write every attribute as `#attribute` and every value as `:value`; the name mapping is derived from the
expression, so reserved words never matter.
"""

import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from line_requests.clock import calls_left_s
from line_requests.domain.errors import LineRequestError, TableUnavailable
from line_requests.storage.attributes import Item, marshal, unmarshal
from line_requests.storage.calls import table_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

# Transactions of one hot workspace queue up: 32 of 25 ms need one second, this waits up to ten.
CONFLICT_ATTEMPTS = 40
CONFLICT_WAIT_MAX_S = 0.4
# Failures that say nothing about the conditions; botocore retries none of these inside a transaction.
CONFLICTS = {
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "TransactionInProgressException",  # the first attempt under the same token is still running
}
# From the system: a seeded generator would repeat itself in every environment restored from one snapshot.
_RANDOM = random.SystemRandom()
BATCH_GET_MAX = 100
# DynamoDB reads a page of one while a page of the other is parsed, which takes as long; more would not be faster.
SCAN_SEGMENTS = 2


class ConditionFailed(Exception):
    """A write's condition did not hold; `item` is what was there (None: nothing)."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("The conditional request failed")
        self.item = item


class TransactionCanceled(Exception):
    """Conditions of a transaction did not hold.

    `failed` holds the positions of the writes whose condition failed; `items[i]` is the item that write i found.
    """

    def __init__(self, failed: frozenset[int], items: Sequence[Item | None]) -> None:
        super().__init__("The conditional transaction failed")
        self.failed = failed
        self.items = items


class IndexMissing(LineRequestError):
    """The table has no such index, or not yet: it was restored without, or an older release made it."""

    def __init__(self, index: str, *, coming: bool) -> None:
        why = "is still being built: wait" if coming else "is missing: docs/recover.md says how to add it"
        super().__init__(f"the table's index {index} {why}. Meanwhile name the line's --workspace, or list with --all")


@dataclass(frozen=True, slots=True)
class Write:
    """A conditional write of one item: an update, a put, or a deletion when it has neither."""

    key: Item
    update: str | None = None
    put: Item | None = None
    condition: str | None = None
    values: Item = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """`#name` stands for the attribute of the same name unless it is listed here."""

    def request(self, table_name: str) -> tuple[str, dict[str, Any]]:
        """The operation's name in a transaction, and its parameters."""
        request: dict[str, Any] = {
            "TableName": table_name,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if self.put is None:
            request["Key"] = marshal(self.key)
        else:
            request["Item"] = marshal(self.key | self.put)
        if self.update is not None:
            request["UpdateExpression"] = self.update
        if self.condition is not None:
            request["ConditionExpression"] = self.condition
        names = _names(f"{self.update or ''} {self.condition or ''}")
        if names:
            request["ExpressionAttributeNames"] = {f"#{n}": self.names.get(n, n) for n in names}
        if self.values:
            request["ExpressionAttributeValues"] = marshal({f":{n}": v for n, v in self.values.items()})
        operation = "Put" if self.put is not None else "Update" if self.update is not None else "Delete"
        return operation, request


@cache
def _names(expression: str) -> list[str]:
    """The `#name`s of an expression."""
    return sorted(set(re.findall(r"#(\w+)", expression)))


class Table:
    """One DynamoDB table; every read is consistent but for the index's.

    Each operation raises TableUnavailable when DynamoDB throttles, fails or does not answer in time.
    """

    def __init__(self, client: "DynamoDBClient", name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def get(self, key: Item) -> Item | None:
        """One item."""
        with table_errors():
            answer = self._client.get_item(TableName=self._name, Key=marshal(key), ConsistentRead=True)
        return unmarshal(answer["Item"]) if "Item" in answer else None

    def batch_get(self, keys: Iterable[Item]) -> dict[tuple[str, str], Item]:
        """The items that exist, by (pk, sk), in as few round trips as there are hundreds of keys."""
        # An index can name an item twice while it changes; DynamoDB refuses a batch that does.
        unique = {(key["pk"], key["sk"]): key for key in keys}
        wanted, found = [marshal(key) for key in unique.values()], dict[tuple[str, str], Item]()
        attempt = 0
        while wanted:
            batch, wanted = wanted[:BATCH_GET_MAX], wanted[BATCH_GET_MAX:]
            request = {self._name: {"Keys": batch, "ConsistentRead": True}}
            with table_errors():
                answer = self._client.batch_get_item(RequestItems=request)  # type: ignore[arg-type] # the stubs want the typed union
            for item in map(unmarshal, answer["Responses"].get(self._name, [])):
                found[item["pk"], item["sk"]] = item
            left = answer.get("UnprocessedKeys", {}).get(self._name)
            if left:
                attempt += 1
                self._wait(attempt)
                wanted = [*left["Keys"], *wanted]
        return found

    def write(self, write: Write) -> Item:
        """One conditional write; returns the item after an update, else nothing.

        Raises ConditionFailed.
        """
        operation, request = write.request(self._name)
        if operation == "Update":
            request["ReturnValues"] = "ALL_NEW"
        call = getattr(self._client, f"{operation.lower()}_item")
        for _ in self._attempts():
            try:
                with table_errors():
                    answer = call(**request)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    item: Any = error.response.get("Item")
                    raise ConditionFailed(unmarshal(item) if item else None) from error
                if code != "TransactionConflictException":
                    raise
            else:
                return unmarshal(answer.get("Attributes", {}))
        raise AssertionError("unreachable: _attempts ends by raising")

    def transact(self, writes: Sequence[Write]) -> None:
        """All of the writes or none; raises TransactionCanceled.

        Only a failed condition is an outcome. A conflict with another transaction says nothing about the conditions
        and is retried here, because botocore does not.
        """
        requests = [dict([write.request(self._name)]) for write in writes]
        # One token for all attempts, so that an attempt that is still running is not repeated.
        token = str(uuid.uuid4())
        for _ in self._attempts():
            try:
                with table_errors():
                    self._client.transact_write_items(TransactItems=requests, ClientRequestToken=token)  # type: ignore[arg-type] # the stubs want the typed union
            except ClientError as error:
                # By code: botocore builds a client's exception classes lazily, in two threads twice.
                reasons: Any = error.response.get("CancellationReasons", [])
                codes = [reason.get("Code") for reason in reasons]
                failed = frozenset(i for i, code in enumerate(codes) if code == "ConditionalCheckFailed")
                if failed:
                    items = [unmarshal(reason["Item"]) if "Item" in reason else None for reason in reasons]
                    raise TransactionCanceled(failed, items) from error
                if CONFLICTS.isdisjoint([error.response["Error"]["Code"], *codes]):
                    raise
            else:
                return

    def query(  # noqa: PLR0913 - DynamoDB's own parameters, all but the first by keyword
        self,
        condition: str,
        *,
        values: Item,
        index: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        filter_expression: str | None = None,
        start: Item | None = None,
    ) -> tuple[list[Item], Item | None]:
        """One page of a query, and the key to go on from; raises IndexMissing."""
        request: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": marshal({f":{n}": v for n, v in values.items()}),
            "ScanIndexForward": not descending,
        }
        names = _names(f"{condition} {filter_expression or ''}")
        request["ExpressionAttributeNames"] = {f"#{n}": n for n in names}
        if index is None:
            request["ConsistentRead"] = True
        else:
            request["IndexName"] = index
        if limit is not None:
            request["Limit"] = limit
        if filter_expression is not None:
            request["FilterExpression"] = filter_expression
        if start is not None:
            request["ExclusiveStartKey"] = marshal(start)
        try:
            with table_errors():
                answer = self._client.query(**request)
        except ClientError as error:
            # "The table does not have the specified index", "Cannot read from backfilling global secondary index";
            # engines differ in the code. What may not be read is named by its index, too.
            text = error.response["Error"].get("Message", "")
            denied = error.response["Error"].get("Code") == "AccessDeniedException"
            if index is None or denied or "index" not in text:
                raise
            raise IndexMissing(index, coming="backfilling" in text) from error
        last = answer.get("LastEvaluatedKey")
        return [unmarshal(item) for item in answer["Items"]], unmarshal(last) if last else None

    def query_all(self, condition: str, *, values: Item) -> list[Item]:
        """Every item of a query, page after page."""
        found, start = list[Item](), None
        while True:
            page, start = self.query(condition, values=values, start=start)
            found += page
            if start is None:
                return found

    def scan(self, filter_expression: str, values: Item, *, projection: str | None = None) -> Iterator[Item]:
        """Every item that passes the filter, or these attributes of it, in no order; for operators only."""
        names = _names(f"{filter_expression} {projection or ''}")
        request: dict[str, Any] = {
            "TableName": self._name,
            "ConsistentRead": True,
            "TotalSegments": SCAN_SEGMENTS,
            "FilterExpression": filter_expression,
            "ExpressionAttributeNames": {f"#{n}": n for n in names},
            "ExpressionAttributeValues": marshal({f":{n}": v for n, v in values.items()}),
        }
        if projection is not None:
            request["ProjectionExpression"] = projection

        def page(segment: int, **start: Any) -> tuple[int, Any]:  # noqa: ANN401 - a key, an answer
            with table_errors():
                return segment, self._client.scan(**request, **start, Segment=segment)

        with ThreadPoolExecutor(SCAN_SEGMENTS) as pool:
            coming = {pool.submit(page, segment) for segment in range(SCAN_SEGMENTS)}
            while coming:
                done, coming = wait(coming, return_when=FIRST_COMPLETED)
                for segment, answer in [future.result() for future in done]:
                    if "LastEvaluatedKey" in answer:
                        coming.add(pool.submit(page, segment, ExclusiveStartKey=answer["LastEvaluatedKey"]))
                    yield from map(unmarshal, answer["Items"])

    def _attempts(self) -> Iterator[int]:
        for attempt in count(1):
            yield attempt
            self._wait(attempt)

    def _wait(self, attempt: int) -> None:
        """Full jitter, so that callers that collided do not collide again; raises after the last attempt."""
        pause_s = _RANDOM.uniform(0, min(CONFLICT_WAIT_MAX_S, 0.01 * 2**attempt))
        if attempt == CONFLICT_ATTEMPTS or pause_s >= calls_left_s():
            raise TableUnavailable(f"still in conflict or throttled after {attempt} attempts")
        self._sleep(pause_s)
