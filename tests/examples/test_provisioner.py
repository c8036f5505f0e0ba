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
    release = ["line", "release", scale.id, line_id, "--stack", STACK_NAME]
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


def test_provisioner_orders_once_when_the_event_is_doubled(provisioner: Provisioner, change: Change) -> None:
    """[48] The answer says what was delivered, and is the same for the same event."""
    heard = change(1, "provisioning")
    assert [provisioner.hear(heard), provisioner.hear(heard)] == [True, True]
    assert provisioner.orders(heard["lineId"]) == ["completed"]
    first, second = provisioner.answers.receive(heard["lineId"], 2)
    assert first == second
    assert first["outcome"] == "succeeded"
    assert {name: first[name] for name in ("eventId", "workspaceId", "lineId")} == {
        name: heard[name] for name in ("eventId", "workspaceId", "lineId")
    }
    assert first["delivered"].keys() == {"phone", "reference"}


def test_provisioner_orders_once_when_four_invocations_get_the_event_at_once(
    provisioner: Provisioner, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[48] One of them works, the others leave the event in the queue or repeat its answer."""
    heard = change(1, "provisioning")
    monkeypatch.setattr(provisioner.carrier, "delay_s", 1.0)
    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(provisioner.hear, [heard] * 4))
    assert provisioner.orders(heard["lineId"]) == ["completed"]


def test_provisioner_delivers_the_email_of_an_email_line(provisioner: Provisioner, change: Change) -> None:
    """`delivered` names only what there is."""
    heard = change(1, "provisioning", "email", email="ada@example.com")
    assert provisioner.hear(heard)
    [answer] = provisioner.answers.receive(heard["lineId"], 1)
    assert answer["delivered"].items() >= {"email": "ada@example.com"}.items()
    assert "phone" not in answer["delivered"]


@pytest.mark.parametrize(
    ("last_name", "reason_code"),
    [
        ("Sold-Out", "unavailable"),
        ("No-Address", "address_required"),
        ("No-Identity", "identity_required"),
        ("Unknown", "other"),
    ],
)
def test_provisioner_answers_failed_with_a_reason_code(
    provisioner: Provisioner, change: Change, last_name: str, reason_code: str
) -> None:
    """Each of the codes that the contract names."""
    heard = change(1, "provisioning", lastName=last_name)
    assert provisioner.hear(heard)
    [answer] = provisioner.answers.receive(heard["lineId"], 1)
    assert (answer["outcome"], answer["reasonCode"]) == ("failed", reason_code)
    assert answer["reason"]
    assert "delivered" not in answer


def test_provisioner_keeps_its_answer_when_the_carrier_changes_its_mind(
    provisioner: Provisioner, change: Change
) -> None:
    """[48] The line is failed by then: an order for the same event again would never be given back."""
    assert provisioner.hear(change(1, "provisioning", lastName="Sold-Out"))
    in_stock_again = change(1, "provisioning")
    assert provisioner.hear(in_stock_again)
    assert provisioner.orders(in_stock_again["lineId"]) == []
    assert [answer["outcome"] for answer in provisioner.answers.receive(in_stock_again["lineId"], 2)] == ["failed"] * 2


def test_provisioner_finds_its_order_after_a_crash_between_order_and_answer(
    provisioner: Provisioner, change: Change
) -> None:
    """[48] The order is made, its answer is lost, the event comes again: one order, one answer."""
    heard = change(1, "provisioning")
    provisioner.carrier.lost_answers = 1
    assert not provisioner.hear(heard)
    assert provisioner.hear(heard)
    assert provisioner.orders(heard["lineId"]) == ["completed"]
    [answer] = provisioner.answers.receive(heard["lineId"], 1)
    assert answer["outcome"] == "succeeded"


def test_provisioner_gives_a_canceled_line_back_once(provisioner: Provisioner, change: Change) -> None:
    """The second `canceled` finds nothing to give back, and an old event orders nothing new."""
    heard, canceled = change(1, "provisioning"), change(3, "canceled")
    for event in (heard, canceled, canceled, heard):
        assert provisioner.hear(event)
    assert provisioner.orders(heard["lineId"]) == ["released"]


def test_provisioner_orders_nothing_for_a_line_that_was_canceled_first(
    provisioner: Provisioner, change: Change
) -> None:
    """[48] Events arrive out of order: `canceled` overtakes `provisioning`."""
    heard = change(1, "provisioning")
    assert provisioner.hear(change(3, "canceled"))
    assert provisioner.hear(heard)
    assert provisioner.orders(heard["lineId"]) == []


def test_provisioner_orders_again_when_an_operator_retries_a_failed_line(
    provisioner: Provisioner, change: Change
) -> None:
    """[49] failed → provisioning is a new event, so a new attempt."""
    assert provisioner.hear(change(1, "provisioning", lastName="Sold-Out"))
    retried = change(3, "provisioning")
    assert provisioner.hear(retried)
    first, second = provisioner.answers.receive(retried["lineId"], 2)
    assert {first["outcome"], second["outcome"]} == {"failed", "succeeded"}


@pytest.mark.parametrize(
    ("end", "expected"), [("complete", {"outcome": "succeeded"}), ("reject", {"reasonCode": "rejected"})]
)
def test_provisioner_answers_a_port_in_when_it_is_through(
    provisioner: Provisioner, change: Change, end: str, expected: Json
) -> None:
    """[48] While the port-in is pending there is no answer; the event that is told again finds it settled."""
    heard = change(1, "provisioning", "byon_phone", phone="+1 415 555 0100")
    assert [provisioner.hear(heard), provisioner.hear(heard)] == [True, True]
    assert provisioner.orders(heard["lineId"]) == ["pending"]
    _end_order(provisioner, heard["lineId"], end)
    assert provisioner.hear(heard)
    [answer] = provisioner.answers.receive(heard["lineId"], 1)
    assert answer.items() >= expected.items()


def test_provisioner_stops_a_port_in_that_is_no_longer_wanted(provisioner: Provisioner, change: Change) -> None:
    """A pending order is released too."""
    heard = change(1, "provisioning", "byon_phone", phone="+1 415 555 0100")
    for event in (heard, change(3, "canceled")):
        assert provisioner.hear(event)
    assert provisioner.orders(heard["lineId"]) == ["released"]


def _end_order(provisioner: Provisioner, line_id: str, end: str) -> None:
    order = next(order for order in provisioner.carrier.orders if order["clientReference"] == line_id)
    headers = {"Authorization": f"Bearer {CARRIER_TOKEN}"}
    httpx.post(f"{provisioner.carrier_url}/orders/{order['id']}/{end}", headers=headers).raise_for_status()
