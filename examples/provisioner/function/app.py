"""A reference provisioner: orders a line at the carrier, publishes what was delivered, releases it when it is canceled.

Its queue delivers one event at a time. An exception leaves the event in the queue, which delivers it again.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import carrier
from botocore.exceptions import ClientError

Json = dict[str, Any]

LEASE_S = 60  # longer than the function's timeout, so that the holder has ended when its lease expires

EVENTS = boto3.client("events")
LINES = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
LOGGER = logging.getLogger(__name__)


class LineBusyError(Exception):
    """Another invocation works on this line; the queue retries."""


def handler(event: Json, _context: object) -> None:
    """Handles `Line State Changed` events with status `provisioning` or `canceled`."""
    for record in event["Records"]:
        change = json.loads(record["body"])["detail"]
        with _lease(change) as last_result:
            if last_result is not None:
                _handle(change, last_result)


def _handle(change: Json, last_result: Json) -> None:
    if change["status"] == "canceled":
        _release(change)
        return
    # A duplicate event gets the same result again, and nothing is ordered.
    result = last_result if last_result.get("eventId") == change["eventId"] else _provision(change)
    if result is not None:
        _publish(result)


def _provision(change: Json) -> Json | None:
    """Returns the result, or None while the carrier is still working on the order."""
    order = _find_or_order(change)
    if order["status"] == "pending":
        return None
    result = _result(change, order)
    # Saved before it is published, so that a duplicate event gets the same result, whatever the carrier says by then.
    LINES.update_item(
        Key={"lineId": result["lineId"]},
        UpdateExpression="SET lastResult = :result",
        ExpressionAttributeValues={":result": json.dumps(result)},
    )
    return result


def _find_or_order(change: Json) -> carrier.Order:
    """Looks the line up before it orders: an earlier attempt may have crashed after its order."""
    for order in carrier.find_orders(change["lineId"]):
        # A rejected order counts for the event that it was made for; a later event is a new attempt.
        if order["status"] in carrier.LIVE or order["note"] == change["eventId"]:
            return order
    order = carrier.create_order(change["lineId"], change["eventId"], change["kind"], change["line"])
    LOGGER.info("ordered", extra={"lineId": change["lineId"], "status": order["status"]})
    return order


def _release(change: Json) -> None:
    for order in carrier.find_orders(change["lineId"]):
        if order["status"] in carrier.LIVE:
            carrier.release_order(order["id"])
            LOGGER.info("released", extra={"lineId": change["lineId"], "order": order["id"]})


def _result(change: Json, order: carrier.Order) -> Json:
    result = {name: change[name] for name in ("eventId", "workspaceId", "lineId")}
    if order["status"] == "completed":
        delivered = {name: order[name] for name in ("phone", "email") if order.get(name)}
        return result | {"outcome": "succeeded", "delivered": delivered | {"reference": order["id"]}}
    reason_code = carrier.REASON_CODES.get(order.get("code", ""), "other")
    return result | {"outcome": "failed", "reasonCode": reason_code, "reason": order.get("message", order["status"])}


def _publish(result: Json) -> None:
    entry = {
        "EventBusName": os.environ["BUS_NAME"],
        "Source": "provisioner",
        "DetailType": "Line Provisioning Result",
        "Detail": json.dumps(result),
    }
    if EVENTS.put_events(Entries=[entry])["FailedEntryCount"]:  # type: ignore[list-item] # a plain dictionary
        raise RuntimeError("the bus rejected the result")
    LOGGER.info("published", extra={"lineId": result["lineId"], "outcome": result["outcome"]})


@contextmanager
def _lease(change: Json) -> Iterator[Json | None]:
    """Makes one invocation at a time work on a line; yields its last result, or None if the event is outdated.

    Queues deliver twice and out of order. The number after the colon of `eventId` grows with each change of a line, so
    a line that was canceled is not ordered by an older event that arrives late.
    """
    line_id, number, now_s = change["lineId"], int(change["eventId"].rpartition(":")[2]), int(time.time())
    try:
        item = LINES.update_item(
            Key={"lineId": line_id},
            UpdateExpression="SET lastChange = :change, leaseUntil = :until",
            ConditionExpression="attribute_not_exists(lineId) OR (lastChange <= :change AND leaseUntil < :now)",
            ExpressionAttributeValues={":change": number, ":until": now_s + LEASE_S, ":now": now_s},
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )["Attributes"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        stored: Any = error.response["Item"]  # type: ignore[typeddict-item] # only this error has it
        if int(stored["lastChange"]["N"]) <= number:
            raise LineBusyError(line_id) from None
        yield None
        return
    try:
        yield json.loads(str(item.get("lastResult", "{}")))
    finally:
        LINES.update_item(
            Key={"lineId": line_id},
            UpdateExpression="SET leaseUntil = :free",
            ExpressionAttributeValues={":free": 0},
        )
