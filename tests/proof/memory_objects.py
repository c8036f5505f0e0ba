"""What Stripe in memory is made of: objects, answers, refusals."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

Json = dict[str, Any]

NAMED = ("invoice", "payment_intent")
"""What an event about money that goes back names."""

Params = Mapping[str, str]
"""Flat, as on the wire: `metadata[line_id]`."""


class Thing(Json):
    """An object or an event; it never changes, so what tells it apart is reckoned once."""

    @cached_property
    def digest(self) -> int:
        return hash(json.dumps(self, sort_keys=True))


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A 4xx."""

    def __init__(self, status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        error = {"type": kind, "message": message} | ({"code": code} if code else {})
        self.reply = Reply(status, json.dumps({"error": error}))


def list_of(data: list[Json]) -> Json:
    """Stripe's list object."""
    return {"object": "list", "data": data, "has_more": False, "url": "/v1/none"}


def event(kind: str, subject: Json, now_s: int) -> Thing:
    """An event carries no snapshot worth reading: the product has to look for itself."""
    kept = {name: subject[name] for name in ("id", "object", "customer", "metadata", *NAMED) if name in subject}
    return Thing(
        id=f"evt_{kind}_{subject['id']}_{now_s}",
        object="event",
        type=kind,
        livemode=False,
        created=now_s,
        data={"object": kept},
    )


def metadata(params: Params) -> Json:
    """The metadata among a request's parameters."""
    return {name[9:-1]: value for name, value in params.items() if name.startswith("metadata[")}


def invoice_item_of(line: Json) -> str | None:
    """The invoice item that an invoice's line stands for; None: it stands for an item of the subscription."""
    details = line["parent"].get("invoice_item_details")
    return str(details["invoice_item"]) if details else None
