"""Workspaces: who they are at Stripe and Clerk, their subscription snapshot, rate window and quantities' lease."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from line_requests.domain.model import Subscription, Workspace
from line_requests.domain.over_plan import basis_under
from line_requests.domain.prices import Counted, Coverage, PendingCharge
from line_requests.domain.rate_limit import RateLimit
from line_requests.domain.submission import Kind
from line_requests.storage import capacity, records
from line_requests.storage.attributes import Item
from line_requests.storage.table import ConditionFailed, Table, TransactionCanceled, Write

# Longer than the few Stripe calls of one workspace can take, even if each of them times out.
QUANTITIES_LEASE_MS = 120_000


class Workspaces:
    """The workspaces of a deployment."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def insert(  # noqa: PLR0913 - all that a workspace is tied to, by keyword
        self,
        workspace_id: str,
        customer: str,
        *,
        livemode: bool,
        subscription: Subscription | None = None,
        organisation: str | None = None,
        due_at_ms: int | None = None,
        quantities_lease_until_ms: int | None = None,
    ) -> bool:
        """Ties a new workspace to a Stripe customer and a Clerk organisation, all or none.

        False when one of them is tied already. When it is due, the reconciler reads its subscription.
        """
        item = records.new_workspace_item(workspace_id, customer, livemode=livemode)
        if subscription is not None:
            item |= {"subscription": records.subscription_item(subscription)}
        if due_at_ms is not None:
            item |= {"due_shard": records.due_shard(workspace_id), "due_at": due_at_ms}
        if quantities_lease_until_ms is not None:
            item |= {"quantities_lease_until_ms": quantities_lease_until_ms}
        absent = "attribute_not_exists(#pk)"
        writes = [
            Write(records.workspace_key(workspace_id), put=item, condition=absent),
            Write(records.customer_key(customer), put={"workspace_id": workspace_id}, condition=absent),
        ]
        if organisation is not None:
            key = records.organisation_key(organisation)
            writes.append(Write(key, put={"workspace_id": workspace_id}, condition=absent))
        try:
            self._table.transact(writes)
        except TransactionCanceled:
            return False
        return True

    def map_organisation(self, organisation: str, workspace_id: str) -> bool:
        """Lets the sessions of a Clerk organisation act for a workspace; False when they act for another."""
        write = Write(
            records.organisation_key(organisation),
            put={"workspace_id": workspace_id},
            condition="attribute_not_exists(#pk) OR #workspace_id = :workspace",
            values={"workspace": workspace_id},
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            return False
        return True

    def unmap_organisation(self, organisation: str, workspace_id: str) -> bool:
        """Ends the mapping; False when the organisation does not act for this workspace."""
        key = records.organisation_key(organisation)
        write = Write(key, condition="#workspace_id = :workspace", values={"workspace": workspace_id})
        try:
            self._table.write(write)
        except ConditionFailed:
            return False
        return True

    def organisations_of(self, workspace_id: str) -> list[str]:
        """The Clerk organisations that act for it; for operators only, it reads the whole table."""
        items = self._table.scan("#sk = :sk AND #workspace_id = :id", {"sk": "ORG", "id": workspace_id})
        return sorted(str(item["pk"]).removeprefix("ORG#") for item in items)

    def get(self, workspace_id: str) -> Workspace | None:
        """The workspace as it is now."""
        item = self._table.get(records.workspace_key(workspace_id))
        return records.workspace(item) if item else None

    def get_many(self, workspace_ids: Iterable[str]) -> list[Workspace]:
        """Many workspaces as they are now."""
        found = self._table.batch_get(map(records.workspace_key, workspace_ids))
        return records.readable(records.workspace, found.values())

    def ids(self) -> Iterator[str]:
        """Every workspace; for operators only, it reads the whole table."""
        for item in self._table.scan("#sk = :sk", {"sk": "WORKSPACE"}):
            yield records.workspace_id_of(item)

    def is_due(self, workspace_id: str, now_ms: int) -> bool:
        """Whether the reconciler has to look at it by now."""
        item = self._table.get(records.workspace_key(workspace_id))
        return item is not None and "due_at" in item and item["due_at"] <= now_ms

    def all(self) -> Iterator[Workspace]:
        """Every workspace; for operators only, it reads the whole table."""
        for item in self._table.scan("#sk = :sk", {"sk": "WORKSPACE"}):
            yield from records.readable(records.workspace, [item])

    def recount(self, workspace: Workspace, counted: Workspace, now_ms: int) -> Workspace | None:
        """Sets counts and lock to those of `counted`; None when they changed since the workspace was read."""
        values: Item = {"was_held": workspace.held, "was_unpaid": workspace.unpaid}
        values |= {"held": counted.held, "unpaid": counted.unpaid}
        values |= capacity.quantities_due_values(workspace.id, now_ms)
        update = f"SET #held = :held, #unpaid = :unpaid, {capacity.QUANTITIES_DUE}"
        condition = "#held = :was_held AND #unpaid = :was_unpaid"
        if workspace.lock is None:
            condition += " AND attribute_not_exists(#lock)"
        else:
            condition += " AND #lock = :was_lock"
            values["was_lock"] = workspace.lock
        if counted.lock is None or counted.lock_kind is None:
            update += " REMOVE #lock, #lock_kind"
        else:
            update = f"SET #lock = :lock, #lock_kind = :lock_kind, {update.removeprefix('SET ')}"
            values |= {"lock": counted.lock, "lock_kind": str(counted.lock_kind)}
        return self._update(workspace.id, update, values, condition)

    def of_customer(self, customer: str) -> str | None:
        """The workspace that is tied to a Stripe customer."""
        return self._named_by(records.customer_key(customer))

    def of_organisation(self, organisation: str) -> str | None:
        """The workspace that a Clerk organisation acts for."""
        return self._named_by(records.organisation_key(organisation))

    def _named_by(self, key: Item) -> str | None:
        item = self._table.get(key)
        return item["workspace_id"] if item else None

    # --- subscription snapshot ------------------------------------------------------------------

    def save_subscription(
        self, workspace: Workspace, subscription: Subscription | None, now_ms: int
    ) -> Workspace | None:
        """Stores a snapshot; None when another one was stored since the workspace was read."""
        values: Item = {"seen": workspace.revision, "one": 1}
        values |= capacity.quantities_due_values(workspace.id, now_ms)
        update = f"SET #revision = #revision + :one, {capacity.QUANTITIES_DUE}"
        stored = {"subscription": subscription, "excess_basis": basis_under(workspace, subscription)}
        for name, snapshot in stored.items():
            if snapshot is not None:
                update += f", #{name} = :{name}"
                values[name] = records.subscription_item(snapshot)
        absent = [f"#{name}" for name, snapshot in stored.items() if snapshot is None]
        update += f" REMOVE {', '.join(absent)}" if absent else ""
        return self._update(workspace.id, update, values, "#revision = :seen")

    def mark_subscription_due(self, workspace_id: str, *, changed_by_ms: int, now_ms: int) -> None:
        """Has the reconciler read a subscription that changed by then, unless it has read it since."""
        values = {"shard": records.due_shard(workspace_id), "now": now_ms, "changed": changed_by_ms}
        update = "SET #due_shard = :shard, #due_at = :now"
        condition = "attribute_exists(#pk) AND (attribute_not_exists(#asked_at_ms) OR #asked_at_ms <= :changed)"
        self._update(workspace_id, update, values, condition)

    # --- rate window ----------------------------------------------------------------------------

    def consume_rate(self, workspace: Workspace, limit: RateLimit, now_ms: int) -> None:
        """Counts a request that changes nothing else; raises RateLimited."""
        tat_ms = workspace.tat_ms
        while True:
            limit.check(tat_ms, now_ms)
            update, condition, values = capacity.rate_update(tat_ms, limit, now_ms)
            # A workspace may have been deleted meanwhile; an update must not create a part of it.
            condition = f"attribute_exists(#pk) AND {condition}"
            key = records.workspace_key(workspace.id)
            write = Write(key, update=f"SET {update}", condition=condition, values=values)
            try:
                self._table.write(write)
            except ConditionFailed as failure:
                if failure.item is None:
                    return
                tat_ms = records.workspace(failure.item).tat_ms
            else:
                return

    # --- add-on quantities ----------------------------------------------------------------------

    def lease_quantities(self, workspace_id: str, now_ms: int) -> Workspace | None:
        """Lets one writer set a due workspace's quantities; None while another does, or when nothing is due."""
        return self._update(
            workspace_id,
            "SET #quantities_lease_until_ms = :until",
            {"until": now_ms + QUANTITIES_LEASE_MS, "now": now_ms},
            "#due_at <= :now AND "
            "(attribute_not_exists(#quantities_lease_until_ms) OR #quantities_lease_until_ms <= :now)",
        )

    def save_charged(
        self,
        workspace: Workspace,
        charged: Mapping[Kind, tuple[Coverage, ...]],
        *,
        counted: Counted | None,
        pending_charge: PendingCharge | None,
    ) -> Workspace | None:
        """Stores until when places are charged, and the charge that is about to be created (None: no longer one).

        So is the charge's number, or else the workspace's. None when the counts changed since the workspace was read,
        because a payment adds to what is charged.
        """
        number = pending_charge.number if pending_charge is not None else workspace.charge_number
        sets = ["#charged = :charged", "#charge_number = :number"]
        values: Item = {
            "charged": records.charged_item(charged),
            "number": number,
            "seen": workspace.quantities_revision,
        }
        if counted is not None:
            sets.append("#counted = :counted")
            values["counted"] = records.counted_item(counted)
        remove = " REMOVE #pending_charge"
        if pending_charge is not None:
            sets.append("#pending_charge = :charge")
            values["charge"] = records.pending_charge_item(pending_charge)
            remove = ""
        return self._update(workspace.id, f"SET {', '.join(sets)}{remove}", values, "#quantities_revision = :seen")

    def finish_quantities(self, workspace: Workspace, *, asked_at_ms: int, due_at_ms: int | None = None) -> Workspace:
        """Ends the lease; the workspace is due again at `due_at_ms`, or at once if its counts changed meanwhile.

        Its subscription was read from Stripe at `asked_at_ms` or later.
        """
        values: Item = {"seen": workspace.quantities_revision, "asked": asked_at_ms}
        update = "SET #asked_at_ms = :asked"
        if due_at_ms is None:
            update += " REMOVE #quantities_lease_until_ms, #due_shard, #due_at"
        else:
            update += ", #due_at = :due, #due_shard = :shard REMOVE #quantities_lease_until_ms"
            values |= {"due": due_at_ms, "shard": records.due_shard(workspace.id)}
        finished = self._update(workspace.id, update, values, "#quantities_revision = :seen")
        return finished or self.abandon_quantities(workspace)

    def abandon_quantities(self, workspace: Workspace) -> Workspace:
        """Ends the lease and keeps the workspace due, even if a faster writer finished."""
        values = {"shard": records.due_shard(workspace.id), "overdue": 0}
        update = "SET #due_shard = :shard, #due_at = :overdue REMOVE #quantities_lease_until_ms"
        return self._update(workspace.id, update, values, "attribute_exists(#pk)") or workspace

    def _update(self, workspace_id: str, update: str, values: Item, condition: str) -> Workspace | None:
        """The workspace after the update; None when the condition does not hold."""
        write = Write(records.workspace_key(workspace_id), update=update, condition=condition, values=values)
        with suppress(ConditionFailed):
            return records.workspace(self._table.write(write))
        return None
