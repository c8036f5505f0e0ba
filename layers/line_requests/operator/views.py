"""What the console script shows: rows of plain values, as JSON takes them, and their text."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from line_requests.domain.bodies import submission_body
from line_requests.domain.ids import iso_utc
from line_requests.domain.model import ApiKey, Line, Plan, Workspace
from line_requests.operator import commands

Row = dict[str, Any]
View = Row | list[Row]

HASH_DIGITS = 12


def plan_view(plan: Plan) -> Row:
    """A plan as it was applied."""
    return {
        "plan": plan.name,
        "basePrices": list(plan.base_prices),
        "tax": "automatic" if plan.automatic_tax else list(plan.tax_rates),
        "lines": [
            {
                "kind": str(kind),
                "included": allowance.included,
                "cap": allowance.cap,
                "addOn": allowance.add_on and allowance.add_on.price,
                "unitAmount": allowance.add_on and allowance.add_on.unit_amount,
                "currency": allowance.add_on and allowance.add_on.currency,
            }
            for kind, allowance in plan.allowances.items()
        ],
    }


def workspace_view(workspace: Workspace, keys: Sequence[ApiKey]) -> Row:
    """A workspace with its places; of its keys only how many work."""
    subscription = workspace.subscription
    view: Row = {
        "workspace": workspace.id,
        "customer": workspace.customer,
        "livemode": workspace.livemode,
        "subscription": subscription and subscription.id,
        "status": subscription and subscription.status,
        "plan": subscription and subscription.plan,
        "lock": workspace.lock,
        "keys": sum(key.revoked_at_ms is None for key in keys),
        "capacity": [
            {
                "kind": str(kind.kind),
                "included": kind.included,
                "cap": kind.cap,
                "used": kind.used,
                "paid": kind.paid,
                "left": kind.left,
                "addOn": kind.add_on,
            }
            for kind in commands.capacity(workspace)
        ],
    }
    if subscription is not None and subscription.plan is None:
        view["note"] = f"no plan names the base price of {subscription.id}: add it to a plan, apply, then sync"
    return view


def key_view(key: ApiKey) -> Row:
    """What is told of a key that was issued."""
    return {
        "hash": key.hash[:HASH_DIGITS],
        "label": key.label,
        "created": iso_utc(key.created_at_ms),
        "revoked": None if key.revoked_at_ms is None else iso_utc(key.revoked_at_ms),
    }


def line_view(line: Line) -> Row:
    """A line with what was asked for, what it is charged and its history."""
    return {
        "line": line.id,
        "workspace": line.workspace_id,
        "kind": str(line.submission.kind),
        **submission_body(line.submission),
        "status": str(line.status),
        "paymentStatus": str(line.payment_status),
        "unitAmount": line.charge and line.charge.unit_amount,
        "currency": line.charge and line.charge.currency,
        "invoice": line.invoice_id,
        "paymentUrl": line.payment_url,
        "voidReason": line.void_reason and str(line.void_reason),
        "refundDue": line.refund_due,
        "history": [
            {"at": iso_utc(change.at_ms), "status": str(change.status), "cause": change.cause}
            for change in line.history
        ],
    }


def text(view: View) -> str:
    """For a terminal: names beside values, a table for rows, a block for each row that has tables."""
    if isinstance(view, list):
        nested = any(_is_table(value) for row in view for value in row.values())
        return "\n\n".join(map(text, view)) if nested else _table(view)
    plain = [(_words(name), _cell(value)) for name, value in view.items() if not _is_table(value)]
    blocks = [tabulate(plain, tablefmt="plain", disable_numparse=True)]
    blocks += [f"{_words(name)}:\n{_table(value)}" for name, value in view.items() if _is_table(value)]
    return "\n\n".join(blocks)


def _table(rows: list[Row]) -> str:
    if not rows:
        return "(none)"
    cells = [[_cell(value) for value in row.values()] for row in rows]
    return tabulate(cells, [_words(name) for name in rows[0]], tablefmt="plain", disable_numparse=True)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(row, dict) for row in value)


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
