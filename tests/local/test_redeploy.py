"""The stack is deleted and deployed again: its table stays, and the new stack adopts it (docs/recover.md)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from line_requests.domain.model import Status
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.local.deployment import STACK_NAME, deploy
from tests.local.stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with LocalStack() as running:
        yield running


def client(stack: LocalStack, service: str) -> Any:  # noqa: ANN401 - any client of boto3's
    return stack.ministack.session.client(service, endpoint_url=stack.ministack.endpoint)


def delete(stack: LocalStack) -> None:
    cloudformation = client(stack, "cloudformation")
    cloudformation.delete_stack(StackName=STACK_NAME)
    deadline = time.monotonic() + 60
    while any(
        one["StackName"] == STACK_NAME and one["StackStatus"] != "DELETE_COMPLETE"
        for one in cloudformation.list_stacks()["StackSummaries"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_new_stack_adopts_the_table_of_the_deleted_one(stack: LocalStack) -> None:
    workspace = stack.demo.workspace()
