"""Requests one line, shows where to pay for it, and waits until it is active. Needs only Python.

export API=http://127.0.0.1:3000 AUTH='Authorization: Bearer tuco_…'    # `make run` prints both
python3 examples/quickstart/quickstart.py '{"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}'
"""

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
API = os.environ["API"]
AUTH_NAME, _, AUTH_VALUE = os.environ["AUTH"].partition(": ")
DEADLINE_S = time.monotonic() + float(os.environ.get("GIVE_UP_AFTER_S", "600"))


def call(method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Json, Message]:
    """Returns status, body and headers; the status is 0 if there was no response."""
    content = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(API + path, content, named | {AUTH_NAME: AUTH_VALUE}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=35) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        return error.code, _json_or_empty(error.read()), error.headers
    except OSError:
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
            case 201:
                return body, headers
            case 400:
                stop(f"Fix the request: {body['error']}")
            case 401:
                stop("The API key is missing, unknown or revoked. Check AUTH.")
            case 403 if body.get("status") == "subscription_required":
                stop(f"{body['message']} Subscribe at {body['redirect']}.")
            case 403:
                stop(f"{body['message']} Choose another kind of line or another plan.")
            case 409:
                holder = body["existingLine"]
                pay = f"Pay at {holder['paymentLinkUrl']} or cancel {holder['_id']}, then run this again."
                stop(f"{body['message']} {pay}")
            case 502 if "error" in body:
                stop(f"{body['error']} Nothing is charged. An operator has to fix this in Stripe.")
            case _:
                # 429, 500, 503, a proxy's 502 or no response at all. The same key never makes a second line.
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
                advice = "Nothing will be charged; request the line again with a new key."
                stop(f"Line request {line_id} was canceled. {advice}")
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
    body, headers = create(line, key)
    follow(body, headers, key)


if __name__ == "__main__":
    main()
