"""What an integrator builds on: the lines in use, their history, the allowance, the release, and the headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stories.world import BYON, EMAIL, LINES, PHONE, Workspace, World, eventually

if TYPE_CHECKING:
    from tests.stories.listener import Listener

Json = dict[str, Any]

ALLOWANCE, IN_USE = "/api/allowance", "/api/lines/by-user"


def answer(listener: Listener, workspace: Workspace, line_id: str, outcome: str, **more: object) -> None:
    """Publishes a provisioner's result about the line's first state."""
    ids = {"eventId": f"{line_id}:1", "workspaceId": workspace.id, "lineId": line_id}
    listener.answer(ids, outcome, **more)


def provisioned(listener: Listener, workspace: Workspace, line_id: str, outcome: str, **more: object) -> None:
    """Publishes a result and waits for the line to change."""
    answer(listener, workspace, line_id, outcome, **more)
    status = "active" if outcome == "succeeded" else "failed"
    eventually(lambda: workspace.status(line_id) == status)


def history(workspace: Workspace, line_id: str) -> list[Json]:
    found = workspace.send("GET", f"{LINES}/{line_id}/events")
    assert (found.status_code, set(found.json())) == (200, {"success", "events"})
    events: list[Json] = found.json()["events"]
    return events


def in_use(workspace: Workspace) -> list[Json]:
    found = workspace.send("GET", IN_USE)
    assert (found.status_code, set(found.json())) == (200, {"lines"})
    lines: list[Json] = found.json()["lines"]
    return lines


def allowed(workspace: Workspace, kind: str) -> Json:
    found = workspace.send("GET", ALLOWANCE)
    assert found.status_code == 200
    of_kind: Json = found.json()["kinds"][kind]
    return of_kind


# --- lines in use -------------------------------------------------------------------------------


def test_lines_in_use_show_what_was_delivered_else_what_was_asked_for(
    world: World, workspace: Workspace, listener: Listener
) -> None:
    """[59][60]"""
    world.provisioning("manual")
    phone = workspace.included()["line"]["_id"]
    email = workspace.included(EMAIL)["line"]["_id"]
    provisioned(listener, workspace, phone, "succeeded", delivered={"phone": "+1 415-555-0001", "reference": "ord_1"})
    newest, oldest = in_use(workspace)
    assert (newest["_id"], newest["email"], newest["phone"], newest["isActive"]) == (email, EMAIL["email"], None, False)
    created, updated = oldest.pop("createdAt"), oldest.pop("updatedAt")
    assert created <= updated
    assert oldest == {
        "_id": phone,
        "workspaceId": workspace.id,
        "firstName": "Ada",
        "lastName": "Lovelace",
        "phone": "+1 415-555-0001",
        "email": None,
        "isActive": True,
        "provisioningStatus": "active",
        "channelType": "phone",
        "lineType": "purchased",
    }
    stored = world.stores.lines.get(workspace.id, phone)
    assert stored is not None
    assert stored.delivered is not None
    assert stored.delivered.reference == "ord_1"


def test_lines_in_use_are_those_in_provisioning_or_active_alone(
    world: World, workspace: Workspace, listener: Listener
) -> None:
    """[59] Neither the failed nor the released nor the one that awaits payment."""
    world.provisioning("manual")
    failed = workspace.included()["line"]["_id"]
    provisioned(listener, workspace, failed, "failed")
    released = workspace.included()["line"]["_id"]
    provisioned(listener, workspace, released, "succeeded")
    assert workspace.send("DELETE", f"/api/lines/{released}").status_code == 200
    waiting = workspace.included()["line"]["_id"]
    workspace.awaiting()
    assert [line["_id"] for line in in_use(workspace)] == [waiting]


@pytest.mark.parametrize("cursor", ["", "x", "é", "a" * 3000])
def test_lines_in_use_refuse_a_bad_cursor(spare: Workspace, cursor: str) -> None:
    """[59]"""
    refused = spare.send("GET", IN_USE, params={"cursor": cursor})
    assert (refused.status_code, refused.headers["Error-Field"]) == (400, "cursor")


# --- history ------------------------------------------------------------------------------------


def test_history_tells_each_change_with_its_cause_and_the_receipt(
    world: World, workspace: Workspace, listener: Listener
) -> None:
    """[61]"""
    world.provisioning("manual")
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    world.pay(created["paymentUrl"])
    eventually(lambda: workspace.status(line_id) == "provisioning")
    failure = {"reasonCode": "unavailable", "reason": "No number is left."}
    event = {"eventId": f"{line_id}:2", "workspaceId": workspace.id, "lineId": line_id}
    listener.answer(event, "failed", **failure, delivered={"phone": 7})
    eventually(lambda: workspace.status(line_id) == "failed")
    events = history(workspace, line_id)
    nothing = {"reasonCode": None, "reason": None, "invoiceUrl": None}
    receipt = nothing | {"invoiceUrl": created["paymentUrl"]}
    expected = [
        {"status": "awaiting_payment", "paymentStatus": "awaiting_payment", "cause": "requested"} | receipt,
        {"status": "provisioning", "paymentStatus": "paid", "cause": "invoice_paid"} | receipt,
        {"status": "failed", "paymentStatus": "paid", "cause": "provisioning_failed"} | nothing | failure,
    ]
    assert [{name: event[name] for name in event if name not in {"id", "at"}} for event in events] == expected
    assert [event["id"] for event in events] == [f"{line_id}:{number}" for number in (1, 2, 3)]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    told = eventually(lambda: [e for e in listener.heard(line_id) if e["status"] == "failed"])
    assert (told[0]["eventId"], told[0]["occurredAt"]) == (events[2]["id"], events[2]["at"])


@pytest.mark.parametrize("code", ["no_such_code", None, 7, "Unavailable"])
def test_unknown_reason_code_is_other(world: World, workspace: Workspace, code: object, listener: Listener) -> None:
    """[60]"""
    world.provisioning("manual")
    line_id = workspace.included()["line"]["_id"]
    provisioned(listener, workspace, line_id, "failed", reasonCode=code)
    assert history(workspace, line_id)[-1]["reasonCode"] == "other"


@pytest.mark.parametrize(
    "delivered",
    [
        {"phone": "call me"},
        {"phone": 4155550001},
        {"email": "Ada <ada@example.com>"},
        {"reference": "x" * 2049},
        "+14155550001",
        [],
    ],
)
def test_malformed_delivery_is_set_aside_and_changes_nothing(
    world: World, workspace: Workspace, delivered: object, listener: Listener
) -> None:
    """[48][60] The next, well-formed answer counts."""
    world.provisioning("manual")
    line_id = workspace.included()["line"]["_id"]
    answer(listener, workspace, line_id, "succeeded", delivered=delivered)
    provisioned(listener, workspace, line_id, "succeeded", delivered={"phone": "", "email": None, "color": "red"})
    [line] = in_use(workspace)
    assert (line["phone"], line["email"]) == (None, None)


def test_history_of_another_workspaces_line_is_404(workspace: Workspace, spare: Workspace) -> None:
    """[37][61]"""
    line_id = workspace.included()["line"]["_id"]
    assert spare.send("GET", f"{LINES}/{line_id}/events").status_code == 404


# --- allowance ----------------------------------------------------------------------------------


def test_allowance_decides_as_a_request_does(world: World, workspace: Workspace) -> None:
    """[62] No call of Stripe's."""
    world.provisioning("manual")
    calls = workspace.calls()
    nothing = allowed(workspace, "purchased_phone")
    assert (nothing["included"], nothing["used"], nothing["held"], nothing["next"]) == (1, 0, 0, "included")
    workspace.included()
    full = allowed(workspace, "purchased_phone")
    assert (full["used"], full["held"], full["next"]) == (1, 1, "payable")
    assert calls() == []
    invoice = workspace.invoice(workspace.awaiting()["line"]["stripeInvoiceId"])
    price = full["addOn"]
    assert (price["unitAmount"], price["currency"], price["interval"]) == (1500, "usd", "month")
    assert abs(price["firstCharge"] - invoice["total"]) <= 1, "a second may have passed"
    locked = allowed(workspace, "purchased_phone")
    assert (locked["used"], locked["held"], locked["next"]) == (1, 2, "locked")
    assert allowed(workspace, "email")["next"] == "locked"
    found = workspace.send("GET", ALLOWANCE).json()
    assert (found["success"], found["plan"], found["subscriptionStatus"]) == (True, "starter", "active")
    assert set(found["kinds"]) == {"purchased_phone", "byon_phone", "email"}


def test_allowance_without_active_subscription_forbids_all(world: World) -> None:
    """[17][62]"""
    lapsed = world.workspace("starter", subscriptionStatus="past_due")
    found = lapsed.send("GET", ALLOWANCE).json()
    assert found["subscriptionStatus"] == "past_due"
    assert {kind["next"] for kind in found["kinds"].values()} == {"forbidden"}
    assert lapsed.create().json()["status"] == "subscription_required"


# --- release ------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_release_of_active_or_failed_line_cancels_it(
    world: World, workspace: Workspace, listener: Listener, outcome: str
) -> None:
    """[49][63] Again: the same 200. The place is free, and the bus tells the provisioner."""
    world.provisioning("manual")
    line_id = workspace.included()["line"]["_id"]
    provisioned(listener, workspace, line_id, outcome)
    released = workspace.send("DELETE", f"/api/lines/{line_id}")
    assert (released.status_code, released.json()["status"]) == (200, "canceled")
    assert released.content == workspace.get(line_id).content
    assert workspace.send("DELETE", f"/api/lines/{line_id.upper()}").content == released.content
    assert history(workspace, line_id)[-1]["cause"] == "released_by_client"
    assert allowed(workspace, "purchased_phone")["held"] == 0
    eventually(lambda: [e for e in listener.heard(line_id) if e["status"] == "canceled"])


def test_release_of_unsettled_line_is_409(world: World, workspace: Workspace) -> None:
    """[63]"""
    world.provisioning("manual")
    provisioning = workspace.included()["line"]["_id"]
    awaiting = workspace.awaiting()["line"]["_id"]
    for line_id, status in ((provisioning, "provisioning"), (awaiting, "awaiting_payment")):
        refused = workspace.send("DELETE", f"/api/lines/{line_id}")
        assert (refused.status_code, set(refused.json())) == (409, {"success", "status", "message"})
        assert (refused.json()["status"], refused.headers["Error-Code"]) == (status, "not_in_this_status")
        assert workspace.status(line_id) == status


def test_release_of_paid_line_lowers_the_quantity_by_the_next_reconcile(world: World, workspace: Workspace) -> None:
    """[50][63]"""
    created = workspace.full().awaiting()
    line_id = created["line"]["_id"]
    world.pay(created["paymentUrl"])
    eventually(lambda: workspace.status(line_id) == "active")
    eventually(lambda: world.reconcile() and allowed_quantity(world, workspace) == 1)
    assert workspace.send("DELETE", f"/api/lines/{line_id}").status_code == 200
    eventually(lambda: world.reconcile() and allowed_quantity(world, workspace) in {0, None})


def allowed_quantity(world: World, workspace: Workspace) -> int | None:
    """The add-on's quantity on the subscription at Stripe; None without an item."""
    items = world.stripe.v1.subscriptions.retrieve(str(workspace.subscription))["items"]["data"]
    quantities = [item["quantity"] for item in items if item["price"]["unit_amount"] == 1500]
    return quantities[0] if quantities else None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", LINES + "/{}/events"),
        ("DELETE", "/api/lines/{}"),
        ("GET", LINES + "/{}"),
        ("POST", LINES + "/{}"),
    ],
)
@pytest.mark.parametrize(
    "line_id",
    ["x", "0" * 23, "0" * 25, "%20" + "0" * 24, "0" * 24 + "%20", "0" * 24 + "%00", "0" * 24 + "%0A", "%EF%BC%90" * 24],
)
def test_id_that_is_none_is_400(spare: Workspace, method: str, path: str, line_id: str) -> None:
    """[37][41][61][63] Padded, with NUL, with a line break, with digits of another script."""
    refused = spare.send(method, path.format(line_id))
    assert (refused.status_code, refused.json()) == (400, {"error": "Invalid line request id"})
    assert (refused.headers["Error-Code"], refused.headers["Error-Field"]) == ("invalid_request", "id")


@pytest.mark.parametrize("digit", ["0", "a", "F"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/api/line-requests/{}/events"), ("DELETE", "/api/lines/{}")])
def test_unknown_id_is_404(spare: Workspace, method: str, path: str, digit: str) -> None:
    """[37][61][63]"""
    unknown = spare.send(method, path.format(digit * 24))
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Line request not found"})
    assert unknown.headers["Error-Code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", IN_USE), ("GET", ALLOWANCE), ("GET", f"{LINES}/x/events"), ("DELETE", "/api/lines/x"), ("POST", LINES)],
)
def test_every_route_asks_who_calls_first(world: World, method: str, path: str) -> None:
    """[1][5][64]"""
    refused = world.send(method, path, headers={"Authorization": "Bearer tuco_nobody"})
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    assert (refused.headers["WWW-Authenticate"], refused.headers["Error-Code"]) == ("Bearer", "unauthorized")


# --- headers ------------------------------------------------------------------------------------


def test_201_says_where_the_line_is_and_when_to_look(workspace: Workspace) -> None:
    """[64] A replay too."""
    for _ in range(2):
        created = workspace.create(key="k")
        line = workspace.send("GET", created.headers["Location"]).json()["line"]
        assert line["_id"] == created.json()["line"]["_id"]
        assert int(created.headers["Retry-After"]) > 0


def test_each_answer_of_post_counts_the_request_budget_down(workspace: Workspace) -> None:
    """[35][64] Also a refusal's."""
    answers = [workspace.create(body) for body in (PHONE, {}, PHONE, PHONE)]
    assert [found.status_code for found in answers] == [201, 400, 201, 409]
    assert {found.headers["RateLimit-Policy"] for found in answers} == {'"workspace";q=60;w=30'}
    left = [int(found.headers["RateLimit"].split(";")[1].removeprefix("r=")) for found in answers]
    assert left[0] == 59
    assert all(0 < number < 60 for number in left)
    assert [found.headers.get("Error-Code") for found in answers] == [
        None,
        "invalid_request",
        None,
        "request_in_progress",
    ]
    assert answers[1].headers["Error-Field"] == "firstName"


def test_429_tells_the_same_wait_three_times(world: World) -> None:
    """[35][64]"""
    refused = world.workspace().use_up()[-1]
    assert refused.headers["Error-Code"] == "rate_limited"
    assert refused.headers["RateLimit"] == f'"workspace";r=0;t={refused.headers["Retry-After"]}'


def test_refusals_of_the_plan_have_their_own_codes(world: World, workspace: Workspace) -> None:
    """[18][64]"""
    lapsed = world.workspace("starter", subscriptionStatus="past_due")
    assert lapsed.create().headers["Error-Code"] == "subscription_required"
    assert workspace.create(BYON).headers["Error-Code"] == "not_on_plan"
    capped = world.workspace("capped").full()
    assert capped.create().headers["Error-Code"] == "none_for_sale"


def test_503_names_the_line_that_was_kept(world: World, workspace: Workspace) -> None:
    """[34][64] The same key finishes it."""
    workspace.full()
    world.faults("error_before")
    kept = workspace.create(key="k")
    world.no_faults()
    assert (kept.status_code, kept.headers["Error-Code"]) == (503, "stripe_unavailable")
    finished = workspace.create(key="k")
    assert finished.json()["line"]["_id"] == kept.headers["Line-Request-Id"]
