"""Workspaces, plans and the reconciler's places to look, in the table."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from line_requests import items, places
from line_requests.items import Item
from line_requests.model import Allowance, Kind, Subscription, Workspace
from line_requests.table import ConditionFailed, Table, TransactionLost, Write

# Longer than the few Stripe calls of one workspace can take, even if each of them times out.
QUANTITIES_LEASE_MS = 120_000

# What DynamoDB takes in one transaction.
PLANS_MAX = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as applied: which base prices mean it, and what it grants."""

    name: str
    base_prices: tuple[str, ...]
    allowances: dict[Kind, Allowance]
    automatic_tax: bool = False
    tax_rates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """Something that the reconciler is to look at: a line, or a workspace's quantities."""

    workspace_id: str
    line_id: str | None
    due_at_ms: int


class Registry:
    """The table of one deployment, as its operators and its reconciler see it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # --- workspaces -----------------------------------------------------------------------------

    def create_workspace(self, workspace_id: str, customer: str, *, livemode: bool) -> bool:
        """Ties a new workspace to a Stripe customer; False when either is tied already."""
        item = items.new_workspace_item(workspace_id, customer, livemode=livemode)
        absent = "attribute_not_exists(#pk)"
        try:
            self._table.transact(
                [
                    Write(items.workspace_key(workspace_id), put=item, condition=absent),
                    Write(items.keys_key(workspace_id), put={"keys": {}}, condition=absent),
                    Write(
                        items.customer_key(customer),
                        put={"workspace_id": workspace_id},
                        condition=absent,
                    ),
                ]
            )
        except TransactionLost:
            return False
        return True

    def map_organisation(self, organisation: str, workspace_id: str) -> bool:
        """Lets the sessions of a Clerk organisation act for a workspace; False when they act for another."""
        write = Write(
            items.organisation_key(organisation),
            put={"workspace_id": workspace_id},
            condition="attribute_not_exists(#pk) OR #workspace_id = :workspace",
            values={"workspace": workspace_id},
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            return False
        return True

    def workspace(self, workspace_id: str) -> Workspace | None:
        """The workspace as it is now."""
        item = self._table.get(items.workspace_key(workspace_id))
        return items.workspace(item) if item else None

    def workspace_ids(self) -> Iterator[str]:
        """Every workspace: for operators only, it reads the whole table."""
        for item in self._table.scan("#sk = :sk", {"sk": "WORKSPACE"}):
            yield item["pk"].removeprefix("W#")

    def workspace_of_customer(self, customer: str) -> str | None:
        """The workspace that is tied to a Stripe customer."""
        item = self._table.get(items.customer_key(customer))
        return item["workspace_id"] if item else None

    def save_subscription(
        self, workspace: Workspace, subscription: Subscription | None, now_ms: int
    ) -> Workspace | None:
        """Stores a snapshot unless the workspace has seen another since; None when it has."""
        values: Item = {"seen": workspace.revision, "one": 1}
        update = f"SET #revision = #revision + :one, {places.QUANTITIES_MOVED}"
        values |= places.quantities_due(workspace.id, now_ms)
        if subscription is None:
            update += " REMOVE #subscription"
        else:
            update += ", #subscription = :subscription"
            values["subscription"] = items.subscription_item(subscription)
        write = Write(
            items.workspace_key(workspace.id),
            update=update,
            condition="#revision = :seen",
            values=values,
        )
        try:
            return items.workspace(self._table.write(write))
        except ConditionFailed:
            return None

    # --- API keys -------------------------------------------------------------------------------

    def save_api_key(self, workspace_id: str, token_hash: str, label: str, now_ms: int) -> None:
        """Stores a key's hash; raises ConditionFailed for an unknown workspace."""
        self._table.write(
            Write(
                items.keys_key(workspace_id),
                update="SET #keys.#hash = :key",
                condition="attribute_exists(#pk)",
                values={"key": {"label": label, "created_at": now_ms}},
                names={"hash": token_hash},
            )
        )

    def revoke_api_key(self, workspace_id: str, token_hash: str, now_ms: int) -> None:
        """Marks a key as revoked; raises ConditionFailed for an unknown key."""
        self._table.write(
            Write(
                items.keys_key(workspace_id),
                update="SET #keys.#hash.#revoked_at = :now",
                condition="attribute_exists(#keys.#hash)",
                values={"now": now_ms},
                names={"hash": token_hash},
            )
        )

    def api_keys(self, workspace_id: str) -> dict[str, Any]:
        """Hash to {label, created_at, revoked_at?}."""
        item = self._table.get(items.keys_key(workspace_id))
        return dict(item["keys"]) if item else {}

    # --- plans ----------------------------------------------------------------------------------

    def save_plans(self, plans: Iterable[Plan], *, remove: Iterable[str] = ()) -> None:
        """Stores or replaces plans and removes others, at once; at most PLANS_MAX of both.

        Workspaces get it with their next sync from Stripe.
        """
        writes = [Write(items.plan_key(plan.name), put=_plan_item(plan)) for plan in plans]
        self._table.transact(writes + [Write(items.plan_key(name)) for name in remove])

    def plans(self) -> list[Plan]:
        """Every applied plan."""
        found, start = list[Plan](), None
        while True:
            page, start = self._table.query("#pk = :pk", values={"pk": "PLAN"}, start=start)
            for item in page:
                granted = items.read_subscription(item)
                found.append(
                    Plan(
                        item["sk"].removeprefix("PLAN#"),
                        tuple(item["base_prices"]),
                        dict(granted.allowances),
                        granted.automatic_tax,
                        granted.tax_rates,
                    )
                )
            if start is None:
                return found

    # --- what the reconciler looks at ---------------------------------------------------------

    def due(self, shard: int, now_ms: int, start: Item | None = None) -> tuple[list[Due], Item | None]:
        """One page of what is due in a shard of the index, longest overdue first."""
        page, last = self._table.query(
            "#due_shard = :shard AND #due_at <= :now",
            values={"shard": str(shard), "now": now_ms},
            index="due",
            start=start,
        )
        return [_due(item) for item in page], last

    def subscription_due(self, workspace_id: str, *, changed_by_ms: int, now_ms: int) -> None:
        """Has the reconciler look at a subscription that changed by then, unless it has looked since."""
        write = Write(
            items.workspace_key(workspace_id),
            update="SET #due_shard = :shard, #due_at = if_not_exists(#due_at, :now)",
            condition="attribute_exists(#pk) AND (attribute_not_exists(#asked_at) OR #asked_at <= :changed)",
            values={"shard": items.due_shard(workspace_id), "now": now_ms, "changed": changed_by_ms},
        )
        with suppress(ConditionFailed):
            self._table.write(write)

    def lease_quantities(self, workspace_id: str, now_ms: int) -> Workspace | None:
        """Lets one writer set a workspace's quantities; None while another does."""
        write = Write(
            items.workspace_key(workspace_id),
            update="SET #quantities_until = :until",
            condition="attribute_exists(#due_at) AND "
            "(attribute_not_exists(#quantities_until) OR #quantities_until <= :now)",
            values={"until": now_ms + QUANTITIES_LEASE_MS, "now": now_ms},
        )
        try:
            return items.workspace(self._table.write(write))
        except ConditionFailed:
            return None

    def quantities_set(self, workspace: Workspace, *, asked_at_ms: int) -> Workspace:
        """Ends the lease; the workspace, as returned, is no longer due unless its counts moved meanwhile.

        Stripe was asked about its subscription at `asked_at_ms` or later.
        """
        key = items.workspace_key(workspace.id)
        values = {"seen": workspace.quantities_revision, "asked": asked_at_ms}
        clean = Write(
            key,
            update="SET #asked_at = :asked REMOVE #quantities_until, #due_shard, #due_at",
            condition="#quantities_revision = :seen",
            values=values,
        )
        try:
            return items.workspace(self._table.write(clean))
        except ConditionFailed:
            return self.quantities_left(workspace)

    def quantities_left(self, workspace: Workspace) -> Workspace:
        """Ends the lease with the quantities due, even if a faster writer has called them settled."""
        left = self._table.write(
            Write(
                items.workspace_key(workspace.id),
                update="SET #due_shard = :shard, #due_at = if_not_exists(#due_at, :overdue) REMOVE #quantities_until",
                values={"shard": items.due_shard(workspace.id), "overdue": 0},
            )
        )
        return items.workspace(left)

    def watermark_s(self) -> int | None:
        """Up to where the event feed has been followed, epoch seconds."""
        item = self._table.get(items.FEED_KEY)
        return int(item["watermark"]) if item else None

    def move_watermark(self, *, seen_s: int | None, to_s: int) -> None:
        """Moves on after a whole slice, unless another run did."""
        condition = "attribute_not_exists(#pk)" if seen_s is None else "#watermark = :seen"
        values = {"to": to_s} | ({} if seen_s is None else {"seen": seen_s})
        with suppress(ConditionFailed):
            self._table.write(Write(items.FEED_KEY, update="SET #watermark = :to", condition=condition, values=values))


def _plan_item(plan: Plan) -> Item:
    body = items.subscription_item(Subscription("", "", None, plan.allowances, plan.automatic_tax, plan.tax_rates))
    return body | {"base_prices": list(plan.base_prices)}


def _due(item: Item) -> Due:
    line_id = item["sk"].removeprefix("LINE#") if item["sk"].startswith("LINE#") else None
    return Due(item["pk"].removeprefix("W#"), line_id, item["due_at"])
