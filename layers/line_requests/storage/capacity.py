"""The workspace's side of a line's writes: capacity, lock, rate window, add-on quantities.

Each function is one update of the workspace item, to stand in a transaction with its line. The conditions use the
item's own attributes, not a version, so that parallel requests of one workspace fail each other only if they compete.
A kind that the item does not count yet counts as 0.
"""

from line_requests.domain.model import Line, PaymentStatus, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.storage import records
from line_requests.storage.attributes import Item
from line_requests.storage.table import Write

_ADD_HELD = "#held.#kind = if_not_exists(#held.#kind, :zero) + :one"
_ADD_UNPAID = "#unpaid.#kind = if_not_exists(#unpaid.#kind, :zero) + :one"
_BELOW_CAP = "(attribute_not_exists(#held.#kind) OR #held.#kind < :cap)"
_BELOW_INCLUDED = "(attribute_not_exists(#unpaid.#kind) OR #unpaid.#kind < :included)"
# No line of the kind is paid for, so no quantity can be owed.
_NONE_PAID = "(attribute_not_exists(#held.#kind) OR #held.#kind = :zero OR #held.#kind = #unpaid.#kind)"

# The reconciler finds the workspace through the index and sets what decision.quantities_owed says.
QUANTITIES_DUE = "#quantities_revision = #quantities_revision + :moved, #due_shard = :due_shard, #due_at = :due_at"


def quantities_due_values(workspace_id: str, now_ms: int) -> Item:
    """The values of QUANTITIES_DUE."""
    return {"moved": 1, "due_shard": records.due_shard(workspace_id), "due_at": now_ms}


def rate_update(tat_ms: int | None, limit: RateLimit, now_ms: int) -> tuple[str, str, Item]:
    """SET clause, condition and values that move the rate window by one request.

    GCRA needs a maximum, which DynamoDB lacks: an idle window restarts at now, a busy one adds.
    """
    if tat_ms is None or tat_ms < now_ms:
        values = {"now": now_ms, "tat": now_ms + limit.interval_ms}
        return "#tat_ms = :tat", "(attribute_not_exists(#tat_ms) OR #tat_ms < :now)", values
    values = {"now": now_ms, "latest": now_ms + limit.tolerance_ms, "interval": limit.interval_ms}
    return "#tat_ms = #tat_ms + :interval", "#tat_ms BETWEEN :now AND :latest", values


def take(workspace: Workspace, line: Line, limit: RateLimit | None, now_ms: int) -> Write:
    """For a new line: counts it, and takes the lock when it awaits payment."""
    kind = line.submission.kind
    subscription = workspace.subscription
    assert subscription is not None, "judge() refuses a workspace without a subscription"  # noqa: S101
    allowance = subscription.allowances[kind]
    values: Item = {"zero": 0, "one": 1, "revision": workspace.revision}
    sets = [_ADD_HELD, _ADD_UNPAID]
    conditions = ["#revision = :revision", "attribute_not_exists(#lock)"]
    if allowance.cap is not None:
        conditions.append(_BELOW_CAP)
        values["cap"] = allowance.cap
    if line.awaiting:
        sets += ["#lock = :line", "#lock_kind = :kind"]
        values |= {"line": line.id, "kind": str(kind)}
        if allowance.included:
            conditions.append("#unpaid.#kind >= :included")
            values["included"] = allowance.included
    else:
        conditions.append(_BELOW_INCLUDED)
        values["included"] = allowance.included
        if workspace.held.get(kind, 0) > workspace.unpaid.get(kind, 0):
            sets.append(QUANTITIES_DUE)
            values |= quantities_due_values(workspace.id, now_ms)
        else:
            conditions.append(_NONE_PAID)
    if limit is not None:
        rate_set, rate_condition, rate_values = rate_update(workspace.tat_ms, limit, now_ms)
        sets.append(rate_set)
        conditions.append(rate_condition)
        values |= rate_values
    return _write(line, f"SET {', '.join(sets)}", " AND ".join(conditions), values)


def release_lock(line: Line, *, paid: bool = False, canceled: bool = False, now_ms: int) -> Write:
    """For the lock's holder alone: frees it; a paid line keeps its place, a canceled one gives it back."""
    sets: list[str] = []
    values: Item = {"line": line.id}
    if canceled:
        sets.append("#held.#kind = #held.#kind - :one")
    else:
        sets.append(QUANTITIES_DUE)
        values |= quantities_due_values(line.workspace_id, now_ms)
    if canceled or paid:
        sets.append("#unpaid.#kind = #unpaid.#kind - :one")
        values["one"] = 1
    if paid and line.charge is not None:
        # Its invoice has charged one place to the end of that period (contract 52).
        sets.append("#charged.#kind = list_append(if_not_exists(#charged.#kind, :none), :charged)")
        values |= {"none": [], "charged": [{"until_s": line.charge.period.end_s, "places": 1}]}
    update = f"SET {', '.join(sets)} REMOVE #lock, #lock_kind"
    return _write(line, update, "#lock = :line", values)


def give_back(line: Line, now_ms: int) -> Write:
    """For a line that stops holding a place after it was settled."""
    sets = ["#held.#kind = #held.#kind - :one", QUANTITIES_DUE]
    if line.payment_status is not PaymentStatus.PAID:
        sets.append("#unpaid.#kind = #unpaid.#kind - :one")
    values = {"one": 1} | quantities_due_values(line.workspace_id, now_ms)
    return _write(line, f"SET {', '.join(sets)}", "#held.#kind >= :one", values)


def take_again(workspace: Workspace, line: Line, now_ms: int) -> Write:
    """For a failed line that is provisioned again: a place of the sort that it had."""
    kind = line.submission.kind
    subscription = workspace.subscription
    allowance = subscription.allowances.get(kind) if subscription and subscription.active else None
    sets = [_ADD_HELD, QUANTITIES_DUE]
    conditions = ["#revision = :revision"]
    values: Item = {"zero": 0, "one": 1, "revision": workspace.revision}
    values |= quantities_due_values(workspace.id, now_ms)
    cap = 0 if allowance is None else allowance.cap
    if cap is not None:
        # The first alternative of _BELOW_CAP is wrong for a cap of 0.
        conditions.append(_BELOW_CAP if cap else "#held.#kind < :cap")
        values["cap"] = cap
    if line.payment_status is not PaymentStatus.PAID:
        included = 0 if allowance is None else allowance.included
        sets.append(_ADD_UNPAID)
        conditions.append(_BELOW_INCLUDED if included else "#unpaid.#kind < :included")
        values["included"] = included
    return _write(line, f"SET {', '.join(sets)}", " AND ".join(conditions), values)


def _write(line: Line, update: str, condition: str, values: Item) -> Write:
    names = {"kind": str(line.submission.kind)}
    return Write(
        records.workspace_key(line.workspace_id), update=update, condition=condition, values=values, names=names
    )
