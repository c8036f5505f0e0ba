from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.flows.event_feed import SKEW_S
from line_requests.operator.commands import release, retry
from tests.stories.world import BYON, EMAIL, PHONE, Workspace, World, eventually, together

if TYPE_CHECKING:
    from tests.stories.listener import Listener

Json = dict[str, Any]

OPTIONAL = {
    "email": "ada@example.com",
    "phone": "+1 415 555 0100",
    "zipcode": "94107",
    "state": "CA",
    "forwardCallsTo": "+1 415 555 0199",
    "profileImageUrl": "https://example.com/ada.png",
}


ADD_ONS = {1500: "purchased_phone", 900: "byon_phone", 500: "email"}


def items(world: World, workspace: Workspace) -> list[Any]:
    """The subscription items of the workspace's customer."""
    listed = world.stripe.v1.subscriptions.list({"customer": workspace.customer}).data
    return [item for subscription in listed for item in subscription["items"].data]


def quantities(world: World, workspace: Workspace) -> dict[str, int]:
    """The add-on quantities on the workspace's subscription."""
    found = [item for item in items(world, workspace) if item.price.unit_amount in ADD_ONS]
    return {ADD_ONS[item.price.unit_amount]: item.quantity for item in found}


def now_ms() -> int:
    return int(time.time() * 1000)


def paid_lines(world: World, workspace: Workspace, number: int, body: Json = PHONE) -> list[str]:
    ids = []
    for _ in range(number):
        created = workspace.awaiting(body)
        world.pay(created["paymentUrl"])
        world.quiet()
        ids.append(created["line"]["_id"])
    return ids


# --- the reconciler --------------------------------------------------------------------------------


def test_reconciler_settles_everything_without_webhooks(world: World) -> None:
    """[47] Paid lines are promoted, void ones canceled, half-made ones finished."""
    world.webhooks("drop")
    paid, void, half_made, open_one = (world.workspace() for _ in range(4))
    settled = {w.id: w.awaiting() for w in (paid, void, open_one)}
    world.pay(settled[paid.id]["paymentUrl"])
    world.stripe.v1.invoices.void_invoice(settled[void.id]["line"]["stripeInvoiceId"])
    half_made.included()
    world.faults("error_before", path="/v1/invoiceitems")
    assert half_made.create().status_code == 503
    world.no_faults()
    world.reconcile()
    assert paid.line(settled[paid.id]["line"]["_id"])["paymentStatus"] == "paid"
    assert void.status(settled[void.id]["line"]["_id"]) == "canceled"
    assert half_made.lines()[0]["paymentLinkUrl"]
    assert open_one.line(settled[open_one.id]["line"]["_id"]) == settled[open_one.id]["line"]


def test_reconciler_applies_subscription_changes_without_webhooks(world: World) -> None:
    """[47] [46] Upgrades and cancellations."""
    world.webhooks("drop")
    upgraded, ended = world.workspace(), world.workspace()
    lines = {w.id: w.awaiting()["line"] for w in (upgraded, ended)}
    upgraded.change(plan="scale")
    ended.change(status="canceled")
    world.reconcile()
    assert upgraded.line(lines[upgraded.id]["_id"])["paymentStatus"] == "not_required"
    assert ended.status(lines[ended.id]["_id"]) == "canceled"
    assert upgraded.create().status_code == 201
    assert ended.create().status_code == 403


def test_reconciler_keeps_workspace_due_while_stripe_is_down(world: World) -> None:
    """[46] [47] The feed goes on, and the workspace stays due until Stripe has answered."""
    world.webhooks("drop")
    workspace = world.workspace()
    workspace.change(status="past_due")
    world.faults("error_before", path="/v1/subscriptions")
    assert world.reconcile()["failed"] > 0
    world.no_faults()
    world.stack.double.forget_events()
    world.reconcile()
    assert workspace.create().json()["status"] == "subscription_required"


def test_reconciler_reads_a_changed_subscription_once(world: World, workspace: Workspace) -> None:
    """[46] [47] Although its event stays in the feed for minutes; while clocks may differ by its age, again."""
    world.webhooks("drop")
    workspace.change(plan="scale")
    world.stack.double.age_events(SKEW_S + 2)
    asked = []
    for _ in range(2):
        calls = world.calls()
        world.reconcile()
        asked.append([call.path for call in calls()])
    assert asked == [["/v1/events", "/v1/subscriptions"], ["/v1/events"]]


def test_reconciler_continues_after_a_bad_line(world: World) -> None:
    """[47] One invoice is unknown to Stripe; the other one is paid and promoted."""
    world.webhooks("drop")
    bad, good = world.workspace(), world.workspace()
    lost, paid = bad.awaiting(), good.awaiting()
    world.stripe.v1.invoices.void_invoice(lost["line"]["stripeInvoiceId"])
    world.stack.double.forget_invoice(lost["line"]["stripeInvoiceId"])
    world.pay(paid["paymentUrl"])
    world.reconcile()
    assert good.line(paid["line"]["_id"])["paymentStatus"] == "paid"
    assert bad.status(lost["line"]["_id"]) == "awaiting_payment"


def test_reconciler_ends_while_stripe_is_down_and_the_next_run_continues(world: World, workspace: Workspace) -> None:
    """[47]"""
    world.webhooks("drop")
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    world.faults("error_before")
    assert world.reconcile()["failed"] > 0
    assert workspace.status(created["line"]["_id"]) == "awaiting_payment"
    world.no_faults()
    world.reconcile()
    assert workspace.line(created["line"]["_id"])["paymentStatus"] == "paid"


def test_concurrent_reconciler_runs_make_one_transition(world: World, workspace: Workspace) -> None:
    """[47] [50] And the right quantities."""
    paid_lines(world, workspace.full(), 1)
    world.webhooks("drop")
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    together(2, lambda _: world.reconcile())
    world.reconcile()
    line = world.stack.demo.find_line(created["line"]["_id"])
    assert line is not None
    assert [str(change.status) for change in line.history][:2] == ["awaiting_payment", "provisioning"]
    assert line.sequence <= 3
    assert quantities(world, workspace) == {"purchased_phone": 2}


# --- provisioning -------------------------------------------------------------------------------------


def test_every_state_is_published_with_a_stable_event_id(world: World, listener: Listener) -> None:
    """[48] [11] The submission is included only in provisioning."""
    workspace = world.workspace().full()
    body = PHONE | OPTIONAL
    created = workspace.awaiting(body)
    line_id = created["line"]["_id"]
    world.pay(created["paymentUrl"])
    eventually(lambda: workspace.status(line_id) == "active")
    eventually(lambda: len(listener.heard(line_id)) >= 3)
    published = {event["detail"]["eventId"]: event for event in listener.envelopes(line_id)}
    assert list(published) == [f"{line_id}:1", f"{line_id}:2", f"{line_id}:3"]
    assert {(event["source"], event["detail-type"]) for event in published.values()} == {
        ("line-requests", "Line State Changed")
    }
    details = [event["detail"] for event in published.values()]
    assert [(d["previousStatus"], d["status"], d["paymentStatus"]) for d in details] == [
        (None, "awaiting_payment", "awaiting_payment"),
        ("awaiting_payment", "provisioning", "paid"),
        ("provisioning", "active", "paid"),
    ]
    assert {(d["workspaceId"], d["lineId"], d["kind"]) for d in details} == {(workspace.id, line_id, "purchased_phone")}
    assert all(d["cause"] and datetime.datetime.fromisoformat(d["occurredAt"]).tzinfo for d in details)
    assert details[1]["line"] == body | {"lineType": "purchased"}
    assert ["line" in d for d in details] == [False, True, False]


@pytest.mark.parametrize(("outcome", "status"), [("succeeded", "active"), ("failed", "failed")])
def test_provisioning_result_settles_the_line_once(
    world: World, listener: Listener, workspace: Workspace, outcome: str, status: str
) -> None:
    """[48] Repeated, late and contradicting results change nothing."""
    world.provisioning("manual")
    line_id = workspace.included()["line"]["_id"]
    [published] = eventually(lambda: listener.heard(line_id))[:1]
    listener.answer(published, outcome, reason="as it is")
    eventually(lambda: workspace.status(line_id) == status)
    for late in ("succeeded", "failed", outcome):
        listener.answer(published, late)
    eventually(lambda: len(listener.heard(line_id)) >= 2)
    marker = workspace.included(EMAIL)["line"]["_id"]
    [other] = eventually(lambda: listener.heard(marker))[:1]
    listener.answer(other, "succeeded")  # arrives after the late ones
    eventually(lambda: workspace.status(marker) == "active")
    line = world.stack.demo.find_line(line_id)
    assert line is not None
    assert [str(change.status) for change in line.history] == ["provisioning", status]


def test_malformed_or_foreign_provisioning_results_change_nothing(
    world: World, listener: Listener, workspace: Workspace
) -> None:
    """[48] Another event's id, another workspace, another outcome, no object at all."""
    world.provisioning("manual")
    other = world.workspace()
    line_id = workspace.included()["line"]["_id"]
    [published] = eventually(lambda: listener.heard(line_id))[:1]
    listener.answer(published | {"eventId": f"{line_id}:2"}, "succeeded")
    listener.answer(published | {"workspaceId": other.id}, "succeeded")
    listener.answer(published | {"lineId": "0" * 24}, "succeeded")
    listener.answer(published, "perhaps")
    listener.put("a-provisioner", "Line Provisioning Result", {"eventId": 7, "lineId": None})
    marker = workspace.included(EMAIL)["line"]["_id"]
    [sound] = eventually(lambda: listener.heard(marker))[:1]
    listener.answer(sound, "succeeded")
    eventually(lambda: workspace.status(marker) == "active")
    assert workspace.status(line_id) == "provisioning"


# --- transitions ----------------------------------------------------------------------------------------


def test_place_given_back_includes_the_waiting_request(world: World, workspace: Workspace) -> None:
    """[47] [39] The line that took the included place has failed."""
    world.provisioning("manual")
    first = workspace.included()["line"]["_id"]
    waiting = workspace.awaiting()["line"]
    world.provisioned(first, "failed")
    eventually(lambda: workspace.status(first) == "failed")
    world.reconcile()
    assert workspace.line(waiting["_id"])["paymentStatus"] == "not_required"
    assert workspace.invoice(waiting["stripeInvoiceId"])["status"] == "void"


def test_operator_retries_failed_line_and_releases_active_line(world: World, listener: Listener) -> None:
    """[49] [48] A retry takes a place again and is published; a release gives it back."""
    world.provisioning("manual")
    workspace = world.workspace("capped")
    stores = world.stores
    line_id = workspace.included()["line"]["_id"]
    world.provisioned(line_id, "failed")
    eventually(lambda: workspace.status(line_id) == "failed")
    retry(stores.lines, stores.workspaces, workspace.id, line_id, now_ms())
    assert workspace.status(line_id) == "provisioning"
    assert workspace.create().status_code == 403
    eventually(lambda: f"{line_id}:3" in {event["eventId"] for event in listener.heard(line_id)})
    world.provisioned(line_id, "succeeded")
    eventually(lambda: workspace.status(line_id) == "active")
    release(stores.lines, workspace.id, line_id, now_ms())
    assert workspace.status(line_id) == "canceled"
    assert workspace.create().status_code == 201


# --- what the subscription is billed for ---------------------------------------------------------------


def test_add_on_quantities_are_set_to_what_is_owed(world: World) -> None:
    """[50] min(paid, held beyond the included), on one item per price; 0 is none."""
    workspace = world.workspace("scale").full(BYON, 2).full(EMAIL, 5)
    world.reconcile()
    assert quantities(world, workspace) == {}
    paid_lines(world, workspace, 2, BYON)
    paid_lines(world, workspace, 1, EMAIL)
    awaiting = workspace.awaiting(EMAIL)
    world.reconcile()
    assert quantities(world, workspace) == {"byon_phone": 2, "email": 1}
    world.pay(awaiting["paymentUrl"])
    world.quiet()
    world.reconcile()
    assert quantities(world, workspace) == {"byon_phone": 2, "email": 2}


def test_quantities_fall_when_lines_are_released(world: World, workspace: Workspace) -> None:
    """[50] A released included line leaves its place to a paid one, which is then owed no more."""
    workspace.full()
    [included] = [line["_id"] for line in workspace.lines()]
    [paid] = paid_lines(world, workspace, 1)
    eventually(lambda: (workspace.status(included), workspace.status(paid)) == ("active", "active"))
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 1}
    release(world.stores.lines, workspace.id, included, now_ms())
    world.reconcile()
    assert quantities(world, workspace) == {}


def test_quantities_are_set_not_incremented_and_never_prorated(world: World, workspace: Workspace) -> None:
    """[50] A lost answer does not double it; the line's own invoice has charged this period."""
    paid_lines(world, workspace.full(), 1)
    calls = world.calls()
    world.faults("error_after", count=1, path="/v1/subscription_items")
    for _ in range(3):
        world.reconcile()
    paid_lines(world, workspace, 1)
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 2}
    writes = [c for c in calls() if c.path.startswith("/v1/subscription_items") and c.method != "GET"]
    assert writes
    assert {call.params["proration_behavior"] for call in writes} == {"none"}


def test_quantities_stay_under_an_unknown_plan(world: World, workspace: Workspace) -> None:
    """[50] [17] What is owed under a base price that no plan names is unknown, not nothing."""
    [line] = paid_lines(world, workspace.full(), 1)
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 1}
    [base] = [item for item in items(world, workspace) if item.price.unit_amount not in ADD_ONS]
    unknown = world.account.price(3000)
    world.stripe.v1.subscription_items.update(base.id, {"price": unknown, "proration_behavior": "none"})
    world.quiet()
    assert workspace.create().json()["status"] == "subscription_required"
    eventually(lambda: workspace.status(line) == "active")
    release(world.stores.lines, workspace.id, line, now_ms())
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 1}


def test_metered_item_on_the_subscription_is_ignored(world: World, workspace: Workspace) -> None:
    """[46] [50] Such an item has no quantity."""
    minutes = world.account.price(2, recurring={"interval": "month", "usage_type": "metered", "meter": "mtr_minutes"})
    world.stripe.v1.subscription_items.create({"subscription": workspace.subscription or "", "price": minutes})
    workspace.change(plan="scale")
    world.quiet()
    assert workspace.create(BYON).status_code == 201
    workspace.change(plan="starter")
    world.quiet()
    paid_lines(world, workspace.full(EMAIL), 1, EMAIL)
    world.reconcile()
    assert quantities(world, workspace) == {"email": 1}


def test_quantity_changed_by_hand_is_corrected(world: World, workspace: Workspace) -> None:
    """[50] By the next run that reads its event; an item that is not ours stays."""
    paid_lines(world, workspace.full(), 1)
    world.reconcile()
    [item] = [i for i in items(world, workspace) if i.price.unit_amount == 1500]
    world.stripe.v1.subscription_items.update(item.id, {"quantity": 4, "proration_behavior": "none"})
    theirs = world.account.price(700)
    world.stripe.v1.subscription_items.create({"subscription": workspace.subscription or "", "price": theirs})
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 1}
    assert theirs in [i.price.id for i in items(world, workspace)]


def test_add_on_item_that_no_plan_names_is_removed(world: World, workspace: Workspace) -> None:
    """[50] Its price was replaced, and the new one is billed instead."""
    paid_lines(world, workspace.full(), 1)
    world.reconcile()
    [item] = [i for i in items(world, workspace) if i.price.unit_amount == 1500]
    former = world.account.price(1400)
    # Bills the line by the former price, as before the plan was applied with the new one.
    world.stripe.v1.subscription_items.update(item.id, {"price": former, "proration_behavior": "none"})
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 1}
    assert former not in [i.price.id for i in items(world, workspace)]


def test_only_the_selected_subscription_carries_add_ons(world: World, workspace: Workspace) -> None:
    """[50] [46] A new subscription was started before the old one ended."""
    paid_lines(world, workspace.full(), 1)
    world.reconcile()
    [base] = [i.price.id for i in items(world, workspace) if i.price.unit_amount not in ADD_ONS]
    time.sleep(1)  # Stripe's times have whole seconds, and the newer one is selected
    anew = world.stripe.v1.subscriptions.create({"customer": workspace.customer, "items": [{"price": base}]})
    world.reconcile()
    carrying = [i.subscription for i in items(world, workspace) if i.price.unit_amount == 1500]
    assert carrying == [anew.id]


def test_quantities_follow_a_change_of_plan(world: World, workspace: Workspace) -> None:
    """[50] A larger plan includes what was paid for: nothing more is owed from the next period on."""
    paid_lines(world, workspace.full(), 2)
    world.reconcile()
    assert quantities(world, workspace) == {"purchased_phone": 2}
    workspace.change(plan="scale")
    world.quiet()
    world.reconcile()
    assert quantities(world, workspace) == {}
