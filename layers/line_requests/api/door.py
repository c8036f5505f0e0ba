"""How every client-facing handler begins: the route, who calls, and which line the path names."""

from collections.abc import Callable, Mapping
from typing import Any

from line_requests.api import responses
from line_requests.api.auth import Credential, read_credential
from line_requests.api.http import Request, Response
from line_requests.deployment import Deployment
from line_requests.domain.errors import Invalid, LineNotFound, Unauthorized
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Line, Workspace
from line_requests.storage.snapshot import Snapshot

Route = Callable[[Deployment, Request], Response]


def answer(deployment: Deployment, routes: Mapping[str, Route], event: Mapping[str, Any]) -> Response:
    """Answers one HTTP request by its route; every error becomes an answer."""
    try:
        request = Request.of(event)
        return routes[request.route](deployment, request)
    except Exception as error:  # noqa: BLE001 - the boundary
        return responses.failure(error)


def authenticate(
    deployment: Deployment, request: Request, *, idempotency_key_hash: str | None = None
) -> tuple[Workspace, Snapshot]:
    """The caller's workspace and what was read with it, in one batch; raises Unauthorized."""
    credential, workspace_id = _identify(deployment, request)
    snapshot = deployment.load_snapshot(
        workspace_id, api_key_hash=credential.api_key_hash, idempotency_key_hash=idempotency_key_hash
    )
    credential.confirm(snapshot.api_key)
    if snapshot.workspace is None:
        raise Unauthorized
    return snapshot.workspace, snapshot


def open_line(deployment: Deployment, request: Request) -> Line:
    """The line that the path names; raises Unauthorized, Invalid, LineNotFound, in this order (contract 5, 37)."""
    credential, workspace_id = _identify(deployment, request)
    line_id = parse_line_id(request.path_id)
    snapshot = deployment.load_snapshot(workspace_id, api_key_hash=credential.api_key_hash, line_id=line_id or "-")
    credential.confirm(snapshot.api_key)
    if line_id is None:
        raise Invalid("Invalid line request id", "id")
    if snapshot.line is None:
        raise LineNotFound
    return snapshot.line


def _identify(deployment: Deployment, request: Request) -> tuple[Credential, str]:
    """The credential and its workspace; an API key names it, an organisation costs one read."""
    credential = read_credential(request, deployment.settings)
    workspace_id = credential.workspace_id
    if credential.organisation is not None:
        workspace_id = deployment.stores.workspaces.of_organisation(credential.organisation)
    if workspace_id is None:
        raise Unauthorized
    return credential, workspace_id
