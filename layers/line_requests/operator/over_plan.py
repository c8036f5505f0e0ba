"""Which workspaces new plans would put over plan (contract 53, 54)."""

from collections.abc import Iterable
from dataclasses import replace

from line_requests.domain.model import Workspace
from line_requests.domain.over_plan import excess, standings_under
from line_requests.domain.prices import Plan
from line_requests.operator.refusal import Row


def rows(workspaces: Iterable[Workspace], plans: Iterable[Plan]) -> list[Row]:
    """What these plans would put over plan that is not already."""
    by_name = {plan.name: plan for plan in plans}
    found = list[Row]()
    for workspace in workspaces:
        subscription = workspace.subscription
        plan = by_name.get(subscription.plan or "") if subscription else None
        if subscription is None or plan is None:
            continue
        now = excess(workspace)
        under = replace(subscription, allowances=plan.allowances, excess=plan.excess)
        found += [
            {"workspace": workspace.id, "kind": str(kind), "held": standing.held, "allowed": standing.allowed}
            for kind, standing in standings_under(workspace, under).items()
            if standing.excess > (now[kind].excess if kind in now else 0)
        ]
    return found
