"""`line-requests line` and `line-requests provisioning`: single line requests."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from line_requests.bus.events import event_id
from line_requests.clock import wall_time_ms
from line_requests.operator import commands, views
from line_requests.operator.groups.arguments import Deployed, LineId, WorkspaceId
from line_requests.operator.refusal import Refused, View

app = App(name="line", help="Single line requests.", help_epilogue="")
provisioning = App(name="provisioning", help="What provisioners say.", help_epilogue="")


@app.command(help_epilogue="Example:\n  line-requests line show acme 01a201e51d611380de40ba3c")
def show(workspace: WorkspaceId, line: LineId, /, *, target: Deployed) -> View:
    """Show a line with its history."""
    return views.line_view(commands.line(target.deployment.stores.lines, workspace, line))


@app.command(help_epilogue="Example:\n  line-requests line retry acme 01a201e51d611380de40ba3c")
def retry(workspace: WorkspaceId, line: LineId, /, *, target: Deployed) -> View:
    """Provision a failed line again, if its plan has room for it."""
    stores = target.deployment.stores
    return views.line_view(commands.retry(stores.lines, stores.workspaces, workspace, line, wall_time_ms()))


@app.command(help_epilogue="Example:\n  line-requests line release acme 01a201e51d611380de40ba3c")
def release(workspace: WorkspaceId, line: LineId, /, *, target: Deployed) -> View:
    """Cancel an active or failed line; an active one frees its capacity."""
    return views.line_view(commands.release(target.deployment.stores.lines, workspace, line, wall_time_ms()))


@provisioning.command(
    help_epilogue="""\
Examples:
  line-requests provisioning answer acme 01a201e51d611380de40ba3c succeeded
  line-requests provisioning answer acme 01a201e51d611380de40ba3c failed --reason 'no numbers left'"""
)
def answer(
    workspace: WorkspaceId,
    line: LineId,
    outcome: Annotated[Literal["succeeded", "failed"], Parameter(help="What became of it.")],
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why it failed.")] = None,
    target: Deployed,
) -> View:
    """Publish a provisioner's answer on the event bus in its place."""
    succeeded = outcome == "succeeded"
    if succeeded and reason:
        raise Refused("a reason belongs to failed")
    bus = target.bus()
    found = commands.publish_result(
        target.deployment.stores.lines, bus, workspace, line, succeeded=succeeded, reason=reason
    )
    return {"line": found.id, "eventId": event_id(found), "outcome": outcome}
