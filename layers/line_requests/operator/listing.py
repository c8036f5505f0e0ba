"""Lists for operators: lines and workspaces, filtered and sorted."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from line_requests.domain import over_plan
from line_requests.domain.model import Line, Status, Workspace
from line_requests.operator.refusal import Refused
from line_requests.storage import records
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from line_requests.storage.operator_index import Entry
from line_requests.storage.stores import Stores

LineSort = Literal["oldest", "newest", "workspace", "status"]
WorkspaceSort = Literal["id", "held", "excess"]
# A kind of line is near its cap when it has used this part of it.
NEAR_CAP = 0.8
# What an operator has to look at; of those in provisioning the ones whose provisioner is late.
OPEN = (Status.AWAITING_PAYMENT, Status.FAILED, Status.PROVISIONING, records.REFUND_ENTRY)
PAGE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """The first lines of a list, and whether there are more."""

    lines: list[Line]
    more: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines; `since_ms`: in their status since then or longer."""

    status: Status | None = None
    refund_due: bool = False
    since_ms: int | None = None

    def passes(self, line: Line) -> bool:
        """Whether the line is one of them."""
        return (
            self.status in {None, line.status}
            and (line.refund_due or not self.refund_due)
            and (self.since_ms is None or line.history[-1].at_ms <= self.since_ms)
        )


def open_lines(stores: Stores, wanted: Filter, *, now_ms: int, sort: LineSort = "oldest", limit: int = PAGE) -> Page:
    """The lines that an operator has to look at, by the index; raises Refused for a status that it does not hold."""
    if wanted.status in {Status.ACTIVE, Status.CANCELED} and not wanted.refund_due:
        raise Refused(
            f"{wanted.status} lines are in no list of what is open: name a --workspace, or read the whole table with "
            "--all"
        )
    entries = _entries(stores, wanted, sort, limit)
    found = dict[str, Line]()
    if wanted.status is Status.PROVISIONING:  # their provisioner is not late yet
        found |= _passing(stores, wanted, stores.due.lines_until(now_ms + REPUBLISH_AFTER_MS))
    # An entry may be out of date, or be of a refund in another status: read on until the page is full.
    shown = 0
    while shown < limit and (ids := [(one.workspace_id, one.line_id or "") for one in islice(entries, limit)]):
        passing = _passing(stores, wanted, ids)
        shown, found = shown + len(passing), found | passing
    page = first(found.values(), sort, limit)
    return Page(page.lines, page.more or next(entries, None) is not None)


def _passing(stores: Stores, wanted: Filter, ids: Iterable[tuple[str, str]]) -> dict[str, Line]:
    """Those of these lines that are wanted, as they are now."""
    return {line.id: line for line in stores.lines.get_many(ids) if wanted.passes(line)}


def _entries(stores: Stores, wanted: Filter, sort: LineSort, limit: int) -> Iterator[Entry]:
    """The index's entries in the order of the list, as far as they are taken."""
    op_statuses: Sequence[str] = OPEN
    if wanted.refund_due:
        op_statuses = [records.REFUND_ENTRY]
    elif wanted.status is not None:
        op_statuses = [wanted.status, records.REFUND_ENTRY]
    by_time = sort in {"oldest", "newest"}
    found = stores.operator.entries(
        op_statuses, until_ms=wanted.since_ms, newest=sort == "newest", page=limit + 1 if by_time else None
    )
    if by_time:
        return found
    return iter(sorted(found, key=lambda entry: entry.workspace_id if sort == "workspace" else entry.op_status))


def first(lines: Iterable[Line], sort: LineSort, limit: int) -> Page:
    """The first lines of all these, in order."""
    found = sorted(lines, key=lambda line: (line.history[-1].at_ms, line.id), reverse=sort == "newest")
    if sort in {"workspace", "status"}:
        found.sort(key=lambda line: line.workspace_id if sort == "workspace" else str(line.status))
    return Page(found[:limit], len(found) > limit)


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
    """The workspaces that pass all filters, by the index."""
    waiting = stores.operator.entries([Status.AWAITING_PAYMENT]) if locked else ()
    ids = {entry.workspace_id for entry in waiting} if locked else stores.operator.workspace_ids()
    found = [
        listed
        for listed in _listed(stores.workspaces.get_many(ids))
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
