"""A new kind, status and field, written by a newer release, do not break an older one, whose writes they survive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmark import events
from line_requests.domain.ids import new_api_key, sha256_hex
from line_requests.domain.model import ApiKey
from line_requests.domain.prices import Allowance
from line_requests.storage.attributes import marshal
from line_requests.storage.records import line_key, workspace_key
from line_requests.storage.table import Write
from tests.decision.examples import NOW_MS
from tests.growth.two_releases import TwoReleases, functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.growth.two_releases import Outcome, Run
    from tests.support.shop import Shop

Json = dict[str, Any]

TOKEN = new_api_key("acme")


class Acme:
    """A workspace with lines of both releases: `plain` is the older's; `named`, `fax` and `porting` are the newer's."""

    def __init__(self, shop: Shop, older: Run, newer: Run) -> None:
        self.world = shop.world
        self.releases = TwoReleases(shop, older, newer)
        self.world.workspace(purchased_phone=Allowance(9))
        self.world.api_keys.insert("acme", ApiKey(sha256_hex(TOKEN), "test", NOW_MS))
        self.write(workspace_key("acme"), "SET #subscription.#allowances.#fax = :fax", fax={"included": 3})
        [self.plain] = self.create(("plain", {}), old=True)
        self.named, self.fax, self.porting = self.create(
            ("named", {"nickname": "Countess"}),
            (None, {"channelType": "fax", "phone": "+1 415 555 0100"}),
            (None, {}),
        )
        self.write(line_key("acme", self.porting), "SET #status = :porting", porting="porting")

    def write(self, key: Json, update: str, **values: object) -> None:
        self.world.table.write(Write(key, update=update, values=values))

    def item(self, line_id: str) -> Json:
        item = self.world.table.get(line_key("acme", line_id))
        assert item is not None
        return item

    def create(self, *requests: tuple[str | None, dict[str, str]], old: bool = False) -> list[str]:
        """The ids of the lines that one release makes for these keys and fields."""
        calls = [("create_line_request", events.create(TOKEN, key, **fields)) for key, fields in requests]
        return [outcome.body["line"]["_id"] for outcome in self.releases.invoke(*calls, old=old)]

    def invoke(self, function: str, event: Json, *, old: bool) -> Outcome:
        [outcome] = self.releases.invoke((function, event), old=old)
        return outcome

    def listed(self, *, old: bool) -> tuple[set[str], int]:
        outcome = self.invoke("get_line_request", events.page(TOKEN), old=old)
        return {line["_id"] for line in outcome.body["lines"]}, outcome.alarms


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Run]]:
    with functions(tmp_path_factory.mktemp("releases")) as both:
        yield both


@pytest.fixture
def acme(shop: Shop, both: tuple[Run, Run]) -> Acme:
    return Acme(shop, *both)


def test_older_release_lists_and_makes_lines_beside_those_of_the_newer_one(acme: Acme) -> None:
    """[15][19][42]"""
    assert acme.listed(old=True) == ({acme.plain, acme.named}, 2)
    assert acme.invoke("get_line_request", events.get(TOKEN, acme.named), old=True).body["success"] is True
    another, replayed = acme.create((None, {}), ("named", {}), old=True)
    assert replayed == acme.named
    assert acme.listed(old=False) == ({acme.plain, acme.named, acme.fax, acme.porting, another}, 0)
    counted = acme.world.raw(acme.world.now())
    assert (counted["held"]["purchased_phone"], counted["held"]["fax"]) == (4, 1)


def test_older_release_delivers_what_it_can_read_and_sets_the_rest_aside(acme: Acme) -> None:
    """[47][48]"""
    ids = [acme.fax, acme.named, acme.porting, acme.plain]
    records = [
        {"dynamodb": {"NewImage": marshal(acme.item(line_id)), "SequenceNumber": str(number)}}
        for number, line_id in enumerate(ids)
    ]
    published = acme.invoke("publish_changes", {"Records": records}, old=True)
    assert (published.value, published.alarms) == ({"batchItemFailures": []}, 2)
    for line_id in ids:
        acme.write(line_key("acme", line_id), "SET #due_at = :due", due=NOW_MS)
    reconciled = acme.invoke("reconciler", events.tick(), old=True)
    assert (reconciled.value["republished"], reconciled.value["failed"], reconciled.alarms) == (2, 0, 2)


def test_older_release_keeps_the_new_field_and_leaves_the_new_kind_to_the_newer(acme: Acme) -> None:
    """[48][49]"""

    def result(line_id: str) -> Json:
        detail = {"eventId": f"{line_id}:1", "workspaceId": "acme", "lineId": line_id, "outcome": "succeeded"}
        event = {"id": line_id, "time": "2026-11-22T09:32:00Z", "detail": detail}
        return {"messageId": line_id, "body": json.dumps(event)}

    results = {"Records": [result(acme.fax), result(acme.named)]}
    failed = {"batchItemFailures": [{"itemIdentifier": acme.fax}]}
    assert acme.invoke("provisioning_result", results, old=True).value == failed
    named = acme.item(acme.named)
    assert (named["status"], named["submission"]["nickname"]) == ("active", "Countess")
    assert acme.invoke("provisioning_result", results, old=False).value == {"batchItemFailures": []}
    assert acme.item(acme.fax)["status"] == "active"


def test_newer_release_replays_a_key_of_the_older_one_without_a_mismatch(acme: Acme) -> None:
    """[29]"""
    replayed = acme.invoke("create_line_request", events.create(TOKEN, "plain"), old=False)
    assert replayed.body["line"]["_id"] == acme.plain
    assert replayed.value["headers"]["Idempotency-Replayed"] == "true"
    assert "Idempotency-Mismatch" not in replayed.value["headers"]
