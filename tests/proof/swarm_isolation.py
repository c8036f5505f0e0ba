"""Isolation: what a function does for one workspace neither touches nor shows what is another's."""

import json

from tests.proof.actors import Ended
from tests.proof.invariants import expect
from tests.proof.tenants import EVERYONE, FIRST, SECOND, Tenant
from tests.proof.world import DynamoDb, Step, Stripe, World

TENANTS = (FIRST, SECOND)


def isolated(step: Step, who: Tenant, world: World) -> None:
    """Raises Violation when a step names what is another workspace's; one for all names one workspace at a time."""
    if not isinstance(step, DynamoDb | Stripe):
        return
    text = _text(step)
    named = [tenant for tenant in TENANTS if any(name in text for name in _names(tenant, world))]
    if who is EVERYONE:
        expect(len(named) <= 1, f"{step} is about two workspaces at once")
    else:
        expect(set(named) <= {who}, f"{step} for {who.workspace} is about another workspace")


def shows_only_own(end: Ended, who: Tenant, world: World) -> None:
    """Raises Violation when an answer shows what is another workspace's."""
    text = json.dumps(end.answer)
    for tenant in TENANTS:
        shown = [name for name in _names(tenant, world) if tenant is not who and name in text]
        expect(who is EVERYONE or not shown, f"{who.workspace} is answered with {shown} of {tenant.workspace}")


def _text(step: DynamoDb | Stripe) -> str:
    if isinstance(step, DynamoDb):
        return json.dumps(step.request, default=str)
    return f"{step.path} {json.dumps(dict(step.params))} {step.key}"


def _names(tenant: Tenant, world: World) -> list[str]:
    """What nothing of another workspace may name."""
    lines = [sk.removeprefix("LINE#") for pk, sk in world.table.items if sk.startswith("LINE#") and tenant.owns(pk)]
    invoices = [name for name, one in world.stripe.invoices.items() if one["customer"] == tenant.customer]
    workspace = f'"metadata[workspace_id]": "{tenant.workspace}"'
    return [f'W#{tenant.workspace}"', workspace, tenant.customer, tenant.subscription, *lines, *invoices]
