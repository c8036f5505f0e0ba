"""`line-requests plans`: what the base prices of subscriptions grant."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from line_requests.operator import plan_files, views
from line_requests.operator.groups.arguments import Deployed
from line_requests.operator.groups.workspaces import sync_all
from line_requests.operator.refusal import Incomplete, Refused, Row, View
from line_requests.operator.target import APPLY_BUDGET_S, new_clock

app = App(name="plans", help="What the base prices of subscriptions grant.", help_epilogue="")
STDIN = "-"


@app.command(
    name="apply",
    help_epilogue="""\
Examples:
  line-requests --stack prod plans apply plans.toml
  line-requests --stack prod plans apply plans.toml --sync --prune""",
)
def apply_plans(
    file: Annotated[str, Parameter(help="TOML as in plans.example.toml; - reads standard input.")],
    /,
    *,
    prune: Annotated[bool, Parameter(negative="", help="Remove applied plans that the file does not have.")] = False,
    sync: Annotated[bool, Parameter(negative="", help="Then sync every workspace.")] = False,
    target: Deployed,
) -> View:
    """Check a file's plans at Stripe and store them, all or none."""
    specs = plan_files.read(_read(file))
    billing = target.billing(new_clock(APPLY_BUDGET_S))
    applied, removed = plan_files.apply(specs, target.deployment.stores.plans, billing, prune=prune)
    view: Row = {"applied": [plan.name for plan in applied], "removed": removed}
    if sync:
        try:
            view["synced"] = sync_all(target)
        except Incomplete as incomplete:
            raise Incomplete(view | {"synced": incomplete.view}, str(incomplete)) from None
    return view


@app.command(help_epilogue="Example:\n  line-requests --stack prod plans show")
def show(*, target: Deployed) -> View:
    """Show the applied plans."""
    return [views.plan_view(plan) for plan in target.deployment.stores.plans.all()]


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {getattr(error, 'strerror', None) or error}") from None
