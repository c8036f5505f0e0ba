"""Values are read back exactly as they were written, through DynamoDB's types."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import IdempotencyRecord, Line, Subscription, Workspace
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.table import Item, marshal, unmarshal
from tests.decision.examples import LINE_ID, lines, subscriptions, workspaces


def stored(item: Item) -> Item:
    return unmarshal(marshal(item))


@given(lines)
def test_line_round_trips_through_dynamodb_types(line: Line) -> None:
    """[6][38]"""
    assert records.line(stored(records.line_item(line))) == line


@given(lines)
def test_line_has_index_attributes_only_while_due(line: Line) -> None:
    """[47]"""
    item = records.line_item(line)
    assert ("due_shard" in item, "due_at" in item) == (line.due_at_ms is not None,) * 2
    assert item.get("due_shard", "0") in {str(shard) for shard in range(records.DUE_SHARDS)}


@given(subscriptions)
def test_subscription_snapshot_round_trips(subscription: Subscription) -> None:
    """[46]"""
    item = records.new_workspace_item("acme", "cus_1", livemode=True)
    item |= {"subscription": records.subscription_item(subscription)}
    assert records.workspace(stored(item)).subscription == subscription


def workspace_item(workspace: Workspace) -> Item:
    """The item that the updates of capacity and of the workspaces leave behind."""
    item: dict[str, Any] = records.new_workspace_item(workspace.id, workspace.customer, livemode=workspace.livemode)
    item |= {
        "revision": workspace.revision,
        "held": {str(kind): count for kind, count in workspace.held.items()},
        "unpaid": {str(kind): count for kind, count in workspace.unpaid.items()},
        "quantities_revision": workspace.quantities_revision,
        "charged": records.charged_item(workspace.charged),
        "charge_number": workspace.charge_number,
    }
    if workspace.counted is not None:
        item["counted"] = records.counted_item(workspace.counted)
    if workspace.pending_charge is not None:
        item["pending_charge"] = records.pending_charge_item(workspace.pending_charge)
    if workspace.excess_basis is not None:
        item["excess_basis"] = records.subscription_item(workspace.excess_basis)
    if workspace.subscription is not None:
        item["subscription"] = records.subscription_item(workspace.subscription)
    if workspace.lock is not None and workspace.lock_kind is not None:
        item |= {"lock": workspace.lock, "lock_kind": str(workspace.lock_kind)}
    return item if workspace.tat_ms is None else item | {"tat_ms": workspace.tat_ms}


@given(workspaces())
def test_workspace_round_trips(workspace: Workspace) -> None:
    """[19][23]"""
    assert records.workspace(stored(workspace_item(workspace))) == workspace


def test_new_workspace_has_no_lines_no_lock_no_subscription() -> None:
    """[17]"""
    new = records.workspace(stored(records.new_workspace_item("acme", "cus_1", livemode=True)))
    assert new == Workspace("acme", "cus_1", livemode=True, revision=0, held={}, unpaid={})


@given(lines, st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=30), st.integers())
def test_line_reader_ignores_attributes_of_newer_release(line: Line, name: str, value: int) -> None:
    """[47]"""
    item = stored(records.line_item(line) | {name: value})
    item["submission"] = item["submission"] | {name: value}
    assert records.line(item) == line


def test_idempotency_record_round_trips_with_and_without_response_body() -> None:
    """[29]"""
    half = IdempotencyRecord(LINE_ID, "f" * 64)
    for record in (half, replace(half, response_body='{"success": true}')):
        item = records.idempotency_key("acme", "k") | records.idempotency_item(record)
        assert records.idempotency_record(stored(item)) == record


def test_longest_idempotency_key_fits_into_sort_key() -> None:
    """[28]"""
    key = records.idempotency_key("acme", sha256_hex("\N{GRINNING FACE}" * 255))
    assert len(key["sk"].encode()) < 1024  # DynamoDB's limit


def test_items_of_a_workspace_share_its_partition() -> None:
    """[5]"""
    ours = [
        records.workspace_key("acme"),
        records.api_key_key("acme", "0"),
        records.line_key("acme", LINE_ID),
        records.idempotency_key("acme", "0"),
    ]
    assert {key["pk"] for key in ours} == {"W#acme"}
    assert len({key["sk"] for key in ours}) == 4


def test_due_lines_spread_over_all_shards() -> None:
    """[47]"""
    shards = Counter(records.due_shard(f"{number:024x}") for number in range(1000))
    assert set(shards) == {str(shard) for shard in range(records.DUE_SHARDS)}
    assert min(shards.values()) > 200


def test_workspace_without_counts_reads_as_zero_of_every_kind() -> None:
    """[19]"""
    item = records.new_workspace_item("acme", "cus_1", livemode=False)
    absent: Item
    for absent in ({}, {"held": {}, "unpaid": {}}):
        workspace = records.workspace(
            stored({name: item[name] for name in item if name not in {"held", "unpaid"}} | absent)
        )
        assert (
            [workspace.held.get(kind, 0) for kind in Kind]
            == [workspace.unpaid.get(kind, 0) for kind in Kind]
            == [0] * 3
        )
