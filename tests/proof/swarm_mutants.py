"""Planted bugs that one fault, one clock and one workspace do not show."""

from tests.proof import observed
from tests.proof.mutants import Mutant
from tests.proof.scenarios import TWO_FAULTS
from tests.proof.swarm_run import NAME

SWARM = f"{NAME}1"

MUTANTS = (
    Mutant(
        "the due time of a stored reason is pushed back, and corrected by another write",
        (
            (
                "storage._transitions",
                '        condition, reason = _same_void_reason(line)\n        condition += " AND (attribute',
                '        condition = "(attribute',
            ),
            (
                "storage._transitions",
                "        return self._update_awaiting(line, update, values | reason, condition)\n",
                (
                    "        stored = self._update_awaiting(line, update, values, condition)\n"
                    "        return stored if stored and stored.void_reason is line.void_reason else None\n"
                ),
            ),
        ),
        (f"waiting/cancel+poll{TWO_FAULTS}",),
    ),
    Mutant.of(
        "an event's own time counts also when it lies in the future",
        "clock",
        "cls(min(event_ms, wall_time_ms()), budget_s)",
        "cls(event_ms, budget_s)",
        SWARM,
    ),
    Mutant.of(
        "workspaces share the name space of idempotency keys",
        "storage.records",
        '{"pk": f"W#{workspace_id}", "sk": f"IDEMPOTENCY#{idempotency_key_hash}"}',
        '{"pk": "W#", "sk": f"IDEMPOTENCY#{idempotency_key_hash}"}',
        SWARM,
    ),
    Mutant.of(
        "the reconciler looks for all due lines in one workspace",
        "flows.reconciler",
        '(due.workspace_id, due.line_id or "") for due in page',
        '(page[0].workspace_id, due.line_id or "") for due in page',
        SWARM,
    ),
    Mutant.of(
        "clocks are trusted to the second",
        "flows.event_feed",
        "\nSKEW_S = 60\n",
        "\nSKEW_S = 0\n",
        "room/upgrade+reconcile-ahead+end-unheard",
    ),
    Mutant.of(
        "stream records of an hour ago are not published",
        "flows.publishing",
        "    return before is None or before.sequence != after.sequence\n",
        "    from line_requests.clock import wall_time_ms\n\n"
        "    recent = after.history[-1].at_ms > wall_time_ms() - 3_600_000\n"
        "    return recent and (before is None or before.sequence != after.sequence)\n",
        SWARM,
    ),
)
PLANTED = (*observed.MUTANTS, *MUTANTS)
