"""Applied plans."""

from collections.abc import Iterable

from line_requests.domain.prices import Plan
from line_requests.storage import records
from line_requests.storage.table import Table, Write

PLANS_MAX = 100  # What DynamoDB takes in one transaction.


class Plans:
    """The plans of a deployment."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def save(self, plans: Iterable[Plan], *, remove: Iterable[str] = ()) -> None:
        """Stores or replaces plans and removes others, all or none; at most PLANS_MAX of both.

        A workspace gets its plan's new entitlements with its next sync from Stripe.
        """
        writes = [Write(records.plan_key(plan.name), put=records.plan_item(plan)) for plan in plans]
        self._table.transact(writes + [Write(records.plan_key(name)) for name in remove])

    def all(self) -> list[Plan]:
        """Every applied plan, by name."""
        return records.readable(records.plan, self._table.query_all("#pk = :pk", values={"pk": "PLAN"}))
