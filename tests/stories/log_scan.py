"""What no log may hold: all that clients of the local stack sent, and all that its table knows of persons."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from line_requests.storage.attributes import unmarshal
from tests.local.demo import PRODUCT_API_KEY
from tests.local.stack import WEBHOOK_SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.local.stack import LocalStack

# Shorter texts, such as a state or a first name of three letters, are parts of other words.
CHARS_MIN = 6
PERSONAL = ("firstName", "lastName", "email", "phone", "zipcode", "state", "forwardCallsTo", "profileImageUrl")
# Values of the tests that are words of ours, too, or all one character.
WORDS = {"invalid", "purchased", "workspace"}


class LogScan:
    """Collects secrets and personal data while requests are sent, then looks for them in every log group."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._since_ms = int(time.time() * 1000)
        self._sent = {PRODUCT_API_KEY, *WEBHOOK_SECRETS}
        self._named = set[str]()

    def request(self, sent: httpx.Request) -> None:
        """An event hook of httpx."""
        scheme, _, token = sent.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._sent.add(token.strip()[-40:])
        self._sent |= {sent.headers.get("idempotency-key", ""), sent.headers.get("stripe-signature", "")}
        try:
            body = json.loads(sent.content)
        except (ValueError, RecursionError):
            return
        if isinstance(body, dict):
            self._named |= {value for name in (*PERSONAL, "idempotencyKey") if isinstance(value := body.get(name), str)}

    def _personal(self) -> Iterator[str]:
        session: Any = self._stack.ministack.session
        dynamodb = session.client("dynamodb", endpoint_url=self._stack.ministack.endpoint)
        pages = dynamodb.get_paginator("scan").paginate(TableName=self._stack.deployment.table)
        for item in (unmarshal(item) for page in pages for item in page["Items"]):
            for field in ("submission", "delivered"):
                yield from (value for value in item.get(field, {}).values() if isinstance(value, str))

    def _logged(self) -> Iterator[str]:
        session: Any = self._stack.ministack.session
        logs = session.client("logs", endpoint_url=self._stack.ministack.endpoint)
        for group in logs.describe_log_groups()["logGroups"]:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group["logGroupName"], startTime=self._since_ms
            )
            yield from (event["message"] for page in pages for event in page["events"])

    def leaks(self) -> dict[str, str]:
        """Each value that was logged, with the first line that has it."""
        hidden = {
            value
            for value in {*self._sent, *self._named, *self._personal()}
            if len(value.strip()) >= CHARS_MIN and value not in WORDS and len(set(value)) > 1
        }
        lines = list(self._logged())
        text = "\n".join(lines)
        assert lines, "there are no logs"
        # A number of seven digits may stand in an id; a token may stand in a longer one.
        found = {value for value in hidden if value in text and (value in self._sent or _apart(value, text))}
        return {value: next(line for line in lines if value in line) for value in found}


def _apart(value: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
