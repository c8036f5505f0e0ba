"""What the oracle is told of a workspace's history, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """What a plan grants per kind: how many lines are included, and the price of one more."""

    interval: str
    grants: Mapping[str, tuple[int, str]]
    excess: str = "keep"
    first_charge: str = "prorated"


@dataclass(frozen=True)
class State:
    """The subscription at Stripe from this moment on."""

    at_s: int
    subscription: str
    status: str
    plan: Plan
    currency: str
    period: tuple[int, int]
    anchor_s: int


@dataclass
class Line:
    """A line request; `settled_s`: since when it holds its place without waiting for a payment."""

    kind: str
    requested_s: int
    settled_s: float = float("inf")
    released_s: float = float("inf")
    paid: bool = False


@dataclass(frozen=True)
class Reconcile:
    """A completed reconcile; or one that failed, with the kinds it charged and the prices it set by then."""

    at_s: int
    charged: frozenset[str] | None = None
    set: frozenset[str] | None = None
    counted: bool = True
    """Whether it read what the last renewal had charged."""


@dataclass
class History:
    """All that the oracle is told."""

    unit_amounts: Mapping[str, Mapping[str, int]]
    states: list[State] = field(default_factory=list)
    heard_s: list[int] = field(default_factory=list)
    """When the product came to know the subscription as it then was."""
    lines: dict[str, Line] = field(default_factory=dict)
    reconciles: list[Reconcile] = field(default_factory=list)


@dataclass(frozen=True)
class Charge:
    """Places of one price, charged to the end of a period; `seconds`: of all places."""

    what: str
    period: tuple[int, int]
    currency: str
    amount: int
    seconds: int
    places: int = 1
    """How many items it may be made of."""
