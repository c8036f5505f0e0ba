"""What operators do: workspaces, their keys, and the transitions that only a person decides."""

import re
from dataclasses import dataclass

from line_requests.billing.operator_account import OperatorBilling
from line_requests.bus.events import Bus, event_id
from line_requests.clock import Clock
from line_requests.domain import ids
from line_requests.domain.errors import ForbiddenLineType
from line_requests.domain.model import ApiKey, Change, Line, PaymentStatus, Status, VoidReason, Workspace
from line_requests.domain.submission import Kind
from line_requests.flows.lifecycle import Lifecycle
from line_requests.flows.refunds import RELEASED_BY_OPERATOR
from line_requests.flows.subscriptions import SubscriptionSync
from line_requests.operator.refusal import Refused
from line_requests.storage.erasure import is_erased
from line_requests.storage.keys import ApiKeys
from line_requests.storage.lines import Lines
from line_requests.storage.stores import Stores
from line_requests.storage.table import ConditionFailed
from line_requests.storage.workspaces import Workspaces

# Fewer digits of a hash would name a key by accident.
HASH_PREFIX_MIN, HASH_DIGITS = 6, 12
RETRIED, RELEASED = "retried_by_operator", RELEASED_BY_OPERATOR

_ORGANISATION = re.compile(r"org_\w{1,100}", re.ASCII)


# --- workspaces ---------------------------------------------------------------------------------


def create_workspace(  # noqa: PLR0913 - all that a workspace is tied to, by keyword
    workspaces: Workspaces,
    sync: SubscriptionSync,
    billing: OperatorBilling,
    workspace_id: str,
    *,
    customer: str,
    organisation: str | None = None,
    now_ms: int,
) -> Workspace:
    """Ties a workspace to its Stripe customer and its Clerk organisation, with its subscription: all or nothing.

    Again with the same arguments it reads the subscription again, and changes nothing else.
    """
    if not ids.is_workspace_id(workspace_id):
        raise Refused(f"{workspace_id!r} is no workspace id: 1 to 40 of a-z, 0-9 and -")
    if organisation is not None:
        check_organisation(organisation)
    livemode = billing.catalogue.customer_livemode(customer)
    if livemode is None:
        raise Refused(f"Stripe does not know the customer {customer}, or deleted it")
    if livemode is not billing.livemode:
        raise Refused(f"the customer {customer} is not of the Stripe key's mode")
    created = workspaces.insert(
        workspace_id,
        customer,
        livemode=livemode,
        subscription=sync.current(billing, customer),
        organisation=organisation,
        # The subscription may have changed since it was read.
        due_at_ms=now_ms,
    )
    if created:
        return workspace(workspaces, workspace_id)
    _refuse_another(workspaces, workspace_id, customer, organisation)
    return sync.refresh(billing, workspace_id, now_ms) or workspace(workspaces, workspace_id)


def refuse_former(workspaces: Workspaces, lines: Lines, workspace_id: str) -> None:
    """Raises Refused for the id of a deleted workspace: its lines stay, and would be the new one's."""
    if workspaces.get(workspace_id) is None and lines.page(workspace_id, limit=1, before=None, status=None)[0]:
        raise Refused(f"{workspace_id} is the id of a deleted workspace whose lines are kept; take another id")


def _refuse_another(workspaces: Workspaces, workspace_id: str, customer: str, organisation: str | None) -> None:
    there = workspaces.get(workspace_id)
    if there is not None and there.customer != customer:
        raise Refused(f"the workspace {workspace_id} exists, with the customer {there.customer}")
    owner = workspaces.of_customer(customer)
    if owner not in {None, workspace_id}:
        raise Refused(f"the customer {customer} is tied to the workspace {owner}")
    if organisation is not None and workspaces.of_organisation(organisation) != workspace_id:
        raise Refused(f"{organisation} does not act for {workspace_id}; if it acts for no other: workspace link")


def link(workspaces: Workspaces, workspace_id: str, organisation: str) -> None:
    """Lets the sessions of a Clerk organisation act for the workspace."""
    workspace(workspaces, workspace_id)
    check_organisation(organisation)
    if not workspaces.map_organisation(organisation, workspace_id):
        raise Refused(f"{organisation} acts for the workspace {workspaces.of_organisation(organisation)}")


def unlink(workspaces: Workspaces, workspace_id: str, organisation: str) -> None:
    """Stops the sessions of a Clerk organisation from acting for the workspace."""
    if not workspaces.unmap_organisation(organisation, workspace_id):
        raise Refused(f"{organisation} does not act for the workspace {workspace_id}")


def check_organisation(organisation: str) -> None:
    """Raises Refused unless it has the form of a Clerk organisation's id."""
    if not _ORGANISATION.fullmatch(organisation):
        raise Refused(f"{organisation!r} is no Clerk organisation: org_...")


def workspace(workspaces: Workspaces, workspace_id: str) -> Workspace:
    """The workspace as it is now; raises Refused when there is none."""
    found = workspaces.get(workspace_id)
    if found is None:
        raise Refused(f"there is no workspace {workspace_id}")
    return found


def sync(workspaces: Workspaces, lifecycle: Lifecycle, workspace_id: str, clock: Clock) -> Workspace:
    """Reads the subscription from Stripe; cancels or waives a waiting request that need not be paid any more."""
    if lifecycle.sync_subscription(clock, workspace_id) is None:
        raise Refused(f"there is no workspace {workspace_id}")
    return workspace(workspaces, workspace_id)


@dataclass(frozen=True, slots=True)
class Capacity:
    """One kind of line in a workspace; `included` is None when its plan does not offer it."""

    kind: Kind
    included: int | None
    cap: int | None
    used: int
    paid: int
    left: int
    """How many more can be had without a payment."""
    add_on: str | None


def capacity(workspace: Workspace) -> list[Capacity]:
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
            Capacity(
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


def issue_key(workspaces: Workspaces, keys: ApiKeys, workspace_id: str, label: str, now_ms: int) -> str:
    """A new key; only its hash is stored."""
    workspace(workspaces, workspace_id)
    token = ids.new_api_key(workspace_id)
    keys.insert(workspace_id, ApiKey(ids.sha256_hex(token), label, now_ms))
    return token


def list_keys(workspaces: Workspaces, keys: ApiKeys, workspace_id: str) -> list[ApiKey]:
    """The workspace's keys, oldest first."""
    workspace(workspaces, workspace_id)
    return keys.list(workspace_id)


def revoke_key(workspaces: Workspaces, keys: ApiKeys, workspace_id: str, key_or_hash: str, now_ms: int) -> ApiKey:
    """Revokes the key, given itself or by the first digits of its hash; the first revocation counts."""
    return keys.revoke(workspace_id, _key(workspaces, keys, workspace_id, key_or_hash).hash, now_ms)


def rotate_key(  # noqa: PLR0913 - the stores, the key, and when
    workspaces: Workspaces, keys: ApiKeys, workspace_id: str, key_or_hash: str, *, overlap_ms: int, now_ms: int
) -> tuple[str, ApiKey]:
    """A new key with the label of the old one, and the old one, which expires after the overlap."""
    old = _key(workspaces, keys, workspace_id, key_or_hash)
    if not old.works_at(now_ms):
        raise Refused(f"the key {old.hash[:HASH_DIGITS]} is revoked or expired; issue a new one")
    token = issue_key(workspaces, keys, workspace_id, old.label, now_ms)
    try:
        return token, keys.expire(workspace_id, old.hash, now_ms + overlap_ms)
    except ConditionFailed:  # it was rotated before, with a shorter overlap
        return token, old


def _key(workspaces: Workspaces, keys: ApiKeys, workspace_id: str, key_or_hash: str) -> ApiKey:
    given_key = key_or_hash.startswith("tuco_")
    prefix = ids.sha256_hex(key_or_hash) if given_key else key_or_hash.lower()
    if len(prefix) < HASH_PREFIX_MIN:
        raise Refused(f"at least {HASH_PREFIX_MIN} digits of the hash are needed")
    found = [key for key in list_keys(workspaces, keys, workspace_id) if key.hash.startswith(prefix)]
    if len(found) != 1:
        what = "that is not a key" if given_key else f"{prefix} names {len(found) or 'no'} {'keys' if found else 'key'}"
        raise Refused(f"{what} of the workspace {workspace_id}")
    return found[0]


# --- lines --------------------------------------------------------------------------------------


def line(lines: Lines, workspace_id: str, line_id: str) -> Line:
    """The line as it is now; raises Refused when the workspace has none of this id."""
    found = lines.get(workspace_id, line_id.lower())
    if found is None:
        raise Refused(f"the workspace {workspace_id} has no line {line_id}")
    return found


def find(stores: Stores, line_id: str) -> Line:
    """The line of any workspace that there is; raises Refused when none of them has one of this id."""
    found = stores.lines.find(line_id.lower(), stores.operator.workspace_ids())
    if found is None:
        raise Refused(f"no workspace has a line {line_id}; a deleted one's is found with --workspace")
    return found


def line_of_invoice(lines: Lines, workspaces: Workspaces, billing: OperatorBilling, invoice_id: str) -> Line:
    """The line that a Stripe invoice is for."""
    invoice = billing.invoices.retrieve(invoice_id)
    if invoice.status == "gone":
        raise Refused(f"Stripe does not know the invoice {invoice_id}")
    workspace_id = workspaces.of_customer(invoice.customer)
    if not invoice.line_id or workspace_id is None:
        raise Refused(f"the invoice {invoice_id} is not a line's")
    return line(lines, workspace_id, invoice.line_id)


def cancel(lifecycle: Lifecycle, found: Line, clock: Clock) -> Line:
    """From awaiting_payment to canceled: the invoice is void first. A payment under way, or made, comes first."""
    _in_status(found, "canceled", Status.AWAITING_PAYMENT)
    return lifecycle.cancel(clock, found, VoidReason.CANCELED)


def retry(lines: Lines, workspaces: Workspaces, workspace_id: str, line_id: str, now_ms: int) -> Line:
    """From failed back to provisioning, taking a place again, if there is one (contract 49)."""
    failed = _in_status(line(lines, workspace_id, line_id), "retried", Status.FAILED)
    if is_erased(failed.submission):
        raise Refused(f"the personal data of the line {failed.id} was erased, so it cannot be provisioned")
    if failed.payment_status is PaymentStatus.PAID and (back := failed.gone_back) is not None:
        raise Refused(
            f"what was paid for the line {failed.id} has gone back, or is about to: {back.cause} {back.id}; "
            f"release it (line-requests line release {failed.id}), and the customer requests again"
        )
    before = workspace(workspaces, workspace_id)
    try:
        moved = lines.retry(before, failed, RETRIED, now_ms)
    except ForbiddenLineType as error:
        if workspace(workspaces, workspace_id).revision != before.revision:
            raise Refused("the subscription has just changed; try again") from None
        raise Refused(str(error)) from None
    return _moved_by_us(moved, Change(now_ms, Status.PROVISIONING, RETRIED))


def release(lines: Lines, workspace_id: str, line_id: str, now_ms: int) -> Line:
    """From active or failed to canceled: the place is free again (contract 49)."""
    settled = _in_status(line(lines, workspace_id, line_id), "released", Status.ACTIVE, Status.FAILED)
    moved = lines.release(settled, RELEASED, now_ms)
    return _moved_by_us(moved, Change(now_ms, Status.CANCELED, RELEASED))


def publish_result(  # noqa: PLR0913 - a result has this many parts
    lines: Lines, bus: Bus, workspace_id: str, line_id: str, *, succeeded: bool, reason: str | None = None
) -> Line:
    """Publishes a result about the line's present state in a provisioner's place; returns the line."""
    provisioning = _in_status(line(lines, workspace_id, line_id), "answered", Status.PROVISIONING)
    detail = {
        "eventId": event_id(provisioning),
        "workspaceId": workspace_id,
        "lineId": provisioning.id,
        "outcome": "succeeded" if succeeded else "failed",
    } | ({"reason": reason} if reason else {})
    if not bus.publish_result(detail):
        raise Refused("the event bus refused the result; try again")
    return provisioning


def _in_status(found: Line, what: str, *allowed: Status) -> Line:
    if found.status not in allowed:
        raise Refused(f"the line {found.id} is {found.status}; only {' or '.join(allowed)} lines can be {what}")
    return found


def _moved_by_us(moved: Line, change: Change) -> Line:
    if moved.history[-1] != change:
        raise Refused(f"the line {moved.id} was just changed by another process: it is {moved.status}")
    return moved
