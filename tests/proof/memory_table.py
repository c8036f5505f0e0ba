"""DynamoDB in memory, as a value: an operation gives an answer and another table.

Exactly the operations and parameters that `line_requests.table` sends; test_memory_table.py replays
random ones here and on MiniStack. Each operation is atomic, a transaction too; who wants to see a
batch torn apart asks for its items one by one.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.proof.expressions import Typed, ValidationError, condition_of, update_of

Key = tuple[str, str]
Request = Mapping[str, Any]

# The sparse indexes: hash and range key of each.
INDEXES = {"due": ("due_shard", "due_at"), "operator": ("op_status", "since_ms")}


class Answer(NamedTuple):
    """What botocore would have parsed; `error` is DynamoDB's code."""

    body: dict[str, Any]
    error: str | None = None
    content: int | None = None
    """Tells answers apart, once it is known."""

    def told_apart(self) -> "Answer":
        """The answer with what tells it apart."""
        if self.content is not None:
            return self
        return self._replace(content=hash(json.dumps(self.body, sort_keys=True)))


class Stored(NamedTuple):
    """An item and a number that tells its content apart."""

    item: Typed
    digest: int


class MemoryTable:
    """A table that never changes."""

    __slots__ = ("digest", "items")

    def __init__(self, items: Mapping[Key, Stored] | None = None, digest: int = 0) -> None:
        self.items = items or {}
        self.digest = digest
        """The same for the same items, however they came to be."""

    def item(self, key: Key) -> Typed | None:
        """The item under (pk, sk)."""
        stored = self.items.get(key)
        return stored.item if stored else None

    def with_item(self, key: Key, item: Typed | None) -> "MemoryTable":
        """The table with this item instead; None: without it."""
        stored = None if item is None else Stored(item, hash(json.dumps(item, sort_keys=True)))
        return self.with_stored([(key, stored)])

    def with_stored(self, changes: Sequence[tuple[Key, Stored | None]]) -> "MemoryTable":
        """The same for several items that were stored before."""
        if not changes:
            return self
        items, digest = dict(self.items), self.digest
        for key, stored in changes:
            before = items.pop(key, None)
            digest ^= (before.digest if before else 0) ^ (stored.digest if stored else 0)
            if stored is not None:
                items[key] = stored
        return MemoryTable(items, digest)

    def call(self, operation: str, request: Request) -> tuple["MemoryTable", Answer]:
        """One operation under its API's name."""
        try:
            return _OPERATIONS[operation](self, request)
        except ValidationError as error:
            return self, _error("ValidationException", str(error))

    def by_range(self, request: Request) -> list[Typed]:
        """What a query's key condition selects, in the order of its index."""
        condition, values = condition_of(request, "KeyConditionExpression"), request["ExpressionAttributeValues"]
        if "IndexName" in request:
            hash_key, range_key = INDEXES[request["IndexName"]]
            held = [one.item for one in self.items.values() if hash_key in one.item and range_key in one.item]
        else:
            held = [stored.item for (pk, _), stored in self.items.items() if pk == values[":pk"]["S"]]
        found = [item for item in held if condition(item, values)]
        return sorted(found, key=_order(request), reverse=not request.get("ScanIndexForward", True))


def key_of(item: Typed) -> Key:
    """An item's (pk, sk)."""
    return item["pk"]["S"], item["sk"]["S"]


def _main_order(item: Typed) -> tuple[Any, ...]:
    return item["sk"]["S"], item["pk"]["S"]


def _order(request: Request) -> Callable[[Typed], tuple[Any, ...]]:
    """The order that a query's items come in."""
    if "IndexName" not in request:
        return _main_order
    _, range_key = INDEXES[request["IndexName"]]
    return lambda item: (int(item[range_key]["N"]), *key_of(item))


def _error(code: str, message: str, **more: object) -> Answer:
    return Answer({"Error": {"Code": code, "Message": message}, **more}, code)


def _get(table: MemoryTable, request: Request) -> tuple[MemoryTable, Answer]:
    stored = table.items.get(key_of(request["Key"]))
    return table, Answer({"Item": stored.item}, content=stored.digest) if stored else Answer({}, content=0)


class _Refused(NamedTuple):
    old: Typed | None


def _written(table: MemoryTable, kind: str, request: Request) -> tuple[Key, Typed | None] | _Refused:
    """The item that one conditional write leaves (None: none), or why it is refused."""
    key = key_of(request["Item"] if kind == "Put" else request["Key"])
    old = table.item(key)
    values = request.get("ExpressionAttributeValues", {})
    if not condition_of(request)(old or {}, values):
        return _Refused(old)
    if kind == "Put":
        return key, request["Item"]
    if kind == "Update":
        return key, update_of(request)(old or dict(request["Key"]), values)
    return key, None


def _write(kind: str) -> Callable[[MemoryTable, Request], tuple[MemoryTable, Answer]]:
    def write(table: MemoryTable, request: Request) -> tuple[MemoryTable, Answer]:
        outcome = _written(table, kind, request)
        if isinstance(outcome, _Refused):
            old = {} if outcome.old is None else {"Item": outcome.old}
            return table, _error("ConditionalCheckFailedException", "The conditional request failed", **old)
        key, item = outcome
        after = table.with_item(key, item)
        if request.get("ReturnValues") == "ALL_NEW":
            return after, Answer({"Attributes": item}, content=hash(("after", after.items[key].digest)))
        return after, Answer({}, content=0)

    return write


def _transact(table: MemoryTable, request: Request) -> tuple[MemoryTable, Answer]:
    after, reasons, keys = table, list[dict[str, Any]](), set[Key]()
    for entry in request["TransactItems"]:
        [(kind, write)] = entry.items()
        outcome = _written(table, kind, write)
        if isinstance(outcome, _Refused):
            reason: dict[str, Any] = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
            reasons.append(reason if outcome.old is None else {**reason, "Item": outcome.old})
            continue
        reasons.append({"Code": "None"})
        if outcome[0] in keys:
            raise ValidationError("Transaction request cannot include multiple operations on one item")
        keys.add(outcome[0])
        after = after.with_item(*outcome)
    if any(reason["Code"] != "None" for reason in reasons):
        return table, canceled(reasons)
    return after, Answer({}, content=0)


def canceled(reasons: list[dict[str, Any]]) -> Answer:
    """The answer to a transaction that was canceled for these reasons, one for each write."""
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return _error("TransactionCanceledException", message, CancellationReasons=reasons)


def _query(table: MemoryTable, request: Request) -> tuple[MemoryTable, Answer]:
    descending = not request.get("ScanIndexForward", True)
    keys = INDEXES.get(request.get("IndexName", ""), ())
    return table, _page(request, table.by_range(request), _order(request), descending=descending, index_keys=keys)


def _scan(table: MemoryTable, request: Request) -> tuple[MemoryTable, Answer]:
    found = sorted((stored.item for stored in table.items.values()), key=key_of)
    return table, _page(request, found, key_of, descending=False)


def _page(
    request: Request,
    found: Iterable[Typed],
    order: Callable[[Typed], tuple[Any, ...]],
    *,
    descending: bool,
    index_keys: Sequence[str] = (),
) -> Answer:
    start, limit = request.get("ExclusiveStartKey"), request.get("Limit")
    rest = list(found)
    if start is not None:
        rest = [item for item in rest if (order(item) < order(start) if descending else order(item) > order(start))]
    page = rest if limit is None else rest[:limit]
    passes, values = condition_of(request, "FilterExpression"), request.get("ExpressionAttributeValues", {})
    names = ("pk", "sk", *index_keys)
    items = [item for item in page if passes(item, values)]
    shown = [{name: item[name] for name in names} for item in items] if index_keys else items
    body: dict[str, Any] = {"Items": shown, "Count": len(shown), "ScannedCount": len(page)}
    if limit is not None and len(page) == limit and page:
        body["LastEvaluatedKey"] = {name: page[-1][name] for name in names}
    return Answer(body)


_OPERATIONS: dict[str, Callable[[MemoryTable, Request], tuple[MemoryTable, Answer]]] = {
    "GetItem": _get,
    "PutItem": _write("Put"),
    "UpdateItem": _write("Update"),
    "DeleteItem": _write("Delete"),
    "TransactWriteItems": _transact,
    "Query": _query,
    "Scan": _scan,
}
