"""A lifecycle without HTTP: its Stripe is a list of invoices and of the calls that it received."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from line_requests.domain.model import Invoice, Status
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from line_requests.flows.leases import Until
from line_requests.flows.lifecycle import Lifecycle
from tests.decision.examples import ADD_ONS, CHARGE, NOW_MS
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from line_requests.clock import Clock
    from line_requests.domain.model import Line, Workspace
    from tests.support.world import World

HOUR_MS = 3_600_000
OPEN = Invoice(
    "in_1", "open", "acme", customer="cus_acme", url="https://pay/1", items=((CHARGE.currency, CHARGE.amount),)
)
DRAFT = replace(OPEN, status="draft", url=None)
ADD_ON = ADD_ONS[Kind.PURCHASED_PHONE]


class Bench:
    """A lifecycle on a table, whose Stripe is a list of invoices and of the calls that it received."""

    def __init__(self, world: World, *, window_ms: int = 0) -> None:
        self.world = world
        self.calls: list[str] = []
        self.clocks: list[Clock] = []
        self.invoices: dict[str, Invoice] = {}
        self.trouble: dict[str, list[Exception]] = {}
        """What the next calls of a name meet."""
        self.meanwhile: dict[str, Callable[[], object]] = {}
        """What others do during the next call of a name."""
        self.unvoidable = False
        self.lifecycle = Lifecycle(world.stores, self._connect, window_ms)
        self._take_lease, self._leases = world.lines.take_lease, 0
        world.lines.take_lease = self._counted  # type: ignore[method-assign]
        self.lifecycle.subscriptions = self  # type: ignore[assignment] # counts the reads
        world.workspace(purchased_phone=Allowance(0, cap=9, add_on=ADD_ON))

    def _connect(self, clock: Clock) -> Any:  # noqa: ANN401 - as much of it as is called
        self.clocks.append(clock)
        return SimpleNamespace(invoices=self)

    def _counted(self, line: Line, **options: Any) -> Line | None:  # noqa: ANN401 - those of `take_lease`
        self._leases += 1
        assert self._leases < 99, "it tries without an end"
        return self._take_lease(line, **options)

    def _called(self, name: str, *what: str) -> None:
        self.calls.append(" ".join((name, *what)))
        self.meanwhile.pop(name, lambda: None)()
        if trouble := self.trouble.get(name):
            raise trouble.pop(0)

    # --- Stripe -------------------------------------------------------------------------------------

    def refresh(self, *_: object) -> None:
        self._called("subscription")

    def retrieve(self, invoice_id: str) -> Invoice:
        self._called("retrieve", invoice_id)
        return self.invoices.get(invoice_id, Invoice(invoice_id, "gone"))

    def find_by_metadata(self, _: Line, *, void: bool = False) -> Invoice | None:
        self._called("find")
        return next((one for one in self.invoices.values() if void or one.status != "void"), None)

    def create_draft(self, line: Line) -> Invoice:
        self._called("create")
        self.invoices["in_1"] = replace(DRAFT, line_id=line.id, items=())
        return self.invoices["in_1"]

    def expected_items(self, _: Line) -> tuple[tuple[str, int], ...]:
        return OPEN.items

    def add_item(self, _: Line, invoice_id: str) -> None:
        self._called("item", invoice_id)
        self.invoices[invoice_id] = replace(self.invoices[invoice_id], items=OPEN.items)

    def finalize(self, _: Line, invoice_id: str) -> Invoice:
        self._called("finalize", invoice_id)
        self.invoices[invoice_id] = replace(self.invoices[invoice_id], status="open", url=OPEN.url)
        return self.invoices[invoice_id]

    def void_or_delete(self, invoice: Invoice) -> Invoice:
        self._called("void", invoice.id)
        if self.unvoidable:
            return invoice
        if invoice.status == "draft":
            self.invoices.pop(invoice.id, None)
            return Invoice(invoice.id, "gone")
        self.invoices[invoice.id] = replace(invoice, status="void")
        return self.invoices[invoice.id]

    def delete_pending_items(self, _: Line) -> None:
        self._called("pending")

    # --- the line -----------------------------------------------------------------------------------

    def line(self, invoice: Invoice | None = OPEN, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
        """A line that awaits payment with an invoice that Stripe has, its link stored unless that is a draft."""
        if invoice is not None:
            self.invoices[invoice.id] = invoice
            url = None if invoice.status == "draft" else OPEN.url
            changes = {"invoice_id": invoice.id, "payment_url": url} | changes
        usual: dict[str, Any] = {"charge": CHARGE, "stripe_keyed_at_ms": NOW_MS}
        return self.world.added(status=Status.AWAITING_PAYMENT, **usual | changes)

    def advance(self, line: Line, at: Clock | None = None, **options: Any) -> Line:  # noqa: ANN401 - those of `advance`
        return self.lifecycle.advance(at or now(), line, Until.CHECKED, **options)

    def subscribe(self, included: int) -> Workspace:
        return self.world.subscribe(purchased_phone=Allowance(included, cap=9, add_on=ADD_ON))


def now(later_ms: int = 0, budget_s: float = 20.0) -> WaitingClock:
    return WaitingClock(NOW_MS + later_ms, budget_s)


def alarms(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr().out
    names = ("BillingRefused", "InvoiceMissing", "PartiallyPaid", "RefundDue", "StripeRefused")
    return [name for name in names for _ in range(printed.count(f'"{name}":[1.0]'))]
