"""Functions that meet a line of a newer release, as they do during every deploy: they set it aside and alarm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmark import events
from line_requests.bus.events import event_id
from line_requests.deployment import Deployment
from line_requests.domain.ids import new_api_key, sha256_hex
from line_requests.domain.model import ApiKey, Status
from line_requests.domain.prices import Allowance
from line_requests.domain.submission import Kind
from line_requests.settings import Settings
from line_requests.storage.attributes import marshal
from line_requests.storage.records import line_key
from line_requests.storage.table import Write
from tests.decision.examples import NOW_MS
from tests.local.demo import PRODUCT_API_KEY
from tests.local.ministack import session
from tests.support.lambda_context import Context, function

if TYPE_CHECKING:
    from collections.abc import Callable

    from line_requests.domain.model import Line
    from tests.support.shop import Shop
    from tests.support.world import World

Json = dict[str, Any]

TOKEN = new_api_key("acme")
# The attribute that holds a value which only a newer release knows.
UNKNOWN = {"status": "#status", "kind": "#submission.#line_type"}


class Release:
    """This release's functions on one table, with the events that they publish."""

    def __init__(self, shop: Shop) -> None:
        self.world = shop.world
        self.published: list[Json] = []
        environment = {
            "TABLE_NAME": self.world.table_name,
            "STRIPE_API_KEY": PRODUCT_API_KEY,
            "STRIPE_API_BASE": shop.double.url,
            "BUS_NAME": "default",
        }
        self.deployment = Deployment(Settings.from_environment(environment), self._client)
        self.world.workspace(purchased_phone=Allowance(9), email=Allowance(9))
        self.world.api_keys.insert("acme", ApiKey(sha256_hex(TOKEN), "test", NOW_MS))

    def _client(self, service: str, **options: Any) -> Any:  # noqa: ANN401 - boto3's own
        endpoint = self.world.client.meta.endpoint_url
        client = session().client(service, endpoint_url=endpoint, **options)  # type: ignore[call-overload] # any service
        client.meta.events.register("provide-client-params.eventbridge.PutEvents", self._record)
        return client

    def _record(self, params: Json, **_: object) -> None:
        self.published += [json.loads(entry["Detail"]) for entry in params["Entries"]]

    def invoke(self, folder: str, event: Json) -> Json:
        module = function(folder)
        module.DEPLOYMENT = self.deployment  # type: ignore[attr-defined] # each function has one
        response: Json = module.handler(event, Context())
        return response


@pytest.fixture
def release(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Release:
    for name, value in {"TABLE_NAME": "unused", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    return Release(shop)


@pytest.fixture(params=UNKNOWN)
def make_unreadable(request: pytest.FixtureRequest, world: World) -> Callable[[Line], Line]:
    """Writes what only a newer release knows into the line's item."""

    def make(line: Line) -> Line:
        update = f"SET {UNKNOWN[request.param]} = :unknown"
        world.table.write(Write(line_key("acme", line.id), update=update, values={"unknown": "teleported"}))
        return line

    return make


def alarms(capsys: pytest.CaptureFixture[str]) -> int:
    return capsys.readouterr().out.count('"UnreadableRecord":[1.0]')


def test_list_skips_unreadable_line_with_alarm(
    release: Release, make_unreadable: Callable[[Line], Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[42]"""
    lines = [release.world.added(kind) for kind in Kind if kind is not Kind.BYON_PHONE]
    make_unreadable(release.world.added())
    response = release.invoke("get_line_request", events.page(TOKEN))
    assert response["statusCode"] == 200
    assert {line["_id"] for line in json.loads(response["body"])["lines"]} == {line.id for line in lines}
    assert alarms(capsys) == 1


def test_get_of_unreadable_line_is_503_with_alarm(
    release: Release, make_unreadable: Callable[[Line], Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[39][45]"""
    readable, unreadable = release.world.added(), make_unreadable(release.world.added())
    response = release.invoke("get_line_request", events.get(TOKEN, unreadable.id))
    assert (response["statusCode"], "Retry-After" in response["headers"]) == (503, True)
    assert alarms(capsys) == 1
    assert release.invoke("get_line_request", events.get(TOKEN, readable.id))["statusCode"] == 200


def test_cancel_of_unreadable_line_is_503_and_changes_nothing(
    release: Release, make_unreadable: Callable[[Line], Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[41]"""
    unreadable = make_unreadable(release.world.added())
    before = release.world.raw(unreadable)
    cancel = {"routeKey": "POST /api/line-requests/{id}", "body": '{"action": "cancel"}'}
    event = events.get(TOKEN, unreadable.id) | cancel
    assert release.invoke("manage_line_request", event)["statusCode"] == 503
    assert release.world.raw(unreadable) == before
    assert alarms(capsys) == 1


def stream_record(number: str, new: Json, old: Json | None = None) -> Json:
    images = {"NewImage": marshal(new)} | ({"OldImage": marshal(old)} if old else {})
    return {"dynamodb": images | {"SequenceNumber": number}}


def test_publish_changes_sets_unreadable_record_aside_and_publishes_the_others(
    release: Release, make_unreadable: Callable[[Line], Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[48] A record that raised would block its shard for a day."""
    readable = release.world.added()
    unreadable = release.world.raw(make_unreadable(release.world.added()))
    records = [stream_record("1", unreadable), stream_record("2", release.world.raw(readable))]
    assert release.invoke("publish_changes", {"Records": records}) == {"batchItemFailures": []}
    assert [event["eventId"] for event in release.published] == [event_id(readable)]
    assert alarms(capsys) == 1


def test_publish_changes_publishes_line_that_left_an_unreadable_state(
    release: Release, make_unreadable: Callable[[Line], Line]
) -> None:
    """[48]"""
    line = release.world.added()
    after = release.world.raw(line)
    before = release.world.raw(make_unreadable(line))
    records = [stream_record("1", after, before | {"history": []})]
    assert release.invoke("publish_changes", {"Records": records}) == {"batchItemFailures": []}
    assert [event["eventId"] for event in release.published] == [event_id(line)]


def queued(message_id: str, line: Line) -> Json:
    detail = {"eventId": event_id(line), "workspaceId": "acme", "lineId": line.id, "outcome": "succeeded"}
    event = {"id": message_id, "time": "2026-11-22T09:32:00Z", "detail": detail}
    return {"messageId": message_id, "body": json.dumps(event)}


def test_provisioning_result_of_unreadable_line_stays_queued_and_delays_no_other(
    release: Release, make_unreadable: Callable[[Line], Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[48] The queue delivers it again, to the newer release, or sets it aside."""
    readable, unreadable = release.world.added(), make_unreadable(release.world.added())
    before = release.world.raw(unreadable)
    records = [queued("1", unreadable), queued("2", readable)]
    failed = release.invoke("provisioning_result", {"Records": records})
    assert failed == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert release.world.line(readable).status is Status.ACTIVE
    assert release.world.raw(unreadable) == before
    assert alarms(capsys) == 1


def test_reconciler_skips_unreadable_line_with_alarm_and_continues(
    release: Release, make_unreadable: Callable[[Line], Line], capsys: pytest.CaptureFixture[str]
) -> None:
    """[47]"""
    overdue = [release.world.added(due_at_ms=NOW_MS) for _ in range(3)]
    make_unreadable(overdue[0])
    done = release.invoke("reconciler", events.tick())
    assert (done["republished"], done["failed"]) == (2, 0)
    assert {event["eventId"] for event in release.published} == {event_id(line) for line in overdue[1:]}
    assert alarms(capsys) == 1
