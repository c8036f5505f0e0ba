"""`line-requests line` and `line-requests provisioning`: single line requests."""

from datetime import timedelta
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from line_requests.bus.events import event_id
from line_requests.clock import wall_time_ms
from line_requests.domain.errors import BillingUnavailable
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Line, Status
from line_requests.flows.refunds import Refunds
from line_requests.operator import commands, import_file, importing, listing, render, views
from line_requests.operator.errors import one_line
from line_requests.operator.groups.arguments import Deployed, Yes, confirm, file_parameter, read_file
from line_requests.operator.refusal import Incomplete, Refused, Row, View
from line_requests.operator.target import Target, new_clock
from line_requests.storage.table import TransactionCanceled

app = App(name="line", help="Single line requests.", help_epilogue="")
provisioning = App(name="provisioning", help="A provisioner's answers.", help_epilogue="")
INVOICE = "in_"
# As long as Stripe's own metadata.
REFERENCE_MAX = 500


def _check_line(_: type, text: str) -> None:
    if parse_line_id(text) is None and not text.startswith(INVOICE):
        raise ValueError(f"{text!r} is neither a line id, 24 hex digits, nor an invoice, in_...")


def _check_reference(_: type, text: str | None) -> None:
    if text is not None and (not text.strip() or len(text) > REFERENCE_MAX or not text.isprintable()):
        raise ValueError(f"a reference is 1 to {REFERENCE_MAX} printable characters")


LineId = Annotated[str, Parameter(help="The line's id, or its Stripe invoice.", validator=_check_line)]
Workspace = Annotated[
    str | None, Parameter(help="The line's workspace; without it every workspace is asked for a line id.")
]
Duration = Annotated[timedelta, Parameter(help="Only those in their status for longer than this: 30m, 24h, 3d.")]


@app.command(
    name="list",
    help_epilogue="""\
Examples:
  line-requests line list
  line-requests line list --status provisioning --older-than 1h
  line-requests line list --status awaiting-payment --older-than 3d
  line-requests line list --refund-due
  line-requests line list --workspace acme --sort newest
  line-requests line list --all --status active --limit 100000 --json""",
)
def list_lines(  # noqa: PLR0913 - the filters
    *,
    status: Annotated[Status | None, Parameter(help="Only those in this status.")] = None,
    older_than: Duration | None = None,
    refund_due: Annotated[bool, Parameter(negative="", help="Only those whose payment has to be refunded.")] = False,
    workspace: Annotated[str | None, Parameter(help="Every line of this workspace.")] = None,
    every: Annotated[
        bool, Parameter(name="--all", negative="", help="Every line of every workspace: it reads the whole table.")
    ] = False,
    sort: Annotated[
        listing.LineSort, Parameter(help="By the time of the last change, workspace or status.")
    ] = "oldest",
    limit: Annotated[int, Parameter(help="At most so many.", validator=validators.Number(gte=1))] = listing.PAGE,
    target: Deployed,
) -> View:
    """List the lines that need attention: unpaid, failed, to be refunded, or late in provisioning.

    Lines in any status are listed for one workspace, or with --all.
    """
    if every and workspace is not None:
        raise Refused("--all is every workspace; leave out --workspace")
    now_ms, stores = wall_time_ms(), target.deployment.stores
    since_ms = None if older_than is None else now_ms - older_than // timedelta(milliseconds=1)
    wanted = listing.Filter(status, refund_due, since_ms)
    if every:
        scanned = render.count(stores.lines.scan(status), "Reading the whole table")
        page = listing.first(filter(wanted.passes, scanned), sort, limit)
    elif workspace is not None:
        commands.workspace(stores.workspaces, workspace)
        page = listing.first(filter(wanted.passes, stores.lines.readable_of_workspace(workspace)), sort, limit)
    else:
        page = listing.open_lines(stores, wanted, now_ms=now_ms, sort=sort, limit=limit)
    if page.more:
        render.note(f"There are more than these {len(page.lines)}: --limit N shows more.")
    return [views.listed_line(line) for line in page.lines]


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
    try:
        canceled = commands.cancel(target.deployment.lifecycle, found, new_clock())
    except BillingUnavailable as trouble:
        now = _find(target, found.id, found.workspace_id)
        if now.void_reason is None:
            raise
        told = f"{one_line(trouble)}; the cancellation is stored, and the reconciler completes it once Stripe answers"
        raise Incomplete(views.line_view(now), told) from None
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


@app.command(
    help_epilogue="""\
Examples:
  line-requests line list --refund-due
  line-requests line refund 01a201e51d611380de40ba3c --dry-run
  line-requests line refund 01a201e51d611380de40ba3c --yes
  line-requests line refund 01a201e51d611380de40ba3c --sent-outside 'bank transfer 4711'"""
)
def refund(  # noqa: PLR0913 - the ways to refund
    line: LineId,
    /,
    *,
    workspace: Workspace = None,
    yes: Yes = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Only show what would be given back.")] = False,
    sent_outside: Annotated[
        str | None,
        Parameter(
            help="You have sent the money yourself, because Stripe cannot: record that, with your reference.",
            validator=_check_reference,
        ),
    ] = None,
    target: Deployed,
) -> View:
    """Give back what was paid for a line that cannot be had, as it was paid; a repetition gives back what is left.

    A failed line is released first, and a partly paid request is canceled.
    """
    found, refunds = _find(target, line, workspace), target.deployment.refunds
    target.billing()
    if sent_outside is not None:
        return _record_outside(found, refunds, sent_outside.strip(), dry_run=dry_run, yes=yes)
    if dry_run:
        return views.refund_view(found, refunds.left(new_clock(), found), done=False)
    confirm(_question("Give back what", found), yes=yes)
    with render.status("Refunding"):
        refunded, given = refunds.give_back(new_clock(), found)
    return views.refund_view(refunded, given, done=True)


def _record_outside(found: Line, refunds: Refunds, reference: str, *, dry_run: bool, yes: bool) -> View:
    if dry_run:
        return views.outside_view(found, refunds.left_outside(new_clock(), found, reference), done=False)
    confirm(_question("Record as sent back outside Stripe what", found), yes=yes)
    return views.outside_view(*refunds.record_outside(new_clock(), found, reference), done=True)


def _question(what: str, found: Line) -> str:
    released = " It is released first." if found.status is Status.FAILED else ""
    return f"{what} was paid for the {found.status} line {found.id} of {found.workspace_id}?{released}"


@app.command(
    name="import",
    help_epilogue="""\
Examples:
  line-requests line import lines.csv --dry-run
  line-requests line import lines.csv --yes""",
)
def import_lines(
    file: Annotated[str, file_parameter("CSV as in lines.example.csv")],
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Check and show what would be written; write nothing.")
    ] = False,
    yes: Yes = False,
    target: Deployed,
) -> View:
    """Take over the active lines of customers who had them before this service did.

    Workspaces that are not there are created. A row is written once, however often its file is imported. Add-on
    quantities at Stripe have to be what the lines owe; then they stay as they are.
    """
    stores, rows = target.deployment.stores, import_file.read(read_file(file))
    with render.status("Checking at Stripe"):
        batches = importing.check(stores, target.billing, rows)
    if dry_run:
        return [batch.view() for batch in batches]
    count = sum(len(batch.rows) for batch in batches)
    confirm(f"Import {count} lines into {sum(bool(batch.rows) for batch in batches)} workspaces?", yes=yes)
    shown, failed = list[Row](), 0
    for batch in render.track(batches, "Importing"):
        error = None
        try:
            importing.write(stores, batch, wall_time_ms())
        except (Refused, TransactionCanceled) as refusal:
            failed, error = failed + 1, one_line(refusal)
        except KeyboardInterrupt:
            render.note(f"Stopped after {len(shown)} of {len(batches)} workspaces; import the file again to go on")
            raise
        shown.append(batch.view() | {"error": error})
    if failed:
        raise Incomplete(shown, f"{failed} of {len(batches)} workspaces were not imported; import the file again")
    return shown


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
    with render.status("Asking every workspace"):
        return commands.find(stores, line)
