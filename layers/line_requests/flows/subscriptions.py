"""Keeps each workspace's subscription snapshot true to Stripe, and Stripe's add-on quantities true to what is owed."""

from collections.abc import Sequence

from line_requests.billing.account import Billing
from line_requests.billing.subscriptions import StripeSubscription
from line_requests.domain import decision
from line_requests.domain.errors import BillingUnavailable, LineRequestError
from line_requests.domain.model import ACTIVE, ENDED, Plan, Subscription, Workspace
from line_requests.storage.plans import Plans
from line_requests.storage.workspaces import Workspaces
from line_requests.telemetry import alarm

REFRESH_ATTEMPTS = 5


class SubscriptionSync:
    """Reads subscriptions from Stripe, and writes quantities to it."""

    def __init__(self, workspaces: Workspaces, plans: Plans) -> None:
        self._workspaces = workspaces
        self._plans = plans

    def refresh(self, billing: Billing, workspace_id: str, now_ms: int) -> Workspace | None:
        """Brings the snapshot up to date; None for an unknown workspace."""
        workspace = self._workspaces.get(workspace_id)
        return self._refresh(billing, workspace, now_ms)[0] if workspace else None

    def current(self, billing: Billing, customer: str) -> Subscription | None:
        """The subscription of a customer who may have no workspace yet."""
        return select(billing.subscriptions.of_customer(customer), self._plans.all())

    def _refresh(
        self, billing: Billing, workspace: Workspace, now_ms: int
    ) -> tuple[Workspace, list[StripeSubscription]]:
        """The workspace with its snapshot brought up to date, and what Stripe listed.

        The workspace's revision is read before Stripe answers, so an answer that was overtaken is discarded and Stripe
        is asked again (contract 46).
        """
        for _ in range(REFRESH_ATTEMPTS):
            listed = billing.subscriptions.of_customer(workspace.customer)
            current = select(listed, self._plans.all())
            if current is not None and current.plan is None and current.status in ACTIVE:
                alarm("UnknownBasePrice", "no plan names the base price", workspace_id=workspace.id)
            if current == workspace.subscription:
                return workspace, listed
            saved = self._workspaces.save_subscription(workspace, current, now_ms)
            if saved is not None:
                return saved, listed
            workspace = self._workspaces.get(workspace.id) or workspace
        raise BillingUnavailable("the subscription kept changing")

    def set_quantities(self, billing: Billing, workspace_id: str, now_ms: int) -> tuple[Workspace | None, int]:
        """Refreshes the snapshot, then sets each add-on price's quantity to what is owed (contract 46, 50).

        One writer at a time; an item that this product added and that is no longer owed is removed. Returns the
        workspace, or None while another writer has it, and the number of quantities changed.
        """
        workspace = self._workspaces.lease_quantities(workspace_id, now_ms)
        if workspace is None:
            return None, 0
        try:
            workspace, listed = self._refresh(billing, workspace, now_ms)
            changed = self._write_quantities(billing, workspace, listed)
        except LineRequestError:
            self._workspaces.abandon_quantities(workspace)
            raise
        return self._workspaces.finish_quantities(workspace, asked_at_ms=now_ms), changed

    def _write_quantities(self, billing: Billing, workspace: Workspace, listed: Sequence[StripeSubscription]) -> int:
        subscription = workspace.subscription
        # Under a plan that is not known, what is owed is unknown, not nothing.
        if subscription is None or subscription.ended or subscription.plan is None:
            return 0
        add_ons = {
            allowance.add_on.price
            for plan in self._plans.all()
            for allowance in plan.allowances.values()
            if allowance.add_on
        }
        changed = 0
        for stripe_subscription in listed:
            if stripe_subscription.status in ENDED:
                continue
            # Only the subscription that counts carries add-ons.
            counts = stripe_subscription.id == subscription.id
            owed = decision.quantities_owed(workspace) if counts else {}
            existing = {
                price: item
                for price, item in stripe_subscription.items.items()
                if item.ours or (counts and price in add_ons)
            }
            for price in sorted(owed.keys() | existing.keys()):
                item, quantity = existing.get(price), owed.get(price, 0)
                if (item.quantity if item else None) != (quantity or None):
                    billing.subscriptions.set_quantity(stripe_subscription.id, price, item, quantity)
                    changed += 1
        return changed


def select(subscriptions: Sequence[StripeSubscription], plans: Sequence[Plan]) -> Subscription | None:
    """The subscription that counts: active on a known plan, else any active one, else the newest on a known plan."""
    by_price = {price: plan for plan in plans for price in plan.base_prices}

    def rank(subscription: StripeSubscription) -> tuple[bool, bool, bool, int, str]:
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
