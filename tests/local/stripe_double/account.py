"""The account: every object Stripe holds, its clock, its events, lists and expansion."""

from __future__ import annotations

import copy
import heapq
import json
import secrets
from collections import defaultdict
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import stripe

from .errors import Json, bad_request, no_such
from .objects import TAX_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .clock import Clock

_PREFIXES = {
    "billing_portal.configuration": "bpc",
    "charge": "ch",
    "coupon": "coupon",
    "credit_note": "cn",
    "credit_note_line_item": "cnli",
    "customer": "cus",
    "discount": "di",
    "dispute": "du",
    "event": "evt",
    "invoice": "in",
    "invoice_payment": "inpay",
    "invoiceitem": "ii",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_record": "pr",
    "price": "price",
    "product": "prod",
    "refund": "re",
    "subscription": "sub",
    "subscription_item": "si",
    "tax_rate": "txr",
    "webhook_endpoint": "we",
}
_MAX_PAGE = 100
_DEFAULT_PAGE = 10
_MAX_EXPAND_DEPTH = 4
_BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}


AfterRetries = Literal["cancel", "unpaid", "past_due"]


class Page(NamedTuple):
    """A hosted invoice page."""

    invoice_id: str
    expires_at: int


class Account:
    """One Stripe account in test mode; not thread-safe, the server holds one lock around it.

    It can be pickled, with its timers; `attach` binds what was unpickled to a server.
    """

    unlisted: frozenset[str] = frozenset()
    """Ids that no list shows."""

    def __init__(self, on_event: Callable[[Json], None], url: str, clock: Clock) -> None:
        """Start empty; `on_event` gets every event in order, hosted pages are under `url`."""
        self.tables: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self.changed = set[tuple[str, str]]()  # kinds and ids, since the last act
        # What is shown only when expanded, or is not shown at all, by object id.
        self.hidden: defaultdict[str, Json] = defaultdict(dict)
        self.request: Json = {"id": None, "idempotency_key": None}
        self.clock = clock
        self.url = url
        self.pages: dict[str, Page] = {}  # hosted pages by their token
        # docs.stripe.com/billing/revenue-recovery/smart-retries: what becomes of a subscription in the end.
        self.after_failed_payments: AfterRetries = "cancel"
        self.tax_settings = copy.deepcopy(TAX_SETTINGS)
        self._on_event = on_event
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timers_set = 0
        self._at: int | None = None  # the moment of the timer that runs

    def attach(self, on_event: Callable[[Json], None], url: str, clock: Clock) -> None:
        """Go on at another server, with its clock."""
        self._on_event, self.url, self.clock = on_event, url, clock
        self.changed = set()

    def __getstate__(self) -> Json:
        return {name: value for name, value in vars(self).items() if name not in {"_on_event", "url", "clock"}}

    def now(self) -> int:
        """Return the account's time in epoch seconds."""
        return self.clock.now() if self._at is None else self._at

    def at(self, moment: int, act: Callable[[], None]) -> None:
        """Call `act` when that moment comes, a past one at once; `act` checks whether it still applies."""
        self._timers_set += 1
        heapq.heappush(self._timers, (max(moment, self.now()), self._timers_set, act))

    def catch_up(self) -> None:
        """Do what has fallen due, in order, each at its own moment."""
        while self._timers and self._timers[0][0] <= self.clock.now():
            self._at, _, act = heapq.heappop(self._timers)
            try:
                act()
            finally:
                self._at = None

    def add(self, kind: str, fields: Json, object_id: str | None = None) -> Json:
        """Store a new object and return it."""
        object_id = object_id or self.new_id(kind)
        stored = {"id": object_id, "object": kind, "created": self.now(), "livemode": False} | fields
        self.tables[kind][object_id] = stored
        self.note(stored)
        return stored

    @staticmethod
    def new_id(kind: str) -> str:
        return f"{_PREFIXES[kind]}_{secrets.token_hex(12)}"

    def get(self, kind: str, object_id: str, param: str | None = None) -> Json:
        """Return an object; `param` names the parameter that refers to it (none: the path)."""
        stored = self.tables[kind].get(object_id)
        if stored is None or (param and stored.get("deleted")):
            raise no_such(kind, object_id, param or "id", 400 if param else 404)
        return stored

    def note(self, stored: Json) -> None:
        """Count an object as changed by the act that is going on; only what no event tells of needs this."""
        self.changed.add((stored["object"], stored["id"]))

    def emit(self, event_type: str, about: Json, previous: Json | None = None) -> None:
        """Record an event with a snapshot of the object and hand it on for delivery."""
        self.note(about)
        data: Json = {"object": json.loads(json.dumps(about, default=str))}  # five times as fast as copy.deepcopy
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.add(
            "event",
            {
                "api_version": stripe.api_version,
                "data": data,
                "pending_webhooks": 1,
                "request": dict(self.request),
                "type": event_type,
            },
        )
        self._on_event(event)

    def change(self, event_type: str, stored: Json, fields: Json) -> None:
        """Update an object and emit the event with the previous values, if anything changed."""
        previous = {key: stored.get(key) for key in fields if stored.get(key) != fields[key]}
        if previous:
            stored.update(fields)
            self.emit(event_type, stored, copy.deepcopy(previous))

    def newest(self, kind: str) -> Iterator[Json]:
        """Yield the objects of a kind, newest first, without the deleted."""
        return (o for o in reversed(self.tables[kind].values()) if not o.get("deleted"))

    def page(self, kind: str, params: Mapping[str, Any], url: str, keep: Callable[[Json], bool]) -> Json:
        """Return one page of a list, newest first."""
        limit = params.get("limit", _DEFAULT_PAGE)
        if not 1 <= limit <= _MAX_PAGE:
            raise bad_request(f"Invalid integer: limit must be between 1 and {_MAX_PAGE}", "limit")
        bounds = params.get("created", {})
        rows: Iterator[Json] = (
            o for o in self.newest(kind) if _in_bounds(o, bounds) and keep(o) and o["id"] not in self.unlisted
        )
        if before := params.get("ending_before"):
            self.get(kind, before, "ending_before")
            newer = _until(rows, before)
            return _list(url, newer[-limit:], has_more=len(newer) > limit)
        if after := params.get("starting_after"):
            self.get(kind, after, "starting_after")
            rows = islice(dropwhile(lambda o: o["id"] != after, rows), 1, None)
        found = list(islice(rows, limit + 1))
        return _list(url, found[:limit], has_more=len(found) > limit)

    def expand(self, shown: Json, paths: list[str]) -> Json:
        """Return a copy with the ids on these paths replaced by their objects."""
        expanded = copy.deepcopy(shown)
        for index, path in enumerate(paths):
            if path.count(".") >= _MAX_EXPAND_DEPTH:
                message = f"You cannot expand more than {_MAX_EXPAND_DEPTH} levels of a property."
                raise bad_request(message, f"expand[{index}]")
            self._expand(expanded, path.split("."), path)
        return expanded

    def _expand(self, node: object, path: list[str], whole: str) -> None:
        if isinstance(node, list):
            for element in node:
                self._expand(element, path, whole)
            return
        if not isinstance(node, dict) or not path:
            return
        key, *rest = path
        if key not in node and key in (hidden := self.hidden.get(node.get("id", ""), {})):
            value = hidden[key]
            node[key] = copy.deepcopy(value() if callable(value) else value)
        if key not in node:
            raise bad_request(f"This property cannot be expanded ({whole}).", "expand")
        if isinstance(node[key], str) and (found := self._find(node[key])):
            node[key] = copy.deepcopy(found)
        self._expand(node[key], rest, whole)

    def _find(self, object_id: str) -> Json | None:
        return next((t[object_id] for t in self.tables.values() if object_id in t), None)


def merge_metadata(current: Json, given: Json | str | None) -> Json:
    """Return metadata after an update: empty values unset keys, an empty string unsets all."""
    if isinstance(given, str):
        return {}
    return {key: value for key, value in (current | (given or {})).items() if value != ""}


def whole_list(url: str, data: list[Json]) -> Json:
    """Return an embedded list, complete in itself."""
    return _list(url, data, has_more=False)


def _list(url: str, data: list[Json], *, has_more: bool) -> Json:
    return {"object": "list", "url": url, "has_more": has_more, "data": data}


def _until(rows: Iterator[Json], object_id: str) -> list[Json]:
    newer = []
    for row in rows:
        if row["id"] == object_id:
            break
        newer.append(row)
    return newer


def _in_bounds(listed: Json, bounds: int | dict[str, int]) -> bool:
    created: int = listed["date"] if "date" in listed else listed["created"]
    if isinstance(bounds, int):
        return created == bounds
    return all(_BOUNDS[name](created, bound) for name, bound in bounds.items())
