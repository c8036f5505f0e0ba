"""Which lines are over plan, counted line by line; and what a snapshot that decides nothing keeps (contract 54)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from line_requests.domain.over_plan import Standing, basis_under, excess, standings
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from tests.decision.examples import (
    ADD_ONS,
    SUBSCRIPTION_STATUSES,
    counts,
    subscription,
    subscriptions,
    workspace,
    workspaces,
)

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription, Workspace
    from line_requests.domain.prices import Excess

EMAIL = Kind.EMAIL
UNDECIDED = sorted(set(SUBSCRIPTION_STATUSES) - {"active", "trialing", "canceled", "incomplete_expired"})


def with_emails(
    allowance: Allowance | None, *, unpaid: int = 0, paid: int = 0, waiting: bool = False, policy: Excess = "keep"
) -> Workspace:
    """Settled lines, unpaid and paid, and perhaps one that awaits its payment, under one allowance."""
    subscribed = subscription("active", **({"email": allowance} if allowance else {"byon_phone": Allowance(1)}))
    return workspace(
        subscription=replace(subscribed, excess=policy),
        held=counts(email=unpaid + paid + waiting),
        unpaid=counts(email=unpaid + waiting),
        lock_kind=EMAIL if waiting else None,
    )


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        (with_emails(Allowance(2), unpaid=2), None),
        (with_emails(Allowance(2), unpaid=3), Standing(3, 2, "above_included")),
        (with_emails(Allowance(2), unpaid=2, waiting=True), None),
        (with_emails(Allowance(2), unpaid=3, waiting=True), Standing(3, 2, "above_included")),
        (with_emails(Allowance(1), unpaid=1, paid=4), None),
        (with_emails(Allowance(1), unpaid=3, paid=4), Standing(7, 5, "above_included")),
        (with_emails(Allowance(1, cap=4), unpaid=1, paid=4), Standing(5, 4, "above_cap")),
        (with_emails(Allowance(1, cap=5), unpaid=1, paid=4), None),
        (with_emails(Allowance(1, cap=4), unpaid=3, paid=1), Standing(4, 2, "above_included")),
        (with_emails(Allowance(1, cap=1), unpaid=4, paid=1), Standing(5, 1, "above_cap")),
        (with_emails(Allowance(1, cap=1), unpaid=2), Standing(2, 1, "above_included")),
        (with_emails(Allowance(1), unpaid=9, policy="bill"), None),
        (with_emails(Allowance(1, cap=4), unpaid=9, policy="bill"), Standing(9, 4, "above_cap")),
        (with_emails(None, unpaid=1, paid=1), Standing(2, 0, "kind_not_offered")),
        (with_emails(None, waiting=True), None),
    ],
)
def test_excess_of_one_kind(holder: Workspace, expected: Standing | None) -> None:
    """[54]"""
    assert excess(holder) == ({EMAIL: expected} if expected else {})


def test_workspace_that_never_had_a_line_is_within_its_plan() -> None:
    """[54] Nothing is counted yet."""
    holder = workspace(held={}, unpaid={}, subscription=subscription(email=Allowance(2)))
    assert standings(holder)[EMAIL] == Standing(0, 2, "within_plan")


@pytest.mark.parametrize("ended", [subscription("canceled"), subscription("incomplete_expired"), None])
def test_every_settled_line_is_in_excess_once_the_subscription_ended(ended: Subscription | None) -> None:
    """[54] Also on a plan that is not known; without a subscription its customer was deleted."""
    holder = replace(with_emails(Allowance(9), unpaid=1, paid=2, waiting=True), subscription=ended)
    expected = {EMAIL: Standing(3, 0, "subscription_ended")}
    assert excess(holder) == expected
    if ended:
        assert excess(replace(holder, subscription=replace(ended, plan=None))) == expected


@st.composite
def deciding(draw: st.DrawFn) -> Workspace:
    """Workspaces whose subscription is active on a known plan, or has ended."""
    subscribed = draw(subscriptions)
    status = draw(st.sampled_from(["active", "trialing", "canceled", "incomplete_expired"]))
    decides = replace(subscribed, status=status, plan=subscribed.plan or "starter")
    return replace(draw(workspaces()), subscription=decides, excess_basis=None)


@settings(max_examples=500)
@given(deciding())
def test_excess_matches_contract_formula(holder: Workspace) -> None:
    """[54]"""
    subscribed = holder.subscription
    assert subscribed is not None
    for kind, standing in standings(holder).items():
        waiting = int(holder.lock_kind is kind)
        settled, unpaid = holder.held[kind] - waiting, holder.unpaid[kind] - waiting
        allowance = None if subscribed.status in {"canceled", "incomplete_expired"} else subscribed.allowances.get(kind)
        if allowance is None:
            expected = settled
        else:
            beyond_included = 0 if subscribed.excess == "bill" else unpaid - allowance.included
            expected = max(beyond_included, 0 if allowance.cap is None else settled - allowance.cap, 0)
        assert (standing.held, standing.excess) == (settled, expected)
        assert (standing.reason == "within_plan") is (expected == 0)


@given(deciding(), subscriptions, st.sampled_from(UNDECIDED) | st.none())
def test_status_that_decides_nothing_changes_no_standing(
    holder: Workspace, next_one: Subscription, status: str | None
) -> None:
    """[54] past_due, unpaid, paused, incomplete, or active on an unknown plan (None); whatever else it says."""
    undecided = replace(next_one, status=status) if status else replace(next_one, status="active", plan=None)
    later = replace(holder, subscription=undecided, excess_basis=basis_under(holder, undecided))
    assert standings(later) == standings(holder)
    again = replace(undecided, status="past_due")
    assert standings(replace(later, subscription=again, excess_basis=basis_under(later, again))) == standings(holder)
    assert basis_under(later, holder.subscription) is None
    assert basis_under(later, None) is None


@pytest.mark.parametrize("status", UNDECIDED)
def test_released_lines_reduce_the_excess_while_the_subscription_decides_nothing(status: str) -> None:
    """[54]"""
    holder = with_emails(Allowance(1, add_on=ADD_ONS[EMAIL]), unpaid=2)
    undecided = subscription(status, email=Allowance(0))
    later = replace(holder, subscription=undecided, excess_basis=basis_under(holder, undecided))
    assert {kind: standing.excess for kind, standing in excess(later).items()} == {EMAIL: 1}
    assert excess(replace(later, held=counts(email=1), unpaid=counts(email=1))) == {}


@given(workspaces(), subscriptions, st.sampled_from(UNDECIDED))
def test_nothing_is_over_plan_before_any_subscription_decided(
    holder: Workspace, first: Subscription, status: str
) -> None:
    """[54]"""
    assert standings(replace(holder, subscription=replace(first, status=status), excess_basis=None)) == {}
