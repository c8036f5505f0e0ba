"""What a workspace is charged for in the middle of a period, and the quantities that its renewals charge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from line_requests.billing.subscriptions import StripeRenewal, StripeSubscription
from line_requests.domain.prices import Allowance, Counted, Coverage, Period, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.add_ons import LONGEST_PERIOD_S
from tests.decision.examples import ADD_ONS, NOW_MS, PERIOD, counts, subscription
from tests.edges.add_on_ledger import (
    CHARGE,
    COUNTED,
    EMAIL,
    END_S,
    FOR_SALE,
    NOW_S,
    PHONE,
    SET,
    Ledger,
    covered,
    holding,
    item,
)


def test_subscription_that_counts_is_set_before_another_is_cleared() -> None:
    """[50] Stripe may refuse to remove the last item of the other."""
    ledger = Ledger(holding(counted=COUNTED, charged=covered(1)))
    ledger.listed.insert(0, StripeSubscription("sub_0", "active", 1, {"price_email": item("other", 1)}, "usd", 0))
    ledger.settle()
    assert ledger.of("sub_0", "sub_1") == [SET, ("sub_0", "price_email", "si_other", 0)]


def test_subscription_whose_first_invoice_is_not_paid_yet_is_left_as_it_is() -> None:
    """[50]"""
    ledger = Ledger(holding(subscription=replace(FOR_SALE, status="incomplete")))
    ledger.listed = [replace(ledger.listed[0], status="incomplete")]
    assert ledger.settle()[1] == 0


def test_workspace_that_another_caller_settles_is_left_alone() -> None:
    """[50]"""
    ledger = Ledger(holding())
    ledger.leased = True
    assert ledger.settle() == (None, 0)
    assert ledger.did == []


def test_short_place_is_charged_once_and_its_quantity_set() -> None:
    """[50][52] The charge is stored, then made, then counted."""
    ledger = Ledger(holding())
    settled, changed = ledger.settle()
    assert changed == 2
    assert ledger.did == [
        ("unknown", PERIOD.start_s),
        ("charge", CHARGE),
        ("item", 1, EMAIL, 333),
        ("saved", covered(1)),
        SET,
        ("finished", NOW_MS, END_S * 1000),
    ]
    assert settled == ledger.workspace
    again = Ledger(ledger.workspace, ("price_email", item("email", 1)))
    assert again.settle() == (ledger.workspace, 0)
    assert again.did == [("finished", NOW_MS, END_S * 1000)]


def test_each_kind_that_is_short_gets_a_charge_of_its_own() -> None:
    """[52]"""
    both = subscription(email=Allowance(0, add_on=ADD_ONS[EMAIL]), purchased_phone=Allowance(0, add_on=ADD_ONS[PHONE]))
    ledger = Ledger(holding(held=counts(email=2, purchased_phone=1), subscription=both))
    assert ledger.settle()[1] == 4
    assert sorted(ledger.of("item")) == [("item", 1, EMAIL, 667), ("item", 2, PHONE, 1000)] or sorted(
        ledger.of("item")
    ) == [("item", 1, PHONE, 1000), ("item", 2, EMAIL, 667)]


@pytest.mark.parametrize(
    ("status", "plan", "charged", "sets"),
    [
        ("active", "starter", True, True),
        ("past_due", "starter", True, True),
        ("unpaid", "starter", True, True),
        ("trialing", "starter", False, True),
        ("paused", "starter", False, True),
        ("active", None, False, False),
        ("canceled", "starter", False, False),
    ],
)
def test_subscription_s_state_says_what_is_charged_and_set(
    status: str, plan: str | None, *, charged: bool, sets: bool
) -> None:
    """[50][52][54]"""
    ledger = Ledger(holding(subscription=replace(FOR_SALE, status=status, plan=plan)))
    assert ledger.settle()[1] == charged + sets
    assert bool(ledger.of("item")) is charged
    assert bool(ledger.of("sub_1")) is sets
    assert ledger.of("finished") == [("finished", NOW_MS, END_S * 1000 if sets else None)]


def test_workspace_without_a_subscription_is_not_due_again() -> None:
    """[50]"""
    ledger = Ledger(holding(subscription=None))
    assert ledger.settle() == (ledger.workspace, 0)
    assert ledger.did == [("finished", NOW_MS, None)]


@pytest.mark.parametrize(("status", "later_ms"), [("active", 300_000), ("paused", 86_400_000)])
def test_period_that_no_other_one_follows_is_looked_at_later(status: str, later_ms: int) -> None:
    """[47] A paused subscription stays in it; what is due first must not be due in each run."""
    ledger = Ledger(holding(0, subscription=replace(FOR_SALE, status=status)))
    for now_ms, due_at_ms in ((END_S * 1000 - 1, END_S * 1000), (END_S * 1000, END_S * 1000 + later_ms)):
        ledger.settle(now_ms)
        assert ledger.did.pop() == ("finished", now_ms, due_at_ms)


@pytest.mark.parametrize(("now_s", "charges"), [(END_S - 1, 1), (END_S, 0)])
def test_period_that_has_ended_is_charged_by_its_renewal(now_s: int, charges: int) -> None:
    """[52]"""
    ledger = Ledger(holding())
    ledger.settle(now_s * 1000)
    assert len(ledger.of("charge")) == charges


# --- renewals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, Counted("sub_1", END_S - 1), Counted("sub_0", END_S)])
def test_renewal_s_quantity_is_counted_once_a_period(before: Counted | None) -> None:
    """[52] Of what is counted before, only what has not ended is kept."""
    past = {EMAIL: (Coverage(NOW_S, 2), Coverage(NOW_S + 1, 1))}
    ledger = Ledger(holding(counted=before, charged=past), ("price_email", item("email", 1)))
    ledger.renewed = [StripeRenewal("price_email", 1, PERIOD)]
    ledger.settle()
    asked = ("renewals", "cus_acme", NOW_S - LONGEST_PERIOD_S)
    assert ledger.did[:2] == [asked, ("saved", {EMAIL: (Coverage(NOW_S + 1, 1), Coverage(END_S, 1))})]
    assert (ledger.workspace.counted, ledger.of("charge")) == (COUNTED, [])


def test_renewal_before_the_interval_was_changed_is_counted_to_its_own_end() -> None:
    """[52] What had been counted is not counted again, whatever becomes the current period; nor is what has ended."""
    weeks = [Period(PERIOD.start_s - 9, NOW_S + 5), Period(PERIOD.start_s - 8, NOW_S + 7), Period(NOW_S - 2, NOW_S)]
    before = Counted("sub_1", NOW_S + 5, PERIOD.start_s - 9)
    ledger = Ledger(holding(counted=before), ("price_email", item("email", 1)))
    ledger.renewed = [StripeRenewal("price_email", places, week) for places, week in enumerate(weeks, 1)]
    ledger.settle()
    assert ledger.did[0] == ("renewals", "cus_acme", PERIOD.start_s - 9)
    assert ledger.of("saved")[0] == ("saved", covered(2, NOW_S + 7))
    assert ledger.workspace.counted == Counted("sub_1", END_S, NOW_S - 2)


@pytest.mark.parametrize(("status", "reads"), [("trialing", 1), ("paused", 1), ("canceled", 0)])
def test_renewal_of_the_subscription_before_is_counted_in_a_trial(status: str, reads: int) -> None:
    """[52] So that the next renewal does not charge its places again."""
    another = replace(FOR_SALE, id="sub_2", status=status)
    ledger = Ledger(holding(subscription=another, charged=covered(1, NOW_S - 1)))
    ledger.renewed = [StripeRenewal("price_email", 1, Period(PERIOD.start_s + 1, END_S + 7))]
    ledger.settle()
    assert len(ledger.of("renewals")) == reads
    assert ledger.of("saved") == [("saved", covered(1, END_S + 7))] * reads
    assert ledger.of("charge") == []


@pytest.mark.parametrize(("now_s", "places"), [(NOW_S, 1), (PERIOD.start_s - 60, 1), (END_S - 1, 1)])
def test_renewal_that_is_charged_ahead_is_counted_once_its_period_has_begun(now_s: int, places: int) -> None:
    """[52] The current period has begun, whatever this function's clock says."""
    ledger = Ledger(holding(counted=None), ("price_email", item("email", 1)))
    ledger.renewed = [
        StripeRenewal("price_email", 1, PERIOD),
        StripeRenewal("price_email", 1, Period(END_S, END_S + 9)),
    ]
    ledger.settle(now_s * 1000)
    assert ledger.of("saved") == [("saved", covered(places))]
    assert ledger.workspace.counted == COUNTED


def test_latest_invoice_is_read_of_each_subscription_whose_period_has_not_ended() -> None:
    """[52] The renewal of one that is canceled may reach into the next one's period; older ones cost no call."""
    ledger = Ledger(holding(counted=None, charged=covered(1)))
    for name, end_s in {"in_1": NOW_S + 1, "in_2": NOW_S, None: END_S}.items():
        items = {"price_base": replace(item("base", 1), period=Period(1, end_s))}
        ledger.listed.append(StripeSubscription("sub_0", "canceled", 1, items, "usd", 0, latest_invoice=name))
    ledger.settle()
    assert ledger.latest == ["in_1"]


def test_renewal_of_a_price_that_no_plan_names_is_none_of_an_add_on() -> None:
    """[52]"""
    ledger = Ledger(holding(counted=None), ("price_email", item("email", 1)))
    ledger.renewed = [StripeRenewal("price_base", 1, PERIOD), StripeRenewal("price_email", 1, PERIOD)]
    ledger.settle()
    assert ledger.of("saved") == [("saved", covered(1))]


@pytest.mark.parametrize(
    ("has_item", "owed", "counted", "reads"),
    [(False, 0, None, 0), (True, 0, None, 1), (False, 1, None, 1), (False, 0, Counted("sub_1", END_S - 1), 1)],
)
def test_no_renewal_is_read_before_the_first_quantity_is_set(
    has_item: object, owed: int, counted: Counted | None, reads: int
) -> None:
    """[52] From then on each is, also when no item is left: the interval may have been changed."""
    items = [("price_email", item("email", 1))] if has_item else [("price_base", item("base", 1, ours=False))]
    ledger = Ledger(holding(owed, counted=counted), *items)
    ledger.settle()
    assert len(ledger.of("renewals")) == reads


def test_item_of_another_subscription_says_nothing_of_the_renewal() -> None:
    """[52]"""
    ledger = Ledger(holding(0, counted=None))
    ledger.listed.append(StripeSubscription("sub_2", "active", 1, {"price_email": item("other", 1)}, "usd", 0))
    ledger.settle()
    assert ledger.of("renewals") == []


def test_renewal_charges_nothing_of_a_price_that_it_does_not_name() -> None:
    """[52] Its places are short, then."""
    ledger = Ledger(holding(counted=None), ("price_email", item("email", 1)))
    ledger.settle()
    assert ledger.of("saved")[0] == ("saved", {})
    assert len(ledger.of("item")) == 1


def test_renewal_of_a_price_of_two_kinds_is_shared() -> None:
    """[52] Each kind gets what it owes."""
    shared = Allowance(0, add_on=ADD_ONS[EMAIL])
    plan = subscription(email=shared, purchased_phone=shared)
    held = counts(email=1, purchased_phone=2)
    other = Plan("other", ("price_other",), {EMAIL: shared, Kind.BYON_PHONE: shared})
    ledger = Ledger(
        holding(counted=None, held=held, subscription=plan), ("price_email", item("email", 3)), also=(other,)
    )
    ledger.renewed = [StripeRenewal("price_email", 1, PERIOD), StripeRenewal("price_email", 2, PERIOD)]
    ledger.settle()
    shares = {EMAIL: (Coverage(END_S, 1),), PHONE: (Coverage(END_S, 2),), Kind.BYON_PHONE: ()}
    assert ledger.of("saved") == [("saved", shares)]
    assert ledger.of("sub_1", "charge") == []


def test_request_that_the_plan_includes_by_now_takes_a_paid_line_s_place_before_a_renewal_is_shared() -> None:
    """[39][52] It is included right after the count: the paid line is owed then, and was charged."""
    shared = Allowance(1, add_on=ADD_ONS[EMAIL])
    plan = subscription(email=shared, purchased_phone=shared)
    held, unpaid = counts(email=1, purchased_phone=3), counts(purchased_phone=1)
    stored = holding(counted=None, held=held, unpaid=unpaid, subscription=plan, lock="waiting", lock_kind=PHONE)
    ledger = Ledger(stored, ("price_email", item("email", 3)))
    ledger.renewed = [StripeRenewal("price_email", 3, PERIOD)]
    ledger.settle()
    assert ledger.of("saved")[0] == ("saved", {EMAIL: (Coverage(END_S, 1),), PHONE: (Coverage(END_S, 2),)})


@pytest.mark.parametrize("until_s", [END_S, END_S + 9])
def test_renewal_of_a_price_of_two_kinds_is_for_the_places_that_are_not_charged(until_s: int) -> None:
    """[52] A line that was paid for since the renewal, or is charged by a longer period, takes no place of it."""
    shared = Allowance(0, add_on=ADD_ONS[EMAIL])
    plan = subscription(email=shared, purchased_phone=shared)
    held = counts(email=1, purchased_phone=1)
    stored = holding(counted=None, held=held, subscription=plan, charged=covered(1, until_s))
    ledger = Ledger(stored, ("price_email", item("email", 1)))
    ledger.renewed = [StripeRenewal("price_email", 1, PERIOD)]
    ledger.settle()
    assert ledger.of("saved") == [("saved", covered(1, until_s) | {PHONE: (Coverage(END_S, 1),)})]
    assert ledger.of("item") == []
