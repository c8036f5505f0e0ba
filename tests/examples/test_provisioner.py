"""The reference provisioner's own template, deployed on the local stack, with the carrier double over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.examples.conftest import CARRIER_TOKEN, PROVISIONER, Provisioner, Workspace, eventually
from tests.local.deployment import STACK_NAME

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

Json = dict[str, Any]
Change = Callable[..., Json]


def test_provisioner_serves_the_product_end_to_end(
    workspace: Callable[..., Workspace], provisioner: Provisioner, stack: LocalStack
) -> None:
    """[48] A line becomes active through rule, queue, function and carrier; released, it is given back."""
    scale = workspace("scale")
    scale.control("provisioning", mode="manual")
    line_id = scale.create(lastName="Hopper").json()["line"]["_id"]
    eventually(lambda: scale.get(line_id)["status"] == "active")
    assert provisioner.orders(line_id) == ["completed"]
    release = ["line", "release", line_id, "--yes", "--stack", STACK_NAME]
    environment = {"PATH": os.environ["PATH"]} | stack.ministack.aws_environment
    subprocess.run([Path(sys.executable).with_name("line-requests"), *release], env=environment, check=True)
    eventually(lambda: provisioner.orders(line_id) == ["released"])


def test_provisioner_template_is_short_enough_to_read() -> None:
    assert len((PROVISIONER / "template.yaml").read_text().splitlines()) <= 150


def test_provisioner_makes_a_line_failed_that_the_carrier_refuses(
    workspace: Callable[..., Workspace], provisioner: Provisioner
) -> None:
    """[48] The carrier's refusal arrives as the line's state."""
    scale = workspace("scale")
    scale.control("provisioning", mode="manual")
    line_id = scale.create(lastName="Sold-Out").json()["line"]["_id"]
    eventually(lambda: scale.get(line_id)["status"] == "failed")
    assert provisioner.orders(line_id) == []


def test_provisioner_orders_once_when_the_event_is_duplicated(provisioner: Provisioner, change: Change) -> None:
    """[48] The result says what was delivered, and is the same for the same event."""
    event = change(1, "provisioning")
    assert [provisioner.invoke(event), provisioner.invoke(event)] == [True, True]
    assert provisioner.orders(event["lineId"]) == ["completed"]
    first, second = provisioner.results.receive(event["lineId"], 2)
    assert first == second
    assert first["outcome"] == "succeeded"
    assert {name: first[name] for name in ("eventId", "workspaceId", "lineId")} == {
        name: event[name] for name in ("eventId", "workspaceId", "lineId")
    }
    assert first["delivered"].keys() == {"phone", "reference"}


def test_provisioner_orders_once_when_four_invocations_get_the_event_at_once(
    provisioner: Provisioner, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[48] One of them works, the others leave the event in the queue or publish its result again."""
    event = change(1, "provisioning")
    monkeypatch.setattr(provisioner.carrier, "delay_s", 1.0)
    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(provisioner.invoke, [event] * 4))
    assert provisioner.orders(event["lineId"]) == ["completed"]


def test_provisioner_delivers_the_email_of_an_email_line(provisioner: Provisioner, change: Change) -> None:
    """`delivered` names only what there is."""
    event = change(1, "provisioning", "email", email="ada@example.com")
    assert provisioner.invoke(event)
    [result] = provisioner.results.receive(event["lineId"], 1)
    assert result["delivered"].items() >= {"email": "ada@example.com"}.items()
    assert "phone" not in result["delivered"]


@pytest.mark.parametrize(
    ("last_name", "reason_code"),
    [
        ("Sold-Out", "unavailable"),
        ("No-Address", "address_required"),
        ("No-Identity", "identity_required"),
        ("Unknown", "other"),
    ],
)
def test_provisioner_publishes_failed_with_a_reason_code(
    provisioner: Provisioner, change: Change, last_name: str, reason_code: str
) -> None:
    """Each of the codes that the contract names."""
    event = change(1, "provisioning", lastName=last_name)
    assert provisioner.invoke(event)
    [result] = provisioner.results.receive(event["lineId"], 1)
    assert (result["outcome"], result["reasonCode"]) == ("failed", reason_code)
    assert result["reason"]
    assert "delivered" not in result


def test_provisioner_publishes_the_same_result_when_the_carrier_would_now_accept(
    provisioner: Provisioner, change: Change
) -> None:
    """[48] The line is failed by then: nobody would release a new order for the same event."""
    assert provisioner.invoke(change(1, "provisioning", lastName="Sold-Out"))
    in_stock_again = change(1, "provisioning")
    assert provisioner.invoke(in_stock_again)
    assert provisioner.orders(in_stock_again["lineId"]) == []
    assert [result["outcome"] for result in provisioner.results.receive(in_stock_again["lineId"], 2)] == ["failed"] * 2


def test_provisioner_finds_its_order_after_a_crash_between_order_and_result(
    provisioner: Provisioner, change: Change
) -> None:
    """[48] The order is made, the response is lost, the event is delivered again: one order, one result."""
    event = change(1, "provisioning")
    provisioner.carrier.lost_responses = 1
    assert not provisioner.invoke(event)
    assert provisioner.invoke(event)
    assert provisioner.orders(event["lineId"]) == ["completed"]
    [result] = provisioner.results.receive(event["lineId"], 1)
    assert result["outcome"] == "succeeded"


def test_provisioner_releases_a_canceled_line_once(provisioner: Provisioner, change: Change) -> None:
    """The second `canceled` finds no order to release, and an old event orders nothing."""
    event, canceled = change(1, "provisioning"), change(3, "canceled")
    for each in (event, canceled, canceled, event):
        assert provisioner.invoke(each)
    assert provisioner.orders(event["lineId"]) == ["released"]


def test_provisioner_orders_nothing_for_a_line_that_was_canceled_first(
    provisioner: Provisioner, change: Change
) -> None:
    """[48] Events arrive out of order: `canceled` overtakes `provisioning`."""
    event = change(1, "provisioning")
    assert provisioner.invoke(change(3, "canceled"))
    assert provisioner.invoke(event)
    assert provisioner.orders(event["lineId"]) == []


def test_provisioner_orders_again_when_an_operator_retries_a_failed_line(
    provisioner: Provisioner, change: Change
) -> None:
    """[49] failed → provisioning is a new event, so a new attempt."""
    assert provisioner.invoke(change(1, "provisioning", lastName="Sold-Out"))
    retried = change(3, "provisioning")
    assert provisioner.invoke(retried)
    first, second = provisioner.results.receive(retried["lineId"], 2)
    assert {first["outcome"], second["outcome"]} == {"failed", "succeeded"}


@pytest.mark.parametrize(
    ("end", "expected"), [("complete", {"outcome": "succeeded"}), ("reject", {"reasonCode": "rejected"})]
)
def test_provisioner_publishes_a_port_in_when_it_is_complete(
    provisioner: Provisioner, change: Change, end: str, expected: Json
) -> None:
    """[48] No result while the port-in is pending; a later delivery of the event finds it complete."""
    event = change(1, "provisioning", "byon_phone", phone="+1 415 555 0100")
    assert [provisioner.invoke(event), provisioner.invoke(event)] == [True, True]
    assert provisioner.orders(event["lineId"]) == ["pending"]
    _end_order(provisioner, event["lineId"], end)
    assert provisioner.invoke(event)
    [result] = provisioner.results.receive(event["lineId"], 1)
    assert result.items() >= expected.items()


def test_provisioner_stops_a_port_in_that_is_no_longer_wanted(provisioner: Provisioner, change: Change) -> None:
    """A pending order is released too."""
    event = change(1, "provisioning", "byon_phone", phone="+1 415 555 0100")
    for each in (event, change(3, "canceled")):
        assert provisioner.invoke(each)
    assert provisioner.orders(event["lineId"]) == ["released"]


def _end_order(provisioner: Provisioner, line_id: str, end: str) -> None:
    order = next(order for order in provisioner.carrier.orders if order["clientReference"] == line_id)
    headers = {"Authorization": f"Bearer {CARRIER_TOKEN}"}
    httpx.post(f"{provisioner.carrier_url}/orders/{order['id']}/{end}", headers=headers).raise_for_status()
