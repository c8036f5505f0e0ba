"""`line-requests workspace`: who may request lines, and how many."""

from dataclasses import fields
from typing import Annotated

from cyclopts import App, Parameter

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import LineRequestError
from line_requests.domain.model import Subscription, Workspace
from line_requests.operator import commands, counting, listing, render, views
from line_requests.operator.errors import one_line
from line_requests.operator.groups.arguments import Deployed, WorkspaceId, Yes, confirm
from line_requests.operator.refusal import Incomplete, Refused, Row, View
from line_requests.operator.target import Target, new_clock

app = App(name="workspace", help="Who may request lines, and how many.", help_epilogue="")
Organisation = Annotated[str, Parameter(help="The Clerk organisation, org_...")]


@app.command(help_epilogue="Example:\n  line-requests workspace create acme --customer cus_123 --organisation org_123")
def create(
    workspace: Annotated[str, Parameter(help="Its id: 1 to 40 of a-z, 0-9 and -.")],
    /,
    *,
    customer: Annotated[str, Parameter(help="Its Stripe customer, cus_...")],
    organisation: Annotated[str | None, Parameter(help="The Clerk organisation that acts for it, org_...")] = None,
    target: Deployed,
) -> View:
    """Tie a new workspace to a Stripe customer."""
    stores = target.deployment.stores
    commands.refuse_former(stores.workspaces, stores.lines, workspace)
    created = commands.create_workspace(
        stores.workspaces,
        target.deployment.lifecycle.subscriptions,
        target.billing(),
        workspace,
        customer=customer,
        organisation=organisation,
        now_ms=wall_time_ms(),
    )
    return _shown(target, created)


@app.command(help_epilogue="Example:\n  line-requests workspace show acme")
def show(workspace: WorkspaceId, /, *, target: Deployed) -> View:
    """Show a workspace's plan, capacity, lock and number of keys."""
    return _shown(target, commands.workspace(target.deployment.stores.workspaces, workspace))


@app.command(
    name="list",
    help_epilogue="Examples:\n  line-requests workspace list --over-plan --sort excess\n"
    "  line-requests workspace list --locked",
)
def list_workspaces(
    *,
    over_plan: Annotated[
        bool, Parameter(negative="", help="Only those with more lines than their plan allows.")
    ] = False,
    near_cap: Annotated[bool, Parameter(negative="", help="Only those with 80% of a cap used.")] = False,
    locked: Annotated[bool, Parameter(negative="", help="Only those with a request that awaits payment.")] = False,
    sort: Annotated[
        listing.WorkspaceSort, Parameter(help="By id, by lines held, or by how much they are over.")
    ] = "id",
    target: Deployed,
) -> View:
    """List workspaces."""
    with render.status("Reading workspaces"):
        found = listing.workspaces(
            target.deployment.stores, over=over_plan, near_cap=near_cap, locked=locked, sort=sort
        )
    return [views.listed_workspace(listed) for listed in found]


@app.command(help_epilogue="Example:\n  line-requests workspace link acme org_123")
def link(workspace: WorkspaceId, organisation: Organisation, /, *, target: Deployed) -> View:
    """Let the sessions of a Clerk organisation act for a workspace."""
    commands.link(target.deployment.stores.workspaces, workspace, organisation)
    return {"workspace": workspace, "linked": organisation}


@app.command(help_epilogue="Example:\n  line-requests workspace unlink acme org_123")
def unlink(workspace: WorkspaceId, organisation: Organisation, /, *, target: Deployed) -> View:
    """Stop a Clerk organisation from acting for a workspace; it takes effect with the next call."""
    commands.unlink(target.deployment.stores.workspaces, workspace, organisation)
    return {"workspace": workspace, "unlinked": organisation}


@app.command(
    help_epilogue="Examples:\n  line-requests workspace sync acme\n  line-requests workspace sync --all --dry-run"
)
def sync(
    workspace: Annotated[str | None, Parameter(help="The workspace's id.")] = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative="", help="Every workspace.")] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Only show plan and status, the new ones, and every field that would change.")
    ] = False,
    target: Deployed,
) -> View:
    """Read the subscription from Stripe; a waiting request that need not be paid any more is included or canceled."""
    if (workspace is None) is not every:
        raise Refused("name one workspace, or all of them with --all")
    if workspace is None:
        return sync_all(target, dry_run=dry_run)
    return _compared(target, workspace) if dry_run else _shown(target, _sync(target, workspace))


@app.command(help_epilogue="Example:\n  line-requests workspace recount acme")
def recount(workspace: WorkspaceId, /, *, yes: Yes = False, target: Deployed) -> View:
    """Set a workspace's counts and lock to what its lines mean, after a restore or a repair by hand."""
    confirm(f"Recount the lines of {workspace}?", yes=yes)
    stores = target.deployment.stores
    waiting = counting.recount(stores, workspace, wall_time_ms())
    found = commands.workspace(stores.workspaces, workspace)
    if len(waiting) > 1:
        told = f"{len(waiting)} lines await payment: {', '.join(waiting)}"
        raise Incomplete(_shown(target, found), f"{told}. Run line cancel {found.lock}, then recount again")
    return _shown(target, found)


def sync_all(target: Target, *, dry_run: bool = False) -> list[Row]:
    """Syncs every workspace, or compares it; one that fails stops nothing and is reported at the end."""
    rows, failed = list[Row](), 0
    ids = sorted(render.count(target.deployment.stores.workspaces.ids(), "Reading the whole table"))
    for workspace_id in render.track(ids, "Comparing workspaces" if dry_run else "Syncing workspaces"):
        row: Row = {"workspace": workspace_id, "plan": None, "status": None}
        row |= {"newPlan": None, "newStatus": None, "changes": None} if dry_run else {}
        row["error"] = None
        try:
            row |= _compared(target, workspace_id) if dry_run else _plan_and_status(_sync(target, workspace_id))
        except (Refused, LineRequestError) as error:
            failed += 1
            row["error"] = one_line(error)
        rows.append(row)
    if failed:
        raise Incomplete(rows, f"{failed} of {len(rows)} workspaces could not be {'compared' if dry_run else 'synced'}")
    return rows


def _plan_and_status(workspace: Workspace) -> Row:
    subscription = workspace.subscription
    return {"plan": subscription and subscription.plan, "status": subscription and subscription.status}


def _compared(target: Target, workspace_id: str) -> Row:
    """What is stored of the subscription and what Stripe says; nothing is written."""
    deployment, billing = target.deployment, target.billing()
    workspace = commands.workspace(deployment.stores.workspaces, workspace_id)
    current = deployment.lifecycle.subscriptions.current(billing, workspace.customer)
    names = [field.name for field in fields(Subscription)]
    changes = [name for name in names if getattr(workspace.subscription, name, None) != getattr(current, name, None)]
    new = {"newPlan": current and current.plan, "newStatus": current and current.status, "changes": changes}
    return {"workspace": workspace_id, **_plan_and_status(workspace), **new}


def _sync(target: Target, workspace_id: str) -> Workspace:
    target.billing()  # names a missing setting before anything is read
    deployment = target.deployment
    return commands.sync(deployment.stores.workspaces, deployment.lifecycle, workspace_id, new_clock())


def _shown(target: Target, workspace: Workspace) -> Row:
    return views.workspace_view(workspace, target.deployment.stores.api_keys.list(workspace.id))
