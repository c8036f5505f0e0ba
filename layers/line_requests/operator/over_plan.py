"""Which workspaces hold more than their plan allows (contract 54)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from line_requests.domain.model import ACTIVE, Allowance, Plan, Workspace
from line_requests.domain.model import Excess as ExcessPolicy
from line_requests.domain.submission import Kind
from line_requests.operator.refusal import Row


@dataclass(frozen=True, slots=True)
class Excess:
    """How many lines of a kind are held, may be held, and are too many."""

    kind: Kind
    held: int
    allowed: int
    excess: int


def excess(workspace: Workspace) -> list[Excess]:
    """The kinds that are over plan; nothing while the status or the plan says nothing certain."""
    subscription = workspace.subscription
    if subscription is None or subscription.ended:
        return over(workspace, {})
    if subscription.plan is None or subscription.status not in ACTIVE:
        return []
    return over(workspace, subscription.allowances, subscription.excess)


def over(workspace: Workspace, allowances: Mapping[Kind, Allowance], policy: ExcessPolicy = "keep") -> list[Excess]:
    """Under these allowances: `max(unpaid settled - included (0 under bill), settled - cap, 0)` for each kind."""
    found = []
    for kind in Kind:
        waiting = int(workspace.lock_kind is kind)
        settled = workspace.held.get(kind, 0) - waiting
        unpaid = workspace.unpaid.get(kind, 0) - waiting
        allowance = allowances.get(kind)
        if allowance is None:
            too_many = settled
        else:
            above_cap = 0 if allowance.cap is None else settled - allowance.cap
            beyond = 0 if policy == "bill" else unpaid - allowance.included
            too_many = max(beyond, above_cap, 0)
        if too_many:
            found.append(Excess(kind, settled, settled - too_many, too_many))
    return found


def rows(workspaces: Iterable[Workspace], plans: Iterable[Plan]) -> list[Row]:
    """What these plans would put over plan that is not already."""
    by_name, found = {plan.name: plan for plan in plans}, list[Row]()
    for workspace in workspaces:
        plan = by_name.get(workspace.subscription.plan or "") if workspace.subscription else None
        if plan is not None:
            now = {one.kind: one.excess for one in excess(workspace)}
            found += [
                {"workspace": workspace.id, "kind": str(one.kind), "held": one.held, "allowed": one.allowed}
                for one in over(workspace, plan.allowances, plan.excess)
                if one.excess > now.get(one.kind, 0)
            ]
    return found
