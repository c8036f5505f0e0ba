"""What an event of Stripe's makes the product do, without a table."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.events import Hint
from line_requests.domain.errors import BillingMisconfigured, BillingRefused, InvoiceMissing, LineRequestError
from line_requests.domain.model import Invoice
from line_requests.flows.webhook import Webhook, belongs
from tests.decision.examples import LINE_ID, NOW_MS, payable
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from line_requests.clock import Clock
    from line_requests.domain.model import Line

LINE = payable()
OURS = Invoice("in_1", "paid", "acme", LINE_ID, customer="cus_acme")


class Endpoint:
    """The endpoint, and what it asks of the table, Stripe and the lifecycle."""

    def __init__(self, line: Line | None = LINE, invoice: Invoice = OURS) -> None:
        self.line = line
        self.invoice = invoice
        self.trouble: LineRequestError | None = None
        self.did: list[tuple[object, ...]] = []
        stub: Any = self
        stores: Any = SimpleNamespace(lines=self, workspaces=self)
        self.reversals = SimpleNamespace(apply=lambda _, hint: self.did.append(("reversal", hint.invoice_id)))
        self.webhook = Webhook(stub, stores, stub)

    def deliver(self, kind: str, **fields: str) -> list[tuple[object, ...]]:
        """What the event causes."""
        usual = dict.fromkeys(("object_id", "customer", "workspace_id", "line_id"), "")
        hint = Hint(type=kind, created_s=7, livemode=False, **usual | fields)
        self.webhook.apply(WaitingClock(NOW_MS, 9.0), hint)
        return self.did

    def get(self, workspace_id: str, line_id: str) -> Line | None:
        assert (workspace_id, line_id) == ("acme", LINE_ID)
        return self.line

    def of_customer(self, customer: str) -> str | None:
        return {"cus_acme": "acme"}.get(customer)

    def connect(self, _: Clock) -> Any:  # noqa: ANN401 - as much of it as is called
        return SimpleNamespace(invoices=self)

    def retrieve(self, invoice_id: str) -> Invoice:
        self.did.append(("retrieve", invoice_id))
        return self.invoice

    def apply_then_advance(self, _: Clock, line: Line, invoice: Invoice) -> None:
        self.did.append(("apply", line.id, invoice.id))
        if self.trouble is not None:
            raise self.trouble

    def sync_subscription(self, _: Clock, workspace_id: str) -> None:
        self.did.append(("sync", workspace_id))


ABOUT_OURS = {"object_id": "in_1", "workspace_id": "acme", "line_id": LINE_ID, "customer": "cus_acme"}


@pytest.mark.parametrize("trouble", [None, InvoiceMissing("gone"), BillingRefused("refused")])
def test_event_about_an_invoice_of_ours_applies_it_as_it_is_now(trouble: LineRequestError | None) -> None:
    """[44][45] What became of it is known, so Stripe need not deliver again."""
    endpoint = Endpoint()
    endpoint.trouble = trouble
    assert endpoint.deliver("invoice.paid", **ABOUT_OURS) == [("retrieve", "in_1"), ("apply", LINE_ID, "in_1")]


def test_event_that_could_not_be_applied_fails() -> None:
    """[45] Then Stripe delivers it again."""
    endpoint = Endpoint()
    endpoint.trouble = BillingMisconfigured("403")
    with pytest.raises(BillingMisconfigured):
        endpoint.deliver("invoice.paid", **ABOUT_OURS)


def test_event_with_copied_metadata_changes_nothing() -> None:
    """[45]"""
    endpoint = Endpoint(invoice=replace(OURS, id="in_copied", customer="cus_other"))
    assert endpoint.deliver("invoice.paid", **ABOUT_OURS | {"object_id": "in_copied"}) == [("retrieve", "in_copied")]


@pytest.mark.parametrize(
    ("changes", "alarms"),
    [
        ({}, 1),
        ({"customer": ""}, 0),
        ({"customer": "cus_other"}, 0),
        ({"line_id": "no id"}, 0),
        ({"line_id": LINE_ID.upper()}, 0),
        ({"workspace_id": "another"}, 0),
        ({"workspace_id": "W#acme"}, 0),
    ],
)
def test_event_without_its_line_alarms_if_its_customer_is_ours(
    changes: dict[str, str], alarms: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """[45][56]"""
    endpoint = Endpoint(line=None)
    if changes.get("workspace_id") == "another":
        endpoint.get = lambda *_: None  # type: ignore[method-assign] # of another workspace
    assert endpoint.deliver("invoice.paid", **ABOUT_OURS | changes) == []
    assert capsys.readouterr().out.count('"InvoiceWithoutLine":[1.0]') == alarms


@pytest.mark.parametrize(
    ("kind", "fields", "did"),
    [
        ("refund.created", {"invoice_id": "in_1"}, [("reversal", "in_1")]),
        ("refund.created", {"customer": "cus_acme"}, []),
        ("customer.subscription.updated", {"customer": "cus_acme"}, [("sync", "acme")]),
        ("customer.subscription.updated", {"customer": "cus_other"}, []),
        ("customer.subscription.updated", {}, []),
        ("customer.updated", {"customer": "cus_acme"}, []),
    ],
)
def test_other_event_causes_what_it_is_about(kind: str, fields: dict[str, str], did: list[object]) -> None:
    """[45][46][55]"""
    assert Endpoint().deliver(kind, **fields) == did


OTHER = replace(OURS, id="in_2")


@pytest.mark.parametrize(
    ("line", "invoice", "ours"),
    [
        (LINE, Invoice("in_1", "gone"), True),
        (LINE, Invoice("in_2", "open", revises="in_1"), True),
        (LINE, OTHER, True),
        (replace(LINE, invoice_id=None), OTHER, True),
        (LINE, replace(OTHER, status="gone"), False),
        (LINE, replace(OTHER, customer="cus_other"), False),
        (LINE, replace(OTHER, workspace_id="another"), False),
        (LINE, replace(OTHER, line_id="another"), False),
        (replace(LINE, invoice_id=None), Invoice("in_2", "open", customer="cus_acme"), False),
        (replace(LINE, charge=None), OTHER, False),
    ],
)
def test_invoice_belongs_to_a_line_by_its_id_or_by_its_customer(line: Line, invoice: Invoice, *, ours: bool) -> None:
    """[45][56] Metadata can be copied."""
    assert belongs(invoice, line) is ours
