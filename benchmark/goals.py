"""What is measured, and what it should be."""

from dataclasses import dataclass
from typing import Any

AT_MOST, AT_LEAST = "≤", "≥"


@dataclass(frozen=True)
class Goal:
    """One figure by its path in build/bench.json."""

    path: str
    limit: float
    sense: str = AT_MOST

    def value(self, figures: dict[str, Any]) -> float:
        """The measured figure."""
        found: Any = figures
        for name in self.path.split("."):
            found = found[name]
        return float(found)

    def used(self, value: float) -> float:
        """How much of the goal the figure uses: over 1 misses it."""
        if self.sense == AT_LEAST:
            return self.limit / value if value else float("inf")
        return value / self.limit if self.limit else float(value > 0) * 2


GOALS = (
    *(Goal(f"round_trips.{name}", 2) for name in ("create_included", "replay", "conflict", "refused")),
    Goal("round_trips.get", 1),
    Goal("stripe_calls.create_paid", 3),
    Goal("stripe_calls.poll_settled", 0),
    Goal("wcu.create_included", 7),
    Goal("bill.idle_month.with_snapshots", 18),
    Goal("bill.idle_month.without_snapshots", 7),
    Goal("wall_to_peer.create_included", 0.50),
    Goal("wall_to_peer.replay", 0.70),
    Goal("wall_to_peer.conflict", 0.45),
    Goal("wall_to_peer.get", 0.40),
    Goal("restored_to_floor.create_included", 0.08),
    Goal("restored_to_floor.create_paid", 0.20),
    Goal("restored_to_floor.get", 0.06),
    Goal("restored_to_floor.manage", 0.20),
    Goal("init_to_floor.create", 2.6),
    Goal("imports_after_init", 0),
    Goal("cold_start_to_floor.webhook", 1.9),
    Goal("cold_start_to_floor.reconciler", 1.9),
    Goal("cold_start_to_peer.create", 0.50),
    Goal("handler_cpu_to_getitem", 0.40),
    Goal("package_mb.layers", 45),
    Goal("reconcile.stripe_calls_per_1000_waiting", 15),
    Goal("reconcile.with_10000_foreign_events", 120),
    Goal("reconcile.lines_per_second_to_naive", 10, AT_LEAST),
    Goal("hot_workspace.success_ratio", 1.0, AT_LEAST),
    Goal("hot_workspace.p99_seconds", 5),
    Goal("demo.seconds", 10),
    Goal("operator.list_first_page_seconds", 1),
    Goal("operator.doctor_seconds", 60),
)
