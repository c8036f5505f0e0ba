"""`KEEP=dir make run`: a second run goes on where the first has stopped."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.local import deployment
from tests.local.keep import Keep
from tests.local.ministack import StartError
from tests.local.stack import LINES, LocalStack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]
LINE = {"firstName": "Sales", "lastName": "Line", "channelType": "phone"}
MONTH_S = 31 * 86_400


def client(stack: LocalStack, api_key: str) -> httpx.Client:
    return httpx.Client(base_url=stack.origin, headers={"Authorization": f"Bearer {api_key}"}, timeout=35)


def create(http: httpx.Client, key: str) -> Json:
    body: Json = http.post(LINES, json=LINE, headers={"Idempotency-Key": key}).raise_for_status().json()
    return body


def wait_for(http: httpx.Client, *statuses: str) -> None:
    """Newest first, as listed: the list changes nothing."""
    deadline = time.monotonic() + 60
    while (seen := [line["provisioningStatus"] for line in http.get(LINES).json()["lines"]]) != list(statuses):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


def test_second_run_goes_on_where_the_first_has_stopped(tmp_path: Path) -> None:
    steps: list[str] = []
    with LocalStack(keep=Keep(tmp_path), progress=steps.append) as first:
        workspace = first.demo.create_workspace("starter", "active")
        first.advance_clock(86_400, runs=1)
        first.provisioner.set_mode("manual")
        with client(first, workspace.api_key) as http:
            included = create(http, "one")
            payable = create(http, "two")
            before = http.get(LINES).json()
        origins, now = (first.origin, first.double.url, first.ministack.endpoint), first.now()
        renews_at = charged_until(first, workspace.subscription)
    assert "Deploying template.yaml…" in steps

    with LocalStack(keep=Keep(tmp_path)) as second:
        assert (second.origin, second.double.url, second.ministack.endpoint) == origins
        assert second.now() >= now
        assert second.demo.workspaces() == first.demo.workspaces()
        with client(second, workspace.api_key) as http:
            assert create(http, "two") == payable
            assert included["line"] in before["lines"]
            wait_for(http, "awaiting_payment", "active")  # the provisioner hears of it again
            assert httpx.post(f"{payable['paymentUrl']}/pay").status_code < 400
            wait_for(http, "active", "active")
        second.advance_clock(MONTH_S, runs=3)
        assert charged_until(second, workspace.subscription) > renews_at


def charged_until(stack: LocalStack, subscription_id: str | None) -> int:
    [subscription] = [each for each in stack.double.all_of("subscription") if each["id"] == subscription_id]
    end: int = subscription["items"]["data"][0]["current_period_end"]
    return end


def test_start_that_fails_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: LocalStack) -> None:
        raise StartError("on purpose")

    monkeypatch.setattr(LocalStack, "_deploy", fail)
    with pytest.raises(StartError, match="on purpose"):
        LocalStack(keep=Keep(tmp_path)).start()
    assert list(tmp_path.iterdir()) == []


def test_installing_the_layer_is_told_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    lock = tmp_path / "requirements.txt"
    lock.write_text("another")
    monkeypatch.setattr(deployment, "LAYER_REQUIREMENTS", lock)
    no_make: Callable[[str], None] = lambda _: None  # noqa: E731
    monkeypatch.setattr(shutil, "which", no_make)
    with pytest.raises(StartError, match="make is missing"):
        deployment.layer_packages(told.append)
    assert told == ["Installing the layer's packages, which happens once…"]
