"""What is written is what is read, byte for byte, through DynamoDB's own types."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain.model import IdempotencyRecord, Line, Subscription, Workspace
from line_requests.domain.submission import Kind
from line_requests.storage import records as items
from line_requests.storage.table import marshal, unmarshal
from tests.decision.examples import LINE_ID, counts, lines, subscriptions, workspaces


def stored(item: items.Item) -> items.Item:
    return unmarshal(marshal(item))


@given(lines)
def test_a_line_comes_back_as_it_was(line: Line) -> None:
    """[6][38]"""
    assert items.line(stored(items.line_item(line))) == line


@given(lines)
def test_only_a_line_that_is_due_is_in_the_index(line: Line) -> None:
    """[47]"""
    item = items.line_item(line)
    assert ("due_shard" in item, "due_at" in item) == (line.due_at_ms is not None,) * 2
    assert item.get("due_shard", "0") in {str(shard) for shard in range(items.DUE_SHARDS)}


@given(subscriptions)
def test_a_subscription_s_snapshot_comes_back_as_it_was(subscription: Subscription) -> None:
    """[46]"""
    assert items.read_subscription(stored(items.subscription_item(subscription))) == subscription


def workspace_item(workspace: Workspace) -> items.Item:
    """As the updates of `places` and of the registry leave it."""
    item: dict[str, Any] = items.new_workspace_item(workspace.id, workspace.customer, livemode=workspace.livemode)
    item |= {
        "revision": workspace.revision,
        "held": {str(kind): count for kind, count in workspace.held.items()},
        "unpaid": {str(kind): count for kind, count in workspace.unpaid.items()},
        "quantities_revision": workspace.quantities_revision,
    }
    if workspace.subscription is not None:
        item["subscription"] = items.subscription_item(workspace.subscription)
    if workspace.lock is not None and workspace.lock_kind is not None:
        item |= {"lock": workspace.lock, "lock_kind": str(workspace.lock_kind)}
    return item if workspace.tat_ms is None else item | {"tat": workspace.tat_ms}


@given(workspaces())
def test_a_workspace_comes_back_as_it_was(workspace: Workspace) -> None:
    """[19][23]"""
    assert items.workspace(stored(workspace_item(workspace))) == workspace


def test_a_new_workspace_has_no_lines_no_lock_and_no_subscription() -> None:
    """[17]"""
    new = items.workspace(stored(items.new_workspace_item("acme", "cus_1", livemode=True)))
    assert new == Workspace("acme", "cus_1", livemode=True, revision=0, held=counts(), unpaid=counts())


@given(lines, st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=30), st.integers())
def test_what_a_later_release_adds_to_a_line_is_ignored(line: Line, name: str, value: int) -> None:
    """[47]"""
    item = stored(items.line_item(line) | {name: value})
    assert items.line(item) == line


def test_an_idempotency_record_comes_back_with_and_without_its_answer() -> None:
    """[29]"""
    half = IdempotencyRecord(LINE_ID, "f" * 64)
    for record in (half, replace(half, answer='{"success": true}')):
        item = {"line_id": record.line_id, "fingerprint": record.fingerprint, "answer": record.answer}
        present = {name: value for name, value in item.items() if value is not None}
        assert items.record(stored(items.record_key("acme", "k") | present)) == record


def test_the_longest_idempotency_key_fits_into_a_sort_key() -> None:
    """[28]"""
    key = items.record_key("acme", items.sha256_hex("\N{GRINNING FACE}" * 255))
    assert len(key["sk"].encode()) == 68


def test_keys_of_one_workspace_share_its_partition_and_no_other_s() -> None:
    """[5]"""
    ours = [
        items.workspace_key("acme"),
        items.keys_key("acme"),
        items.line_key("acme", LINE_ID),
        items.record_key("acme", "0"),
    ]
    assert {key["pk"] for key in ours} == {"W#acme"}
    assert len({key["sk"] for key in ours}) == 4


def test_lines_that_are_due_are_spread_over_the_shards() -> None:
    """[47]"""
    shards = Counter(items.due_shard(f"{number:024x}") for number in range(1000))
    assert set(shards) == {str(shard) for shard in range(items.DUE_SHARDS)}
    assert min(shards.values()) > 200


def test_every_kind_of_line_has_a_count() -> None:
    """[19]"""
    assert set(items.new_workspace_item("acme", "cus_1", livemode=False)["held"]) == set(Kind)
