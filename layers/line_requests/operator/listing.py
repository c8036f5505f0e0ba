"""Lists for operators: lines and workspaces, filtered and sorted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from line_requests.domain import over_plan
from line_requests.domain.model import Line, Status, Workspace
from line_requests.operator.commands import workspace
from line_requests.storage.stores import Stores

LineSort = Literal["oldest", "newest", "workspace", "status"]
WorkspaceSort = Literal["id", "held", "excess"]
# A kind of line is near its cap when it has used this part of it.
NEAR_CAP = 0.8


def lines(  # noqa: PLR0913 - the filters, by keyword
    stores: Stores,
    *,
    status: Status | None = None,
    workspace_id: str | None = None,
    since_ms: int | None = None,
    refund_due: bool = False,
    sort: LineSort = "oldest",
) -> list[Line]:
    """The lines that pass all filters; `since_ms`: in their status since then or longer."""
    if workspace_id is None:
        found: Iterable[Line] = stores.lines.scan(status, refund_due=refund_due)
    else:
        workspace(stores.workspaces, workspace_id)
        found = stores.lines.of_workspace(workspace_id)
    kept = [
        line
        for line in found
        if status in {None, line.status}
        and (line.refund_due or not refund_due)
        and (since_ms is None or line.history[-1].at_ms <= since_ms)
    ]
    kept.sort(key=lambda line: (line.history[-1].at_ms, line.id), reverse=sort == "newest")
    if sort in {"workspace", "status"}:
        kept.sort(key=lambda line: line.workspace_id if sort == "workspace" else str(line.status))
    return kept


@dataclass(frozen=True, slots=True)
class Listed:
    """A workspace with what an operator looks for."""

    workspace: Workspace
    held: int
    excess: int
    near_cap: bool


def workspaces(
    stores: Stores, *, over: bool = False, near_cap: bool = False, locked: bool = False, sort: WorkspaceSort = "id"
) -> list[Listed]:
    """The workspaces that pass all filters."""
    found = [
        listed
        for listed in _listed(stores.workspaces.all())
        if (listed.excess or not over)
        and (listed.near_cap or not near_cap)
        and (listed.workspace.lock is not None or not locked)
    ]
    found.sort(key=lambda listed: listed.workspace.id)
    if sort != "id":
        found.sort(key=lambda listed: listed.held if sort == "held" else listed.excess, reverse=True)
    return found


def _listed(found: Iterable[Workspace]) -> Iterator[Listed]:
    for one in found:
        allowances = one.subscription.allowances if one.subscription else {}
        yield Listed(
            workspace=one,
            held=sum(one.held.values()),
            excess=sum(standing.excess for standing in over_plan.excess(one).values()),
            near_cap=any(
                allowance.cap is not None and one.held.get(kind, 0) >= max(1, NEAR_CAP * allowance.cap)
                for kind, allowance in allowances.items()
            ),
        )
