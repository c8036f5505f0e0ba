"""What a workspace is charged for in the middle of a period, and the quantities that its renewals charge."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.billing.subscriptions import StripeCharge, StripeItem, StripeRenewal, StripeSubscription
from line_requests.domain.errors import BillingRefused, BillingRejected, BillingUnavailable, ReplayedFailure
from line_requests.domain.prices import Allowance, Counted, Coverage, PendingCharge, Period, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.add_ons import KEY_LIFETIME_MS, LONGEST_PERIOD_S, AddOns
from line_requests.flows.subscriptions import Refreshed
from tests.decision.examples import ADD_ONS, NOW_MS, PERIOD, counts, subscription, workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from line_requests.domain.model import Subscription, Workspace

EMAIL, PHONE = Kind.EMAIL, Kind.PURCHASED_PHONE
NOW_S, END_S = NOW_MS // 1000, PERIOD.end_s
FOR_SALE = subscription(email=Allowance(0, add_on=ADD_ONS[EMAIL]))
COUNTED = Counted("sub_1", END_S, PERIOD.start_s)
CHARGE = PendingCharge(
    number=1,
    kind=EMAIL,
    subscription="sub_1",
    product="prod_email",
    currency="usd",
    amount=333,
    tax_behavior="unspecified",
    tax_rates=(),
    period=replace(PERIOD, start_s=NOW_S),
    from_s=(NOW_S,),
    stored_at_ms=NOW_MS,
)


class Ledger:
    """A workspace with its subscription at Stripe, and what is written of it and asked there, in order."""

    def __init__(self, stored: Workspace, *items: tuple[str, StripeItem], also: tuple[Plan, ...] = ()) -> None:
        self.workspace = stored
        self.listed = [StripeSubscription("sub_1", "active", 1, dict(items), "usd", 0)]
        self.did: list[Any] = []
        self.renewed: list[StripeRenewal] = []
        self.made: list[StripeCharge] = []
        self.items: set[int] = set()
        """The numbers of charges that exist as items."""
        self.trouble: list[Exception] = []
        """What the next items that are made meet."""
        self.counts_change = self.leased = False
        allowances = stored.subscription.allowances if stored.subscription else {}
        self._plans = [*also, Plan("starter", ("price_base",), allowances)]

    def settle(self, now_ms: int = NOW_MS) -> tuple[Workspace | None, int]:
        stub: Any = self
        return AddOns(stub, stub).settle(SimpleNamespace(subscriptions=self), "acme", now_ms)  # type: ignore[arg-type] # as much of it as is called

    # --- the workspace ------------------------------------------------------------------------------

    def lease_quantities(self, _: str, __: int) -> Workspace | None:
        return None if self.leased else self.workspace

    def abandon_quantities(self, _: Workspace) -> None:
        self.did.append("abandoned")

    def finish_quantities(self, seen: Workspace, *, asked_at_ms: int, due_at_ms: int | None) -> Workspace:
        self.did.append(("finished", asked_at_ms, due_at_ms))
        return seen

    def save_charged(
        self,
        seen: Workspace,
        charged: Mapping[Kind, tuple[Coverage, ...]],
        *,
        counted: Counted | None,
        pending_charge: PendingCharge | None,
    ) -> Workspace | None:
        self.did.append(("charge" if pending_charge else "saved", pending_charge or charged))
        if self.counts_change:
            return None
        number = pending_charge.number if pending_charge else seen.charge_number
        changed: dict[str, Any] = {"charged": charged, "pending_charge": pending_charge, "charge_number": number}
        self.workspace = replace(seen, counted=counted or seen.counted, **changed)
        return self.workspace

    def refresh_and_list(self, _: object, seen: Workspace, __: int) -> Refreshed:
        return Refreshed(seen, self.listed, self._plans)

    # --- Stripe -------------------------------------------------------------------------------------

    def renewals_after(self, customer: str, start_s: int) -> list[StripeRenewal]:
        self.did.append(("renewals", customer, start_s))
        return [one for one in self.renewed if one.period.start_s > start_s]

    def charges_after(self, seen: Workspace, since_s: int) -> list[StripeCharge]:
        self.did.append(("unknown", since_s))
        return [one for one in self.made if one.number > seen.charge_number]

    def has_item(self, _: Workspace, charge: PendingCharge) -> bool:
        self.did.append(("has", charge.number))
        return charge.number in self.items

    def create_pending_item(self, _: Workspace, charge: PendingCharge) -> None:
        self.did.append(("item", charge.number, charge.kind, charge.amount))
        if self.trouble:
            raise self.trouble.pop(0)

    def set_quantity(self, subscription_id: str, price: str, item: StripeItem | None, quantity: int) -> None:
        self.did.append((subscription_id, price, item.id if item else None, quantity))

    def of(self, *names: str) -> list[Any]:
        """What was done under one of these names, each as a tuple."""
        told = [one if isinstance(one, tuple) else (one,) for one in self.did]
        return [one for one in told if one[0] in names]


def holding(places: int = 1, paid: int | None = None, **changes: Any) -> Workspace:  # noqa: ANN401 - any of its fields
    """A workspace with so many email lines, all of them paid for, whose renewal is counted."""
    unpaid = 0 if paid is None else places - paid
    usual: dict[str, Any] = {"held": counts(email=places), "unpaid": counts(email=unpaid), "subscription": FOR_SALE}
    return workspace(**usual | {"counted": COUNTED, "charged": {}} | changes)


def covered(places: int, until_s: int = END_S) -> dict[Kind, tuple[Coverage, ...]]:
    return {EMAIL: (Coverage(until_s, places),)}


def item(name: str, quantity: int, *, ours: bool = True) -> StripeItem:
    return StripeItem(f"si_{name}", quantity, ours=ours)


SET = ("sub_1", "price_email", None, 1)


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


# --- charges that a restored table has forgotten --------------------------------------------------


def test_charge_after_the_backup_is_counted_by_its_number() -> None:
    """[52]"""
    partly = covered(1, NOW_S + 9)
    ledger = Ledger(holding(2, charged=partly), ("price_email", item("email", 2)))
    ledger.made = [StripeCharge(3, EMAIL, 1, END_S, NOW_S), StripeCharge(4, EMAIL, 1, END_S, NOW_S)]
    ledger.settle()
    assert ledger.workspace.charged == covered(2)
    assert (ledger.workspace.charge_number, ledger.of("charge")) == (4, [])


def test_charge_of_another_period_moves_only_the_number() -> None:
    """[52]"""
    ledger = Ledger(holding())
    ledger.made = [StripeCharge(3, EMAIL, 1, END_S - 1, NOW_S)]
    ledger.settle()
    assert ledger.of("item") == [("item", 4, EMAIL, 333)]


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
        (FOR_SALE, BillingRefused("no customer"), True),
        (FOR_SALE, BillingRejected("no reason"), False),
        (replace(FOR_SALE, status="canceled"), BillingRejected("no reason"), True),
        (replace(FOR_SALE, id="sub_2"), BillingRejected("no reason"), True),
        (None, BillingRejected("no reason"), True),
    ],
)
def test_refused_charge_is_dropped_when_it_can_never_be_made(
    capsys: pytest.CaptureFixture[str], current: Subscription | None, refusal: Exception, *, dropped: bool
) -> None:
    """[57] Refused for good, or its subscription has ended."""
    ledger = Ledger(holding(0, subscription=current, pending_charge=CHARGE))
    ledger.trouble = [refusal]
    if dropped:
        ledger.settle()
    else:
        with pytest.raises(BillingRejected):
            ledger.settle()
        assert ledger.did[-1] == "abandoned"
    assert ledger.of("saved")[:1] == ([("saved", {})] if dropped else [])
    assert ('"BillingRefused":[1.0]' in capsys.readouterr().out) is dropped


def test_charge_that_stripe_refuses_for_good_is_tried_once_a_run() -> None:
    """[57]"""
    ledger = Ledger(holding())
    ledger.trouble = [BillingRefused("no customer")] * 2
    assert ledger.settle()[1] == 1, "its quantity"
    assert (len(ledger.of("item")), ledger.workspace.charged) == (1, {})


def test_payment_during_a_charge_gives_up_and_frees_the_lease() -> None:
    """[52]"""
    ledger = Ledger(holding())
    ledger.counts_change = True
    with pytest.raises(BillingUnavailable, match="changed meanwhile"):
        ledger.settle()
    assert ledger.did[1:] == [("charge", CHARGE), "abandoned"]
