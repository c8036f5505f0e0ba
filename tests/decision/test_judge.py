"""The decision on one new line: included, for sale, or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given

from line_requests.domain.decision import charge_for, judge
from line_requests.domain.errors import ForbiddenLineType, SubscriptionRequired
from line_requests.domain.prices import AddOn, Allowance
from line_requests.domain.submission import Kind
from tests.decision.examples import (
    ADD_ONS,
    NOW_MS,
    PERIOD,
    SUBMISSIONS,
    SUBSCRIPTION_STATUSES,
    counts,
    kinds,
    subscription,
    workspace,
    workspaces,
)

if TYPE_CHECKING:
    from line_requests.domain.model import Workspace

EXTRA = ADD_ONS[Kind.EMAIL]


def with_emails(allowance: Allowance, *, unpaid: int = 0, paid: int = 0) -> Workspace:
    held = counts(email=unpaid + paid)
    return workspace(subscription=subscription(email=allowance), held=held, unpaid=counts(email=unpaid))


@pytest.mark.parametrize("status", SUBSCRIPTION_STATUSES)
def test_judge_requires_active_or_trialing_subscription(status: str) -> None:
    """[17]"""
    subscribed = workspace(subscription=subscription(status))
    if status in {"active", "trialing"}:
        assert judge(subscribed, Kind.EMAIL) is None
    else:
        with pytest.raises(SubscriptionRequired, match="no active subscription"):
            judge(subscribed, Kind.EMAIL)


def test_judge_refuses_without_subscription_or_known_plan() -> None:
    """[17]"""
    for none_known in (None, replace(subscription(), plan=None)):
        with pytest.raises(SubscriptionRequired, match="Subscribe, or pay what the subscription owes, then retry"):
            judge(workspace(subscription=none_known), Kind.EMAIL)


def test_judge_forbids_kind_that_plan_does_not_name() -> None:
    """[18]"""
    with pytest.raises(ForbiddenLineType, match="byon phone"):
        judge(workspace(subscription=subscription(email=Allowance(1))), Kind.BYON_PHONE)


TWO, THREE_AT_MOST = Allowance(2, add_on=EXTRA), Allowance(1, cap=3, add_on=EXTRA)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (with_emails(TWO, unpaid=1), None),
        (with_emails(TWO, unpaid=1, paid=7), None),
        (with_emails(TWO, unpaid=2), EXTRA),
        (with_emails(Allowance(0)), "sells no email lines. Choose another kind of line or another plan."),
        (with_emails(Allowance(1), unpaid=1), "1 email line and sells no more. Release an included line or"),
        (with_emails(Allowance(2), unpaid=2), "2 email lines and sells no more"),
        (with_emails(THREE_AT_MOST, unpaid=1, paid=1), EXTRA),
        (with_emails(THREE_AT_MOST, unpaid=1, paid=2), "limit of 3 email lines is"),
        (with_emails(Allowance(1, cap=1), unpaid=1), "limit of 1 email line is"),
        (with_emails(Allowance(2, cap=2, add_on=EXTRA), paid=2), "limit of 2"),
        (workspace(held=counts(byon_phone=1), unpaid=counts(byon_phone=1)), None),
    ],
)
def test_judge_counts_unpaid_lines_of_the_kind_towards_its_places_and_all_towards_its_cap(
    asked: Workspace, expected: AddOn | str | None
) -> None:
    """[15][18][19]"""
    if isinstance(expected, str):
        with pytest.raises(ForbiddenLineType, match=expected):
            judge(asked, Kind.EMAIL)
    else:
        assert judge(asked, Kind.EMAIL) == expected


def test_judge_of_a_workspace_that_never_had_a_line_of_the_kind() -> None:
    """[15][19] Nothing is counted yet."""
    asked = workspace(held={}, unpaid={}, subscription=subscription(email=Allowance(1, cap=1)))
    assert judge(asked, Kind.EMAIL) is None


def expected(asked: Workspace, kind: Kind) -> AddOn | str | None:
    """The contract's rules, one line each."""
    current = asked.subscription
    if current is None or current.plan is None or current.status not in ("active", "trialing"):
        return "subscription_required"
    granted = current.allowances.get(kind)
    if granted is None or (granted.cap is not None and asked.held[kind] >= granted.cap):
        return "forbidden"
    return None if asked.unpaid[kind] < granted.included else granted.add_on or "forbidden"


@given(workspaces(), kinds)
def test_judge_matches_contract_for_any_workspace(asked: Workspace, kind: Kind) -> None:
    """[17][18][19][22]"""
    outcome: AddOn | str | None
    refused = ""
    try:
        outcome = judge(asked, kind)
    except SubscriptionRequired as refusal:
        outcome, refused = "subscription_required", str(refusal)
    except ForbiddenLineType as refusal:
        outcome, refused = "forbidden", str(refusal)
    assert outcome == expected(asked, kind)
    assert bool(refused) is isinstance(outcome, str)


@given(workspaces())
def test_charge_is_add_on_amount_for_workspace_customer(asked: Workspace) -> None:
    """[16]"""
    assume(asked.subscription is not None)
    assert asked.subscription is not None
    taxed = replace(asked.subscription, currency="usd", period=PERIOD, status="active", first_charge="prorated")
    asked = replace(asked, subscription=taxed)
    charge = charge_for(asked, SUBMISSIONS[Kind.EMAIL], EXTRA, NOW_MS)
    assert (charge.customer, charge.livemode) == (asked.customer, asked.livemode)
    assert (charge.product, charge.currency, charge.amount) == ("prod_email", "usd", 333)
    assert charge.period == replace(PERIOD, start_s=NOW_MS // 1000)
    assert charge.description == "Email line: Ada Lovelace"
    assert (charge.automatic_tax, charge.tax_rates) == (taxed.automatic_tax, taxed.tax_rates)
