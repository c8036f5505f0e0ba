"""What applying a plan file would change."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from line_requests.domain.prices import Plan
from line_requests.operator.plan_files import table_of
from line_requests.operator.refusal import Row
from line_requests.operator.values import Money


def diff(stored: Iterable[Plan], plans: Iterable[Plan], removed: Iterable[str]) -> list[Row]:
    """One row for each field that changes; an empty list when nothing does."""
    before = {plan.name: dict(_fields(plan)) for plan in stored}
    after = {plan.name: dict(_fields(plan)) for plan in plans}
    after |= {name: {} for name in removed}
    rows = list[Row]()
    for name in sorted(after):
        was, is_ = before.get(name, {}), after[name]
        rows += [
            {"plan": name, "field": field, "stored": was.get(field), "file": is_.get(field)}
            for field in sorted(was.keys() | is_.keys())
            if was.get(field) != is_.get(field)
        ]
    return rows


def _fields(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Every field by its path in the file, and the amounts that were copied from Stripe."""
    yield from _flat(table_of(plan), "")
    for kind, allowance in plan.allowances.items():
        if allowance.add_on is not None:
            for currency, amount in allowance.add_on.amounts.items():
                yield f"lines.{kind}.{currency}.unit_amount", Money(amount.unit_amount, currency)
                yield f"lines.{kind}.{currency}.tax_behavior", amount.tax_behavior


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(value) if isinstance(value, list) else value
