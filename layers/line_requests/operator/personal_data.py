"""A workspace's personal data: handed out, erased, and the workspace deleted."""

from line_requests.billing.account import Billing
from line_requests.domain.model import ENDED, Line, PaymentStatus, Status, Workspace
from line_requests.operator.commands import workspace
from line_requests.operator.refusal import Refused
from line_requests.storage.erasure import ERASABLE, Erasure
from line_requests.storage.stores import Stores


def erase(stores: Stores, workspace_id: str) -> tuple[list[Line], int]:
    """Erases the personal data of every line; returns the lines, and how many answers of idempotency keys."""
    _refuse_in_use(stores, workspace(stores.workspaces, workspace_id))
    erasure = Erasure(stores.table)
    lines = stores.lines.of_workspace(workspace_id)
    erased = [line for line in lines if erasure.erase_line(line)]
    if len(erased) < len(lines):
        raise Refused(
            f"{len(lines) - len(erased)} lines of {workspace_id} came into use meanwhile; the others are erased"
        )
    return erased, erasure.erase_responses(workspace_id)


def delete(stores: Stores, billing: Billing, workspace_id: str) -> int:
    """Erases, then deletes the workspace with its keys and ties; its lines stay. Returns how many stay."""
    found = workspace(stores.workspaces, workspace_id)
    _refuse_in_use(stores, found)
    _refuse_unrefunded(stores, workspace_id)
    add_ons = {price for plan in stores.plans.all() for _, price in plan.add_on_prices()}
    for subscription in billing.subscriptions.of_customer(found.customer):
        counts = found.subscription is not None and found.subscription.id == subscription.id
        # The reconciler removes these; a last item stays, with quantity 0.
        billed = any(
            item.quantity and (item.ours or (counts and price in add_ons)) for price, item in subscription.items.items()
        )
        if subscription.status not in ENDED and billed:
            raise Refused(
                f"{subscription.id} still carries an add-on of {workspace_id}; the reconciler removes it within minutes"
            )
    lines, _ = erase(stores, workspace_id)
    organisations = stores.workspaces.organisations_of(workspace_id)
    keys = stores.api_keys.list(workspace_id)
    if not Erasure(stores.table).delete_workspace(workspace_id, found.customer, organisations, keys):
        raise Refused(f"a line of {workspace_id} came into use meanwhile; its keys are deleted, so retry")
    return len(lines)


def _refuse_in_use(stores: Stores, found: Workspace) -> None:
    if any(found.held.values()):
        held = [line.id for line in stores.lines.of_workspace(found.id) if line.status not in ERASABLE]
        raise Refused(f"{len(held)} lines of {found.id} hold places: {', '.join(held)}; cancel or release them first")


def _refuse_unrefunded(stores: Stores, workspace_id: str) -> None:
    """Without its workspace, no line of a customer is found, so that a refund could not be followed any more."""
    owed = [
        line.id
        for line in stores.lines.of_workspace(workspace_id)
        if line.refund_due
        or (line.status is Status.FAILED and line.payment_status is PaymentStatus.PAID and line.gone_back is None)
    ]
    if owed:
        raise Refused(
            f"what was paid for {len(owed)} lines of {workspace_id} has not gone back: {', '.join(owed)}; "
            "run line-requests line refund LINE for each, and delete once Stripe has sent the money"
        )
