"""Bodies of requests for a line, and what the product reads in them."""

from __future__ import annotations

import json

import pytest

from line_requests.api import requests
from line_requests.api.http import Request
from line_requests.domain.errors import Invalid
from line_requests.domain.submission import Submission

PHONE = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
EMAIL = PHONE | {"channelType": "email", "email": "ada@example.com"}
BYON = PHONE | {"lineType": "byon", "email": "ada@example.com", "phone": "+1 (555) 010-0200"}
FIELDS = (
    "firstName",
    "lastName",
    "channelType",
    "lineType",
    "email",
    "phone",
    "zipcode",
    "state",
    "forwardCallsTo",
    "profileImageUrl",
    "idempotencyKey",
)


def request(body: bytes, key: str | None = None) -> Request:
    return Request({"idempotency-key": key} if key is not None else {}, "", {}, body, 0)


def read(body: object, key: str | None = None) -> tuple[Submission, str | None]:
    return requests.read_line_request(request(body if isinstance(body, bytes) else json.dumps(body).encode(), key))


def line_of(channel_type: str, line_type: str, **texts: str) -> Submission:
    return Submission(first_name="Ada", last_name="Lovelace", channel_type=channel_type, line_type=line_type, **texts)


def refusal(body: object, key: str | None = None) -> str:
    with pytest.raises(Invalid) as refused:
        read(body, key)
    return str(refused.value)
