"""Keys of the table, and each value as an item.

Attributes are the fields of the dataclass, so a new field needs no code here. Readers ignore attributes that they do
not know and use the default of those that are absent, because two releases share the items during every deploy.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from line_requests.domain.errors import UnreadableRecord
from line_requests.domain.model import ApiKey, Change, IdempotencyRecord, Line, Status, Subscription, Workspace
from line_requests.domain.prices import UNSPECIFIED, Counted, Coverage, PendingCharge, Plan
from line_requests.domain.reversals import Reversal
from line_requests.domain.submission import Kind
from line_requests.storage.attributes import Item
from line_requests.telemetry import alarm

T = TypeVar("T")

DUE_SHARDS = 4  # Four partitions carry 4,000 index writes a second; a run queries each once.

# What the index `operator` has in place of a status: refunds come first, whatever the line's status.
REFUND_ENTRY, WORKSPACE_ENTRY = "refund_due", "workspace"

_KINDS = frozenset(Kind)
_SUBSCRIPTION_DEFAULTS = msgspec.to_builtins(Subscription("", "")) | {"tax_behavior": UNSPECIFIED}

# msgspec 0.22 works out a type when it is first read, and crashes the process if two threads do so at once.
for _record_type in (Line, Workspace, Plan, ApiKey, IdempotencyRecord):
    msgspec.json.Decoder(_record_type)


# --- keys ---------------------------------------------------------------------------------------


def workspace_key(workspace_id: str) -> Item:
    """The item that every decision of a workspace goes through."""
    return {"pk": f"W#{workspace_id}", "sk": "WORKSPACE"}


def api_key_key(workspace_id: str, api_key_hash: str) -> Item:
    """One API key of a workspace."""
    return {"pk": f"W#{workspace_id}", "sk": f"APIKEY#{api_key_hash}"}


def line_key(workspace_id: str, line_id: str) -> Item:
    """One line request."""
    return {"pk": f"W#{workspace_id}", "sk": f"LINE#{line_id}"}


def key_of(record: Line | Workspace) -> Item:
    """The key of a line or a workspace."""
    return line_key(record.workspace_id, record.id) if isinstance(record, Line) else workspace_key(record.id)


def idempotency_key(workspace_id: str, idempotency_key_hash: str) -> Item:
    """One idempotency record."""
    return {"pk": f"W#{workspace_id}", "sk": f"IDEMPOTENCY#{idempotency_key_hash}"}


def customer_key(customer: str) -> Item:
    """Which workspace a Stripe customer is."""
    return {"pk": f"CUSTOMER#{customer}", "sk": "CUSTOMER"}


def organisation_key(organisation: str) -> Item:
    """Which workspace a Clerk organisation is."""
    return {"pk": f"ORG#{organisation}", "sk": "ORG"}


def plan_key(name: str) -> Item:
    """One applied plan; all of them share a partition."""
    return {"pk": "PLAN", "sk": f"PLAN#{name}"}


FEED_KEY: Item = {"pk": "RECONCILER", "sk": "FEED"}


def due_shard(identifier: str) -> str:
    """The partition of the `due` index that a line or a workspace waits in."""
    return str(zlib.crc32(identifier.encode()) % DUE_SHARDS)


def workspace_id_of(item: Mapping[str, Any]) -> str:
    """The workspace whose partition an item is in."""
    return str(item["pk"]).removeprefix("W#")


def line_id_of(item: Mapping[str, Any]) -> str | None:
    """The line that an item is; None for every other item."""
    sort_key = str(item["sk"])
    return sort_key.removeprefix("LINE#") if sort_key.startswith("LINE#") else None


# --- values to items ----------------------------------------------------------------------------


def _dump(value: object, *without: str, defaults: Mapping[str, object] = MappingProxyType({})) -> Item:
    """The fields by name, without those that are None or as in `defaults`, at any depth."""
    item: Item = _pruned(msgspec.to_builtins(value), defaults)
    return {name: field for name, field in item.items() if name not in without}


def _pruned(value: Any, defaults: Mapping[str, object]) -> Any:  # noqa: ANN401 - what a value is made of
    if isinstance(value, dict):
        fields = value.items()
        return {
            name: _pruned(part, defaults) for name, part in fields if part is not None and part != defaults.get(name)
        }
    return [_pruned(part, defaults) for part in value] if isinstance(value, tuple) else value


def line_item(line: Line) -> Item:
    """A line, with the indexes' attributes while something is due and while an operator may have to look at it."""
    item = line_key(line.workspace_id, line.id) | _dump(line, "id", "workspace_id", "due_at_ms", "reversals")
    item |= operator_entry(line)
    if line.due_at_ms is not None:
        item |= {"due_shard": due_shard(line.id), "due_at": line.due_at_ms}
    return item


def operator_entry(line: Line, *, late: bool = False) -> Item:
    """The line's attributes for the index `operator`, while an operator may have to look at it.

    `late`: its provisioner is.
    """
    shown = {Status.AWAITING_PAYMENT, Status.FAILED} | ({Status.PROVISIONING} if late else set())
    if not line.refund_due and line.status not in shown:
        return {}
    return {
        "op_status": REFUND_ENTRY if line.refund_due else str(line.status),
        "since_ms": line.history[-1].at_ms,
    }


def workspace_entry() -> Item:
    """A workspace's attributes for the index `operator`; they never change, so they cost its later writes nothing."""
    return {"op_status": WORKSPACE_ENTRY, "since_ms": 0}


def new_workspace_item(workspace_id: str, customer: str, *, livemode: bool) -> Item:
    """A workspace before its subscription was read from Stripe."""
    workspace = Workspace(workspace_id, customer, livemode, revision=0)
    return workspace_key(workspace_id) | _dump(workspace, "id") | workspace_entry()


def subscription_item(subscription: Subscription) -> Item:
    """The snapshot with its entitlements, as an attribute of the workspace; short, so that it costs one write unit."""
    return _dump(subscription, defaults=_SUBSCRIPTION_DEFAULTS)


def charged_item(charged: Mapping[Kind, tuple[Coverage, ...]]) -> Item:
    """Until when places are charged, as an attribute of the workspace."""
    return _dump(charged)


def counted_item(counted: Counted) -> Item:
    """The last period that was counted, as an attribute of the workspace."""
    return _dump(counted)


def pending_charge_item(charge: PendingCharge) -> Item:
    """The invoice item that is about to be created, as an attribute of the workspace."""
    return _dump(charge)


def plan_item(plan: Plan) -> Item:
    """A plan as it was applied."""
    return plan_key(plan.name) | _dump(plan, "name")


def change_item(change: Change) -> Item:
    """One entry of a line's history."""
    return _dump(change)


def reversal_item(reversal: Reversal) -> Item:
    """A reversal, as an entry of the line's attribute `reversals`."""
    return _dump(reversal)


def api_key_item(api_key: ApiKey) -> Item:
    """What is stored of an API key, beside its hash in the sort key."""
    return _dump(api_key, "hash")


def idempotency_item(record: IdempotencyRecord) -> Item:
    """What is stored under an Idempotency-Key."""
    return _dump(record)


# --- items to values ----------------------------------------------------------------------------


def _load(record_type: type[T], item: Mapping[str, Any], **fields: object) -> T:
    """Raises UnreadableRecord for a value that only a newer release knows."""
    try:
        return msgspec.convert({**item, **fields}, record_type)
    except msgspec.ValidationError as error:
        # Where it is wrong, and no more: the value before it can be personal.
        where = str(error).rpartition(" - at ")[2].strip("`").removeprefix("$.")
        raise UnreadableRecord(f"{item['pk']} {item['sk']}: {where}") from None


def _known_kinds(by_kind: Mapping[str, Any]) -> dict[str, Any]:
    """Without the kinds that only a newer release knows."""
    return {kind: value for kind, value in by_kind.items() if kind in _KINDS}


def line(item: Mapping[str, Any]) -> Line:
    """Reads a line item; raises UnreadableRecord for an unknown status or kind."""
    found = _load(
        Line,
        item,
        id=line_id_of(item),
        workspace_id=workspace_id_of(item),
        due_at_ms=item.get("due_at"),
    )
    try:
        _ = found.kind
    except ValueError:
        raise UnreadableRecord(f"{item['pk']} {item['sk']}: submission.kind") from None
    return found


def workspace(item: Mapping[str, Any]) -> Workspace:
    """Reads a workspace item; absent counts are 0, unknown kinds are skipped."""
    counts = {name: _known_kinds(item.get(name, {})) for name in ("held", "unpaid", "charged")}
    subscriptions = {
        name: {**item[name], "allowances": _known_kinds(item[name].get("allowances", {}))}
        for name in ("subscription", "excess_basis")
        if item.get(name) is not None
    }
    lock_kind = item.get("lock_kind")
    return _load(
        Workspace,
        item,
        id=workspace_id_of(item),
        lock_kind=lock_kind if lock_kind in _KINDS else None,
        **subscriptions,
        **counts,
    )


def plan(item: Mapping[str, Any]) -> Plan:
    """Reads a plan item."""
    name = str(item["sk"]).removeprefix("PLAN#")
    of_kinds = {attribute: _known_kinds(item.get(attribute, {})) for attribute in ("allowances", "former_add_ons")}
    return _load(Plan, item, name=name, **of_kinds)


def api_key(item: Mapping[str, Any]) -> ApiKey:
    """Reads an API key's item."""
    return _load(ApiKey, item, hash=str(item["sk"]).removeprefix("APIKEY#"))


def idempotency_record(item: Mapping[str, Any]) -> IdempotencyRecord:
    """Reads an idempotency record."""
    return _load(IdempotencyRecord, item)


def readable(read: Callable[[Mapping[str, Any]], T], items: Iterable[Mapping[str, Any]]) -> list[T]:
    """Reads many items; sets aside, with an alarm, those that only a newer release can read."""
    found = []
    for item in items:
        try:
            found.append(read(item))
        except UnreadableRecord as error:
            alarm("UnreadableRecord", f"skipped a record of a newer release: {error}")
    return found
