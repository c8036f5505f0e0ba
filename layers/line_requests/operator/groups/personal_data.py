"""`line-requests workspace export | erase | delete`: a workspace's personal data."""

from line_requests.operator import commands, personal_data, views
from line_requests.operator.groups import workspaces
from line_requests.operator.groups.arguments import Deployed, WorkspaceId, Yes, confirm
from line_requests.operator.refusal import View

app = workspaces.app


@app.command(help_epilogue="Example:\n  line-requests workspace export acme --json > acme.json")
def export(workspace: WorkspaceId, /, *, target: Deployed) -> View:
    """Show what is stored of a workspace, its keys and its lines, personal data included."""
    stores = target.deployment.stores
    found, keys = commands.workspace(stores.workspaces, workspace), stores.api_keys.list(workspace)
    return views.workspace_view(found, keys) | {
        "organisations": stores.workspaces.organisations_of(workspace),
        "apiKeys": [views.key_view(key) for key in keys],
        "lines": [views.line_view(line) for line in stores.lines.of_workspace(workspace)],
    }


@app.command(help_epilogue="Example:\n  line-requests workspace erase acme")
def erase(workspace: WorkspaceId, /, *, yes: Yes = False, target: Deployed) -> View:
    """Erase the personal data of a workspace's lines; amounts and history stay.

    Refused while lines hold places. What Stripe stores of the customer is not touched.
    """
    confirm(f"Erase the personal data of all lines of {workspace}, for good?", yes=yes)
    lines, responses = personal_data.erase(target.deployment.stores, workspace)
    return {"workspace": workspace, "linesErased": len(lines), "responsesErased": responses}


@app.command(help_epilogue="Example:\n  line-requests workspace delete acme")
def delete(workspace: WorkspaceId, /, *, yes: Yes = False, target: Deployed) -> View:
    """Erase a workspace's personal data, then delete it with its keys; its lines stay, without names.

    Refused while lines hold places or a payment has to go back. The customer and the subscription at Stripe are not
    touched.
    """
    confirm(f"Delete the workspace {workspace} and its API keys, for good?", yes=yes)
    billing = target.billing()
    kept = personal_data.delete(target.deployment.stores, billing, workspace)
    return {"workspace": workspace, "deleted": True, "linesKept": kept}
