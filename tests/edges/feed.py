"""A deployment as the event feed sees it: what it reads, and what it was told to do."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from line_requests.billing.events import Hint
from line_requests.domain.model import Invoice, Line
from line_requests.flows.event_feed import EventFeed
from line_requests.flows.progress import Progress
from line_requests.storage.due import Feed
from tests.decision.examples import LINE_ID, NOW_MS
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_S = NOW_MS // 1000
SECOND_ID = "f" * 24


@dataclass
class Deployment:
    """What the feed reads and calls, and what it was told to do."""

    mark_s: int | None = NOW_S - 100
    reversals_s: int = 0
    events: list[Hint] = field(default_factory=list)
    stored: dict[str, Line] = field(default_factory=dict)
    invoices: list[Invoice] = field(default_factory=list)
    trouble: Exception | None = None
    """What reversals and invoices meet."""
    cost_s: float = 0.0
    """What one read of the feed takes."""
    did: list[Any] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    """The statuses of invoices that were applied in other threads."""
    budget_s: float = 60.0

    def __post_init__(self) -> None:
        self.clock = WaitingClock(NOW_MS, self.budget_s)
        self.progress = Progress(self.clock)
        self.lines = self.workspaces = self.due = self.reversals = self

    def follow(self) -> None:
        stub: Any = self
        EventFeed(stub, stub, self.clock, self.progress).follow()

    # --- stores, lifecycle and billing in one ---------------------------------------------------

    def connect(self, _: object) -> Any:  # noqa: ANN401 - as much of it as is called
        return SimpleNamespace(events=self, invoices=self)

    def feed(self) -> Feed | None:
        return None if self.mark_s is None else Feed(self.mark_s, self.reversals_s)

    def save_reversals(self, *, seen_s: int, to_s: int) -> None:
        self.did.append(("worked", seen_s, to_s))

    def move_watermark(self, *, seen_s: int | None, to_s: int) -> None:
        self.did.append(("mark", seen_s, to_s))

    def between(self, *, since_s: int, until_s: int) -> Iterator[Hint]:
        self.did.append(("read", since_s, until_s))
        assert len(self.did) < 999, "it does not end"
        self.clock.sleep(self.cost_s)
        yield from [one for one in self.events if since_s <= one.created_s < until_s]

    def of_customer(self, customer: str) -> str | None:
        return {"cus_acme": "acme"}.get(customer)

    def mark_subscription_due(self, workspace_id: str, *, changed_by_ms: int, now_ms: int) -> None:
        self.did.append(("due", workspace_id, changed_by_ms, now_ms))

    def get_many(self, ids: dict[tuple[str, str], object]) -> list[Line]:
        return [self.stored[line_id] for _, line_id in ids if line_id in self.stored]

    def get(self, _: str, line_id: str) -> Line | None:
        return self.stored.get(line_id)

    def set_due(self, line: Line, at_ms: int) -> None:
        self.did.append(("due", line.id, at_ms))

    def apply(self, _: object, hint: Hint) -> bool:
        self.did.append(("reversal", hint.invoice_id))
        self.clock.sleep(self.cost_s)
        if self.trouble:
            raise self.trouble
        return hint.invoice_id == "in_1"

    def retrieve(self, invoice_id: str) -> Invoice:
        self.did.append(("retrieve", invoice_id))
        if self.trouble:
            raise self.trouble
        return next(one for one in self.invoices if one.id == invoice_id)

    def since(self, *, since_s: int) -> Iterator[Invoice]:
        self.did.append(("list", since_s))
        for number, one in enumerate(self.invoices):
            self.did.append(("listed", number))
            yield one

    def apply_then_advance(self, _: object, line: Line, invoice: Invoice) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.beside.append(invoice.status)
        self.did.append(("applied", line.id, invoice.id))

    def of(self, *names: str) -> list[Any]:
        return [one for one in self.did if one[0] in names]


def hinted(kind: str, ago_s: int = 50, **fields: str) -> Hint:
    usual = dict.fromkeys(("object_id", "customer", "workspace_id", "line_id"), "")
    return Hint(type=kind, created_s=NOW_S - ago_s, livemode=False, **usual | fields)


def invoice_event(kind: str = "invoice.paid", invoice: str = "in_1", line_id: str = LINE_ID) -> Hint:
    return hinted(kind, object_id=invoice, customer="cus_acme", workspace_id="acme", line_id=line_id)


def invoice(invoice_id: str = "in_1", status: str = "paid", **changes: Any) -> Invoice:  # noqa: ANN401 - any of its fields
    usual = {"workspace_id": "acme", "line_id": LINE_ID, "customer": "cus_acme"}
    return Invoice(invoice_id, status, **usual | changes)


def counted(made: Deployment) -> dict[str, int]:
    return {name: number for name, number in made.progress.summary().items() if number}
