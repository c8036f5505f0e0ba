"""The workspace's side of a line's writes: places, lock, rate window, quantities.

Each function is one update of the workspace item, to stand in a transaction with its line. The
conditions use the item's own attributes, not a version, so that parallel requests of one
workspace fail each other only where they compete for the same place.
"""

from line_requests import items
from line_requests.items import Item
from line_requests.model import Line, PaymentStatus, Workspace
from line_requests.rate_limit import RateLimit
from line_requests.table import Write


def rate_move(tat_ms: int | None, limit: RateLimit, now_ms: int) -> tuple[str, str, Item]:
    """SET clause, condition and values that move the rate window by one request.

    GCRA needs a maximum, which DynamoDB has not: an idle window restarts at now, a busy one adds.
    """
    if tat_ms is None or tat_ms < now_ms:
        values = {"now": now_ms, "tat": now_ms + limit.interval_ms}
        return "#tat = :tat", "(attribute_not_exists(#tat) OR #tat < :now)", values
    values = {"now": now_ms, "latest": now_ms + limit.tolerance_ms, "interval": limit.interval_ms}
    return "#tat = #tat + :interval", "#tat BETWEEN :now AND :latest", values


def take_place(workspace: Workspace, line: Line, limit: RateLimit | None, now_ms: int) -> Write:
    """For a new line: counts it, and takes the lock when it awaits payment."""
    kind = line.submission.kind
    subscription = workspace.subscription
    assert subscription is not None, "judge() refuses a workspace without a subscription"  # noqa: S101
    allowance = subscription.allowances[kind]
    values: Item = {"one": 1, "revision": workspace.revision, "included": allowance.included}
    sets = ["#held.#kind = #held.#kind + :one", "#unpaid.#kind = #unpaid.#kind + :one"]
    conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]
    if allowance.cap is not None:
        conditions.append("#held.#kind < :cap")
        values["cap"] = allowance.cap
    if line.awaiting:
        sets += ["#lock = :line", "#lock_kind = :kind"]
        conditions.append("#unpaid.#kind >= :included")
        values |= {"line": line.id, "kind": str(kind)}
    else:
        conditions.append("#unpaid.#kind < :included")
        if workspace.held[kind] > workspace.unpaid[kind]:
            sets.append(QUANTITIES_MOVED)
            values |= quantities_due(workspace.id, now_ms)
        else:
            # Nobody has paid for a line of this kind, so no quantity can be owed for it.
            conditions.append("#held.#kind = #unpaid.#kind")
    if limit is not None:
        rate_set, rate_condition, rate_values = rate_move(workspace.tat_ms, limit, now_ms)
        sets.append(rate_set)
        conditions.append(rate_condition)
        values |= rate_values
    return Write(
        items.workspace_key(workspace.id),
        update=f"SET {', '.join(sets)}",
        condition=" AND ".join(conditions),
        values=values,
        names={"kind": str(kind)},
    )


def free_lock(line: Line, *, paid: bool = False, gone: bool = False, now_ms: int) -> Write:
    """For the holder alone: frees the lock; a paid line keeps its place, one that is gone does not."""
    sets: list[str] = []
    values: Item = {"line": line.id}
    if gone:
        sets.append("#held.#kind = #held.#kind - :one")
    else:
        sets.append(QUANTITIES_MOVED)
        values |= quantities_due(line.workspace_id, now_ms)
    if gone or paid:
        sets.append("#unpaid.#kind = #unpaid.#kind - :one")
        values["one"] = 1
    return Write(
        items.workspace_key(line.workspace_id),
        update=f"SET {', '.join(sets)} REMOVE #lock, #lock_kind",
        condition="#lock = :line",
        values=values,
        names={"kind": str(line.submission.kind)},
    )


def give_back(line: Line, now_ms: int) -> Write:
    """For a line that stops holding a place after it was settled."""
    sets = ["#held.#kind = #held.#kind - :one", QUANTITIES_MOVED]
    if line.payment_status is not PaymentStatus.PAID:
        sets.append("#unpaid.#kind = #unpaid.#kind - :one")
    return Write(
        items.workspace_key(line.workspace_id),
        update=f"SET {', '.join(sets)}",
        condition="#held.#kind >= :one",
        values={"one": 1} | quantities_due(line.workspace_id, now_ms),
        names={"kind": str(line.submission.kind)},
    )


def take_again(workspace: Workspace, line: Line, now_ms: int) -> Write:
    """For a failed line that is to be provisioned after all: a place of the sort it had."""
    kind = line.submission.kind
    subscription = workspace.subscription
    allowance = subscription.allowances.get(kind) if subscription and subscription.active else None
    sets = ["#held.#kind = #held.#kind + :one", QUANTITIES_MOVED]
    conditions = ["#revision = :revision"]
    values: Item = {"one": 1, "revision": workspace.revision} | quantities_due(workspace.id, now_ms)
    if allowance is None or allowance.cap is not None:
        conditions.append("#held.#kind < :cap")
        values["cap"] = 0 if allowance is None else allowance.cap
    if line.payment_status is not PaymentStatus.PAID:
        sets.append("#unpaid.#kind = #unpaid.#kind + :one")
        conditions.append("#unpaid.#kind < :included")
        values["included"] = 0 if allowance is None else allowance.included
    return Write(
        items.workspace_key(workspace.id),
        update=f"SET {', '.join(sets)}",
        condition=" AND ".join(conditions),
        values=values,
        names={"kind": str(kind)},
    )


# The reconciler finds the workspace through the index and sets what decision.quantities_owed says.
QUANTITIES_MOVED = (
    "#quantities_revision = #quantities_revision + :moved, "
    "#due_shard = :due_shard, #due_at = if_not_exists(#due_at, :due_at)"
)


def quantities_due(workspace_id: str, now_ms: int) -> Item:
    """The values of QUANTITIES_MOVED."""
    return {"moved": 1, "due_shard": items.due_shard(workspace_id), "due_at": now_ms}
