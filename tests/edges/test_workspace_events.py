"""Stream records of workspace items: changes of plan and status, excesses that start and end, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from line_requests.bus.events import Bus
from line_requests.domain.ids import parse_iso_ms
from line_requests.domain.model import Status, Subscription
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from line_requests.flows.publishing import workspace_events
from line_requests.storage.attributes import marshal
from line_requests.storage.records import workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import ADD_ONS, NOW_MS, counts, subscription, workspace
from tests.local.ministack import ROOT
from tests.support.lambda_context import Context
from tests.support.world import LIMIT, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

Json = dict[str, Any]

TWO, ONE = Allowance(2), Allowance(1, add_on=ADD_ONS[Kind.EMAIL])
CREATED_S, CREATED = 1_795_305_600, "2026-11-22T00:00:00.000Z"


class Stream:
    """Delivers the writes of one workspace to the function, and keeps what it publishes."""

    def __init__(self, world: World, module: ModuleType, stubber: Stubber) -> None:
        self.world = world
        self.entries: list[Json] = []
        self._handler, self._stubber = module.handler, stubber
        stubber.client.meta.events.register("provide-client-params.eventbridge.PutEvents", self._keep)

    def _keep(self, params: Json, **_: object) -> None:
        self.entries += params["Entries"]

    def image(self) -> Json:
        return marshal(self.world.raw(self.world.now()))

    def deliver(self, old: Json | None, new: Json | None, *, refused: int = 0, calls: int = 1) -> Json:
        """The function's answer to one record, whose events cause so many calls of the bus."""
        images = {name: image for name, image in {"OldImage": old, "NewImage": new}.items() if image}
        record = {"SequenceNumber": "1", "ApproximateCreationDateTime": CREATED_S} | images
        entries = [{"ErrorCode": "ThrottlingException"}] * refused
        for _ in range(calls):
            self._stubber.add_response("put_events", {"FailedEntryCount": refused, "Entries": entries})
        answer: Json = self._handler({"Records": [{"dynamodb": record}]}, Context())
        self._stubber.assert_no_pending_responses()
        return answer

    def published(self, act: Callable[[], object]) -> list[tuple[str, Json]]:
        """What a write makes the function publish, twice: a record that is delivered again says the same."""
        old = self.image()
        act()
        new = self.image()
        assert self.deliver(old, new) == self.deliver(old, new) == {"batchItemFailures": []}
        told = [(entry["DetailType"], json.loads(entry["Detail"])) for entry in self.entries]
        self.entries.clear()
        half = len(told) // 2
        assert told[:half] == told[half:]
        return told[:half]

    def silent(self, act: Callable[[], object]) -> None:
        """A write that publishes nothing and does not call the bus."""
        old = self.image()
        act()
        assert self.deliver(old, self.image(), calls=0) == {"batchItemFailures": []}


@pytest.fixture
def stream(world: World, function: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    events = boto3.client("events", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    module = function("publish_changes")
    monkeypatch.setattr(module.DEPLOYMENT, "bus", Bus(events, "lines"))
    with Stubber(events) as stubber:
        yield Stream(world, module, stubber)


def subscribe(world: World, changed: Subscription | None) -> None:
    assert world.workspaces.save_subscription(world.now(), changed, NOW_MS) is not None


def on_plan(plan: str, status: str = "active", **allowances: Allowance) -> Subscription:
    return replace(subscription(status, **allowances), plan=plan)


def alarms(capsys: pytest.CaptureFixture[str], metric: str) -> int:
    return capsys.readouterr().out.count(f'"{metric}":[1.0]')


def test_downgrade_and_return_are_published_with_the_excess_that_starts_and_ends(
    stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    """[54]"""
    world = stream.world
    world.workspace(email=TWO)
    for _ in range(2):
        world.added(Kind.EMAIL)
    revision, counted = world.now().revision, world.now().quantities_revision
    changed, over = stream.published(lambda: subscribe(world, on_plan("small", email=ONE)))
    assert changed == (
        "Workspace Subscription Changed",
        {
            "eventId": f"acme:subscription:{revision + 1}",
            "workspaceId": "acme",
            "plan": "small",
            "previousPlan": "starter",
            "status": "active",
            "previousStatus": "active",
            "occurredAt": CREATED,
        },
    )
    assert over == (
        "Workspace Over Plan",
        {
            "eventId": f"acme:over_plan:email:{counted + 1}",
            "workspaceId": "acme",
            "kind": "email",
            "held": 2,
            "allowed": 1,
            "excess": 1,
            "since": CREATED,
            "reason": "above_included",
        },
    )
    assert alarms(capsys, "OverPlan") == 2, "one for each delivery"
    _, (_, ended) = stream.published(lambda: subscribe(world, on_plan("starter", email=TWO)))
    assert (ended["eventId"], ended["held"], ended["allowed"]) == (f"acme:over_plan:email:{counted + 2}", 2, 2)
    assert (ended["excess"], ended["reason"]) == (0, "within_plan")
    assert alarms(capsys, "OverPlan") == 0


def test_page_about_events_shows_them_as_they_are_published() -> None:
    """[54]"""
    text = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    changed, over = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    at_ms = parse_iso_ms(changed["occurredAt"])
    lines = {"held": counts(email=4), "unpaid": counts(email=4), "quantities_revision": 12, "revision": 4}
    before = workspace(**lines | {"subscription": on_plan("scale", email=Allowance(4))})
    after = workspace(**lines | {"subscription": on_plan("starter", email=Allowance(1))})
    assert [event.detail for event in workspace_events(before, after, at_ms)] == [changed, over]


def test_released_line_ends_the_excess(stream: Stream) -> None:
    """[54]"""
    world = stream.world
    world.workspace(email=TWO)
    line = world.lines.mark_active([world.added(Kind.EMAIL), world.added(Kind.EMAIL)][0], NOW_MS)
    subscribe(world, on_plan("starter", email=ONE))
    [(detail_type, ended)] = stream.published(lambda: world.lines.release(line, "operator", NOW_MS))
    assert (detail_type, ended["held"], ended["excess"]) == ("Workspace Over Plan", 1, 0)


def test_end_of_the_subscription_puts_each_kind_with_lines_over_plan(stream: Stream) -> None:
    """[54]"""
    world = stream.world
    world.workspace()
    world.added(Kind.EMAIL)
    world.added()
    told = stream.published(lambda: subscribe(world, on_plan("starter", "canceled")))
    assert told[0][1] | {"eventId": ""} == {
        "eventId": "",
        "workspaceId": "acme",
        "plan": "starter",
        "previousPlan": "starter",
        "status": "canceled",
        "previousStatus": "active",
        "occurredAt": CREATED,
    }
    assert [(event["kind"], event["excess"], event["reason"]) for _, event in told[1:]] == [
        ("purchased_phone", 1, "subscription_ended"),
        ("email", 1, "subscription_ended"),
    ]
    [(_, deleted)] = stream.published(lambda: subscribe(world, None))
    assert (deleted["plan"], deleted["status"], deleted["previousStatus"]) == (None, None, "canceled")


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused"])
def test_status_that_decides_nothing_publishes_its_change_alone_and_the_next_active_one_the_excess(
    stream: Stream, status: str
) -> None:
    """[54] Although the plan has changed together with the status."""
    world = stream.world
    world.workspace(email=TWO)
    for _ in range(2):
        world.added(Kind.EMAIL)
    unpaid = stream.published(lambda: subscribe(world, on_plan("small", status, email=ONE)))
    assert [detail_type for detail_type, _ in unpaid] == ["Workspace Subscription Changed"]
    paid = stream.published(lambda: subscribe(world, on_plan("small", email=ONE)))
    assert [detail_type for detail_type, _ in paid] == ["Workspace Subscription Changed", "Workspace Over Plan"]
    assert world.now().excess_basis is None


def test_standing_excess_is_not_published_again(stream: Stream) -> None:
    """[54]"""
    world = stream.world
    world.workspace(email=TWO)
    for _ in range(2):
        world.added(Kind.EMAIL)
    subscribe(world, on_plan("starter", email=ONE))
    stream.silent(lambda: subscribe(world, replace(on_plan("starter", email=Allowance(0)), currency="eur")))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"held": 3, "unpaid": 1, "waits": False}, {"held": 4}),
        ({"held": 3, "unpaid": 1, "waits": False}, {"unpaid": 2}),
        ({"held": 4, "unpaid": 1, "waits": True}, {"waits": False}),
    ],
)
def test_count_that_alone_starts_an_excess_is_published(stream: Stream, before: Json, after: Json) -> None:
    """[54] As when the operator counts the lines of a restored table again."""
    world = stream.world
    world.workspace(email=Allowance(1, cap=3))

    def count(held: int, unpaid: int, *, waits: bool) -> None:
        lock, kind = ("0" * 24, Kind.EMAIL) if waits else (None, None)
        now = world.now()
        counted = replace(now, held=counts(email=held), unpaid=counts(email=unpaid), lock=lock, lock_kind=kind)
        assert world.workspaces.recount(now, counted, NOW_MS) is not None

    count(**before)
    [(detail_type, over)] = stream.published(lambda: count(**before | after))
    assert (detail_type, over["excess"]) == ("Workspace Over Plan", 1)


def test_other_writes_of_a_workspace_publish_nothing(stream: Stream) -> None:
    """[54] Rate window, a line that is allowed, its payment, the quantities' lease, another period."""
    world = stream.world
    world.workspace(email=ONE, purchased_phone=TWO)
    stream.silent(lambda: world.workspaces.consume_rate(world.now(), LIMIT, NOW_MS))
    stream.silent(world.added)
    world.added(Kind.EMAIL)
    stream.silent(lambda: world.paid(Kind.EMAIL))
    stream.silent(lambda: world.workspaces.lease_quantities("acme", NOW_MS))
    subscribed = world.now().subscription
    assert subscribed is not None
    stream.silent(lambda: subscribe(world, replace(subscribed, anchor_s=7)))
    stream.silent(lambda: None)


def test_new_workspace_publishes_only_the_subscription_that_it_has(stream: Stream) -> None:
    """[54]"""
    world = stream.world
    assert world.workspaces.insert("acme", "cus_acme", livemode=False)
    new = stream.image()
    assert stream.deliver(None, new, calls=0) == {"batchItemFailures": []}
    assert stream.deliver(new, None, calls=0) == {"batchItemFailures": []}, "it was deleted"
    [(_, changed)] = stream.published(lambda: subscribe(world, on_plan("starter")))
    assert (changed["previousPlan"], changed["previousStatus"]) == (None, None)
    assert stream.deliver(None, stream.image()) == {"batchItemFailures": []}
    assert [entry["DetailType"] for entry in stream.entries] == ["Workspace Subscription Changed"]


def test_record_comes_again_while_the_bus_refuses_one_of_its_events(
    stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    """[54] It is counted when it is published."""
    world = stream.world
    world.workspace(email=ONE)
    world.added(Kind.EMAIL, Status.PROVISIONING)
    old = stream.image()
    subscribe(world, on_plan("small", email=Allowance(0)))
    answer = stream.deliver(old, stream.image(), refused=1)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert alarms(capsys, "OverPlan") == 0


@pytest.mark.parametrize("unreadable", ["old", "new"])
def test_workspace_of_a_newer_release_is_set_aside_with_an_alarm(
    stream: Stream, capsys: pytest.CaptureFixture[str], unreadable: str
) -> None:
    """[54]"""
    world = stream.world
    world.workspace()
    images = {"old": stream.image()}
    subscribe(world, on_plan("small"))
    images["new"] = stream.image()
    update = Write(workspace_key("acme"), update="SET #subscription.#excess = :new", values={"new": "donate"})
    world.table.write(update)
    images[unreadable] = marshal(world.table.get(workspace_key("acme")) or {})
    assert stream.deliver(images["old"], images["new"], calls=0) == {"batchItemFailures": []}
    assert alarms(capsys, "UnreadableRecord") == 1


def test_unreadable_workspace_alarms_only_with_a_write_that_may_be_published(
    stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    """[54] Not with each request that its rate window counts."""
    world = stream.world
    world.workspace()
    update = Write(workspace_key("acme"), update="SET #subscription.#excess = :new", values={"new": "donate"})
    world.table.write(update)
    old = marshal(world.table.get(workspace_key("acme")) or {})
    assert stream.deliver(old, old | {"tat_ms": {"N": "7"}}, calls=0) == {"batchItemFailures": []}
    assert alarms(capsys, "UnreadableRecord") == 0


def test_write_to_a_line_is_published_when_it_moves_the_line(stream: Stream) -> None:
    """[48]"""
    world = stream.world
    world.workspace(email=ONE)
    line = world.added(Kind.EMAIL)
    old = marshal(world.raw(line))
    world.lines.set_due(line, NOW_MS + 9)
    due = marshal(world.raw(line))
    assert stream.deliver(old, due, calls=0) == {"batchItemFailures": []}
    active = marshal(world.raw(world.lines.mark_active(line, NOW_MS)))
    assert stream.deliver(due, active) == {"batchItemFailures": []}
    assert [json.loads(entry["Detail"])["status"] for entry in stream.entries] == ["active"]
