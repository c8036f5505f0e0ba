"""What a request reads first, in one consistent batch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from line_requests.domain.model import ApiKey, IdempotencyRecord, Line, Workspace
from line_requests.storage import records
from line_requests.storage.table import Table

if TYPE_CHECKING:
    from line_requests.storage.attributes import Item


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The items that exist of those that were asked for."""

    workspace: Workspace | None = None
    api_key: ApiKey | None = None
    idempotency_record: IdempotencyRecord | None = None
    line: Line | None = None


def load_snapshot(
    table: Table,
    workspace_id: str,
    *,
    api_key_hash: str | None = None,
    idempotency_key_hash: str | None = None,
    line_id: str | None = None,
) -> Snapshot:
    """The caller's API key, and either the named line or the workspace with one idempotency record."""
    wanted: dict[str, Item] = {}
    if line_id is None:
        wanted["workspace"] = records.workspace_key(workspace_id)
    else:
        wanted["line"] = records.line_key(workspace_id, line_id)
    if api_key_hash is not None:
        wanted["api_key"] = records.api_key_key(workspace_id, api_key_hash)
    if idempotency_key_hash is not None:
        wanted["idempotency_record"] = records.idempotency_key(workspace_id, idempotency_key_hash)
    items = table.batch_get(wanted.values())
    found = {name: items.get((key["pk"], key["sk"])) for name, key in wanted.items()}
    workspace, api_key = found.get("workspace"), found.get("api_key")
    record, line = found.get("idempotency_record"), found.get("line")
    return Snapshot(
        workspace=records.workspace(workspace) if workspace else None,
        api_key=records.api_key(api_key) if api_key else None,
        idempotency_record=records.idempotency_record(record) if record else None,
        line=records.line(line) if line else None,
    )
