"""The carrier's API. Replace this module with a client of your own carrier; app.py stays as it is."""

import json
import os
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import boto3
import urllib3

Order = dict[str, Any]
"""`id clientReference note status`, then `phone` or `email` once completed, `code` and `message` if rejected."""

HTTP = urllib3.PoolManager(timeout=urllib3.Timeout(total=10), retries=False)
LIVE = {"pending", "completed"}
REASON_CODES = {
    "no_inventory": "unavailable",
    "address_required": "address_required",
    "identity_required": "identity_required",
    "port_rejected": "rejected",
}


class CarrierError(Exception):
    """The carrier neither accepted nor refused; the queue retries."""


def find_orders(line_id: str) -> list[Order]:
    """Returns every order with this client reference, whatever its status."""
    orders: list[Order] = _call("GET", f"/orders?clientReference={quote(line_id)}")["orders"]
    return orders


def create_order(line_id: str, note: str, kind: str, line: dict[str, Any]) -> Order:
    """Orders a line; one that the carrier refuses at once comes back as `rejected`."""
    return _call("POST", "/orders", {"clientReference": line_id, "note": note, "kind": kind, "line": line})


def release_order(order_id: str) -> None:
    """Gives the number or mailbox back, or stops a pending port-in."""
    _call("POST", f"/orders/{quote(order_id)}/release")


def _call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {_token()}", "Content-Type": "application/json"}
    response = HTTP.request(method, os.environ["CARRIER_URL"] + path, body=body and json.dumps(body), headers=headers)
    if response.status == HTTPStatus.UNAUTHORIZED:
        _token.cache_clear()  # the token may have been rotated
    # Only 422 refuses this line. Any other error is temporary, or an operator has to fix it.
    if response.status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.UNPROCESSABLE_ENTITY}:
        raise CarrierError(f"{method} {path.partition('?')[0]}: {response.status}")
    content: dict[str, Any] = json.loads(response.data)
    return {"status": "rejected", **content} if response.status == HTTPStatus.UNPROCESSABLE_ENTITY else content


@cache
def _token() -> str:
    return boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["CARRIER_SECRET_ARN"])["SecretString"]
