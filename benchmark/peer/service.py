"""What a good team would write today: the same promises on Powertools' own building blocks.

One plain DynamoDB call after another; a lock item's life is inside the idempotent function.
"""

import hashlib
import os
import secrets
import time
from decimal import Decimal
from typing import Any, Literal

import boto3
import jwt
import stripe
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler.exceptions import ServiceError, UnauthorizedError
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from botocore.exceptions import ClientError
from pydantic import BaseModel, Field

logger = Logger()
metrics = Metrics()
tracer = Tracer()
table: Any = boto3.resource("dynamodb").Table(os.environ["PEER_TABLE"])
RATE_LIMIT_PER_MINUTE = int(os.environ.get("RATE_LIMIT_PER_MINUTE", "120"))


class LineRequest(BaseModel):
    """The body of a create."""

    first_name: str = Field(alias="firstName", min_length=1, max_length=256)
    last_name: str = Field(alias="lastName", min_length=1, max_length=256)
    channel_type: Literal["phone", "email"] = Field(alias="channelType")
    line_type: Literal["purchased", "byon"] = Field("purchased", alias="lineType")
    email: str | None = None
    phone: str | None = None
    zipcode: str | None = None
    state: str | None = None
    forward_calls_to: str | None = Field(None, alias="forwardCallsTo")
    profile_image_url: str | None = Field(None, alias="profileImageUrl")

    @property
    def kind(self) -> str:
        """What it counts towards."""
        return "email" if self.channel_type == "email" else f"{self.line_type}_phone"


@tracer.capture_method
def authenticate(headers: Any) -> str:
    """The workspace of an API key, or of a session token's organisation."""
    token = headers.get("authorization", "").removeprefix("Bearer ")
    if token.count(".") == 2:
        try:
            claims = jwt.decode(token, os.environ["CLERK_PUBLIC_KEY"], algorithms=["RS256"])
        except jwt.PyJWTError as error:
            raise UnauthorizedError("Unauthorized") from error
        return str(table.get_item(Key={"pk": f"ORG#{claims['org_id']}", "sk": "ORG"})["Item"]["workspace_id"])
    digest = hashlib.sha256(token.encode()).hexdigest()
    key = table.get_item(Key={"pk": f"KEY#{digest}", "sk": "KEY"}, ConsistentRead=True).get("Item")
    if key is None or key.get("revoked"):
        raise UnauthorizedError("Unauthorized")
    return str(key["workspace_id"])


@tracer.capture_method
def load_workspace(workspace_id: str) -> Any:
    """The workspace with its plan and counts."""
    answer = table.get_item(Key={"pk": f"W#{workspace_id}", "sk": "WORKSPACE"}, ConsistentRead=True)
    if "Item" not in answer:
        raise UnauthorizedError("Unauthorized")
    return answer["Item"]


@tracer.capture_method
def check_rate(workspace_id: str) -> None:
    """A counter per minute that removes itself."""
    minute = int(time.time()) // 60
    answer = table.update_item(
        Key={"pk": f"W#{workspace_id}", "sk": f"RATE#{minute}"},
        UpdateExpression="ADD used :one SET expires_at = :expires_at",
        ExpressionAttributeValues={":one": 1, ":expires_at": (minute + 2) * 60},
        ReturnValues="UPDATED_NEW",
    )
    if answer["Attributes"]["used"] > RATE_LIMIT_PER_MINUTE:
        raise ServiceError(429, "Rate limit exceeded")


@tracer.capture_method
def take_lock(workspace: Any, line_id: str) -> None:
    """One request at a time; a line that holds it is read again."""
    try:
        table.update_item(
            Key={"pk": workspace["pk"], "sk": "WORKSPACE"},
            UpdateExpression="SET lock_holder = :line",
            ConditionExpression="attribute_not_exists(lock_holder)",
            ExpressionAttributeValues={":line": line_id},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        holder = table.get_item(
            Key={"pk": workspace["pk"], "sk": f"LINE#{workspace['lock_holder']}"}, ConsistentRead=True
        )["Item"]
        invoice = stripe_client().v1.invoices.retrieve(holder["invoice_id"])
        if invoice.status != "paid":
            raise ServiceError(409, "Another line request is waiting for payment") from error
        raise ServiceError(503, "Try again") from error


@tracer.capture_method
def release_lock(workspace: Any, line_id: str) -> None:
    """For its holder."""
    table.update_item(
        Key={"pk": workspace["pk"], "sk": "WORKSPACE"},
        UpdateExpression="REMOVE lock_holder",
        ConditionExpression="lock_holder = :line",
        ExpressionAttributeValues={":line": line_id},
    )


@tracer.capture_method
def count_place(workspace: Any, kind: str, included: Decimal) -> bool:
    """Takes an included place; False when there is none left."""
    try:
        table.update_item(
            Key={"pk": workspace["pk"], "sk": "WORKSPACE"},
            UpdateExpression="SET used.#kind = used.#kind + :one",
            ConditionExpression="used.#kind < :included",
            ExpressionAttributeNames={"#kind": kind},
            ExpressionAttributeValues={":one": 1, ":included": included},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


@tracer.capture_method
def put_line(workspace: Any, line_id: str, request: LineRequest, status: str, invoice_id: str | None = None) -> Any:
    """Stores the line."""
    line = {
        "pk": workspace["pk"],
        "sk": f"LINE#{line_id}",
        "provisioning_status": status,
        "payment_status": "not_required" if invoice_id is None else "awaiting_payment",
        "created_at": int(time.time() * 1000),
        **request.model_dump(exclude_none=True),
    } | ({} if invoice_id is None else {"invoice_id": invoice_id})
    table.put_item(Item=line, ConditionExpression="attribute_not_exists(pk)")
    metrics.add_metric(name="LineRequested", unit=MetricUnit.Count, value=1)
    logger.info("line requested", line_id=line_id, status=status)
    return line


def shown(line: Any) -> dict[str, Any]:
    """A line as clients see it."""
    return {
        "_id": line["sk"].removeprefix("LINE#"),
        "firstName": line["first_name"],
        "lastName": line["last_name"],
        "channelType": line["channel_type"],
        "lineType": line["line_type"],
        "provisioningStatus": line["provisioning_status"],
        "paymentStatus": line["payment_status"],
    }


def new_line_id() -> str:
    """Sortable by time."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(6)}"


def stripe_client() -> stripe.StripeClient:
    """With the secret, which is cached for some minutes."""
    secret: Any = parameters.get_secret(os.environ["STRIPE_SECRET_ARN"], transform="json", max_age=300)
    return stripe.StripeClient(secret["api_key"], base_addresses={"api": os.environ["STRIPE_API_BASE"]})
