from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain import decision
from line_requests.domain.errors import ForbiddenLineType, SubscriptionRequired
from line_requests.domain.model import Subscription, Workspace
from line_requests.domain.prices import AddOn, Allowance, Amount
from line_requests.domain.submission import Kind
from line_requests.operator import commands
from line_requests.storage import records
from line_requests.storage.table import Write
from tests.operator import lines

if TYPE_CHECKING:
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop


def test_a_created_workspace_has_the_plan_that_its_customer_subscribes_to(
    shop: Shop, console: Console, starter: str
) -> None:
    customer = shop.subscriber(starter)
    created = console.json("workspace", "create", "acme", "--customer", customer)
    assert created == console.json("workspace", "show", "acme")
    extra = created["capacity"][0].pop("addOn")
    assert extra.startswith("price_")
    assert created.pop("subscription").startswith("sub_")
    assert created == {
        "workspace": "acme",
        "customer": customer,
        "livemode": False,
        "status": "active",
        "plan": "starter",
        "lock": None,
        "keys": 0,
        "capacity": [
            {"kind": "purchased_phone", "included": 1, "cap": 3, "used": 0, "paid": 0, "left": 1},
            {"kind": "byon_phone", "included": None, "cap": None, "used": 0, "paid": 0, "left": 0, "addOn": None},
            {"kind": "email", "included": None, "cap": None, "used": 0, "paid": 0, "left": 0, "addOn": None},
        ],
    }


def test_a_customer_without_a_subscription_can_have_a_workspace(shop: Shop, console: Console) -> None:
    created = console.json("workspace", "create", "acme", "--customer", shop.customer())
    assert (created["subscription"], created["status"], created["plan"]) == (None, None, None)


def test_a_subscription_that_no_plan_names_is_noted(shop: Shop, console: Console, starter: str) -> None:
    assert starter
    created = console.json("workspace", "create", "acme", "--customer", shop.subscriber(shop.price()))
    assert created["plan"] is None
    assert created["note"].startswith("no plan names the base price of sub_")


@pytest.mark.parametrize("workspace_id", ["Acme", "acme_1", "", "a" * 41, "acme\n"])
def test_a_workspace_id_has_its_form(shop: Shop, console: Console, workspace_id: str) -> None:
    assert "is no workspace id" in console.refused("workspace", "create", workspace_id, "--customer", shop.customer())


def test_a_customer_has_to_exist_at_stripe(shop: Shop, console: Console) -> None:
    said = console.refused("workspace", "create", "acme", "--customer", "cus_unknown")
    assert said == "Stripe does not know the customer cus_unknown, or deleted it"
    deleted = shop.customer()
    shop.v1.customers.delete(deleted)
    assert console.refused("workspace", "create", "acme", "--customer", deleted).endswith("or deleted it")
    assert console.refused("workspace", "show", "acme") == "there is no workspace acme"


def test_a_workspace_and_its_customer_are_tied_for_good(shop: Shop, console: Console, starter: str) -> None:
    ada, bob = shop.subscriber(starter), shop.subscriber(starter)
    console.json("workspace", "create", "acme", "--customer", ada)
    said = console.refused("workspace", "create", "acme", "--customer", bob)
    assert said == f"the workspace acme exists, with the customer {ada}"
    said = console.refused("workspace", "create", "other", "--customer", ada)
    assert said == f"the customer {ada} is tied to the workspace acme"


def test_creating_again_reads_the_subscription_again(shop: Shop, console: Console, starter: str) -> None:
    customer = shop.subscriber(shop.price())
    assert console.json("workspace", "create", "acme", "--customer", customer)["plan"] is None
    shop.move(customer, starter)
    assert console.json("workspace", "create", "acme", "--customer", customer)["plan"] == "starter"


def test_a_workspace_is_created_whole_or_not_at_all(
    shop: Shop, console: Console, deployment: Deployment, starter: str
) -> None:
    console.json("workspace", "create", "acme", "--customer", shop.customer(), "--organisation", "org_acme")
    customer = shop.subscriber(starter)
    said = console.refused("workspace", "create", "other", "--customer", customer, "--organisation", "org_acme")
    assert said == "org_acme does not act for other; if it acts for no other: workspace link"
    assert console.refused("workspace", "show", "other") == "there is no workspace other"
    assert deployment.stores.workspaces.of_customer(customer) is None
    assert deployment.stores.workspaces.of_organisation("org_acme") == "acme"
    shop.double.set_faults("error_before", 2, "/v1/subscriptions")
    assert console.refused("workspace", "create", "other", "--customer", customer).startswith("Stripe: ")
    assert deployment.stores.workspaces.get("other") is None
    assert console.json("workspace", "create", "other", "--customer", customer)["plan"] == "starter"


def test_an_organisation_acts_for_one_workspace(shop: Shop, console: Console, deployment: Deployment) -> None:
    for name in ("acme", "other"):
        console.json("workspace", "create", name, "--customer", shop.customer())
    console.json("workspace", "link", "acme", "org_acme")
    assert console.json("workspace", "link", "acme", "org_acme") == {"workspace": "acme", "linked": "org_acme"}
    assert console.refused("workspace", "link", "other", "org_acme") == "org_acme acts for the workspace acme"
    said = "org_acme does not act for the workspace other"
    assert console.refused("workspace", "unlink", "other", "org_acme") == said
    assert deployment.stores.workspaces.of_organisation("org_acme") == "acme"
    console.json("workspace", "unlink", "acme", "org_acme")
    assert deployment.stores.workspaces.of_organisation("org_acme") is None
    said = "'acme' is no Clerk organisation: org_..."
    assert console.refused("workspace", "link", "acme", "acme") == said
    said_again = console.refused("workspace", "create", "x", "--customer", shop.customer(), "--organisation", "acme")
    assert said_again == said


def test_workspaces_are_listed_by_what_an_operator_looks_for(
    shop: Shop, console: Console, deployment: Deployment, acme: str
) -> None:
    starter = console.json("plans", "show")[0]["basePrices"][0]
    for name in ("beta", "gamma"):
        console.json("workspace", "create", name, "--customer", shop.subscriber(starter))

    def listed(*filters: str) -> list[str]:
        return [row["workspace"] for row in console.json("workspace", "list", *filters)]

    lines.active(deployment, "beta")
    lines.requested(deployment, "beta")
    lines.active(deployment, "gamma")
    for _ in range(2):
        lines.paid(deployment, "gamma")
    assert listed("--near-cap") == ["gamma"]
    assert listed() == [acme, "beta", "gamma"]
    assert listed("--locked") == ["beta"]
    assert listed("--over-plan") == []
    assert listed("--sort", "held")[-1] == acme
    lines.active(deployment, acme)
    customer = console.json("workspace", "show", acme)["customer"]
    shop.cancel(customer)
    console.json("workspace", "sync", acme)
    (row,) = console.json("workspace", "list", "--over-plan")
    assert (row["workspace"], row["status"], row["held"], row["overPlanBy"]) == (acme, "canceled", 1, 1)
    assert listed("--sort", "excess")[0] == acme


def test_show_tells_places_used_and_left_the_lock_and_the_keys(
    console: Console, deployment: Deployment, acme: str
) -> None:
    def places() -> list[int | str | None]:
        view = console.json("workspace", "show", acme)
        phones = view["capacity"][0]
        return [*(phones[name] for name in ("used", "paid", "left")), view["lock"]]

    assert places() == [0, 0, 1, None]
    lines.active(deployment, acme)
    assert places() == [1, 0, 0, None]
    lines.paid(deployment, acme)
    assert places() == [2, 1, 0, None]
    waiting = lines.requested(deployment, acme)
    assert places() == [3, 1, 0, waiting.id]

    console.json("key", "issue", acme)
    revoked = console.json("key", "issue", acme)["key"]
    console.json("key", "revoke", acme, revoked, "--yes")
    shown = console.text("workspace", "show", acme)
    assert f"lock          {waiting.id}\nkeys          1\n\ncapacity:\n" in shown
    phones = next(row for row in shown.splitlines() if row.startswith("purchased_phone"))
    assert phones.split()[1:6] == ["1", "3", "3", "1", "0"]


def _workspace(status: str, allowance: Allowance | None, held: int, unpaid: int) -> Workspace:
    allowances = {} if allowance is None else {Kind.EMAIL: allowance}
    subscription = Subscription("sub_1", status, "plan", allowances)
    return Workspace(
        "acme",
        "cus_1",
        livemode=False,
        revision=1,
        subscription=subscription,
        held={Kind.EMAIL: held},
        unpaid={Kind.EMAIL: unpaid},
    )


def test_places_are_left_exactly_when_a_request_would_be_included() -> None:
    add_on = AddOn("price_1", "prod_1", {"usd": Amount(100)})
    allowances = [
        None,
        *(
            Allowance(included, cap, sold)
            for included, cap, sold in product(range(3), (None, 0, 1, 2, 3), (None, add_on))
        ),
    ]
    for status, allowance, held, unpaid in product(("active", "past_due"), allowances, range(4), range(4)):
        workspace = _workspace(status, allowance, held, unpaid)
        try:
            included = decision.judge(workspace, Kind.EMAIL) is None
        except (ForbiddenLineType, SubscriptionRequired):
            included = False
        left = next(places.left for places in commands.capacity(workspace) if places.kind is Kind.EMAIL)
        assert (left > 0) is included


def test_sync_brings_a_workspace_up_to_date(shop: Shop, console: Console, acme: str) -> None:
    customer = console.json("workspace", "show", acme)["customer"]
    shop.move(customer, shop.price())
    assert console.json("workspace", "show", acme)["plan"] == "starter"
    assert console.json("workspace", "sync", acme)["plan"] is None
    assert console.refused("workspace", "sync", "other") == "there is no workspace other"


def test_sync_cancels_a_waiting_request_whose_subscription_ended(
    shop: Shop, console: Console, deployment: Deployment, acme: str
) -> None:
    lines.active(deployment, acme)
    waiting = lines.requested(deployment, acme)
    shop.cancel(console.json("workspace", "show", acme)["customer"])
    assert console.json("workspace", "sync", acme)["lock"] is None
    history = console.json("line", "show", waiting.id)["history"]
    assert (history[-1]["status"], history[-1]["cause"]) == ("canceled", "subscription_ended")


def test_sync_shows_what_would_change_and_writes_nothing(
    shop: Shop, console: Console, deployment: Deployment, acme: str
) -> None:
    shop.cancel(console.json("workspace", "show", acme)["customer"])
    stored = deployment.stores.workspaces.get(acme)
    new = {"newPlan": "starter", "newStatus": "canceled", "changes": ["status"]}
    row = {"workspace": acme, "plan": "starter", "status": "active"} | new
    assert console.json("workspace", "sync", acme, "--dry-run") == row
    assert console.json("workspace", "sync", "--all", "--dry-run") == [row | {"error": None}]
    assert deployment.stores.workspaces.get(acme) == stored

    deployment.stores.workspaces.insert("aaa", "cus_unknown", livemode=False)
    code, view, said = console.incomplete("workspace", "sync", "--all", "--dry-run")
    assert (code, said) == (1, "1 of 2 workspaces could not be compared")
    assert view[0]["error"]
    assert view[1] == row | {"error": None}
    assert list(view[0]) == list(view[1])


def test_sync_all_goes_on_after_a_workspace_that_fails(
    shop: Shop, console: Console, deployment: Deployment, acme: str
) -> None:
    console.json("workspace", "create", "beta", "--customer", shop.customer())
    good = [
        {"workspace": acme, "plan": "starter", "status": "active", "error": None},
        {"workspace": "beta", "plan": None, "status": None, "error": None},
    ]
    assert console.json("workspace", "sync", "--all") == good
    deployment.stores.workspaces.insert("aaa", "cus_unknown", livemode=False)

    code, view, said = console.incomplete("workspace", "sync", "--all")

    assert code == 1
    assert said == "1 of 3 workspaces could not be synced"
    assert view[0]["workspace"] == "aaa"
    assert view[0]["error"]
    assert view[1:] == good


def test_recount_sets_counts_and_lock_to_what_the_lines_mean(
    console: Console, deployment: Deployment, acme: str
) -> None:
    lines.active(deployment, acme)
    waiting = lines.requested(deployment, acme)
    right = console.json("workspace", "show", acme)
    key = records.workspace_key(acme)
    update = "SET #held = :wrong, #unpaid = :wrong REMOVE #lock, #lock_kind"
    deployment.stores.table.write(Write(key, update=update, values={"wrong": {"email": 4}}))
    assert console.json("workspace", "show", acme) != right
    assert console.json("workspace", "recount", acme, "--yes") == right
    assert right["lock"] == waiting.id
    assert console.json("workspace", "recount", acme, "--yes") == right
    assert deployment.stores.workspaces.is_due(acme, wall_time_ms())


def test_recount_of_two_waiting_lines_says_which_one_to_cancel_until_one_is_left(
    console: Console, deployment: Deployment, acme: str
) -> None:
    lines.active(deployment, acme)
    waiting = []
    for _ in range(2):
        waiting.append(lines.requested(deployment, acme).id)
        unlocked = Write(records.workspace_key(acme), update="REMOVE #lock, #lock_kind")
        deployment.stores.table.write(unlocked)
    first, second = sorted(waiting)
    code, view, said = console.incomplete("workspace", "recount", acme, "--yes")
    assert (code, view["lock"]) == (1, first)
    assert said == f"2 lines await payment: {first}, {second}. Run line cancel {first}, then recount again"
    assert console.json("line", "cancel", first, "--yes")["status"] == "canceled"
    assert console.json("workspace", "recount", acme, "--yes")["lock"] == second
    assert console.json("line", "cancel", second, "--yes")["status"] == "canceled"
    assert console.json("workspace", "show", acme)["lock"] is None


def test_recount_does_not_count_past_a_line_that_a_newer_release_wrote(
    console: Console, deployment: Deployment, acme: str
) -> None:
    line = lines.active(deployment, acme)
    before = console.json("workspace", "show", acme)
    said = lines.unreadable(deployment, line)
    assert console.refused("workspace", "recount", acme, "--yes") == said
    assert console.json("workspace", "show", acme) == before
    assert console.json("line", "list", "--workspace", acme) == []


def test_recount_gives_way_to_a_request(deployment: Deployment, acme: str) -> None:
    before = deployment.stores.workspaces.get(acme)
    assert before is not None
    lines.active(deployment, acme)
    assert deployment.stores.workspaces.recount(before, before, lines.AT_MS) is None
    after = deployment.stores.workspaces.get(acme)
    assert after is not None
    assert sum(after.held.values()) == 1
