"""Which workspaces new plans would put over plan (contract 53, 54)."""

from line_requests.domain.model import Subscription, Workspace
from line_requests.domain.over_plan import excess, standings_under
from line_requests.operator.refusal import Row


def rows(workspace: Workspace, under: Subscription | None) -> list[Row]:
    """What is over plan under this subscription and not already; a base price that no plan names changes nothing."""
    if under is not None and under.plan is None and not under.ended:
        return []
    now = excess(workspace)
    return [
        {"workspace": workspace.id, "kind": str(kind), "held": standing.held, "allowed": standing.allowed}
        for kind, standing in standings_under(workspace, under).items()
        if standing.excess > (now[kind].excess if kind in now else 0)
    ]
