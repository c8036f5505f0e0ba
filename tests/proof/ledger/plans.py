"""The plans and prices of the ledger's histories, for the oracle, for Stripe in memory and for the product."""

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.proof.ledger.history import Plan
from tests.proof.memory_billing import Price

if TYPE_CHECKING:
    from line_requests.domain import prices

CURRENCIES = ("usd", "eur", "jpy", "isk", "kwd")
# Minor units of each of these currencies.
UNIT_AMOUNTS = {
    price: dict(zip(CURRENCIES, amounts, strict=True))
    for price, amounts in {
        "phone": (1500, 1399, 2200, 200_000, 4_610),
        "phone_large": (1199, 1099, 1777, 166_600, 3_690),
        "phone_week": (433, 399, 640, 60_000, 1_330),
        "phone_year": (14_999, 13_990, 22_000, 2_000_000, 46_100),
        "email": (701, 650, 999, 90_000, 2_150),
        "email_year": (7_010, 6_500, 9_990, 900_000, 21_500),
        "any": (1_100, 1_050, 1_700, 155_000, 3_400),
    }.items()
}
UNIT_AMOUNTS |= {
    f"{price}_doubled": {currency: 2 * amount for currency, amount in amounts.items()}
    for price, amounts in UNIT_AMOUNTS.items()
}
PLANS = {
    "small": Plan("month", {"purchased_phone": (1, "phone"), "email": (1, "email")}),
    "any": Plan("month", {"purchased_phone": (1, "any"), "email": (0, "any")}),
    "large": Plan("month", {"purchased_phone": (3, "phone_large"), "email": (2, "email")}),
    "full": Plan("month", {"purchased_phone": (0, "phone")}, first_charge="full"),
    "bill": Plan("month", {"purchased_phone": (1, "phone"), "email": (0, "email")}, excess="bill"),
    "week": Plan("week", {"purchased_phone": (2, "phone_week")}, excess="bill"),
    "year": Plan("year", {"purchased_phone": (1, "phone_year"), "email": (1, "email_year")}),
}
BASES = {f"base_{name}": name for name in PLANS}
SHARED = 2


def bases(seed: int) -> list[str]:
    """The base prices of a history; in every third, two kinds of a plan share their add-on price."""
    return [base for base in BASES if base != ("base_small" if seed % 3 == SHARED else "base_any")]


def with_other_prices(plan: Plan) -> Plan:
    """The plan with add-ons at twice the price, or as it was before that."""
    other = {price: price.removesuffix("_doubled") for price in UNIT_AMOUNTS if price.endswith("_doubled")}
    other |= {before: doubled for doubled, before in other.items()}
    return replace(plan, grants={kind: (included, other[price]) for kind, (included, price) in plan.grants.items()})


PRICES = {f"base_{name}": Price(plan.interval, 1, dict.fromkeys(CURRENCIES, 5000)) for name, plan in PLANS.items()} | {
    price: Price(plan.interval, 1, UNIT_AMOUNTS[price])
    for one in PLANS.values()
    for plan in (one, with_other_prices(one))
    for _, price in plan.grants.values()
}
_DAY_S = 86_400
LENGTHS_S = {price: {"week": 7, "month": 30, "year": 365}[PRICES[price].interval] * _DAY_S for price in UNIT_AMOUNTS}
"""About how long a unit amount lasts, to tell seconds by money."""


def for_the_product(name: str, plan: Plan) -> "prices.Plan":
    """As `plans apply` stores it at first; imported late, so that a planted bug comes first."""
    from line_requests.domain.prices import AddOn, Allowance, Amount
    from line_requests.domain.prices import Plan as Applied
    from line_requests.domain.submission import Kind

    def allowance(included: int, price: str) -> Allowance:
        amounts = {currency: Amount(amount) for currency, amount in UNIT_AMOUNTS[price].items()}
        return Allowance(included, None, AddOn(price, f"prod_{price}", amounts))

    return Applied(
        name,
        (f"base_{name}",),
        {Kind[kind.upper()]: allowance(*grant) for kind, grant in plan.grants.items()},
        excess=plan.excess,  # type: ignore[arg-type] # one of the two
        first_charge=plan.first_charge,  # type: ignore[arg-type] # one of the two
    )
