"""`line-requests line` and `line-requests provisioning`: single line requests."""

from datetime import timedelta
from typing import Annotated, Literal

from cyclopts import App, Parameter

from line_requests.bus.events import event_id
from line_requests.clock import wall_time_ms
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Line, Status
from line_requests.operator import commands, listing, render, views
from line_requests.operator.groups.arguments import Deployed, Yes, confirm
from line_requests.operator.refusal import Incomplete, Refused, View
from line_requests.operator.target import Target, new_clock

app = App(name="line", help="Single line requests.", help_epilogue="")
provisioning = App(name="provisioning", help="What provisioners say.", help_epilogue="")
INVOICE = "in_"


def _check_line(_: type, text: str) -> None:
    if parse_line_id(text) is None and not text.startswith(INVOICE):
        raise ValueError(f"{text!r} is neither a line id, 24 hex digits, nor an invoice, in_...")


LineId = Annotated[str, Parameter(help="The line's id, or its Stripe invoice.", validator=_check_line)]
Workspace = Annotated[
    str | None, Parameter(help="The line's workspace; without it the whole table is searched for a line id.")
]
Duration = Annotated[timedelta, Parameter(help="Only those in their status for longer than this: 30m, 24h, 3d.")]


@app.command(
    name="list",
    help_epilogue="""\
Examples:
  line-requests line list --status provisioning --older-than 1h
  line-requests line list --status awaiting-payment --older-than 3d
  line-requests line list --refund-due""",
)
def list_lines(  # noqa: PLR0913 - the filters
    *,
    status: Annotated[Status | None, Parameter(help="Only those in this status.")] = None,
    older_than: Duration | None = None,
    refund_due: Annotated[bool, Parameter(negative="", help="Only those whose payment has to be refunded.")] = False,
    workspace: Annotated[str | None, Parameter(help="Only those of this workspace.")] = None,
    sort: Annotated[
        listing.LineSort, Parameter(help="By the time of the last change, workspace or status.")
    ] = "oldest",
    target: Deployed,
) -> View:
    """List lines with their status, since when and why."""
    since_ms = None if older_than is None else wall_time_ms() - older_than // timedelta(milliseconds=1)
    with render.status("Reading lines"):
        found = listing.lines(
            target.deployment.stores,
            status=status,
            workspace_id=workspace,
            since_ms=since_ms,
            refund_due=refund_due,
            sort=sort,
        )
    return [views.listed_line(line) for line in found]


@app.command(
    help_epilogue="Examples:\n  line-requests line show 01a201e51d611380de40ba3c\n  line-requests line show in_1Nabc"
)
def show(line: LineId, /, *, workspace: Workspace = None, target: Deployed) -> View:
    """Show a line with its history."""
    return views.line_view(_find(target, line, workspace))


@app.command(help_epilogue="Example:\n  line-requests line cancel 01a201e51d611380de40ba3c")
def cancel(line: LineId, /, *, workspace: Workspace = None, yes: Yes = False, target: Deployed) -> View:
    """Cancel a request that awaits payment: its invoice is voided, and its workspace may request again."""
    found = _find(target, line, workspace)
    confirm(f"Void the invoice of the line {found.id} and cancel the request?", yes=yes)
    target.billing()
    canceled = commands.cancel(target.deployment.lifecycle, found, new_clock())
    view = views.line_view(canceled)
    if canceled.status is Status.CANCELED:
        return view
    under_way = "a part of its invoice is paid" if canceled.amount_paid else "a payment is under way"
    why = under_way if canceled.awaiting else "it was paid first"
    raise Incomplete(view, f"the line {canceled.id} is {canceled.status}: {why}")


@app.command(help_epilogue="Example:\n  line-requests line retry 01a201e51d611380de40ba3c")
def retry(line: LineId, /, *, workspace: Workspace = None, target: Deployed) -> View:
    """Provision a failed line again, if its plan has room for it."""
    found, stores = _find(target, line, workspace), target.deployment.stores
    retried = commands.retry(stores.lines, stores.workspaces, found.workspace_id, found.id, wall_time_ms())
    return views.line_view(retried)


@app.command(help_epilogue="Example:\n  line-requests line release 01a201e51d611380de40ba3c")
def release(line: LineId, /, *, workspace: Workspace = None, yes: Yes = False, target: Deployed) -> View:
    """Cancel an active or failed line; an active one frees its capacity."""
    found = _find(target, line, workspace)
    confirm(f"Release the line {found.id} of {found.workspace_id}, for good?", yes=yes)
    released = commands.release(target.deployment.stores.lines, found.workspace_id, found.id, wall_time_ms())
    return views.line_view(released)


@provisioning.command(
    help_epilogue="""\
Examples:
  line-requests provisioning answer 01a201e51d611380de40ba3c succeeded
  line-requests provisioning answer 01a201e51d611380de40ba3c failed --reason 'no numbers left'"""
)
def answer(
    line: LineId,
    outcome: Annotated[Literal["succeeded", "failed"], Parameter(help="What became of it.")],
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why it failed.")] = None,
    workspace: Workspace = None,
    target: Deployed,
) -> View:
    """Publish a provisioner's answer on the event bus in its place."""
    succeeded = outcome == "succeeded"
    if succeeded and reason:
        raise Refused("a reason belongs to failed")
    bus, found = target.bus(), _find(target, line, workspace)
    answered = commands.publish_result(
        target.deployment.stores.lines, bus, found.workspace_id, found.id, succeeded=succeeded, reason=reason
    )
    return {"line": answered.id, "eventId": event_id(answered), "outcome": outcome}


def _find(target: Target, line: str, workspace: str | None) -> Line:
    stores = target.deployment.stores
    if line.startswith(INVOICE):
        return commands.line_of_invoice(stores.lines, stores.workspaces, target.billing(), line)
    if workspace is not None:
        return commands.line(stores.lines, workspace, line)
    with render.status("Searching the table"):
        return commands.find(stores.lines, line)
