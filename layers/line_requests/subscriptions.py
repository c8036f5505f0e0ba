"""Keeps each workspace's snapshot of its subscription true to Stripe, and the quantities there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from line_requests import decision
from line_requests.errors import BillingUnavailable, LineRequestError
from line_requests.model import ACTIVE, ENDED, Subscription, Workspace
from line_requests.registry import Plan, Registry
from line_requests.telemetry import alarm

if TYPE_CHECKING:
    from line_requests.billing import Billing, StripeSubscription

REFRESH_ATTEMPTS = 5


def refresh(registry: Registry, billing: "Billing", workspace_id: str, now_ms: int) -> Workspace | None:
    """Brings the snapshot up to date; None for an unknown workspace.

    The revision is read before Stripe is asked, so an answer that was overtaken is thrown away and
    asked for again (contract 46).
    """
    workspace = registry.workspace(workspace_id)
    return _look(registry, billing, workspace, now_ms)[0] if workspace else None


def _look(
    registry: Registry, billing: "Billing", workspace: Workspace, now_ms: int
) -> "tuple[Workspace, list[StripeSubscription]]":
    """The workspace, as just read, with its snapshot brought up to date; and what Stripe listed."""
    for _ in range(REFRESH_ATTEMPTS):
        listed = billing.subscriptions(workspace.customer)
        current = select(listed, registry.plans())
        if current is not None and current.plan is None and current.status in ACTIVE:
            alarm("UnknownBasePrice", "no plan names the base price", workspace_id=workspace.id)
        if current == workspace.subscription:
            return workspace, listed
        saved = registry.save_subscription(workspace, current, now_ms)
        if saved is not None:
            return saved, listed
        workspace = registry.workspace(workspace.id) or workspace
    raise BillingUnavailable("the subscription kept changing")


def select(subscriptions: "Sequence[StripeSubscription]", plans: Sequence[Plan]) -> Subscription | None:
    """The subscription that counts: active on a known plan, else any active one, else the newest on a known plan."""
    by_price = {price: plan for plan in plans for price in plan.base_prices}

    def rank(subscription: "StripeSubscription") -> tuple[bool, bool, bool, int, str]:
        known = any(price in by_price for price in subscription.items)
        active = subscription.status in ACTIVE
        return known and active, active, known, subscription.created_s, subscription.id

    best = max(subscriptions, key=rank, default=None)
    if best is None:
        return None
    plan = next((by_price[price] for price in best.items if price in by_price), None)
    if plan is None:
        return Subscription(best.id, best.status, None)
    return Subscription(best.id, best.status, plan.name, plan.allowances, plan.automatic_tax, plan.tax_rates)


def set_quantities(
    registry: Registry, billing: "Billing", workspace_id: str, now_ms: int
) -> tuple[Workspace | None, int]:
    """Refreshes the snapshot, then sets each add-on price's quantity to what is owed (contract 46, 50).

    By one writer at a time; what this product has added and nobody owes is taken away. Returns the workspace, unless
    another writer has it, and how many quantities were changed.
    """
    workspace = registry.lease_quantities(workspace_id, now_ms)
    if workspace is None:
        return None, 0
    try:
        workspace, listed = _look(registry, billing, workspace, now_ms)
        changed = _apply_quantities(registry, billing, workspace, listed)
    except LineRequestError:
        registry.quantities_left(workspace)
        raise
    return registry.quantities_set(workspace, asked_at_ms=now_ms), changed


def _apply_quantities(
    registry: Registry, billing: "Billing", workspace: Workspace, listed: "Sequence[StripeSubscription]"
) -> int:
    subscription = workspace.subscription
    # What is owed under a plan that nobody has named is unknown, not nothing.
    if subscription is None or subscription.ended or subscription.plan is None:
        return 0
    add_ons = {
        allowance.add_on.price
        for plan in registry.plans()
        for allowance in plan.allowances.values()
        if allowance.add_on
    }
    changed = 0
    for one in listed:
        if one.status in ENDED:
            continue
        # Another subscription of the customer carries none of it.
        owed, named = (decision.quantities_owed(workspace), add_ons) if one.id == subscription.id else ({}, set[str]())
        there = {price: item for price, item in one.items.items() if item.ours or price in named}
        for price in sorted(owed.keys() | there.keys()):
            item, quantity = there.get(price), owed.get(price, 0)
            if (item.quantity if item else None) != (quantity or None):
                billing.set_quantity(one.id, price, item, quantity)
                changed += 1
    return changed
