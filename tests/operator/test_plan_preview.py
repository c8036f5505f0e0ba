"""What `plans diff` and `plans apply --dry-run` show of workspaces is what a sync then does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operator import lines
from tests.operator.test_plans import plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plans.toml"


def test_what_would_change_is_shown_and_nothing_is_stored(
    shop: Shop, starter: str, deployment: Deployment, console: Console, file: Path
) -> None:
    before = console.json("plans", "show")
    acme = console.json("workspace", "create", "acme", "--customer", shop.subscriber(starter))["workspace"]
    lines.active(deployment, acme)
    lines.paid(deployment, acme)
    extra = shop.price(900)
    file.write_text(plan(starter, f'purchased_phone = {{ included = 0, add_on = "{extra}", cap = 1 }}'))
    preview = console.json("plans", "diff", str(file))
    assert {row["field"]: (row["stored"], row["file"]) for row in preview["changes"]} == {
        "lines.purchased_phone.add_on": (before[0]["lines"][0]["addOn"], extra),
        "lines.purchased_phone.cap": (3, 1),
        "lines.purchased_phone.included": (1, 0),
        "lines.purchased_phone.usd.unit_amount": (
            {"amount": 1500, "currency": "usd"},
            {"amount": 900, "currency": "usd"},
        ),
    }
    assert preview["overPlan"] == [{"workspace": acme, "kind": "purchased_phone", "held": 2, "allowed": 1}]
    assert console.json("plans", "apply", str(file), "--dry-run") == preview
    assert "$9.00" in console.text("plans", "diff", str(file))
    assert console.json("plans", "show") == before


def phones(included: int) -> str:
    return f"purchased_phone = {{ included = {included} }}"


def test_preview_shows_excess_of_a_base_price_that_moves_to_another_plan(
    shop: Shop, deployment: Deployment, console: Console, file: Path
) -> None:
    """[53]"""
    monthly, moving, small = shop.price(), shop.price(), shop.price()
    file.write_text(plan(f'{monthly}", "{moving}', phones(2)) + plan(small, phones(1), name="small"))
    console.json("plans", "apply", str(file))
    for name, price in (("acme", moving), ("stays", monthly)):
        console.json("workspace", "create", name, "--customer", shop.subscriber(price))
        lines.active(deployment, name)
        lines.active(deployment, name)
    file.write_text(plan(monthly, phones(2)) + plan(f'{small}", "{moving}', phones(1), name="small"))

    preview = console.json("plans", "apply", str(file), "--dry-run")

    assert preview["overPlan"] == [{"workspace": "acme", "kind": "purchased_phone", "held": 2, "allowed": 1}]
    console.json("plans", "apply", str(file), "--sync")
    assert [(row["workspace"], row["overPlanBy"]) for row in console.json("workspace", "list", "--over-plan")] == [
        ("acme", 1)
    ]
    assert console.json("plans", "diff", str(file))["overPlan"] == []


def test_preview_shows_no_excess_of_a_base_price_that_no_plan_names(
    shop: Shop, deployment: Deployment, console: Console, file: Path, acme: str
) -> None:
    """[54]"""
    lines.active(deployment, acme)
    file.write_text(plan(shop.price(), phones(0)))
    assert console.json("plans", "diff", str(file))["overPlan"] == []


def test_preview_keeps_the_plans_that_the_file_lacks(
    shop: Shop, deployment: Deployment, console: Console, file: Path, acme: str
) -> None:
    """A workspace that changed to a plan of the table, and was not synced, is judged by that plan."""
    lines.active(deployment, acme)
    other = shop.price()
    file.write_text(plan(other, phones(0), name="other"))
    console.json("plans", "apply", str(file))
    shop.move(console.json("workspace", "show", acme)["customer"], other)
    file.write_text(plan(shop.price(), name="third"))
    assert console.json("plans", "diff", str(file))["overPlan"] == [
        {"workspace": acme, "kind": "purchased_phone", "held": 1, "allowed": 0}
    ]


def test_preview_names_the_workspace_that_stripe_did_not_answer_for(
    shop: Shop, deployment: Deployment, console: Console, file: Path, acme: str
) -> None:
    lines.active(deployment, acme)
    deployment.stores.workspaces.insert("empty", "cus_unknown", livemode=False)
    file.write_text(plan(shop.price(), phones(0), name="other"))
    shop.double.set_faults("error_before", 2, "/v1/subscriptions")
    code, view, said = console.incomplete("plans", "diff", str(file))
    assert (code, view["overPlan"]) == (1, [])
    assert said.startswith(f"1 of 1 workspaces with lines could not be compared; fix this, then retry: {acme}: Stripe")


def test_sync_dry_run_shows_that_the_allowances_of_an_applied_plan_change(
    console: Console, file: Path, starter: str, acme: str
) -> None:
    def changes() -> list[str]:
        (row,) = console.json("workspace", "sync", "--all", "--dry-run")
        changed: list[str] = row["changes"]
        return changed

    assert changes() == []
    file.write_text(plan(starter, phones(0), tax='excess = "bill"'))
    console.json("plans", "apply", str(file))
    assert changes() == ["allowances", "excess"]
    assert "allowances, excess" in console.text("workspace", "sync", acme, "--dry-run")
    console.json("workspace", "sync", acme)
    assert changes() == []
