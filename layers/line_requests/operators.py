"""What operators do: workspaces, their keys, and the transitions that only a person decides."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from line_requests import auth, items, subscriptions
from line_requests.bus import Bus, event_id
from line_requests.errors import ForbiddenLineType
from line_requests.lifecycle import Lifecycle
from line_requests.model import Change, Kind, Line, Status, Workspace
from line_requests.registry import Registry
from line_requests.store import Store
from line_requests.table import ConditionFailed

if TYPE_CHECKING:
    from line_requests.billing import Billing

# Fewer digits of a hash would name a key by accident.
HASH_PREFIX_MIN = 6
RETRIED, RELEASED = "retried_by_operator", "released_by_operator"

_ORGANISATION = re.compile(r"org_\w{1,100}", re.ASCII)


class Refused(Exception):
    """An operator asks for what cannot be; the text says why, in one line."""


# --- workspaces ---------------------------------------------------------------------------------


def create_workspace(  # noqa: PLR0913 - all that a workspace is tied to, by keyword
    registry: Registry,
    billing: "Billing",
    workspace_id: str,
    *,
    customer: str,
    organisation: str | None = None,
    now_ms: int,
) -> Workspace:
    """Ties a workspace to its Stripe customer, maps its Clerk organisation, reads its subscription.

    Again with the same arguments it finishes what an interruption left, and changes nothing else.
    """
    if not re.fullmatch(items.WORKSPACE_ID, workspace_id):
        raise Refused(f"{workspace_id!r} is no workspace id: 1 to 40 of a-z, 0-9 and -")
    if organisation is not None and not _ORGANISATION.fullmatch(organisation):
        raise Refused(f"{organisation!r} is no Clerk organisation: org_...")
    livemode = billing.customer_livemode(customer)
    if livemode is None:
        raise Refused(f"Stripe does not know the customer {customer}, or deleted it")
    if livemode is not billing.livemode:
        raise Refused(f"the customer {customer} is not of the Stripe key's mode")
    if not registry.create_workspace(workspace_id, customer, livemode=livemode):
        _refuse_another(registry, workspace_id, customer)
    if organisation is not None and not registry.map_organisation(organisation, workspace_id):
        raise Refused(f"{organisation} is mapped to another workspace; {workspace_id} stands without it")
    return subscriptions.refresh(registry, billing, workspace_id, now_ms) or workspace(registry, workspace_id)


def _refuse_another(registry: Registry, workspace_id: str, customer: str) -> None:
    there = registry.workspace(workspace_id)
    if there is not None and there.customer != customer:
        raise Refused(f"the workspace {workspace_id} exists, with the customer {there.customer}")
    owner = registry.workspace_of_customer(customer)
    if owner != workspace_id:
        raise Refused(f"the customer {customer} is tied to the workspace {owner}")


def workspace(registry: Registry, workspace_id: str) -> Workspace:
    """The workspace as it is now; raises Refused when there is none."""
    found = registry.workspace(workspace_id)
    if found is None:
        raise Refused(f"there is no workspace {workspace_id}")
    return found


def sync(registry: Registry, lifecycle: Lifecycle, workspace_id: str, now_ms: int) -> Workspace:
    """Reads the subscription from Stripe, and ends a waiting request that need not be paid any more."""
    current = subscriptions.refresh(registry, lifecycle.billing, workspace_id, now_ms)
    if current is None:
        raise Refused(f"there is no workspace {workspace_id}")
    lifecycle.reconsider(current)
    return workspace(registry, workspace_id)


@dataclass(frozen=True, slots=True)
class Places:
    """One kind of line in a workspace; `included` is None when its plan does not offer it."""

    kind: Kind
    included: int | None
    cap: int | None
    used: int
    paid: int
    left: int
    """How many more can be had without a payment."""
    add_on: str | None


def places(workspace: Workspace) -> list[Places]:
    """What the workspace has of every kind of line, and how much of it is left (contract 17-19)."""
    subscription = workspace.subscription
    found = []
    for kind in Kind:
        allowance = subscription.allowances.get(kind) if subscription else None
        held, unpaid = workspace.held.get(kind, 0), workspace.unpaid.get(kind, 0)
        left = 0
        if subscription is not None and subscription.active and allowance is not None:
            room = allowance.included if allowance.cap is None else allowance.cap - held
            left = max(0, min(allowance.included - unpaid, room))
        found.append(
            Places(
                kind=kind,
                included=allowance.included if allowance else None,
                cap=allowance.cap if allowance else None,
                used=held,
                paid=held - unpaid,
                left=left,
                add_on=allowance.add_on.price if allowance and allowance.add_on else None,
            )
        )
    return found


# --- API keys -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key after it was issued: never the key."""

    hash: str
    label: str
    created_at_ms: int
    revoked_at_ms: int | None


def issue_key(registry: Registry, workspace_id: str, label: str, now_ms: int) -> str:
    """A new key; this is the only time that it is seen."""
    token = auth.new_api_key(workspace_id)
    try:
        registry.save_api_key(workspace_id, items.hash_of(token), label, now_ms)
    except ConditionFailed:
        raise Refused(f"there is no workspace {workspace_id}") from None
    return token


def keys(registry: Registry, workspace_id: str) -> list[ApiKey]:
    """The workspace's keys, oldest first."""
    workspace(registry, workspace_id)
    found = [
        ApiKey(token_hash, key["label"], key["created_at"], key.get("revoked_at"))
        for token_hash, key in registry.api_keys(workspace_id).items()
    ]
    return sorted(found, key=lambda key: (key.created_at_ms, key.hash))


def revoke_key(registry: Registry, workspace_id: str, key_or_hash: str, now_ms: int) -> ApiKey:
    """Revokes the key, given itself or by the first digits of its hash; the first revocation counts."""
    given_key = key_or_hash.startswith("tuco_")
    prefix = items.hash_of(key_or_hash) if given_key else key_or_hash.lower()
    if len(prefix) < HASH_PREFIX_MIN:
        raise Refused(f"at least {HASH_PREFIX_MIN} digits of the hash are needed")
    found = [key for key in keys(registry, workspace_id) if key.hash.startswith(prefix)]
    if len(found) != 1:
        what = "that is not a key" if given_key else f"{prefix} names {len(found) or 'no'} {'keys' if found else 'key'}"
        raise Refused(f"{what} of the workspace {workspace_id}")
    if found[0].revoked_at_ms is None:
        registry.revoke_api_key(workspace_id, found[0].hash, now_ms)
    return next(key for key in keys(registry, workspace_id) if key.hash == found[0].hash)


# --- lines --------------------------------------------------------------------------------------


def line(store: Store, workspace_id: str, line_id: str) -> Line:
    """The line as it is now; raises Refused when the workspace has none of this id."""
    found = store.line(workspace_id, line_id.lower())
    if found is None:
        raise Refused(f"the workspace {workspace_id} has no line {line_id}")
    return found


def retry(store: Store, registry: Registry, workspace_id: str, line_id: str, now_ms: int) -> Line:
    """From failed back to provisioning, taking a place again, if there is one (contract 49)."""
    failed = _in_status(line(store, workspace_id, line_id), "retried", Status.FAILED)
    before = workspace(registry, workspace_id)
    try:
        moved = store.retry_provisioning(before, failed, RETRIED, now_ms)
    except ForbiddenLineType as error:
        if workspace(registry, workspace_id).revision != before.revision:
            raise Refused("the subscription has just changed; try again") from None
        raise Refused(str(error)) from None
    return _moved_by_us(moved, Change(now_ms, Status.PROVISIONING, RETRIED))


def release(store: Store, workspace_id: str, line_id: str, now_ms: int) -> Line:
    """From active or failed to canceled: the place is free again (contract 49)."""
    settled = _in_status(line(store, workspace_id, line_id), "released", Status.ACTIVE, Status.FAILED)
    moved = store.release(settled, RELEASED, now_ms)
    return _moved_by_us(moved, Change(now_ms, Status.CANCELED, RELEASED))


def answer(  # noqa: PLR0913 - an answer has this many parts
    store: Store, bus: Bus, workspace_id: str, line_id: str, *, succeeded: bool, reason: str | None = None
) -> Line:
    """Tells the bus what a provisioner would about the line's present state; returns that state."""
    told = _in_status(line(store, workspace_id, line_id), "answered for", Status.PROVISIONING)
    detail = {
        "eventId": event_id(told),
        "workspaceId": workspace_id,
        "lineId": told.id,
        "outcome": "succeeded" if succeeded else "failed",
    } | ({"reason": reason} if reason else {})
    if not bus.answer(detail):
        raise Refused("the event bus did not take the answer")
    return told


def _in_status(found: Line, what: str, *allowed: Status) -> Line:
    if found.status not in allowed:
        raise Refused(f"the line {found.id} is {found.status}; only {' or '.join(allowed)} lines can be {what}")
    return found


def _moved_by_us(moved: Line, change: Change) -> Line:
    if moved.history[-1] != change:
        raise Refused(f"the line {moved.id} has just changed by other hands: it is {moved.status}")
    return moved
