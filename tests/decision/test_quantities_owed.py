"""The quantity of each add-on price, against the contract's formula counted line by line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from line_requests.domain.decision import once_included, owed_by_kind, quantities_owed
from line_requests.domain.prices import AddOn, Allowance, Amount, Coverage
from line_requests.domain.submission import Kind
from tests.decision.examples import ADD_ONS, PERIOD, counts, subscription, workspace

if TYPE_CHECKING:
    from line_requests.domain.model import Workspace
    from line_requests.domain.prices import Excess

SHARED = AddOn("price_shared", "prod_1", {"usd": Amount(100)})


@dataclass(frozen=True)
class Held:
    """One line that holds a place."""

    kind: Kind
    paid: bool = False
    awaiting: bool = False


held_lines = st.lists(st.builds(Held, st.sampled_from(Kind), paid=st.booleans()), max_size=12)
granted = st.dictionaries(
    st.sampled_from(Kind),
    st.builds(Allowance, st.integers(0, 4), add_on=st.sampled_from([None, SHARED, *ADD_ONS.values()])),
    min_size=1,
)


def of(held: list[Held], allowances: dict[Kind, Allowance]) -> Workspace:
    return workspace(
        subscription=subscription(**{str(kind): allowance for kind, allowance in allowances.items()}),
        held={kind: sum(line.kind is kind for line in held) for kind in Kind},
        unpaid={kind: sum(line.kind is kind and not line.paid for line in held) for kind in Kind},
        lock_kind=next((line.kind for line in held if line.awaiting), None),
    )


@settings(max_examples=500)
@given(held_lines, granted, st.none() | st.sampled_from(Kind), st.sampled_from(["keep", "bill"]))
def test_quantities_owed_match_contract_formula(
    held: list[Held], allowances: dict[Kind, Allowance], awaiting_kind: Kind | None, excess: Excess
) -> None:
    """[50]"""
    held = held + ([Held(awaiting_kind, awaiting=True)] if awaiting_kind else [])
    owed: dict[str, int] = {}
    for kind, allowance in allowances.items():
        if allowance.add_on:
            paid = [line for line in held if line.kind is kind and line.paid]
            settled = [line for line in held if line.kind is kind and not line.awaiting]
            beyond = max(0, len(settled) - allowance.included)
            count = beyond if excess == "bill" else min(len(paid), beyond)
            owed[allowance.add_on.price] = owed.get(allowance.add_on.price, 0) + count
    holder = of(held, allowances)
    assert holder.subscription is not None
    assert quantities_owed(replace(holder, subscription=replace(holder.subscription, excess=excess))) == owed


def test_waiting_request_counts_as_included_once_the_active_plan_includes_it() -> None:
    """[39]"""
    one = Allowance(1, add_on=ADD_ONS[Kind.EMAIL])
    waiting = workspace(
        subscription=subscription(email=one),
        held=counts(email=2),
        unpaid=counts(email=1),
        lock="waiting",
        lock_kind=Kind.EMAIL,
    )
    assert once_included(waiting) == replace(waiting, lock=None, lock_kind=None)
    kept = [
        replace(waiting, unpaid=counts(email=2)),
        replace(waiting, lock_kind=Kind.BYON_PHONE),
        replace(waiting, lock=None, lock_kind=None),
        replace(waiting, subscription=None),
        replace(waiting, subscription=replace(subscription(email=one), status="past_due")),
    ]
    assert [once_included(other) for other in kept] == kept


def test_quantities_owed_of_a_workspace_that_never_had_a_line() -> None:
    """[50] Nothing is counted yet; and what is not for sale is not owed."""
    offered = subscription(email=Allowance(0, add_on=SHARED))
    assert quantities_owed(workspace(held={}, unpaid={}, subscription=offered)) == {"price_shared": 0}
    not_for_sale = subscription(email=Allowance(0))
    assert owed_by_kind(workspace(held=counts(email=2), subscription=not_for_sale)) == {}
    uncounted = workspace(held=counts(email=2), unpaid={}, subscription=offered)
    assert quantities_owed(uncounted) == {"price_shared": 2}
    bill = replace(offered, excess="bill")
    assert quantities_owed(workspace(held={}, unpaid={}, subscription=bill)) == {"price_shared": 0}


def test_renewal_does_not_charge_a_place_that_is_charged_beyond_the_period() -> None:
    """[52] One that is charged to the period's end is charged by the renewal."""
    paid = workspace(held=counts(email=3), subscription=subscription(email=Allowance(0, add_on=SHARED)))
    for until_s, owed in [(PERIOD.end_s, 3), (PERIOD.end_s + 1, 1)]:
        charged = {Kind.EMAIL: (Coverage(until_s, 2),)}
        assert quantities_owed(replace(paid, charged=charged)) == {"price_shared": owed}


def test_quantities_owed_are_none_without_subscription() -> None:
    """[50]"""
    without = workspace(subscription=None, held=counts(email=2))
    assert quantities_owed(without) == {}
    assert owed_by_kind(without) == {}
