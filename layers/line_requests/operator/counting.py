"""What a workspace's counts and lock have to be, by its lines."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from line_requests.domain.model import Line, PaymentStatus, Status, Workspace
from line_requests.domain.submission import Kind
from line_requests.operator.commands import workspace
from line_requests.operator.refusal import Refused
from line_requests.storage.operator_index import ScannedLine
from line_requests.storage.stores import Stores

HOLDS_PLACE = frozenset({Status.AWAITING_PAYMENT, Status.PROVISIONING, Status.ACTIVE})


def counted(before: Workspace, lines: Iterable[Line | ScannedLine]) -> Workspace:
    """The workspace with the counts and the lock that its lines mean."""
    held, unpaid = Counter[Kind](), Counter[Kind]()
    waiting = list[Line | ScannedLine]()
    for line in lines:
        if line.status in HOLDS_PLACE:
            held[line.kind] += 1
            unpaid[line.kind] += line.payment_status is not PaymentStatus.PAID
        if line.awaiting:
            waiting.append(line)
    # Of several, which only a restore or a repair by hand leaves, the present holder: only a holder can be canceled.
    holder = next((line for line in waiting if line.id == before.lock), waiting[0] if waiting else None)
    return replace(
        before,
        held={kind: held[kind] for kind in Kind if held[kind] or kind in before.held},
        unpaid={kind: unpaid[kind] for kind in Kind if unpaid[kind] or kind in before.unpaid},
        lock=holder.id if holder else None,
        lock_kind=holder.kind if holder else None,
    )


def recount(stores: Stores, workspace_id: str, now_ms: int) -> list[str]:
    """Sets the counts and the lock to what the lines mean; returns the ids of those that await payment.

    Raises Refused when a request came in between.
    """
    before = workspace(stores.workspaces, workspace_id)
    lines = stores.lines.of_workspace(workspace_id)
    after = counted(before, lines)
    if after != before and stores.workspaces.recount(before, after, now_ms) is None:
        raise Refused(f"a request of {workspace_id} came in between; try again")
    return [line.id for line in lines if line.awaiting]
