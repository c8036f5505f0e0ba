"""What one settling of a workspace's add-ons does at Stripe, and what it leaves for the next one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.billing.subscriptions import Subscriptions
from line_requests.clock import wall_time_ms
from line_requests.domain.errors import BillingRefused, BillingUnavailable, ReplayedFailure
from line_requests.domain.model import Status
from line_requests.domain.prices import AddOn, Allowance, Amount, Counted, Coverage, PendingCharge, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.add_ons import KEY_LIFETIME_MS
from tests.support.shop import clock

if TYPE_CHECKING:
    from line_requests.domain.model import Subscription, Workspace
    from tests.support.shop import Shop

PHONE, EMAIL = Kind.PURCHASED_PHONE, Kind.EMAIL
DAY_MS = 86_400_000


def settle(shop: Shop, *, later_ms: int = 0) -> tuple[Workspace | None, int]:
    at = clock(later_ms=later_ms)
    return shop.lifecycle.add_ons.settle(shop.product.billing(at), "acme", at.now_ms())


def settled(shop: Shop, *, later_ms: int = 0) -> Workspace:
    workspace, _ = settle(shop, later_ms=later_ms)
    assert workspace is not None
    return workspace


def subscribed(shop: Shop, included: int = 0) -> Subscription:
    """The subscription of a new workspace on a plan that sells phone lines."""
    subscription = shop.workspace(included).subscription
    assert subscription is not None
    return subscription


def paid(shop: Shop, kind: Kind = PHONE, places: int = 1) -> None:
    """Lines that are paid for, and whose places nothing has charged yet."""
    for _ in range(places):
        shop.world.paid(kind, charge=None)


def quantities(shop: Shop) -> dict[str, int]:
    """By price, of every subscription that is not canceled."""
    return {
        item["price"]["id"]: item["quantity"]
        for one in shop.double.all_of("subscription")
        if one["status"] != "canceled"
        for item in one["items"]["data"]
    }


def add_on_price(subscription: Subscription) -> str:
    add_on = subscription.allowances[PHONE].add_on
    assert add_on is not None
    return add_on.price


def charges(shop: Shop) -> list[tuple[str, str, str]]:
    """Number, kind and places of each item that this product made, oldest first."""
    items = [item["metadata"] for item in reversed(shop.double.all_of("invoiceitem"))]
    return [(item["charge"], item["kind"], item["places"]) for item in items]


def test_places_are_charged_to_the_period_end_and_then_renewed(shop: Shop) -> None:
    """[50][52]"""
    subscription = subscribed(shop)
    price, end_s = add_on_price(subscription), subscription.period.end_s
    paid(shop, places=2)
    workspace, changed = settle(shop)
    assert workspace is not None
    assert changed == 2, "a charge and a quantity"
    assert quantities(shop)[price] == 2
    assert charges(shop) == [("1", PHONE, "2")]
    (item,) = shop.double.all_of("invoiceitem")
    assert (item["period"]["end"], item["amount"]) == (end_s, 3000)
    assert (workspace.charged, workspace.charge_number) == ({PHONE: (Coverage(end_s, 2),)}, 1)
    assert shop.world.raw(workspace)["due_at"] == end_s * 1000
    assert settle(shop) == (None, 0), "nothing is due before the period ends"
    month_ms = end_s * 1000 - wall_time_ms() + DAY_MS
    shop.double.advance(month_ms // 1000)
    workspace, changed = settle(shop, later_ms=month_ms)
    assert workspace is not None
    assert workspace.subscription is not None
    assert changed == 0
    assert workspace.subscription.period.start_s == end_s
    assert workspace.charged == {PHONE: (Coverage(workspace.subscription.period.end_s, 2),)}
    assert workspace.counted == Counted(subscription.id, workspace.subscription.period.end_s)
    assert len(charges(shop)) == 1


def test_places_that_a_renewal_has_charged_already_are_not_charged_again(shop: Shop) -> None:
    """[52] Such as those of a subscription that had the add-on before its workspace was made."""
    subscription = subscribed(shop)
    price = add_on_price(subscription)
    shop.stripe.v1.subscription_items.create({"subscription": subscription.id, "price": price, "quantity": 2})
    month_ms = subscription.period.end_s * 1000 - wall_time_ms() + DAY_MS
    shop.double.advance(month_ms // 1000)
    paid(shop, places=2)
    workspace, changed = settle(shop, later_ms=month_ms)
    assert workspace is not None
    assert workspace.subscription is not None
    assert changed == 0
    assert workspace.charged == {PHONE: (Coverage(workspace.subscription.period.end_s, 2),)}


def test_places_given_back_are_no_longer_on_the_subscription(shop: Shop) -> None:
    """[50]"""
    price = add_on_price(subscribed(shop))
    paid(shop, places=2)
    settle(shop)
    for left in (1, 0):
        line = next(line for line in shop.consistent() if line.status is Status.PROVISIONING)
        shop.world.lines.release(shop.world.lines.mark_active(line, wall_time_ms()), "operator", wall_time_ms())
        before = len(shop.double.request_log)
        assert settle(shop)[1] == 1
        assert quantities(shop).get(price, 0) == left
        assert not [call for call in shop.double.request_log[before:] if "invoiceitems" in call.path], "none is short"
    assert len(charges(shop)) == 1


def test_kinds_of_one_price_share_its_quantity_and_its_renewal(shop: Shop) -> None:
    """[50][52] The other kind's price is not for sale, so its places are neither charged nor counted."""
    subscription = subscribed(shop)
    [plan] = shop.world.plans.all()
    add_on = plan.allowances[PHONE].add_on
    assert add_on is not None
    email = AddOn(add_on.price, shop.account.product(), {"usd": Amount(500)})
    allowances = {PHONE: Allowance(0, add_on=add_on), EMAIL: Allowance(0, add_on=email), Kind.BYON_PHONE: Allowance(5)}
    again = Plan("zzz", (shop.account.price(1),), {EMAIL: Allowance(0, add_on=email)}, position=1)
    shop.world.plans.save([replace(plan, allowances=allowances), again])
    shop.lifecycle.sync_subscription(clock(), "acme")
    paid(shop, EMAIL)
    paid(shop, places=2)
    assert settle(shop)[1] == 3, "a charge of each kind, and one quantity"
    assert charges(shop) == [("1", PHONE, "2"), ("2", EMAIL, "1")]
    assert quantities(shop)[add_on.price] == 3
    month_ms = subscription.period.end_s * 1000 - wall_time_ms() + DAY_MS
    shop.double.advance(month_ms // 1000)
    workspace = settled(shop, later_ms=month_ms)
    assert workspace.subscription is not None
    end_s = workspace.subscription.period.end_s
    assert workspace.charged == {PHONE: (Coverage(end_s, 2),), EMAIL: (Coverage(end_s, 1),)}


@pytest.mark.parametrize(("status", "charging"), [("past_due", True), ("unpaid", True), ("paused", False)])
def test_subscription_that_is_not_charging_charges_nothing(shop: Shop, status: str, *, charging: bool) -> None:
    """[52] Its quantities are set all the same."""
    subscription = subscribed(shop)
    paid(shop)
    shop.double.set_subscription_status(subscription.id, status)
    assert settle(shop)[1] == 1 + charging
    assert len(charges(shop)) == charging
    assert quantities(shop)[add_on_price(subscription)] == 1


@pytest.mark.parametrize("why", ["ended", "unknown plan"])
def test_subscription_without_a_plan_that_counts_is_left_alone(shop: Shop, why: str) -> None:
    """[50]"""
    subscription = subscribed(shop)
    paid(shop)
    settle(shop)
    before = quantities(shop)
    if why == "ended":
        shop.stripe.v1.subscriptions.cancel(subscription.id)
    else:
        [plan] = shop.world.plans.all()
        shop.world.plans.save([replace(plan, base_prices=(shop.account.price(1),))])
    paid(shop)
    workspace, changed = settle(shop)
    assert workspace is not None
    assert (changed, len(charges(shop))) == (0, 1)
    assert quantities(shop) == (before if why == "unknown plan" else {})
    assert "due_at" not in shop.world.raw(workspace), "nothing renews"


def test_only_the_subscription_that_counts_carries_add_ons(shop: Shop) -> None:
    """[50] What others added to it stays, unless a plan names its price; what this product added elsewhere goes."""
    subscription = subscribed(shop)
    paid(shop)
    settle(shop)
    v1, price = shop.stripe.v1, add_on_price(subscription)
    foreign = shop.account.price(700)
    v1.subscription_items.create({"subscription": subscription.id, "price": foreign, "quantity": 4})
    customer = shop.world.now().customer
    other = v1.subscriptions.create({"customer": customer, "items": [{"price": shop.account.price(100)}]})
    for one, metadata in ((price, {"line_requests": "add_on"}), (foreign, {})):
        v1.subscription_items.create({"subscription": other.id, "price": one, "quantity": 1, "metadata": metadata})
    counts = {one["id"]: one for one in shop.double.all_of("subscription")}[subscription.id]
    ours = next(item for item in counts["items"]["data"] if item["price"]["id"] == price)
    v1.subscription_items.update(ours["id"], {"quantity": 9, "metadata": {"line_requests": ""}})
    shop.world.workspaces.mark_subscription_due("acme", changed_by_ms=wall_time_ms(), now_ms=wall_time_ms())
    assert settle(shop)[1] == 2
    items = {
        (one["id"], item["price"]["id"]): item["quantity"]
        for one in shop.double.all_of("subscription")
        for item in one["items"]["data"]
    }
    assert items[subscription.id, price] == 1
    assert items[subscription.id, foreign] == 4
    assert (other.id, price) not in items
    assert items[other.id, foreign] == 1


def test_failed_settling_gives_its_lease_back_and_is_repeated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """[47][52]"""
    subscribed(shop)
    paid(shop)

    def fail(*_: object) -> None:
        raise BillingUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Subscriptions, "create_pending_item", fail)
        with pytest.raises(BillingUnavailable):
            settle(shop)
    assert shop.world.now().pending_charge is not None
    workspace, changed = settle(shop)
    assert workspace is not None
    assert (workspace.pending_charge, changed) == (None, 1), "the charge counts in the run that stored it"
    assert charges(shop) == [("1", PHONE, "1")]


def test_settling_ends_when_a_payment_comes_between(shop: Shop) -> None:
    """[52] The next one counts that, too."""
    subscribed(shop)
    paid(shop)
    shop.world.wire.before("UpdateItem", lambda: None)  # the lease
    shop.world.wire.before("UpdateItem", lambda: paid(shop))
    with pytest.raises(BillingUnavailable, match="changed meanwhile"):
        settle(shop)
    assert charges(shop) == []
    settle(shop)
    assert charges(shop) == [("1", PHONE, "2")]


def pending(shop: Shop, *, stored_at_ms: int, amount: int = 500) -> PendingCharge:
    """A charge of one place that an earlier run has stored."""
    subscription = subscribed(shop)
    paid(shop)
    add_on = subscription.allowances[PHONE].add_on
    assert add_on is not None
    charge = PendingCharge(
        number=1,
        kind=PHONE,
        subscription=subscription.id,
        product=add_on.product,
        currency="usd",
        amount=amount,
        tax_behavior="unspecified",
        tax_rates=(),
        period=subscription.period,
        from_s=(wall_time_ms() // 1000,),
        stored_at_ms=stored_at_ms,
    )
    assert shop.world.workspaces.save_charged(shop.world.now(), {}, counted=None, pending_charge=charge) is not None
    return charge


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("age_ms", [KEY_LIFETIME_MS + 60_000, 0])
def test_stored_charge_is_made_once_however_old_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, age_ms: int, *, made: bool
) -> None:
    """[52] Stripe is asked for an old one, because it forgets idempotency keys."""
    charge = pending(shop, stored_at_ms=wall_time_ms() - age_ms)
    if made:
        shop.product.billing(clock()).subscriptions.create_pending_item(shop.world.now(), charge)
    created: list[int] = []
    create, has = Subscriptions.create_pending_item, Subscriptions.has_item
    asked: list[int] = []

    def creating(subscriptions: Subscriptions, workspace: Workspace, charge: PendingCharge) -> None:
        created.append(charge.number)
        create(subscriptions, workspace, charge)

    def asking(subscriptions: Subscriptions, workspace: Workspace, charge: PendingCharge) -> bool:
        asked.append(charge.number)
        return has(subscriptions, workspace, charge)

    monkeypatch.setattr(Subscriptions, "create_pending_item", creating)
    monkeypatch.setattr(Subscriptions, "has_item", asking)
    workspace = settled(shop)
    assert (asked, created) == ([1] if age_ms else [], [] if made and age_ms else [1])
    assert workspace.charged == {PHONE: (Coverage(charge.period.end_s, 1),)}
    assert charges(shop) == [("1", PHONE, "1")]


def test_charge_of_nothing_is_counted_without_an_item(shop: Shop) -> None:
    """[52]"""
    charge = pending(shop, stored_at_ms=wall_time_ms(), amount=0)
    assert settled(shop).charged == {PHONE: (Coverage(charge.period.end_s, 1),)}
    assert charges(shop) == []


@pytest.mark.parametrize("made", [True, False])
def test_charge_whose_key_replays_a_failure_gets_another_key_unless_its_item_exists(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, made: bool
) -> None:
    """[52]"""
    pending(shop, stored_at_ms=wall_time_ms())
    create = Subscriptions.create_pending_item

    def replay(subscriptions: Subscriptions, workspace: Workspace, charge: PendingCharge) -> None:
        if made:
            create(subscriptions, workspace, charge)
        raise ReplayedFailure("APIError 500")

    with monkeypatch.context() as patched:
        patched.setattr(Subscriptions, "create_pending_item", replay)
        if made:
            settle(shop)
        else:
            with pytest.raises(ReplayedFailure):
                settle(shop)
            stored = shop.world.now().pending_charge
            assert stored is not None
            assert stored.number == 2
    settle(shop)
    assert charges(shop) == [("1" if made else "2", PHONE, "1")]


def test_refused_charge_is_tried_once_a_run_and_covers_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """[57]"""
    subscribed(shop)
    paid(shop)
    tried: list[int] = []

    def refuse(_: Subscriptions, __: Workspace, charge: PendingCharge) -> None:
        tried.append(charge.number)
        raise BillingRefused("No such product")

    monkeypatch.setattr(Subscriptions, "create_pending_item", refuse)
    workspace, changed = settle(shop)
    assert workspace is not None
    assert (tried, changed) == ([1], 1), "the quantity is set all the same"
    assert (workspace.charged, workspace.pending_charge) == ({}, None)
    assert capsys.readouterr().out.count('"BillingRefused":[1.0]') == 1
