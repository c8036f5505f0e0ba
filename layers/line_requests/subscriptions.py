"""Keeps each workspace's snapshot of its subscription true to Stripe, and the quantities there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from line_requests import decision
from line_requests.errors import BillingUnavailable, LineRequestError
from line_requests.model import Subscription, Workspace
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
    for _ in range(REFRESH_ATTEMPTS):
        workspace = registry.workspace(workspace_id)
        if workspace is None:
            return None
        current = select(billing.subscriptions(workspace.customer), registry.plans())
        if current is not None and current.plan is None and current.status in {"active", "trialing"}:
            alarm("UnknownBasePrice", "no plan names the base price", workspace_id=workspace_id)
        if current == workspace.subscription:
            return workspace
        saved = registry.save_subscription(workspace, current, now_ms)
        if saved is not None:
            return saved
    raise BillingUnavailable("the subscription kept changing")


def select(subscriptions: "Sequence[StripeSubscription]", plans: Sequence[Plan]) -> Subscription | None:
    """The subscription that counts: active or trialing on a known plan, else the newest on one."""
    by_price = {price: plan for plan in plans for price in plan.base_prices}

    def rank(subscription: "StripeSubscription") -> tuple[bool, bool, bool, int, str]:
        known = any(price in by_price for price in subscription.items)
        active = subscription.status in {"active", "trialing"}
        return known and active, active, known, subscription.created_s, subscription.id

    best = max(subscriptions, key=rank, default=None)
    if best is None:
        return None
    plan = next((by_price[price] for price in best.items if price in by_price), None)
    if plan is None:
        return Subscription(best.id, best.status, None)
    return Subscription(best.id, best.status, plan.name, plan.allowances, plan.automatic_tax, plan.tax_rates)


def set_quantities(registry: Registry, billing: "Billing", workspace_id: str, now_ms: int) -> int:
    """Sets each add-on price's quantity to what is owed, by one writer at a time (contract 50).

    Returns how many were changed. A price of another plan's add-on is brought to none.
    """
    workspace = registry.lease_quantities(workspace_id, now_ms)
    if workspace is None:
        return 0
    try:
        changed = _apply_quantities(registry, billing, workspace)
    except LineRequestError:
        registry.quantities_left(workspace)
        raise
    registry.quantities_set(workspace)
    return changed


def _apply_quantities(registry: Registry, billing: "Billing", workspace: Workspace) -> int:
    subscription = workspace.subscription
    if subscription is None or subscription.ended:
        return 0
    add_ons = {
        allowance.add_on.price
        for plan in registry.plans()
        for allowance in plan.allowances.values()
        if allowance.add_on
    }
    owed = dict.fromkeys(add_ons, 0) | decision.quantities_owed(workspace)
    listed = {s.id: s.items for s in billing.subscriptions(workspace.customer)}
    changed = 0
    for price, quantity in sorted(owed.items()) if subscription.id in listed else []:
        item_id, current = listed[subscription.id].get(price, (None, 0))
        if current != quantity or (item_id is not None and quantity == 0):
            billing.set_quantity(subscription.id, price, item_id, quantity)
            changed += 1
    return changed
