"""What a call has seen and done by the time it answers: every read of it lies between its call and its return."""

import json
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from tests.proof.actors import Ended, Json, Taken
from tests.proof.expressions import Typed
from tests.proof.memory_stripe import Reply
from tests.proof.memory_table import Answer
from tests.proof.workspace_events import attributes
from tests.proof.world import DynamoDb, NoReply, Pause, Publish, Stripe, Unprocessed

# A call that took so long had no time left for Stripe, whose slowest answer may be awaited 4 s.
LONG_MS = 4_000
KNOWN_MAX = 20_000
UNPAID = {"draft", "open", "uncollectible"}


class Look(NamedTuple):
    """An invoice as Stripe has just shown it."""

    invoice_id: str
    status: str
    url: str | None
    amount_paid: int


@lru_cache(maxsize=10_000)
def _looks(body: str) -> list[tuple[str, Look]]:
    """The invoices that an answer of Stripe's shows, with their lines."""
    answer = json.loads(body)
    return [
        (
            (one.get("metadata") or {}).get("line_id", ""),
            Look(one["id"], one["status"], one.get("hosted_invoice_url"), one.get("amount_paid", 0)),
        )
        for one in answer.get("data", [answer])
        if one.get("object") == "invoice" and "status" in one
    ]


_known_items: dict[int, tuple[Typed, Json]] = {}


def _plain(item: Typed) -> Json:
    """A stored item as plain values; one object is read once."""
    known = _known_items.get(id(item))
    if known is None:
        if len(_known_items) > KNOWN_MAX:
            _known_items.clear()
        # The item is kept, too: nothing else may have its id meanwhile.
        known = _known_items[id(item)] = (item, attributes(item))
    return known[1]


class Facts:
    """One call, read off the steps that it took."""

    def __init__(self, last: Taken | None, began_ms: int) -> None:
        self.trouble = False
        """Something was refused, failed, or took too long."""
        self.lost = False
        """Another caller's write came first."""
        self.refused = False
        """Stripe has refused a request for good."""
        self.lines: dict[str, list[Json]] = {}
        """Each line as it was read, and as it was after its own updates."""
        self.workspaces: list[Json] = []
        """The workspace, each time that it was read."""
        self.looks: dict[str, list[Look]] = {}
        """By line."""
        self.unknown: set[str] = set()
        """Invoices that Stripe does not know."""
        self.answered_keys: set[str] = set()
        """Idempotency records that this call has written with an answer, by hash."""
        self.replayed_keys: set[str] = set()
        """Those that it met with one."""
        steps = list[Taken]()
        while last is not None:
            steps.append(last)
            last = last.before
        for step in reversed(steps):
            self._take(step)
        if steps and steps[0].now_ms - began_ms >= LONG_MS:
            self.trouble = True

    def _take(self, taken: Taken) -> None:
        step, result = taken.step, taken.result
        if isinstance(result, NoReply | Unprocessed):
            self.trouble = True
        elif isinstance(step, Stripe) and isinstance(result, Reply):
            self._stripe(step, result)
        elif isinstance(step, DynamoDb) and isinstance(result, Answer):
            self._table(step, result)
        # A pause lasts LONG_MS at least, also where no time passes.
        elif isinstance(step, Pause) or (isinstance(step, Publish) and result["FailedEntryCount"]):
            self.trouble = True

    def _stripe(self, step: Stripe, reply: Reply) -> None:
        if reply.status != 200:
            self.trouble = True
            self.refused |= reply.status in {400, 404}
            if reply.status == 404 and step.method == "GET":
                self.unknown.add(step.path.removeprefix("/v1/invoices/"))
        elif not dict(reply.headers).get("Idempotent-Replayed"):
            for line_id, look in _looks(reply.body):
                self.looks.setdefault(line_id, []).append(look)

    def _table(self, step: DynamoDb, answer: Answer) -> None:
        body = answer.body
        met = [body.get("Item"), body.get("Attributes"), *body.get("Items", [])]
        met += [reason.get("Item") for reason in body.get("CancellationReasons", [])]
        if answer.error is None and step.operation == "TransactWriteItems":
            met += [entry["Put"]["Item"] for entry in step.request["TransactItems"] if "Put" in entry]
        elif answer.error not in {None, "ConditionalCheckFailedException", "TransactionCanceledException"}:
            self.trouble = True
        self.lost |= answer.error is not None
        self.trouble |= any(r.get("Code") == "TransactionConflict" for r in body.get("CancellationReasons", []))
        for item in met:
            if item:
                self._item(_plain(item), written=answer.error is None and step.writes)

    def _item(self, item: Json, *, written: bool) -> None:
        kind, _, name = item["sk"].partition("#")
        if kind == "LINE" and "history" in item:  # the index has no more than keys
            self.lines.setdefault(name, []).append(item)
        elif kind == "WORKSPACE":
            self.workspaces.append(item)
        elif kind == "IDEMPOTENCY" and "response_body" in item:
            (self.answered_keys if written else self.replayed_keys).add(name)

    def first_state(self, line_id: str) -> int:
        """The number of states that the line had been in when the call first read it, the last of them included."""
        seen = self.lines.get(line_id)
        return len(seen[0]["history"]) if seen else 1

    def last_look(self, line_id: str, invoice_id: str | None) -> Look | None:
        """The newest look at this invoice of the line."""
        looks = [look for look in self.looks.get(line_id, []) if look.invoice_id == invoice_id]
        return looks[-1] if looks else None


class Told(NamedTuple):
    """An HTTP answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: Json

    @classmethod
    def of(cls, answer: Json) -> "Told":
        return cls(answer["statusCode"], answer["headers"], json.loads(answer["body"]))


class Seen:
    """What is known of an answered call, found out once."""

    def __init__(self, end: Ended) -> None:
        self.end = end

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.end.last, self.end.began_ms)

    @cached_property
    def answer(self) -> Told:
        return Told.of(self.end.answer)

    @cached_property
    def event(self) -> Any:  # noqa: ANN401 - each function has its own
        return self.end.call.event(self.end.began_ms)
