"""Which lines a workspace holds beyond its plan (contract 54)."""

from dataclasses import dataclass
from typing import Literal

from line_requests.domain.model import Subscription, Workspace
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind

Reason = Literal["subscription_ended", "kind_not_offered", "above_cap", "above_included", "within_plan"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How many settled lines of a kind are held and allowed (None: any number), and why that is too many or not."""

    held: int
    allowed: int | None
    reason: Reason

    @property
    def excess(self) -> int:
        """How many lines are too many."""
        return 0 if self.allowed is None else max(0, self.held - self.allowed)


def excess(workspace: Workspace) -> dict[Kind, Standing]:
    """The kinds that are over plan."""
    return {kind: standing for kind, standing in standings(workspace).items() if standing.excess}


def standings(workspace: Workspace) -> dict[Kind, Standing]:
    """Every kind, over plan or not; empty when no subscription has decided yet."""
    subscription = workspace.subscription
    if subscription is not None and not _decides(subscription):
        if workspace.excess_basis is None:
            return {}
        subscription = workspace.excess_basis
    return standings_under(workspace, subscription)


def standings_under(workspace: Workspace, subscription: Subscription | None) -> dict[Kind, Standing]:
    """Every kind, if this subscription, active or ended, were the workspace's."""
    return {kind: _standing(workspace, subscription, kind) for kind in Kind}


def basis_under(workspace: Workspace, subscription: Subscription | None) -> Subscription | None:
    """What a workspace with a new snapshot keeps of the last one that decided; None when the new one decides.

    It is stored because `past_due`, `unpaid`, `paused` and unknown plans change nothing, also when they come with
    another plan.
    """
    if subscription is None or _decides(subscription):
        return None
    last = workspace.subscription
    if last is None or not _decides(last):
        return workspace.excess_basis
    limits = {kind: Allowance(allowance.included, allowance.cap) for kind, allowance in last.allowances.items()}
    return Subscription(last.id, last.status, last.plan, limits, excess=last.excess)


def _decides(subscription: Subscription) -> bool:
    return subscription.ended or subscription.active


def _standing(workspace: Workspace, subscription: Subscription | None, kind: Kind) -> Standing:
    waiting = workspace.lock_kind is kind
    held = workspace.held.get(kind, 0) - waiting
    # The line that awaits payment is one of the unpaid.
    paid = held + waiting - workspace.unpaid.get(kind, 0)
    allowed: int | None = 0
    why: Reason
    if subscription is None or subscription.ended:
        why = "subscription_ended"
    elif (allowance := subscription.allowances.get(kind)) is None:
        why = "kind_not_offered"
    else:
        # Under `bill`, renewals bill unpaid lines, so only the cap limits.
        allowed, why = None if subscription.excess == "bill" else allowance.included + paid, "above_included"
        if allowance.cap is not None and (allowed is None or allowance.cap < allowed):
            allowed, why = allowance.cap, "above_cap"
    within = allowed is None or held <= allowed
    return Standing(held, allowed, "within_plan" if within else why)
