"""A DynamoDB that is atomic, and the deployment's own table on it."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from line_requests.storage.calls import CLIENT_CONFIG
from tests.local.ministack import ROOT, MiniStack, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.client import DynamoDBClient

# What a table is created with; point-in-time recovery and the like are settings of a table that exists.
CREATED_WITH = {"BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"}


@contextmanager
def engine() -> Iterator[str]:
    """The endpoint of a DynamoDB: the one named by DYNAMODB_ENDPOINT, else a MiniStack of its own."""
    if endpoint := os.environ.get("DYNAMODB_ENDPOINT"):
        yield endpoint
        return
    ministack = MiniStack(Path(os.devnull))  # no function will run, so none needs the layer's packages
    try:
        ministack.start()
        ministack.wait_until_ready()
        yield ministack.endpoint
    finally:
        ministack.stop()


def dynamodb(endpoint: str) -> DynamoDBClient:
    """A client with the product's own time-outs and retries."""
    return session().client("dynamodb", endpoint_url=endpoint, config=CLIENT_CONFIG)


class _PlainTags(yaml.CSafeLoader):
    """Reads CloudFormation's short tags as nothing: the table has none."""


_PlainTags.add_multi_constructor("!", lambda *_: None)


@cache
def table_definition() -> dict[str, Any]:
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader=_PlainTags)  # noqa: S506 - a SafeLoader
    table = template["Resources"]["Table"]["Properties"]
    return {name: value for name, value in table.items() if name in CREATED_WITH}


@contextmanager
def new_table(client: DynamoDBClient) -> Iterator[str]:
    """The name of an empty table as template.yaml defines it."""
    name = f"line-requests-{secrets.token_hex(6)}"
    with suppress(client.exceptions.ResourceInUseException):  # made by an attempt whose answer came too late
        client.create_table(TableName=name, **table_definition())
    yield name
    client.delete_table(TableName=name)
