"""What lines cost: prices, periods, charges, and what a plan grants."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from line_requests.domain.submission import Kind

# Whether a price contains its tax; unspecified leaves it to the Stripe account's default.
TaxBehavior = Literal["exclusive", "inclusive", "unspecified"]
UNSPECIFIED: TaxBehavior = "unspecified"
# Whether unpaid lines are billed (contract 50), and what a first invoice charges (51).
Excess = Literal["keep", "bill"]
FirstCharge = Literal["prorated", "full"]


@dataclass(frozen=True, slots=True)
class Amount:
    """A price in one currency."""

    unit_amount: int
    """Minor units of the currency."""
    tax_behavior: TaxBehavior = UNSPECIFIED


@dataclass(frozen=True, slots=True)
class AddOn:
    """A paid line beyond the plan: the recurring price, and what an invoice item copies from it, by currency."""

    price: str
    product: str
    amounts: Mapping[str, Amount]


@dataclass(frozen=True, slots=True)
class Period:
    """From one moment to another, epoch seconds as at Stripe."""

    start_s: int
    end_s: int


NO_PERIOD = Period(0, 0)


@dataclass(frozen=True, slots=True)
class Coverage:
    """So many places are charged until then (contract 52)."""

    until_s: int
    places: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a plan grants for one kind of line; without an add-on nothing is for sale."""

    included: int
    cap: int | None = None
    add_on: AddOn | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What renewals were added to `charged`: that of this period, and those of periods that began before."""

    subscription: str
    period_end_s: int
    started_s: int = 0
    """When the latest period began whose renewal was added."""


@dataclass(frozen=True, slots=True)
class PendingCharge:
    """One pending invoice item for places that are owed beyond what is charged; frozen before Stripe is called."""

    number: int
    kind: Kind
    subscription: str
    product: str
    currency: str
    amount: int
    tax_behavior: TaxBehavior
    tax_rates: tuple[str, ...]
    period: Period
    from_s: tuple[int, ...]
    """From when each of its places is charged."""
    stored_at_ms: int


@dataclass(frozen=True, slots=True)
class Charge:
    """Every parameter of a line's invoice, frozen when the line is created."""

    customer: str
    livemode: bool
    product: str
    currency: str
    amount: int
    """Minor units of the currency."""
    period: Period
    """What it pays for."""
    description: str
    tax_behavior: TaxBehavior = UNSPECIFIED
    automatic_tax: bool = False
    tax_rates: tuple[str, ...] = ()
    memo: str | None = None
    footer: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as applied: the base prices that identify it, and what it grants."""

    name: str
    base_prices: tuple[str, ...]
    allowances: Mapping[Kind, Allowance]
    automatic_tax: bool = False
    tax_rates: tuple[str, ...] = ()
    excess: Excess = "keep"
    first_charge: FirstCharge = "prorated"
    invoice_memo: str | None = None
    invoice_footer: str | None = None
    position: int = 0
    """Its place in the plan file: of several base prices on one subscription, the first plan's counts."""
    former_add_ons: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    """Add-on prices that it had before: subscriptions may still carry them, and renewals may have charged them."""

    def add_on_prices(self) -> Iterator[tuple[Kind, str]]:
        """Each kind with each price that stands or stood for one more line of it."""
        yield from ((kind, allowance.add_on.price) for kind, allowance in self.allowances.items() if allowance.add_on)
        yield from ((kind, price) for kind, prices in self.former_add_ons.items() for price in prices)
