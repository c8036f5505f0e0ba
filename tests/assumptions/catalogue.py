"""Every assumption, by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.assumptions.experiments import (
    events,
    idempotency,
    invoices,
    keys,
    lists,
    prices,
    renewals,
    reversals,
    settlement,
    subscriptions,
    taxes,
)
from tests.assumptions.registry import Assumption

if TYPE_CHECKING:
    from types import ModuleType

MODULES: tuple[ModuleType, ...] = (
    idempotency,
    invoices,
    lists,
    settlement,
    subscriptions,
    prices,
    renewals,
    reversals,
    taxes,
    events,
    keys,
)


def of_module(module: ModuleType) -> list[Assumption]:
    """Return a module's assumptions in the order in which they are written."""
    return [value for value in vars(module).values() if isinstance(value, Assumption)]


ASSUMPTIONS: tuple[Assumption, ...] = tuple(a for module in MODULES for a in of_module(module))
