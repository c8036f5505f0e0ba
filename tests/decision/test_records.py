"""Values are read back exactly as they were written, through DynamoDB's types."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_requests.domain import model, reversals
from line_requests.domain.decision import Next
from line_requests.domain.errors import UnreadableRecord
from line_requests.domain.ids import sha256_hex
from line_requests.domain.model import (
    ApiKey,
    IdempotencyRecord,
    Line,
    PaymentStatus,
    ReasonCode,
    Status,
    Subscription,
    VoidReason,
    Workspace,
)
from line_requests.domain.prices import Allowance, Amount, Plan
from line_requests.domain.submission import Kind
from line_requests.storage import records
from line_requests.storage.attributes import Item, marshal, unmarshal
from line_requests.storage.table import Write
from tests.decision import examples
from tests.decision.examples import CHARGE, LINE_ID, NOW_MS, lines, subscriptions, workspaces


def stored(item: Item) -> Item:
    return unmarshal(marshal(item))


@given(lines)
def test_line_round_trips_through_dynamodb_types(line: Line) -> None:
    """[6][38]"""
    found = records.line(stored(records.line_item(line)))
    assert found == line
    assert found.kind is line.submission.kind


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
    assert set(shards) == {"0", "1", "2", "3"}
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


# --- the format, which two releases share during every deploy -----------------------------------------


def test_keys_of_items_never_change() -> None:
    """[47]"""
    assert [
        records.workspace_key("acme"),
        records.api_key_key("acme", "a"),
        records.line_key("acme", "1"),
        records.idempotency_key("acme", "k"),
        records.customer_key("cus_1"),
        records.organisation_key("org_1"),
        records.plan_key("starter"),
        records.FEED_KEY,
    ] == [
        {"pk": "W#acme", "sk": "WORKSPACE"},
        {"pk": "W#acme", "sk": "APIKEY#a"},
        {"pk": "W#acme", "sk": "LINE#1"},
        {"pk": "W#acme", "sk": "IDEMPOTENCY#k"},
        {"pk": "CUSTOMER#cus_1", "sk": "CUSTOMER"},
        {"pk": "ORG#org_1", "sk": "ORG"},
        {"pk": "PLAN", "sk": "PLAN#starter"},
        {"pk": "RECONCILER", "sk": "FEED"},
    ]
    assert (records.key_of(examples.line()), records.key_of(examples.workspace())) == (
        records.line_key("acme", LINE_ID),
        records.workspace_key("acme"),
    )


def test_words_in_items_and_answers_never_change() -> None:
    """[36][60][62]"""
    assert {of.__name__: " ".join(of) for of in (Status, PaymentStatus, VoidReason, ReasonCode, Next, Kind)} == {
        "Status": "awaiting_payment provisioning active failed canceled",
        "PaymentStatus": "not_required awaiting_payment paid canceled",
        "VoidReason": "canceled included expired subscription_ended not_on_plan billing_refused",
        "ReasonCode": "unavailable address_required identity_required rejected other",
        "Next": "included payable forbidden locked",
        "Kind": "purchased_phone byon_phone email",
    }
    assert (records.REFUND_ENTRY, records.WORKSPACE_ENTRY) == ("refund_due", "workspace")
    assert reversals.SENT_OUTSIDE == "sent_outside_stripe"
    assert sorted(model.ACTIVE) == ["active", "trialing"]
    assert sorted(model.ENDED) == ["canceled", "incomplete_expired"]


def test_attributes_of_items_never_change_and_repeat_no_key() -> None:
    """[47]"""
    assert records.line_item(replace(examples.line(), charge=None)) == {
        **records.line_key("acme", LINE_ID),
        "submission": {
            "first_name": "Ada",
            "last_name": "Lovelace",
            "channel_type": "phone",
            "line_type": "purchased",
        },
        "status": "awaiting_payment",
        "payment_status": "awaiting_payment",
        "created_at_ms": NOW_MS,
        "history": [{"at_ms": NOW_MS, "status": "awaiting_payment", "cause": "requested"}],
        "stripe_key_version": 1,
        "stripe_keyed_at_ms": NOW_MS,
        "amount_paid": 0,
        "lease_until_ms": 0,
        "next_poll_at_ms": 0,
        "refund_due": False,
        "op_status": "awaiting_payment",
        "since_ms": NOW_MS,
        "due_shard": records.due_shard(LINE_ID),
        "due_at": NOW_MS,
    }
    assert records.new_workspace_item("acme", "cus_1", livemode=True) == {
        **records.workspace_key("acme"),
        "customer": "cus_1",
        "livemode": True,
        "revision": 0,
        "held": {},
        "unpaid": {},
        "charged": {},
        "charge_number": 0,
        "quantities_revision": 0,
        "op_status": "workspace",
        "since_ms": 0,
    }
    assert records.subscription_item(Subscription("sub_1", "active")) == {"id": "sub_1", "status": "active"}
    plan = Plan("starter", ("price_1",), {Kind.EMAIL: Allowance(1)})
    assert records.plan(stored(records.plan_item(plan))) == plan
    assert records.plan_item(plan) == {
        **records.plan_key("starter"),
        "base_prices": ["price_1"],
        "allowances": {"email": {"included": 1}},
        "automatic_tax": False,
        "tax_rates": [],
        "excess": "keep",
        "first_charge": "prorated",
        "position": 0,
        "former_add_ons": {},
    }
    assert records.api_key_item(ApiKey("a", "website", NOW_MS)) == {"label": "website", "created_at_ms": NOW_MS}


def test_absent_attributes_mean_the_same_in_every_release() -> None:
    """[47] A subscription's item leaves its defaults out."""
    assert asdict(Subscription("sub_1", "active")) == {
        "id": "sub_1",
        "status": "active",
        "plan": None,
        "allowances": {},
        "automatic_tax": False,
        "tax_rates": (),
        "excess": "keep",
        "first_charge": "prorated",
        "invoice_memo": None,
        "invoice_footer": None,
        "currency": "",
        "period": {"start_s": 0, "end_s": 0},
        "anchor_s": 0,
        "interval": "month",
        "interval_count": 1,
    }
    old = Line(LINE_ID, "acme", examples.line().submission, Status.ACTIVE, PaymentStatus.PAID, NOW_MS, ())
    numbers = old.stripe_key_version, old.stripe_keyed_at_ms, old.amount_paid, old.lease_until_ms, old.next_poll_at_ms
    assert (*numbers, old.refund_due) == (1, 0, 0, 0, 0, False)
    assert (Amount(1).tax_behavior, replace(CHARGE).tax_behavior, CHARGE.automatic_tax) == (
        "unspecified",
        "unspecified",
        False,
    )


def test_reader_names_what_only_a_newer_release_can_read() -> None:
    """[44] Without the values, which can be personal."""
    newer = records.line_item(examples.line()) | {"history": [{"at_ms": 1, "status": "ported", "cause": "Ada"}]}
    with pytest.raises(UnreadableRecord, match=rf"^W#acme LINE#{LINE_ID}: history\[0\]\.status$"):
        records.line(newer)
    newer = records.plan_item(Plan("basic", ("price_1",), {})) | {"automatic_tax": "Ada"}
    with pytest.raises(UnreadableRecord, match=r"^PLAN PLAN#basic: automatic_tax$"):
        records.plan(newer)


def test_kinds_that_only_a_newer_release_sells_are_skipped() -> None:
    """[44]"""
    plan = Plan("basic", ("price_1",), {Kind.EMAIL: Allowance(2)}, former_add_ons={Kind.EMAIL: ("price_0",)})
    newer = records.plan_item(plan)
    newer["allowances"] |= {"fax": newer["allowances"]["email"]}
    newer["former_add_ons"] |= {"fax": ["price_2"]}
    assert records.plan(newer) == plan


def test_write_leaves_out_the_parameters_that_dynamodb_refuses_when_empty() -> None:
    key = records.workspace_key("acme")
    always = {"TableName": "t", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    assert Write(key).request("t") == ("Delete", always | {"Key": marshal(key)})
    assert Write(key, put={"x": 1}).request("t") == ("Put", always | {"Item": marshal(key | {"x": 1})})
    assert Write(key, update="SET #x = :x", condition="#y = :y", values={"x": 1}, names={"y": "z"}).request("t") == (
        "Update",
        always
        | {
            "Key": marshal(key),
            "UpdateExpression": "SET #x = :x",
            "ConditionExpression": "#y = :y",
            "ExpressionAttributeNames": {"#x": "x", "#y": "z"},
            "ExpressionAttributeValues": {":x": {"N": "1"}},
        },
    )
