"""Charges that were stored before a crash, that Stripe refuses, or that a restored table has forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.subscriptions import StripeCharge
from line_requests.domain.errors import BillingRefused, BillingRejected, BillingUnavailable, ReplayedFailure
from line_requests.domain.prices import Allowance, Counted
from line_requests.domain.submission import Kind
from line_requests.flows.add_ons import KEY_LIFETIME_MS
from tests.decision.examples import ADD_ONS, NOW_MS, PERIOD, counts
from tests.edges.add_on_ledger import (
    CHARGE,
    EMAIL,
    END_S,
    FOR_SALE,
    NOW_S,
    Ledger,
    covered,
    holding,
    item,
)

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription

# --- charges that a restored table has forgotten --------------------------------------------------


def test_charge_after_the_backup_is_counted_by_its_number() -> None:
    """[52]"""
    partly = covered(1, NOW_S + 9)
    ledger = Ledger(holding(2, charged=partly), ("price_email", item("email", 2)))
    ledger.made = [StripeCharge(3, EMAIL, 1, END_S, NOW_S), StripeCharge(4, EMAIL, 1, END_S, NOW_S)]
    ledger.settle()
    assert ledger.workspace.charged == covered(2)
    assert (ledger.workspace.charge_number, ledger.of("charge")) == (4, [])


def test_charge_of_a_period_that_has_ended_moves_only_the_number() -> None:
    """[52]"""
    ledger = Ledger(holding())
    ledger.made = [StripeCharge(3, EMAIL, 1, NOW_S, PERIOD.start_s)]
    ledger.settle()
    assert ledger.of("item") == [("item", 4, EMAIL, 333)]


def test_charge_before_the_interval_was_changed_is_counted_to_its_own_end() -> None:
    """[52] Only the rest of the new period is charged."""
    half_s = (NOW_S + END_S) // 2
    ledger = Ledger(holding(counted=Counted("sub_1", NOW_S, PERIOD.start_s - 9)))
    ledger.made = [StripeCharge(3, EMAIL, 1, half_s, NOW_S)]
    ledger.settle()
    assert ledger.of("unknown") == [("unknown", PERIOD.start_s - 9)]
    assert ledger.of("charge")[0][1].from_s == (half_s,)
    assert ledger.workspace.charged == covered(1)


# --- a charge that was stored ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_ms", "exists", "did"),
    [
        (KEY_LIFETIME_MS, True, [("item", 1, EMAIL, 333)]),
        (KEY_LIFETIME_MS + 1, True, [("has", 1)]),
        (KEY_LIFETIME_MS + 1, False, [("has", 1), ("item", 1, EMAIL, 333)]),
    ],
)
def test_stored_charge_is_made_unless_it_exists(age_ms: int, did: list[Any], *, exists: bool) -> None:
    """[52] Stripe has forgotten its key after a day, so it is looked for."""
    ledger = Ledger(holding(pending_charge=replace(CHARGE, stored_at_ms=NOW_MS - age_ms), charge_number=1))
    ledger.items = {1} if exists else set()
    _, changed = ledger.settle()
    assert ledger.of("has", "item") == did
    assert (ledger.workspace.charged, ledger.workspace.pending_charge) == (covered(1), None)
    assert changed == 1, "its quantity"


def test_charge_of_nothing_makes_no_item() -> None:
    """[52]"""
    ledger = Ledger(holding(pending_charge=replace(CHARGE, amount=0)))
    ledger.settle()
    assert ledger.of("has", "item") == []
    assert ledger.workspace.charged == covered(1)


@pytest.mark.parametrize("made_before", [True, False])
def test_replayed_failure_of_a_charge_takes_a_new_key_unless_it_was_made(*, made_before: bool) -> None:
    """[52][57]"""
    ledger = Ledger(holding(pending_charge=CHARGE, charge_number=1))
    ledger.trouble = [ReplayedFailure("APIError 500")]
    ledger.items = {1} if made_before else set()
    if made_before:
        ledger.settle()
        assert ledger.workspace.charged == covered(1)
        return
    with pytest.raises(ReplayedFailure):
        ledger.settle()
    assert ledger.did[-2:] == [("charge", replace(CHARGE, number=2)), "abandoned"]


@pytest.mark.parametrize(
    ("current", "refusal", "dropped"),
    [
        (FOR_SALE, BillingRefused("no product"), False),
        (FOR_SALE, BillingRejected("no reason"), False),
        (replace(FOR_SALE, status="canceled"), BillingRejected("no reason"), True),
        (replace(FOR_SALE, id="sub_2"), BillingRejected("no reason"), True),
        (None, BillingRejected("no reason"), True),
    ],
)
def test_refused_charge_is_dropped_once_its_subscription_has_ended(
    capsys: pytest.CaptureFixture[str], current: Subscription | None, refusal: Exception, *, dropped: bool
) -> None:
    """[52][57] Until then an operator can fix what Stripe refuses it for."""
    ledger = Ledger(holding(0, subscription=current, pending_charge=CHARGE))
    ledger.trouble = [refusal]
    if dropped:
        ledger.settle()
    else:
        with pytest.raises(type(refusal)):
            ledger.settle()
        assert (ledger.did[-1], ledger.workspace.pending_charge) == ("abandoned", CHARGE)
    assert ledger.of("saved")[:1] == ([("saved", {})] if dropped else [])
    assert ('"BillingRefused":[1.0]' in capsys.readouterr().out) is dropped


def test_charge_that_stripe_refuses_for_good_is_tried_once_a_run() -> None:
    """[57] And made once it can be: no time of the period is lost."""
    ledger = Ledger(holding())
    ledger.trouble = [BillingRefused("no product")]
    with pytest.raises(BillingRefused):
        ledger.settle()
    assert (len(ledger.of("item")), ledger.workspace.charged, ledger.workspace.pending_charge) == (1, {}, CHARGE)
    ledger.settle(NOW_MS + 3_600_000)
    assert (ledger.of("item")[0], ledger.workspace.charged) == (ledger.of("item")[1], covered(1))


@pytest.mark.parametrize("priced", [True, False])
def test_charge_that_is_not_made_keeps_no_released_line_billed(*, priced: bool) -> None:
    """[50][52] Stripe rejects the charge of a phone line in every run, or the add-on has no such currency."""
    currency = "usd" if priced else "eur"
    selling = {kind: Allowance(0, add_on=ADD_ONS[kind]) for kind in (Kind.EMAIL, Kind.PURCHASED_PHONE)}
    subscription = replace(FOR_SALE, currency=currency, allowances=selling)
    held = holding(held=counts(purchased_phone=1), subscription=subscription)
    ledger = Ledger(held, ("price_email", item("email", 3)), ("price_base", item("base", 1, ours=False)))
    ledger.trouble = [BillingRejected("archived")]
    with pytest.raises(BillingRejected if priced else BillingRefused):
        ledger.settle()
    phone = ADD_ONS[Kind.PURCHASED_PHONE].price
    assert ledger.did[-3:] == [("sub_1", "price_email", "si_email", None), ("sub_1", phone, None, 1), "abandoned"]


def test_payment_during_a_charge_gives_up_and_frees_the_lease() -> None:
    """[52]"""
    ledger = Ledger(holding())
    ledger.counts_change = True
    with pytest.raises(BillingUnavailable, match="changed meanwhile"):
        ledger.settle()
    assert ledger.did[1:] == [("charge", CHARGE), "abandoned"]
