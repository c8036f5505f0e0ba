"""Two functions whose clocks differ by up to a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from line_requests.domain import decision
from line_requests.domain.model import Status
from line_requests.domain.submission import Kind
from line_requests.flows.invoicing import Invoicing
from tests.decision.examples import SUBMISSIONS
from tests.support.shop import clock

if TYPE_CHECKING:
    from tests.support.shop import Shop


def test_reconciler_learns_of_lost_event_after_a_run_whose_clock_was_ahead(shop: Shop) -> None:
    """[46] [47]"""
    workspace = shop.workspace(1)
    assert workspace.subscription is not None
    shop.world.workspaces.mark_subscription_due("acme", changed_by_ms=2**50, now_ms=0)
    shop.product.reconciler(clock(later_ms=59_000)).run()
    shop.stripe.v1.subscriptions.cancel(workspace.subscription.id)
    shop.product.reconciler(clock(later_ms=1_000)).run()
    shop.product.reconciler(clock(later_ms=61_000)).run()
    subscription = shop.world.now().subscription
    assert subscription is not None
    assert subscription.status == "canceled"


@pytest.mark.parametrize("earlier", [None, "in_deleted"])
def test_draft_created_after_its_line_was_canceled_is_deleted(shop: Shop, earlier: str | None) -> None:
    """[24] A caller whose lease ended early, by another's clock, still creates its draft."""
    workspace = shop.workspace(0)
    submission, now_ms = SUBMISSIONS[Kind.PURCHASED_PHONE], clock().now_ms()
    add_on = decision.judge(workspace, submission.kind)
    assert add_on is not None
    charge = decision.charge_for(workspace, submission, add_on, now_ms)
    line = shop.world.added(status=Status.AWAITING_PAYMENT, charge=charge, stripe_keyed_at_ms=now_ms)
    invoicing = Invoicing(shop.world.lines, shop.product.billing(clock()), clock())
    stored = shop.world.lines.save_invoice(line, earlier) if earlier else line
    assert stored is not None
    assert shop.world.lines.cancel(stored, "canceled", now_ms).status is Status.CANCELED
    invoicing.build(line, None)
    assert shop.line_invoices() == []
