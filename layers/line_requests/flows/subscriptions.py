"""Keeps each workspace's subscription snapshot true to Stripe."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from line_requests.billing.account import Billing
from line_requests.billing.subscriptions import StripeSubscription
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.model import ACTIVE, NOT_RENEWED, Subscription, Workspace
from line_requests.domain.prices import NO_PERIOD, Plan
from line_requests.storage.plans import Plans
from line_requests.storage.workspaces import Workspaces
from line_requests.telemetry import alarm

REFRESH_ATTEMPTS = 5


class Refreshed(NamedTuple):
    """A workspace whose snapshot is up to date, and what that was read from."""

    workspace: Workspace
    listed: list[StripeSubscription]
    plans: list[Plan]


class SubscriptionSync:
    """Reads subscriptions from Stripe."""

    def __init__(self, workspaces: Workspaces, plans: Plans) -> None:
        self._workspaces = workspaces
        self._plans = plans

    def refresh(self, billing: Billing, workspace_id: str, now_ms: int) -> Workspace | None:
        """Brings the snapshot up to date; None for an unknown workspace."""
        workspace = self._workspaces.get(workspace_id)
        return self.refresh_and_list(billing, workspace, now_ms).workspace if workspace else None

    def current(self, billing: Billing, customer: str) -> Subscription | None:
        """The subscription of a customer who may have no workspace yet."""
        return select(billing.subscriptions.of_customer(customer), self._plans.all())

    def refresh_and_list(self, billing: Billing, workspace: Workspace, now_ms: int) -> Refreshed:
        """The workspace with its snapshot brought up to date, what Stripe listed, and the plans.

        The workspace's revision is read before Stripe answers, so an answer that was overtaken is discarded and Stripe
        is called once more (contract 46).
        """
        for _ in range(REFRESH_ATTEMPTS):
            listed = billing.subscriptions.of_customer(workspace.customer)
            plans = self._plans.all()
            current = select(listed, plans)
            if current is not None and current.status in ACTIVE:
                _report_base_prices(workspace, current, listed, plans)
            if current == workspace.subscription:
                return Refreshed(workspace, listed, plans)
            saved = self._workspaces.save_subscription(workspace, current, now_ms)
            if saved is not None:
                return Refreshed(saved, listed, plans)
            workspace = self._workspaces.get(workspace.id) or workspace
        raise BillingUnavailable("the subscription kept changing")


def _report_base_prices(
    workspace: Workspace, current: Subscription, listed: Sequence[StripeSubscription], plans: Sequence[Plan]
) -> None:
    """Raises an alarm unless exactly one base price of the active subscription is a plan's."""
    if current.plan is None:
        alarm("UnknownBasePrice", "no plan names a base price with a quantity", workspace_id=workspace.id)
    by_price = _plans_by_price(plans)
    for subscription in listed:
        bases = _base_prices(subscription, by_price) if subscription.id == current.id else []
        if len(bases) > 1:
            text = f"several base prices, of which {bases[0]} counts: {', '.join(bases[1:])}"
            alarm("AmbiguousBasePrice", text, workspace_id=workspace.id)


def _plans_by_price(plans: Sequence[Plan]) -> dict[str, Plan]:
    """The plan that each base price stands for, in the plan file's order."""
    ordered = sorted(plans, key=lambda plan: (plan.position, plan.name))
    return {price: plan for plan in ordered for price in plan.base_prices}


def _base_prices(subscription: StripeSubscription, by_price: Mapping[str, Plan]) -> list[str]:
    """The subscription's known base prices with a quantity; the first one counts."""
    return [price for price in by_price if price in subscription.items and subscription.items[price].entitles]


def select(subscriptions: Sequence[StripeSubscription], plans: Sequence[Plan]) -> Subscription | None:
    """The subscription that counts: active before the others, on a known plan, neither ended nor unfinished, newest."""
    by_price = _plans_by_price(plans)

    def rank(subscription: StripeSubscription) -> tuple[bool, bool, bool, int, str]:
        known = bool(_base_prices(subscription, by_price))
        # A checkout that is given up must not hide one that is past due: it would go on uncharged.
        lives = subscription.status not in NOT_RENEWED
        return subscription.status in ACTIVE, known, lives, subscription.created_s, subscription.id

    best = max(subscriptions, key=rank, default=None)
    if best is None:
        return None
    base, plan = next(((price, by_price[price]) for price in _base_prices(best, by_price)), (None, None))
    item = best.items[base] if base is not None else next(iter(best.items.values()), None)
    snapshot = Subscription(
        id=best.id,
        status=best.status,
        plan=None,
        currency=best.currency,
        period=item.period if item else NO_PERIOD,
        anchor_s=best.anchor_s,
        interval=item.interval if item else "month",
        interval_count=item.interval_count if item else 1,
    )
    if plan is None:
        return snapshot
    return replace(
        snapshot,
        plan=plan.name,
        allowances=plan.allowances,
        automatic_tax=plan.automatic_tax,
        tax_rates=plan.tax_rates,
        excess=plan.excess,
        first_charge=plan.first_charge,
        invoice_memo=plan.invoice_memo,
        invoice_footer=plan.invoice_footer,
    )
