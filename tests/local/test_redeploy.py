"""The stack is deleted and deployed again: its table stays, and the new stack adopts it (docs/recover.md)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from line_requests.domain.model import Status
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table
from tests.local.deployment import STACK_NAME, deploy
from tests.local.ministack import ROOT
from tests.local.stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with LocalStack() as running:
        yield running


def client(stack: LocalStack, service: str) -> Any:  # noqa: ANN401 - any client of boto3's
    session: Any = stack.ministack.session
    return session.client(service, endpoint_url=stack.ministack.endpoint)


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
    """A request that was paid while there was no stack is provisioned, and its client goes on with the same key."""
    workspace = stack.demo.create_workspace("starter", "active")
    headers = {"authorization": f"Bearer {workspace.api_key}"}
    with httpx.Client(base_url=stack.origin, headers=headers, timeout=30) as http:
        assert http.post("/api/line-requests", json=BODY).json()["paymentRequired"] is False  # one is included
        waiting = http.post("/api/line-requests", json=BODY).json()["line"]
    first = stack.deployment
    dynamodb = client(stack, "dynamodb")
    delete(stack)
    described = dynamodb.describe_table(TableName=first.table)["Table"]
    stack.double.pay_invoice(waiting["stripeInvoiceId"])

    adopted = {"TableName": first.table, "TableStreamArn": described["LatestStreamArn"]}
    stack.deployment = deploy(stack.ministack, stack.parameters | adopted)
    assert stack.deployment.table == first.table
    assert stack.deployment.api_id != first.api_id
    vars(stack).pop("_lambda", None)
    stack.reconcile()
    stores = Stores(Table(dynamodb, first.table))
    line = stores.lines.get(workspace.id, waiting["_id"])
    assert line is not None
    assert line.status in {Status.PROVISIONING, Status.ACTIVE}
    poll = json.loads((ROOT / "events/get_line_request.json").read_text())
    poll["headers"] |= headers
    poll["pathParameters"] = {"id": line.id}
    answer = client(stack, "lambda").invoke(
        FunctionName=stack.deployment.functions["get_line_request"], Payload=json.dumps(poll)
    )
    body = json.loads(json.load(answer["Payload"])["body"])
    assert (body["success"], body["paymentStatus"]) == (True, "paid")
