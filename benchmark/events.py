"""Requests as API Gateway hands them to a function (HTTP API, payload format 2.0)."""

import hashlib
import hmac
import json
import time
from typing import Any

Json = dict[str, Any]

SUBMISSION = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "channelType": "phone",
    "lineType": "purchased",
    "zipcode": "10115",
    "state": "BE",
    "forwardCallsTo": "+49 30 1234567",
}


def _event(method: str, path: str, headers: dict[str, str], body: str | None = None) -> Json:
    now_ms = int(time.time() * 1000)
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "content-type": "application/json",
            "host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "user-agent": "curl/8.5.0",
            "x-amzn-trace-id": "Root=1-6922c0de-0123456789abcdef01234567",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **headers,
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "UNq1dhcLliAEPbw=",
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "time": "22/Nov/2026:09:30:00 +0000",
            "timeEpoch": now_ms,
        },
        **({} if body is None else {"body": body}),
        "isBase64Encoded": False,
    }


def create(token: str, key: str | None = None, **fields: str) -> Json:
    """POST /api/line-requests."""
    headers = {"authorization": f"Bearer {token}"} | ({} if key is None else {"idempotency-key": key})
    return _event("POST", "/api/line-requests", headers, json.dumps(SUBMISSION | fields))


def get(token: str, line_id: str) -> Json:
    """GET /api/line-requests/{id}."""
    event = _event("GET", f"/api/line-requests/{line_id}", {"authorization": f"Bearer {token}"})
    return event | {"pathParameters": {"id": line_id}, "routeKey": "GET /api/line-requests/{id}"}


def manage(token: str, line_id: str, action: str) -> Json:
    """POST /api/line-requests/{id}."""
    path, headers = f"/api/line-requests/{line_id}", {"authorization": f"Bearer {token}"}
    event = _event("POST", path, headers, json.dumps({"action": action}))
    return event | {"pathParameters": {"id": line_id}, "routeKey": "POST /api/line-requests/{id}"}


def page(token: str) -> Json:
    """GET /api/line-requests."""
    return _event("GET", "/api/line-requests", {"authorization": f"Bearer {token}"})


def webhook(stripe_event: Json, secret: str) -> Json:
    """A signed delivery of Stripe's."""
    body, sent_s = json.dumps(stripe_event), int(time.time())
    digest = hmac.new(secret.encode(), f"{sent_s}.{body}".encode(), hashlib.sha256).hexdigest()
    return _event("POST", "/stripe/webhook", {"stripe-signature": f"t={sent_s},v1={digest}"}, body)


def tick(at_s: float | None = None) -> Json:
    """The schedule's event."""
    moment = time.gmtime(time.time() + 1 if at_s is None else at_s)
    return {"detail-type": "Scheduled Event", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)}
