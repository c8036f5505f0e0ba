"""The table in memory answers as a DynamoDB does, whatever of the product's requests come in whatever order."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.proof.memory_table import Answer, MemoryTable, key_of
from tests.support.engine import dynamodb, engine, new_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

OPERATIONS = 1_000
# What an answer is judged by; the rest is messages and meters.
BODY = ("Item", "Items", "Attributes", "Count", "ScannedCount", "LastEvaluatedKey")
METHODS = {
    "GetItem": "get_item",
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
    "TransactWriteItems": "transact_write_items",
    "Query": "query",
}


@pytest.fixture(scope="module")
def pool() -> list[Any]:
    """Requests and items of real runs, collected where the product runs on simulated ground."""
    command = [sys.executable, "-m", "tests.proof.requests"]
    found: list[Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def test_random_requests_are_answered_alike(pool: list[Any]) -> None:
    chance = random.Random(3)
    items = [item for kind, item in pool if kind == "item"]
    requests = [(kind, request) for kind, request in pool if kind != "item"]
    by_kind = {kind: [request for its, request in requests if its == kind] for kind, _ in requests}
    assert {"GetItem", "UpdateItem", "TransactWriteItems", "Query"} <= by_kind.keys()
    outcomes = set()
    with engine() as endpoint, new_table(client := dynamodb(endpoint)) as name:
        table = MemoryTable()
        for _ in range(OPERATIONS):
            if chance.random() < 0.3:
                operation, request = "PutItem", {"Item": chance.choice(items)}
            else:
                operation = chance.choice(sorted(by_kind))
                request = chance.choice(by_kind[operation])
            table, expected = table.call(operation, request)
            answer = _sent(client, operation, _renamed(request, name))
            assert _judged(answer) == _judged(expected), (operation, request)
            outcomes.add((operation, answer.error))
        stored = client.scan(TableName=name, ConsistentRead=True)["Items"]
        assert {key_of(item): item for item in stored} == {key: one.item for key, one in table.items.items()}
        client.close()
    assert ("TransactWriteItems", None) in outcomes
    assert ("TransactWriteItems", "TransactionCanceledException") in outcomes
    assert ("UpdateItem", None) in outcomes
    assert ("UpdateItem", "ConditionalCheckFailedException") in outcomes


def _renamed(request: dict[str, Any], name: str) -> dict[str, Any]:
    """The request for the engine's table; a token of its own, or it would count as a repetition."""
    if "TransactItems" in request:
        entries = [{kind: {**write, "TableName": name} for kind, write in e.items()} for e in request["TransactItems"]]
        return {"TransactItems": entries, "ClientRequestToken": str(uuid.uuid4())}
    return {**request, "TableName": name}


def _sent(client: DynamoDBClient, operation: str, request: dict[str, Any]) -> Answer:
    try:
        return Answer(getattr(client, METHODS[operation])(**request))
    except ClientError as error:
        body: Any = error.response
        return Answer(body, body["Error"]["Code"])


def _judged(answer: Answer) -> Any:  # noqa: ANN401 - compared only
    body: dict[str, Any] = {name: answer.body[name] for name in BODY if name in answer.body}
    reasons = answer.body.get("CancellationReasons", [])
    body["reasons"] = [(reason.get("Code"), reason.get("Item")) for reason in reasons]
    return answer.error, body
