"""API keys, one item each, so that a request costs the same however many there are."""

from line_requests.domain.model import ApiKey
from line_requests.storage import records
from line_requests.storage.table import ConditionFailed, Table, Write


class ApiKeys:
    """The API keys of a deployment's workspaces."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def insert(self, workspace_id: str, api_key: ApiKey) -> None:
        """Stores a new key."""
        key = records.api_key_key(workspace_id, api_key.hash)
        self._table.write(Write(key, put=records.api_key_item(api_key), condition="attribute_not_exists(#pk)"))

    def revoke(self, workspace_id: str, api_key_hash: str, now_ms: int) -> ApiKey:
        """Revokes a key, once, from the next call on; raises ConditionFailed for an unknown key."""
        write = Write(
            records.api_key_key(workspace_id, api_key_hash),
            update="SET #revoked_at_ms = :now",
            condition="attribute_exists(#pk) AND attribute_not_exists(#revoked_at_ms)",
            values={"now": now_ms},
        )
        try:
            return records.api_key(self._table.write(write))
        except ConditionFailed as failure:
            if failure.item is None:
                raise
            return records.api_key(failure.item)

    def expire(self, workspace_id: str, api_key_hash: str, at_ms: int) -> ApiKey:
        """Has a key stop working then, never later than it would; raises ConditionFailed for one that is revoked."""
        write = Write(
            records.api_key_key(workspace_id, api_key_hash),
            update="SET #expires_at_ms = :at",
            condition="attribute_exists(#pk) AND attribute_not_exists(#revoked_at_ms)"
            " AND (attribute_not_exists(#expires_at_ms) OR #expires_at_ms > :at)",
            values={"at": at_ms},
        )
        return records.api_key(self._table.write(write))

    def list(self, workspace_id: str) -> list[ApiKey]:
        """The workspace's keys, revoked ones included, oldest first."""
        values = {"pk": f"W#{workspace_id}", "prefix": "APIKEY#"}
        items = self._table.query_all("#pk = :pk AND begins_with(#sk, :prefix)", values=values)
        return sorted(map(records.api_key, items), key=lambda key: (key.created_at_ms, key.hash))
