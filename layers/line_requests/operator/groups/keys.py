"""`line-requests key`: a workspace's API keys."""

from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from line_requests.clock import wall_time_ms
from line_requests.operator import commands, views
from line_requests.operator.groups.arguments import Deployed, WorkspaceId, Yes, confirm
from line_requests.operator.refusal import Refused, View
from line_requests.operator.target import Target
from line_requests.storage.keys import ApiKeys
from line_requests.storage.workspaces import Workspaces

app = App(name="key", help="A workspace's API keys.", help_epilogue="")
KeyOrHash = Annotated[str, Parameter(help="The first digits of the key's hash, or the key itself.")]
DAY = timedelta(days=1)
OVERLAP_MAX = timedelta(days=365)
OVERLAP = "How long the old key still works, such as 30m or 7d, at most 365d; a day unless given."
ONCE = "Keep it now: it is shown this once, and only its hash is stored."


@app.command(help_epilogue="Example:\n  line-requests key issue acme --label website")
def issue(
    workspace: WorkspaceId,
    /,
    *,
    label: Annotated[str, Parameter(help="What it is for.")] = "",
    target: Deployed,
) -> View:
    """Make a key; it is shown once."""
    token = commands.issue_key(*_stores(target), workspace, label, wall_time_ms())
    return {"workspace": workspace, "label": label, "key": token, "note": ONCE}


@app.command(name="list", help_epilogue="Example:\n  line-requests key list acme")
def list_keys(workspace: WorkspaceId, /, *, target: Deployed) -> View:
    """List the keys by their hash, oldest first."""
    return [views.key_view(key) for key in commands.list_keys(*_stores(target), workspace)]


@app.command(help_epilogue="Example:\n  line-requests key revoke acme 3f9a1c")
def revoke(workspace: WorkspaceId, key: KeyOrHash, /, *, yes: Yes = False, target: Deployed) -> View:
    """Revoke a key; it takes effect with the next call."""
    confirm(f"Revoke this key of {workspace}, for good?", yes=yes)
    return views.key_view(commands.revoke_key(*_stores(target), workspace, key, wall_time_ms()))


@app.command(help_epilogue="Example:\n  line-requests key rotate acme 3f9a1c --overlap 7d")
def rotate(
    workspace: WorkspaceId,
    key: KeyOrHash,
    /,
    *,
    overlap: Annotated[timedelta, Parameter(help=OVERLAP, show_default=False)] = DAY,
    target: Deployed,
) -> View:
    """Make a new key; the old one expires after the overlap."""
    if not timedelta() <= overlap <= OVERLAP_MAX:
        raise Refused(f"an overlap is 0 to {OVERLAP_MAX.days} days")
    overlap_ms = overlap // timedelta(milliseconds=1)
    token, old = commands.rotate_key(*_stores(target), workspace, key, overlap_ms=overlap_ms, now_ms=wall_time_ms())
    return {"workspace": workspace, "label": old.label, "key": token, "note": ONCE, "old": [views.key_view(old)]}


def _stores(target: Target) -> tuple[Workspaces, ApiKeys]:
    return target.deployment.stores.workspaces, target.deployment.stores.api_keys
