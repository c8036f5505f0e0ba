"""POST /api/line-requests: decides, once, whether a line is included, needs payment or is refused."""

from line_requests.api import responses
from line_requests.api.door import authenticate
from line_requests.api.http import Request, Response
from line_requests.api.requests import read_line_request
from line_requests.clock import Clock
from line_requests.deployment import Deployment
from line_requests.domain.errors import Invalid, Unauthorized
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import Workspace
from line_requests.domain.submission import Submission
from line_requests.flows.create import Created, Creation
from line_requests.storage.snapshot import Snapshot

# Below API Gateway's 30 s, whatever Stripe does (contract 34).
BUDGET_S = 20.0


def create(deployment: Deployment, request: Request) -> Response:
    """401, then 429, then 400, then the decision (the contract's order of checks)."""
    creation = deployment.creation(Clock.at_event(request.at_ms, BUDGET_S))
    submission, idempotency_key_hash = _read(request)
    workspace, snapshot = authenticate(deployment, request, idempotency_key_hash=idempotency_key_hash)
    try:
        response = responses.created(_decide(creation, workspace, snapshot, submission, idempotency_key_hash))
    except Unauthorized:  # the workspace was deleted meanwhile
        raise
    except Exception as error:  # noqa: BLE001 - every answer but 401 tells the request budget (contract 64)
        response = responses.failure(error)
    return responses.with_rate_limit(response, deployment.settings.limit, workspace.tat_ms, request.at_ms)


def _decide(
    creation: Creation,
    workspace: Workspace,
    snapshot: Snapshot,
    submission: Submission | Invalid,
    idempotency_key_hash: str | None,
) -> Created:
    if isinstance(submission, Invalid):
        creation.count(workspace)
        raise submission
    return creation.create(workspace, snapshot.idempotency_record, submission, idempotency_key_hash)


def _read(request: Request) -> tuple[Submission | Invalid, str | None]:
    """What is asked for, or why it is invalid, which counts only after 401 and 429; and the hash of its key."""
    try:
        submission, key = read_line_request(request)
    except Invalid as error:
        return error, None
    return submission, sha256_hex(key) if key else None
