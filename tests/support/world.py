"""A table, the store and the registry on it, and short-cuts to the states that tests start from."""

from __future__ import annotations

import secrets
from collections import Counter
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from line_requests.domain.model import IdempotencyRecord, Line, Status, Workspace
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.storage.records import line_item, line_key, workspace_key
from line_requests.storage.snapshot import load_snapshot
from line_requests.storage.stores import Stores
from line_requests.storage.table import Table, Write
from tests.decision import examples
from tests.decision.examples import NOW_MS
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.client import DynamoDBClient

    from line_requests.domain.prices import Allowance
    from line_requests.storage.lines import Conflict

LIMIT = RateLimit(per_minute=120, burst=60)


class World:
    """One table of one deployment."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self.client = client
        self.slept: list[float] = []
        self.table = Table(client, table_name, sleep=self.slept.append)
        self.table_name = table_name
        self.stores = Stores(self.table)
        self.lines = self.stores.lines
        self.workspaces = self.stores.workspaces
        self.plans = self.stores.plans
        self.api_keys = self.stores.api_keys
        self.due = self.stores.due
        self.snapshot = partial(load_snapshot, self.table)

    @cached_property
    def wire(self) -> Wire:
        return Wire(self.client)

    def workspace(self, workspace_id: str = "acme", /, status: str = "active", **allowances: Allowance) -> Workspace:
        """A new workspace with this subscription."""
        assert self.workspaces.insert(workspace_id, f"cus_{workspace_id}", livemode=False)
        return self.subscribe(workspace_id, status, **allowances)

    def subscribe(self, workspace_id: str = "acme", /, status: str = "active", **allowances: Allowance) -> Workspace:
        """The workspace with another subscription, and no quantities due."""
        subscription = examples.subscription(status, **allowances)
        saved = self.workspaces.save_subscription(self.now(workspace_id), subscription, NOW_MS)
        assert saved is not None
        return self.workspaces.finish_quantities(saved, asked_at_ms=0)

    def now(self, workspace_id: str = "acme") -> Workspace:
        found = self.workspaces.get(workspace_id)
        assert found is not None
        return found

    def counts(self, workspace_id: str = "acme") -> tuple[Counter[Kind], Counter[Kind]]:
        """The workspace's counts, held and unpaid."""
        workspace = self.now(workspace_id)
        return Counter(workspace.held), Counter(workspace.unpaid)

    def line(self, line: Line) -> Line:
        """The line as it is stored now."""
        found = self.lines.get(line.workspace_id, line.id)
        assert found is not None
        return found

    def record(self, idempotency_key_hash: str) -> IdempotencyRecord:
        """The idempotency record of the key as it is stored now."""
        found = self.lines.idempotency_record("acme", idempotency_key_hash)
        assert found is not None
        return found

    def insert(
        self,
        workspace: Workspace,
        line: Line,
        *,
        answer: str | None = None,
        limit: RateLimit | None = None,
        now_ms: int = NOW_MS,
    ) -> Conflict | None:
        record = IdempotencyRecord(line.id, "print", answer)
        return self.lines.insert_line(workspace, line, record, limit=limit, now_ms=now_ms)

    def added(self, kind: Kind = Kind.PURCHASED_PHONE, status: Status = Status.PROVISIONING, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
        """A line that was just inserted."""
        made = new_line(kind, status, **changes)
        assert self.insert(self.now(made.workspace_id), made, answer=None if made.awaiting else "{}") is None
        return made

    def paid(self, kind: Kind = Kind.PURCHASED_PHONE, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
        """A line that was paid for and is provisioning."""
        awaiting = self.added(kind, Status.AWAITING_PAYMENT, **changes)
        return self.lines.mark_paid(awaiting, NOW_MS, invoice_id="in_1", url=None)

    def put_lines(self, lines: Sequence[Line]) -> None:
        """Lines alone, without what they mean for their workspaces."""
        writes = [Write(line_key(line.workspace_id, line.id), put=line_item(line)) for line in lines]
        for start in range(0, len(writes), 100):
            self.table.transact(writes[start : start + 100])

    def everything(self) -> list[dict[str, Any]]:
        """Every item of the table, in a stable order."""
        items = self.client.scan(TableName=self.table_name, ConsistentRead=True)["Items"]
        return sorted(items, key=lambda item: (str(item["pk"]), str(item["sk"])))

    def raw(self, line: Line | Workspace) -> dict[str, Any]:
        """A line's or a workspace's item with what the model does not show."""
        key = line_key(line.workspace_id, line.id) if isinstance(line, Line) else workspace_key(line.id)
        found = self.table.get(key)
        assert found is not None
        return found


def new_line(kind: Kind = Kind.PURCHASED_PHONE, status: Status = Status.PROVISIONING, **changes: Any) -> Line:  # noqa: ANN401 - any of a line's fields
    """A line with an id of its own."""
    return examples.line(kind, status, **{"id": f"{NOW_MS:012x}{secrets.token_hex(6)}"} | changes)


def counts(**of: int) -> Counter[Kind]:
    """So many of each kind that is named; for a Counter, absent kinds count 0."""
    return Counter({Kind[kind.upper()]: number for kind, number in of.items()})
