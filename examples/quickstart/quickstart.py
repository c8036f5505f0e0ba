"""Requests one line, shows where to pay for it, and waits until it is active. Needs only Python.

export API=http://127.0.0.1:3000 AUTH='Authorization: Bearer tuco_…'    # `make run` prints both
python3 examples/quickstart/quickstart.py '{"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}'
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from email.message import Message
from typing import Any, NoReturn

Json = dict[str, Any]

LINE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
API = os.environ.get("API") or sys.exit("Set API.")
AUTH_NAME, _, AUTH_VALUE = (os.environ.get("AUTH") or sys.exit("Set AUTH.")).partition(": ")
if not AUTH_VALUE:
    sys.exit("AUTH must be a header: 'Authorization: Bearer' and an API key.")
FINAL = {
    401: "The API key is missing, unknown, expired or revoked. Check AUTH.",
    404: "There is no such path. Check API.",
    413: "The line is too large. Send at most 64 KiB.",
}
DEADLINE_S = time.monotonic() + float(os.environ.get("GIVE_UP_AFTER_S", "600"))


def call(method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Json, Message]:
    """Returns status, body and headers; the status is 0 if there was no whole response."""
    content = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(API + path, content, named | {AUTH_NAME: AUTH_VALUE}, method=method)
    try:
        try:
            response = urllib.request.urlopen(request, timeout=35)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return response.status, _json_or_empty(response.read()), response.headers
    except (OSError, http.client.HTTPException):
        return 0, {}, Message()


def _json_or_empty(content: bytes) -> Json:
    """A proxy's error page is not JSON."""
    try:
        parsed = json.loads(content)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def wait(headers: Message, state: str, key: str) -> None:
    """Sleeps as long as the server asks for, 2 seconds if it does not say."""
    if time.monotonic() > DEADLINE_S:
        stop(f"Still {state} after a long wait. Run this again with KEY={key}.")
    retry_after = headers.get("Retry-After", "")
    time.sleep(int(retry_after) if retry_after.isdecimal() else 2)


def stop(message: str) -> NoReturn:
    """Ends with exit code 1."""
    sys.exit(message)


def create(line: Json, key: str) -> tuple[Json, Message]:
    """Requests the line until there is a final response; returns the 201's body and headers."""
    while True:
        status, body, headers = call("POST", "/api/line-requests", line, Idempotency_Key=key)
        match status:
            case 201 if "line" in body:
                return body, headers
            case 400 if "error" in body:
                stop(f"Fix the request: {body['error']}")
            case 401 | 404 | 413:
                stop(FINAL[status])
            case 403 if body.get("status") == "subscription_required":
                stop(f"{body['message']} Subscribe at {body['redirect']}.")
            case 403 if "status" in body:
                stop(body["message"])
            case 409 if "existingLine" in body:
                holder, url = body["existingLine"], body["existingLine"]["paymentLinkUrl"]
                pay = f"Pay at {url}" if url else f"Read {holder['_id']} again for its payment link"
                stop(f"{body['message']} {pay} or cancel {holder['_id']}, then run this again.")
            case 502 if "error" in body:
                stop(f"{body['error']} Nothing is charged. An operator has to fix this in Stripe.")
            case _:
                # 429, 500, 503, a proxy's error or no whole response. The same key never makes a second line.
                wait(headers, f"without a response ({status})", key)


def follow(body: Json, headers: Message, key: str) -> None:
    """Polls until the line is active; shows where to pay when that is due."""
    line_id, shown = body["line"]["_id"], None
    while True:
        state = body.get("status", "without a response")
        match state:
            case "active":
                print(f"Line {line_id} is active.")
                return
            case "failed":
                advice = "The operator retries or releases it, and refunds what was paid."
                stop(f"Line {line_id} could not be provisioned. {advice}")
            case "canceled":
                free = " Nothing will be charged." if body.get("paymentStatus") == "canceled" else ""
                stop(f"Line request {line_id} was canceled.{free} Request the line again with a new key.")
        url = body.get("paymentUrl")
        if url and url != shown:
            print(f"Pay here: {url}", flush=True)
            shown = url
        wait(headers, state, key)
        status, body, headers = call("GET", f"/api/line-requests/{line_id}")
        if status in {401, 404}:
            stop(f"Line request {line_id} cannot be read with this API key ({status}).")


def main() -> None:
    """Requests the line that the first argument describes."""
    line = json.loads(sys.argv[1]) if len(sys.argv) > 1 else LINE
    # One key for one line. Save it before the first call, so that every retry uses the same key.
    key = os.environ.get("KEY") or str(uuid.uuid4())
    print(f"Idempotency key: {key}", file=sys.stderr, flush=True)
    body, headers = create(line, key)
    follow(body, headers, key)


if __name__ == "__main__":
    main()
