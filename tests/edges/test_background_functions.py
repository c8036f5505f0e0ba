"""The functions that no client calls, from event to answer: webhook, reconciler, stream and queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmark import events
from line_requests.bus.events import Bus, Event, event_id
from line_requests.domain.model import Line, Status
from line_requests.flows.webhook import Webhook
from line_requests.secret import StripeSecret
from line_requests.storage.attributes import marshal
from line_requests.storage.records import line_item
from tests.decision.examples import LINE_ID
from tests.support.lambda_context import Context, function
from tests.support.product import NOWHERE, product
from tests.support.world import new_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from line_requests.deployment import Deployment
    from tests.support.world import World

Json = dict[str, Any]

SECRET = "whsec_1"


class Secret(StripeSecret):
    """What Secrets Manager holds."""

    def __init__(self) -> None:
        """Needs no client."""

    def read(self, *, force_fetch: bool = False) -> Json:  # noqa: ARG002 - the inherited name
        return {"api_key": "sk_test_1", "webhook_secrets": [SECRET]}


class RefusingBus(Bus):
    """A bus that refuses the events of one line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def publish_events(self, events: Sequence[Event]) -> list[Event]:
        return [event for event in events if event.detail["lineId"] == self._line.id]


@pytest.fixture
def deployment(world: World, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment whose Stripe does not answer."""
    for name, value in {"TABLE_NAME": "unused", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    made = product(world.client, world.table_name, NOWHERE)
    made.webhook = Webhook(Secret(), made.stores, made.lifecycle)
    return made


def invoke(deployment: Deployment, folder: str, event: Json, *, remaining_s: int = 300) -> Json:
    module = function(folder)
    module.DEPLOYMENT = deployment  # type: ignore[attr-defined] # each function has one
    answer: Json = module.handler(event, Context(remaining_s=remaining_s))
    return answer


def delivery(kind: str, **subject: object) -> Json:
    return events.webhook({"type": kind, "livemode": False, "data": {"object": subject}}, SECRET)


def test_webhook_that_is_dealt_with_is_answered_200(deployment: Deployment) -> None:
    """[45]"""
    answer = invoke(deployment, "stripe_webhook", delivery("customer.subscription.updated", customer="cus_other"))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"received": True})


def test_webhook_that_is_not_stripes_is_answered_400(deployment: Deployment) -> None:
    """[43]"""
    genuine = delivery("customer.subscription.updated", customer="cus_other")
    for refused in (genuine | {"body": "{}"}, genuine | {"headers": {}}):
        answer = invoke(deployment, "stripe_webhook", refused)
        assert (answer["statusCode"], answer["headers"]["Error-Code"]) == (400, "invalid_signature")


def test_webhook_that_cannot_be_dealt_with_is_answered_503(deployment: Deployment, world: World) -> None:
    """[45] Stripe delivers it again."""
    world.workspace()
    answer = invoke(deployment, "stripe_webhook", delivery("customer.subscription.updated", customer="cus_acme"))
    assert answer["statusCode"] == 503


@pytest.mark.parametrize(("remaining_s", "has_time"), [(20, False), (60, True)])
def test_reconciler_leaves_twenty_seconds_of_its_time(
    deployment: Deployment,
    world: World,
    capsys: pytest.CaptureFixture[str],
    remaining_s: int,
    has_time: bool,  # noqa: FBT001 - a column
) -> None:
    """[47] For the write that is under way when the time is up."""
    world.workspace("acme")
    line = world.added(due_at_ms=1)
    deployment.__dict__["bus"] = RefusingBus(line)
    done = invoke(deployment, "reconciler", events.tick(), remaining_s=remaining_s)
    assert (done["failed"] > 0) is has_time, "only a run with time asks Stripe"
    assert ('"ReconcilerBacklog":[1.0]' in capsys.readouterr().out) is not has_time


def test_stream_record_that_the_bus_refuses_comes_again_alone(deployment: Deployment) -> None:
    """[48]"""
    lines = [new_line(), new_line()]
    deployment.__dict__["bus"] = RefusingBus(lines[1])
    records = [
        {"dynamodb": {"SequenceNumber": str(number), "NewImage": marshal(line_item(line))}}
        for number, line in enumerate(lines)
    ]
    answer = invoke(deployment, "publish_changes", {"Records": records})
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def queued(message_id: str, event: Json) -> Json:
    return {"messageId": message_id, "body": json.dumps(event)}


def test_malformed_result_is_delivered_again_alone(deployment: Deployment, world: World) -> None:
    """[48] The queue then sets it aside."""
    world.workspace()
    line = world.added()
    detail = {"eventId": event_id(line), "workspaceId": "acme", "lineId": line.id, "outcome": "succeeded"}
    event = {"id": "e", "time": "2026-11-22T09:32:00Z", "detail": detail}
    records = [
        {"messageId": "1", "body": "{"},
        queued("2", event | {"detail": detail | {"outcome": "perhaps"}}),
        queued("3", event | {"time": "soon"}),
        queued("4", {"detail": detail}),
        queued("5", event | {"detail": detail | {"lineId": LINE_ID}}),
        queued("6", event),
    ]
    answer = invoke(deployment, "provisioning_result", {"Records": records})
    assert answer == {"batchItemFailures": [{"itemIdentifier": number} for number in "1234"]}
    assert world.line(line).status is Status.ACTIVE
    since_event_ms = world.line(line).history[-1].at_ms - 1_795_339_920_000
    assert 0 <= since_event_ms < 20_000
