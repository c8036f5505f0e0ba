"""What Stripe and the other plans say to a plan file, before it is stored (contract 53)."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from line_requests.billing.catalogue import StripePrice
from line_requests.billing.operator_account import OperatorBilling
from line_requests.domain.errors import InvalidPlan
from line_requests.domain.model import Workspace
from line_requests.domain.money import SMALLEST_STEP
from line_requests.domain.prices import AddOn, Allowance, Plan
from line_requests.domain.submission import Kind
from line_requests.operator.plan_files import InvalidPlans, Mistake, PlanSpec
from line_requests.operator.values import Money
from line_requests.storage.plans import PLANS_MAX


@dataclass(frozen=True, slots=True)
class Checked:
    """A plan file that may be applied: what it stores and what it removes."""

    plans: list[Plan]
    removed: list[str]


def check(
    specs: Mapping[str, PlanSpec],
    stored: Iterable[Plan],
    billing: OperatorBilling,
    *,
    prune: bool = False,
    workspaces: Iterable[Workspace] = (),
) -> Checked:
    """Checks every plan at Stripe and beside the others; raises InvalidPlans with all mistakes.

    Plans that were applied before and are not among these stay, or are removed with `prune` unless one of `workspaces`
    is on them.
    """
    before = {plan.name: plan for plan in stored}
    others = [plan for plan in before.values() if plan.name not in specs]
    kept, removed = ([], [plan.name for plan in others]) if prune else (others, [])
    if len(specs) + len(removed) > PLANS_MAX:
        raise InvalidPlan(f"more than {PLANS_MAX} plans would change at once")
    at_stripe = _AtStripe(billing)
    plans = [
        replace(plan, position=position, former_add_ons=_former_add_ons(before.get(plan.name, plan), plan))
        for position, plan in enumerate(at_stripe.plan(name, spec) for name, spec in specs.items())
    ]
    mistakes = at_stripe.mistakes + _overlaps([*kept, *plans])
    if removed:
        used = Counter(workspace.subscription.plan for workspace in workspaces if workspace.subscription)
        mistakes += [
            Mistake(name, (), f"{used[name]} workspaces are on it, so it cannot be pruned")
            for name in removed
            if used[name]
        ]
    if mistakes:
        raise InvalidPlans(mistakes)
    return Checked(plans, removed)


def _former_add_ons(before: Plan, plan: Plan) -> dict[Kind, tuple[str, ...]]:
    """The add-on prices that the plan had and no longer has."""
    current, former = set(plan.add_on_prices()), dict[Kind, tuple[str, ...]]()
    for kind, price in before.add_on_prices():
        if (kind, price) not in current:
            former[kind] = (*former.get(kind, ()), price)
    return former


class _AtStripe:
    """Makes plans of specs and collects what Stripe says against them."""

    def __init__(self, billing: OperatorBilling) -> None:
        self.mistakes: list[Mistake] = []
        self._price = cache(billing.catalogue.price)
        self._product_active = cache(billing.catalogue.product_active)
        self._tax_rate_active = cache(billing.catalogue.tax_rate_active)
        self._default_tax_behavior = cache(billing.catalogue.default_tax_behavior)

    def plan(self, name: str, spec: PlanSpec) -> Plan:
        """The plan with all that is copied from Stripe; incomplete when there are mistakes."""
        bases = [self._recurring(name, ("base_prices",), price_id) for price_id in spec.base_prices]
        known = [base for base in bases if base is not None]
        automatic = spec.tax == "automatic"
        allowances = {}
        for kind, grant in spec.lines.items():
            where, add_on = ("lines", str(kind), "add_on"), None
            if grant.add_on is not None:
                add_on = self._add_on(name, where, grant.add_on, known, automatic_tax=automatic)
            allowances[kind] = Allowance(grant.included, grant.cap, add_on)
        if any(grant.add_on for grant in spec.lines.values()):
            for base in known:
                if base.unit_amount == 0:
                    free = Money(0, base.currency)
                    self._mistake(
                        name,
                        ("base_prices",),
                        f"{base.id} is free ({free}): Stripe charges an add-on that joins a free subscription at once,"
                        " beside the line's own invoice",
                    )
        rates = () if spec.tax == "automatic" else tuple(spec.tax)
        for rate in rates:
            if not self._tax_rate_active(rate):
                self._mistake(name, ("tax",), f"Stripe has no active tax rate {rate}")
        if spec.first_charge == "full" and any(base.longer_than_a_month for base in known):
            self._mistake(name, ("first_charge",), "full is for base prices of at most a month")
        return Plan(
            name,
            tuple(spec.base_prices),
            allowances,
            automatic,
            rates,
            excess=spec.excess,
            first_charge=spec.first_charge,
            invoice_memo=spec.invoice_memo,
            invoice_footer=spec.invoice_footer,
        )

    def _mistake(self, plan: str, field: tuple[str, ...], message: str) -> None:
        self.mistakes.append(Mistake(plan, field, message))

    def _recurring(self, plan: str, field: tuple[str, ...], price_id: str) -> StripePrice | None:
        price = self._price(price_id)
        if price is None:
            self._mistake(plan, field, f"Stripe does not know {price_id}")
        elif price.interval is None:
            self._mistake(plan, field, f"{price_id} is not recurring")
        elif not self._product_active(price.product):
            self._mistake(plan, field, f"the product {price.product} of {price_id} is not active")
        else:
            return price
        return None

    def _add_on(
        self, plan: str, field: tuple[str, ...], price_id: str, bases: Iterable[StripePrice], *, automatic_tax: bool
    ) -> AddOn | None:
        """A price that one invoice item can copy and one subscription item can carry beside the base's."""
        price = self._recurring(plan, field, price_id)
        if price is None:
            return None
        faults = [fault for fault, found in _ADD_ON_FAULTS.items() if found(price)]
        for base in bases:
            # Stripe bills a subscription in one currency, and the add-on with it in one interval.
            ours, its = (price.currency, price.interval), (base.currency, base.interval)
            if ours != its:
                there, here = " every ".join(map(str, its)), " every ".join(map(str, ours))
                faults.append(f"is in {here}, the base price {base.id} in {there}")
        for currency, amount in price.amounts.items():
            # Stripe has such prices, and refuses every payment of one:
            # https://support.stripe.com/questions/deprecation-of-fractional-isk-charges-and-refunds
            step = SMALLEST_STEP.get(currency, 1)
            if amount.unit_amount % step:
                cost, least = Money(amount.unit_amount, currency), Money(step, currency)
                faults.append(f"costs {cost}, and Stripe charges only multiples of {least}")
        unspecified = any(amount.tax_behavior == "unspecified" for amount in price.amounts.values())
        if automatic_tax and unspecified and self._default_tax_behavior() is None:
            faults.append("has no tax behavior, which automatic tax needs, and the account has no default")
        for fault in faults:
            self._mistake(plan, field, f"{price.id} {fault}")
        if faults or price.unit_amount is None:
            return None
        return AddOn(price.id, price.product, price.amounts)


_ADD_ON_FAULTS: Mapping[str, Callable[[StripePrice], bool]] = {
    "is metered": lambda price: price.metered,
    "is tiered": lambda price: price.tiered,
    "is for packages, not for single lines": lambda price: price.per_package,
    "has no whole unit amount": lambda price: price.unit_amount is None and not price.tiered,
    "is not active": lambda price: not price.active,
}


def _overlaps(plans: Iterable[Plan]) -> list[Mistake]:
    """A base price identifies one plan and is no add-on, because the quantities of add-ons are set to what is owed."""
    plans, mistakes = list(plans), list[Mistake]()
    meaning: dict[str, str] = {}
    for plan in plans:
        for price in plan.base_prices:
            if meaning.setdefault(price, plan.name) != plan.name:
                message = f"{price} already identifies plan {meaning[price]}"
                mistakes.append(Mistake(plan.name, ("base_prices",), message))
    for plan in plans:
        for kind, allowance in plan.allowances.items():
            if allowance.add_on is not None and allowance.add_on.price in meaning:
                price = allowance.add_on.price
                message = f"{price} is a base price of plan {meaning[price]}"
                mistakes.append(Mistake(plan.name, ("lines", str(kind), "add_on"), message))
    return mistakes
