"""What clients were answered during a load run, and what the table holds of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from line_requests.domain.ids import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.oracle import Tenant


def answers_broken(seen: dict[str, Any], held: Iterable[Tenant]) -> Iterator[str]:
    """Every answer that the table contradicts."""
    by_id = {tenant.workspace.id: tenant for tenant in held}
    for line_id, workspace_id in seen["lines"].items():
        if line_id not in by_id[workspace_id].lines:
            yield f"{workspace_id}: {line_id} was answered, and is lost"
    for name, bodies in seen["answers"].items():
        workspace_id, key = name.split(" ")
        record = by_id[workspace_id].records.get(sha256_hex(key))
        if len(bodies) > 1 or record is None or json.loads(record.response_body or "{}") != json.loads(bodies[0]):
            yield f"{workspace_id}: the key {key} was answered {bodies}, and has the record {record}"
