"""Plan files: read from TOML, checked against Stripe, applied all at once."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, ValidationError, model_validator

from line_requests.billing.account import Billing
from line_requests.billing.catalogue import StripePrice
from line_requests.domain.errors import InvalidPlan
from line_requests.domain.model import AddOn, Allowance, Excess, FirstCharge, Plan
from line_requests.domain.submission import Kind
from line_requests.storage.plans import PLANS_MAX, Plans

# A copy of the plan lies in each of its workspaces, which have to stay small.
_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_PriceId = Annotated[str, StringConstraints(pattern=r"^price_\w+$|^plan_\w+$", max_length=255)]
_TaxRateId = Annotated[str, StringConstraints(pattern=r"^txr_\w+$", max_length=255)]
LINES_MAX = 1_000_000
_Kind = Annotated[Kind, Strict(strict=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LineGrant(_Strict):
    """What a plan's file says about one kind of line."""

    included: int = Field(ge=0, le=LINES_MAX)
    add_on: _PriceId | None = None
    cap: int | None = Field(default=None, ge=0, le=LINES_MAX)

    @model_validator(mode="after")
    def _has_room_for_the_included(self) -> Self:
        if self.cap is not None and self.cap < self.included:
            raise ValueError(f"the cap {self.cap} is less than the {self.included} included")
        return self


class PlanSpec(_Strict):
    """A plan as its file says it; a kind of line that is not listed is not on the plan."""

    base_prices: list[_PriceId] = Field(min_length=1)
    tax: Literal["automatic"] | list[_TaxRateId] = Field(default=[])
    excess: Excess = "keep"
    first_charge: FirstCharge = "prorated"
    # Stripe's limits: https://docs.stripe.com/api/invoices/create
    invoice_memo: str | None = Field(default=None, min_length=1, max_length=1500)
    invoice_footer: str | None = Field(default=None, min_length=1, max_length=5000)
    lines: dict[_Kind, LineGrant]


def read(text: str) -> dict[str, PlanSpec]:
    """The plans of a TOML file, by name; raises InvalidPlan."""
    try:
        return parse(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidPlan(f"not TOML: {error}") from None


def parse(tables: Mapping[str, Any]) -> dict[str, PlanSpec]:
    """The same from tables that are read already."""
    specs = {}
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise InvalidPlan(f"plan {name!r}: a name is 1 to 40 of a-z, 0-9, - and _")
        try:
            specs[name] = PlanSpec.model_validate(table)
        except ValidationError as error:
            faults = [f"{_field(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
            raise InvalidPlan(f"plan {name}: {'; '.join(faults)}".replace("Value error, ", "")) from None
    if not specs:
        raise InvalidPlan("the file has no plan")
    return specs


def _field(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in loc if part != "[key]") or "the plan"


def apply(
    specs: Mapping[str, PlanSpec], stored: Plans, billing: Billing, *, prune: bool = False
) -> tuple[list[Plan], list[str]]:
    """Checks every plan at Stripe, then stores all of them at once; raises InvalidPlan, storing none.

    Plans that were applied before and are not among these stay, or are removed with `prune`.
    Returns the plans of these specs, and the names of the removed ones.
    """
    others = [plan for plan in stored.all() if plan.name not in specs]
    kept, removed = ([], [plan.name for plan in others]) if prune else (others, [])
    if len(specs) + len(removed) > PLANS_MAX:
        raise InvalidPlan(f"more than {PLANS_MAX} plans would change at once")
    price = cache(billing.catalogue.price)
    plans = [
        replace(_checked(name, spec, price, billing.catalogue.tax_rate_active), position=position)
        for position, (name, spec) in enumerate(specs.items())
    ]
    _refuse_overlaps([*kept, *plans])
    stored.save(plans, remove=removed)
    return plans, removed


def _checked(
    name: str,
    spec: PlanSpec,
    price: Callable[[str], StripePrice | None],
    tax_rate_active: Callable[[str], bool],
) -> Plan:
    """The plan with everything that is copied from Stripe; raises InvalidPlan."""
    bases = [_recurring(name, "base_prices", price_id, price) for price_id in spec.base_prices]
    allowances = {}
    for kind, grant in spec.lines.items():
        add_on = None
        if grant.add_on is not None:
            where = f"lines.{kind}.add_on"
            add_on = _sellable(name, where, _recurring(name, where, grant.add_on, price), bases)
        allowances[kind] = Allowance(grant.included, grant.cap, add_on)
    rates = () if spec.tax == "automatic" else tuple(spec.tax)
    for rate in rates:
        if not tax_rate_active(rate):
            raise InvalidPlan(f"plan {name}: tax: Stripe has no active tax rate {rate}")
    if spec.first_charge == "full" and any(base.longer_than_a_month for base in bases):
        raise InvalidPlan(f"plan {name}: first_charge: full is for base prices of at most a month")
    return Plan(
        name,
        tuple(spec.base_prices),
        allowances,
        spec.tax == "automatic",
        rates,
        excess=spec.excess,
        first_charge=spec.first_charge,
        invoice_memo=spec.invoice_memo,
        invoice_footer=spec.invoice_footer,
    )


def _recurring(plan: str, where: str, price_id: str, price: Callable[[str], StripePrice | None]) -> StripePrice:
    found = price(price_id)
    if found is None:
        raise InvalidPlan(f"plan {plan}: {where}: Stripe does not know {price_id}")
    if found.interval is None:
        raise InvalidPlan(f"plan {plan}: {where}: {price_id} is not recurring")
    return found


def _sellable(plan: str, where: str, price: StripePrice, bases: Iterable[StripePrice]) -> AddOn:
    """A price that one invoice item can copy and one subscription item can carry beside the base's."""
    if price.metered:
        fault = "is metered"
    elif price.tiered:
        fault = "is tiered"
    elif price.per_package:
        fault = "is for packages, not for single lines"
    elif price.unit_amount is None:
        fault = "has no whole unit amount"
    elif not price.active:
        fault = "is not active"
    else:
        for base in bases:
            # Stripe bills a subscription in one currency, and the add-on with it in one interval.
            ours, its = (price.currency, price.interval), (base.currency, base.interval)
            if ours != its:
                there, here = " every ".join(map(str, its)), " every ".join(map(str, ours))
                raise InvalidPlan(f"plan {plan}: {where}: {price.id} is in {here}, the base price {base.id} in {there}")
        return AddOn(price.id, price.product, price.amounts)
    raise InvalidPlan(f"plan {plan}: {where}: {price.id} {fault}")


def _refuse_overlaps(plans: Iterable[Plan]) -> None:
    """A base price identifies one plan and is no add-on, because the quantities of add-ons are set to what is owed."""
    plans = list(plans)
    meaning: dict[str, str] = {}
    for plan in plans:
        for price in plan.base_prices:
            if price in meaning:
                raise InvalidPlan(f"plan {plan.name}: base_prices: {price} already identifies plan {meaning[price]}")
            meaning[price] = plan.name
    for plan in plans:
        for kind, allowance in plan.allowances.items():
            if allowance.add_on is not None and allowance.add_on.price in meaning:
                price = allowance.add_on.price
                raise InvalidPlan(
                    f"plan {plan.name}: lines.{kind}.add_on: {price} is a base price of plan {meaning[price]}"
                )
