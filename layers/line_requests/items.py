"""How each value lies in the table: keys, and plain dictionaries for the store to marshal.

Readers ignore attributes that they do not know, so that two releases can share the items.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from line_requests.model import (
    AddOn,
    Allowance,
    Change,
    Charge,
    Closing,
    IdempotencyRecord,
    Kind,
    Line,
    PaymentStatus,
    Status,
    Submission,
    Subscription,
    Workspace,
)

Item = dict[str, Any]

# Short, and safe within keys, API keys and cursors.
WORKSPACE_ID = "[a-z0-9-]{1,40}"

DUE_SHARDS = 4  # Four partitions carry 4,000 index writes a second; a run queries each once.


def workspace_key(workspace_id: str) -> Item:
    """The item that every decision of a workspace goes through."""
    return {"pk": f"W#{workspace_id}", "sk": "WORKSPACE"}


def keys_key(workspace_id: str) -> Item:
    """The workspace's hashed API keys."""
    return {"pk": f"W#{workspace_id}", "sk": "KEYS"}


def line_key(workspace_id: str, line_id: str) -> Item:
    """One line request."""
    return {"pk": f"W#{workspace_id}", "sk": f"LINE#{line_id}"}


def record_key(workspace_id: str, key_hash: str) -> Item:
    """One idempotency record."""
    return {"pk": f"W#{workspace_id}", "sk": f"KEY#{key_hash}"}


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


def hash_of(text: str) -> str:
    """SHA-256 in hex: what the table holds of keys, which can be long or secret."""
    return hashlib.sha256(text.encode()).hexdigest()


def due_shard(identifier: str) -> str:
    """The partition of the `due` index that a line or a workspace waits in."""
    return str(zlib.crc32(identifier.encode()) % DUE_SHARDS)


def _present(item: Item) -> Item:
    return {name: value for name, value in item.items() if value is not None}


def subscription_item(subscription: Subscription) -> Item:
    """The snapshot with its entitlements, as an attribute of the workspace."""
    return _present(
        {
            "id": subscription.id,
            "status": subscription.status,
            "plan": subscription.plan,
            "automatic_tax": subscription.automatic_tax or None,
            "tax_rates": list(subscription.tax_rates) or None,
            "allowances": {
                str(kind): _present(
                    {
                        "included": allowance.included,
                        "cap": allowance.cap,
                        "add_on": asdict(allowance.add_on) if allowance.add_on else None,
                    }
                )
                for kind, allowance in subscription.allowances.items()
            },
        }
    )


def read_subscription(item: Mapping[str, Any]) -> Subscription:
    """Reads a snapshot, or the entitlements of a plan."""
    return Subscription(
        id=item["id"],
        status=item["status"],
        plan=item.get("plan"),
        automatic_tax=item.get("automatic_tax", False),
        tax_rates=tuple(item.get("tax_rates", ())),
        allowances={Kind(kind): _allowance(value) for kind, value in item["allowances"].items()},
    )


def _allowance(item: Mapping[str, Any]) -> Allowance:
    add_on = item.get("add_on")
    return Allowance(
        included=int(item["included"]),
        cap=None if item.get("cap") is None else int(item["cap"]),
        add_on=AddOn(**{**add_on, "unit_amount": int(add_on["unit_amount"])}) if add_on else None,
    )


def new_workspace_item(workspace_id: str, customer: str, *, livemode: bool) -> Item:
    """A workspace that Stripe has not told anything about yet."""
    nothing = {str(kind): 0 for kind in Kind}
    return workspace_key(workspace_id) | {
        "customer": customer,
        "livemode": livemode,
        "revision": 0,
        "held": nothing,
        "unpaid": nothing,
        "quantities_revision": 0,
    }


def workspace(item: Mapping[str, Any]) -> Workspace:
    """Reads a workspace item."""
    subscription, lock_kind, tat = item.get("subscription"), item.get("lock_kind"), item.get("tat")
    return Workspace(
        id=item["pk"].removeprefix("W#"),
        customer=item["customer"],
        livemode=item["livemode"],
        revision=int(item["revision"]),
        subscription=read_subscription(subscription) if subscription else None,
        held={Kind(kind): int(count) for kind, count in item["held"].items()},
        unpaid={Kind(kind): int(count) for kind, count in item["unpaid"].items()},
        lock=item.get("lock"),
        lock_kind=Kind(lock_kind) if lock_kind else None,
        tat_ms=None if tat is None else int(tat),
        quantities_revision=int(item["quantities_revision"]),
    )


def line_item(line: Line) -> Item:
    """A line as it lies in the table, index attributes included while something is due."""
    due = {} if line.due_at_ms is None else {"due_shard": due_shard(line.id), "due_at": line.due_at_ms}
    return (
        line_key(line.workspace_id, line.id)
        | due
        | _present(
            submission_item(line.submission)
            | {
                "status": str(line.status),
                "payment_status": str(line.payment_status),
                "created_at": line.created_at_ms,
                "history": [change_item(change) for change in line.history],
                "charge": charge_item(line.charge) if line.charge else None,
                "key_hash": line.key_hash,
                "key_version": line.key_version,
                "keyed_at": line.keyed_at_ms,
                "invoice_id": line.invoice_id,
                "payment_url": line.payment_url,
                "closing": None if line.closing is None else str(line.closing),
                "look_after": line.look_after_ms,
                "refund_due": line.refund_due or None,
            }
        )
    )


# dataclasses.asdict copies deeply, which took a fifth of a create's own CPU; these values are flat.
_SUBMISSION_FIELDS = tuple(f.name for f in fields(Submission))


def submission_item(submission: Submission) -> Item:
    """What was asked for, as attributes of its line."""
    return {name: getattr(submission, name) for name in _SUBMISSION_FIELDS}


def charge_item(charge: Charge) -> Item:
    """The frozen charge, as an attribute of its line."""
    return asdict(charge) | {"tax_rates": list(charge.tax_rates)}


def change_item(change: Change) -> Item:
    """One entry of a line's history."""
    return {"at": change.at_ms, "status": str(change.status), "cause": change.cause}


def line(item: Mapping[str, Any]) -> Line:
    """Reads a line item."""
    charge, closing, due_at = item.get("charge"), item.get("closing"), item.get("due_at")
    return Line(
        id=item["sk"].removeprefix("LINE#"),
        workspace_id=item["pk"].removeprefix("W#"),
        submission=Submission(**{name: item.get(name) for name in _SUBMISSION_FIELDS}),  # type: ignore[arg-type] # required fields are always stored
        status=Status(item["status"]),
        payment_status=PaymentStatus(item["payment_status"]),
        created_at_ms=int(item["created_at"]),
        history=tuple(
            Change(int(change["at"]), Status(change["status"]), change["cause"]) for change in item["history"]
        ),
        charge=_charge(charge) if charge else None,
        key_hash=item.get("key_hash"),
        key_version=int(item["key_version"]),
        keyed_at_ms=int(item["keyed_at"]),
        invoice_id=item.get("invoice_id"),
        payment_url=item.get("payment_url"),
        closing=Closing(closing) if closing else None,
        look_after_ms=int(item["look_after"]),
        due_at_ms=None if due_at is None else int(due_at),
        refund_due=item.get("refund_due", False),
    )


def _charge(item: Mapping[str, Any]) -> Charge:
    known = {f.name: item[f.name] for f in fields(Charge) if f.name in item}
    return Charge(**known | {"unit_amount": int(known["unit_amount"]), "tax_rates": tuple(known["tax_rates"])})


def record(item: Mapping[str, Any]) -> IdempotencyRecord:
    """Reads an idempotency record."""
    return IdempotencyRecord(item["line_id"], item["fingerprint"], item.get("answer"))
