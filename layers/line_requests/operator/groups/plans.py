"""`line-requests plans`: what the base prices of subscriptions grant."""

from typing import Annotated

from cyclopts import App, Parameter

from line_requests.domain.errors import LineRequestError
from line_requests.flows.subscriptions import select
from line_requests.operator import over_plan, plan_checks, plan_diff, plan_files, render, views
from line_requests.operator.doctor import few
from line_requests.operator.errors import one_line
from line_requests.operator.groups.arguments import Deployed, file_parameter, read_file
from line_requests.operator.groups.workspaces import sync_all
from line_requests.operator.plan_checks import Checked
from line_requests.operator.refusal import Incomplete, Row, View
from line_requests.operator.target import APPLY_BUDGET_S, Target, new_clock

app = App(name="plans", help="Plans: the lines that a subscription's base price includes and allows.", help_epilogue="")


File = Annotated[str, file_parameter("TOML as in plans.example.toml")]
Prune = Annotated[bool, Parameter(negative="", help="Remove applied plans that the file does not have.")]


@app.command(
    name="apply",
    help_epilogue="""\
Examples:
  line-requests --stack prod plans apply plans.toml --dry-run
  line-requests --stack prod plans apply plans.toml --sync""",
)
def apply_plans(
    file: File,
    /,
    *,
    prune: Prune = False,
    sync: Annotated[bool, Parameter(negative="", help="Then sync every workspace.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Check and show what would change; store nothing.")] = False,
    target: Deployed,
) -> View:
    """Check a file's plans at Stripe and store them, all or none."""
    checked = _check(target, file, prune=prune)
    if dry_run:
        return _preview(target, checked)
    target.deployment.stores.plans.save(checked.plans, remove=checked.removed)
    view: Row = {"applied": [plan.name for plan in checked.plans], "removed": checked.removed}
    if sync:
        try:
            view["synced"] = sync_all(target)
        except Incomplete as incomplete:
            raise Incomplete(view | {"synced": incomplete.view}, str(incomplete)) from None
    return view


@app.command(help_epilogue="Example:\n  line-requests plans diff plans.toml")
def diff(file: File, /, *, prune: Prune = False, target: Deployed) -> View:
    """Show what applying a file would change, and which workspaces it would put over plan."""
    return _preview(target, _check(target, file, prune=prune))


@app.command(help_epilogue="Examples:\n  line-requests plans show\n  line-requests plans show --toml > plans.toml")
def show(
    *,
    toml: Annotated[bool, Parameter(negative="", help="As a file that plans apply takes.")] = False,
    target: Deployed,
) -> View:
    """Show the applied plans."""
    plans = target.deployment.stores.plans.all()
    return plan_files.to_toml(plans) if toml else [views.plan_view(plan) for plan in plans]


def _check(target: Target, file: str, *, prune: bool) -> Checked:
    """The file's plans, checked at Stripe; every mistake gets its line."""
    text, stores = read_file(file), target.deployment.stores
    try:
        specs = plan_files.read(text)
        # Every price is one call, so a file of many plans takes its time.
        billing = target.billing(new_clock(APPLY_BUDGET_S))
        with render.status("Checking prices at Stripe"):
            in_use = stores.workspaces.all() if prune else ()
            return plan_checks.check(specs, stores.plans.all(), billing, prune=prune, workspaces=in_use)
    except plan_files.InvalidPlans as invalid:
        raise invalid.located(text) from None


def _preview(target: Target, checked: Checked) -> Row:
    stores = target.deployment.stores
    stored = stores.plans.all()
    applied = {plan.name: plan for plan in (*stored, *checked.plans) if plan.name not in checked.removed}
    over, failed = list[Row](), list[str]()
    read = render.count(stores.workspaces.all(), "Reading the whole table")
    holders = [workspace for workspace in read if any(workspace.held.values())]
    # Only Stripe knows the base price that a sync will select the plan by.
    for workspace in render.track(holders, "Comparing workspaces"):
        try:
            listed = target.billing().subscriptions.of_customer(workspace.customer)
            over += over_plan.rows(workspace, select(listed, [*applied.values()]))
        except LineRequestError as error:
            failed.append(f"{workspace.id}: {one_line(error)}")
    view = {"changes": plan_diff.diff(stored, checked.plans, checked.removed), "overPlan": over}
    if failed:
        said = f"{len(failed)} of {len(holders)} workspaces with lines could not be compared; fix this, then retry"
        raise Incomplete(view, f"{said}: {few(failed)}")
    return view
