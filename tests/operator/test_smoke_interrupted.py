"""`smoke` before and while it calls the API; stopped with Ctrl-C it removes its workspace, or says how to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from line_requests.billing.setup import Setup
from line_requests.domain.errors import BillingUnavailable
from line_requests.operator import cli, smoke

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

SMOKE = ("smoke", "--api-url", "http://127.0.0.1:9")
POST = smoke.Smoke._post  # noqa: SLF001 - another name takes its place in most tests


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def stop_smoke() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(SMOKE)
    assert ended.value.code == cli.INTERRUPTED


@pytest.fixture(autouse=True)
def interrupted_request(starter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert starter, "a plan is applied"
    monkeypatch.setattr(smoke.Smoke, "_post", interrupted)


def test_interrupted_smoke_removes_its_workspace(console: Console, deployment: Deployment) -> None:
    stop_smoke()
    printed = console.capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert list(deployment.stores.workspaces.ids()) == []


@pytest.mark.parametrize("trouble", [BillingUnavailable("out of time"), KeyboardInterrupt()])
def test_interrupted_smoke_says_how_to_remove_what_is_left(
    console: Console, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, trouble: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(Setup, "delete_customer", fail)
    stop_smoke()
    (name,) = deployment.stores.workspaces.ids()
    left = deployment.stores.workspaces.get(name)
    assert left is not None
    printed = console.capsys.readouterr()
    expected = f"Left behind: line-requests workspace delete {name}; then delete the customer {left.customer} at Stripe"
    assert (printed.out, printed.err) == ("", f"{expected}\n")


def test_smoke_that_is_interrupted_before_it_made_anything_leaves_nothing(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "_choose", interrupted)
    stop_smoke()
    assert console.capsys.readouterr().err == ""


def test_smoke_subscribes_to_a_base_price_that_is_still_sold(
    console: Console, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan names archived prices, too: those that older subscriptions are on. Stripe gives them to no new one."""
    sold = shop.price(3900)
    file = tmp_path / "plans.toml"
    lines = "purchased_phone = { included = 1 }"
    file.write_text(f'[starter]\nbase_prices = ["{shop.inactive_price()}", "{sold}"]\n[starter.lines]\n{lines}\n')
    console.json("plans", "apply", str(file))
    subscribed = []
    monkeypatch.setattr(Setup, "start_trial", lambda _, __, price: subscribed.append(price))
    stop_smoke()
    assert subscribed == [sold]


def test_smoke_waits_where_the_deployment_s_rate_limit_is_low(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[35]"""
    waits_ms = iter([1, 60_000])

    def limited(*_: object) -> tuple[int, dict[str, str], dict[str, object]]:
        return 429, {}, {"error": "Rate limit exceeded", "retryAfterMs": next(waits_ms)}

    monkeypatch.setattr(smoke.Smoke, "_post", POST)
    monkeypatch.setattr(smoke.Smoke, "_call", limited)
    assert cli.main([*SMOKE, "--json"]) == cli.FAILED
    steps = json.loads(console.capsys.readouterr().out)
    (failed,) = (step["detail"] for step in steps if step["result"] == "failed")
    assert "429" in failed, "a minute is more than it has"
    assert "60000" in failed, "and that was the second answer"
