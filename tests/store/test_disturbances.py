"""What DynamoDB does under load and no local engine ever shows, injected below boto3."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from line_requests.clock import CALLS_GRACE_S, limit_calls
from line_requests.domain.errors import TableUnavailable
from line_requests.domain.model import ApiKey, Status, VoidReason
from line_requests.domain.prices import Allowance
from line_requests.storage import table
from line_requests.storage.records import workspace_key
from line_requests.storage.table import (
    CONFLICT_ATTEMPTS,
    CONFLICT_WAIT_MAX_S,
    ConditionFailed,
    TransactionCanceled,
    Write,
)
from tests.decision.examples import ADD_ONS, NOW_MS
from tests.local.ministack import ROOT
from tests.support.wire import canceled, next_page, refusal
from tests.support.world import LIMIT, World, counts, new_line

if TYPE_CHECKING:
    from collections.abc import Callable

CONFLICT = canceled("TransactionConflict", "None")
BUSY = refusal("TransactionConflictException")
NOTHING = Write(workspace_key("nobody"), update="SET #x = :x", condition="attribute_exists(#pk)", values={"x": 1})


@pytest.mark.parametrize(
    "conflict",
    [
        CONFLICT,
        canceled("None", "TransactionConflict"),
        canceled("TransactionConflict", "TransactionConflict"),
        canceled("ThrottlingError", "TransactionConflict"),
        canceled("ThrottlingError", "None"),
        canceled("None", "ProvisionedThroughputExceeded"),
        refusal("TransactionInProgressException"),
    ],
)
def test_transaction_is_retried_after_a_conflict(world: World, conflict: dict[str, Any]) -> None:
    """[19][26]"""
    workspace = world.workspace()
    world.wire.watch()
    world.wire.instead("TransactWriteItems", *[conflict] * 5)
    assert world.insert(workspace, new_line(), limit=LIMIT) is None
    assert world.wire.operations == {"TransactWriteItems": 6}
    assert world.counts()[0] == counts(purchased_phone=1)


def test_all_attempts_of_a_transaction_share_one_token(world: World) -> None:
    """[16][19]"""
    workspace = world.workspace(purchased_phone=Allowance(5))
    world.wire.watch()
    world.wire.instead("TransactWriteItems", CONFLICT, refusal("TransactionInProgressException"))
    world.insert(workspace, new_line())
    world.insert(workspace, new_line())
    tokens = [params["ClientRequestToken"] for _, params in world.wire.calls]
    assert len(set(tokens[:3])) == 1
    assert tokens[3] != tokens[0]


def test_transaction_retries_wait_with_jitter_within_a_bound(world: World) -> None:
    """[19]"""
    workspace = world.workspace()
    world.wire.instead("TransactWriteItems", *[CONFLICT] * (CONFLICT_ATTEMPTS - 1))
    assert world.insert(workspace, new_line()) is None
    assert len(world.slept) == CONFLICT_ATTEMPTS - 1
    assert all(0 <= pause_s <= CONFLICT_WAIT_MAX_S for pause_s in world.slept)
    assert len(set(world.slept)) > CONFLICT_ATTEMPTS // 2


def test_pauses_between_attempts_double_up_to_their_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """[19] The longest that chance allows."""
    monkeypatch.setattr("line_requests.storage.table._RANDOM.uniform", lambda low, high: high - low)
    workspace = world.workspace()
    unread = {"Keys": [{"pk": {"S": "W#acme"}, "sk": {"S": "WORKSPACE"}}]}
    throttled = {"Responses": {}, "UnprocessedKeys": {world.table_name: unread}, "ResponseMetadata": {}}
    pauses_s = [0.02, 0.04, 0.08, 0.16, 0.32, 0.4, 0.4]
    world.wire.instead("TransactWriteItems", *[CONFLICT] * 7)
    assert world.insert(workspace, new_line()) is None
    world.wire.instead("BatchGetItem", *[throttled] * 7)
    world.snapshot("acme")
    assert world.slept == pauses_s * 2


@pytest.mark.parametrize("conflict", [CONFLICT, refusal("TransactionInProgressException")])
def test_transaction_raises_after_the_last_conflict(world: World, conflict: dict[str, Any]) -> None:
    """[34]"""
    workspace = world.workspace()
    before = world.everything()
    world.wire.instead("TransactWriteItems", *[conflict] * CONFLICT_ATTEMPTS)
    with pytest.raises(TableUnavailable):
        world.insert(workspace, new_line())
    assert world.everything() == before


@pytest.mark.parametrize("reason", ["ItemCollectionSizeLimitExceeded", "ValidationError"])
def test_transaction_raises_when_canceled_for_another_reason(world: World, reason: str) -> None:
    """[34]"""
    workspace = world.workspace()
    world.wire.watch()
    world.wire.instead("TransactWriteItems", canceled(reason, "None"))
    with pytest.raises(ClientError):
        world.insert(workspace, new_line())
    assert world.wire.operations == {"TransactWriteItems": 1}


def test_transaction_reports_a_failed_condition_beside_a_conflict(world: World) -> None:
    """[19]"""
    workspace = world.workspace()
    world.wire.instead("TransactWriteItems", canceled("ConditionalCheckFailed", "TransactionConflict"))
    with pytest.raises(TransactionCanceled) as lost:
        world.table.transact([NOTHING, NOTHING])
    assert lost.value.failed == {0}
    assert list(lost.value.items) == [None, None]
    assert str(lost.value) == "The conditional transaction failed", "the items may be personal"
    assert world.now() == workspace


def test_cancellation_reasons_follow_the_order_of_the_writes(world: World) -> None:
    """[29][31]"""
    world.workspace(purchased_phone=Allowance(5))
    world.added(idempotency_key_hash="k")
    lost = world.insert(workspace := world.now(), new_line(idempotency_key_hash="k"))
    assert lost is not None
    assert lost.workspace == workspace
    assert lost.idempotency_record is not None
    acme = Write(workspace_key("acme"), update="SET #x = :x", condition="#revision = :no", values={"x": 1, "no": -1})
    for position, writes in enumerate([[acme, NOTHING], [NOTHING, acme]]):
        with pytest.raises(TransactionCanceled) as both:
            world.table.transact(writes)
        assert both.value.failed == {0, 1}
        shown = [item is not None for item in both.value.items]
        assert shown == [position == 0, position == 1]


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError"])
def test_transition_is_retried_after_a_conflict(world: World, code: str) -> None:
    """[24][44]"""
    world.workspace(purchased_phone=Allowance(0, add_on=ADD_ONS[new_line().submission.kind]))
    line = world.added(status=Status.AWAITING_PAYMENT)
    world.wire.instead("TransactWriteItems", canceled(code, "TransactionConflict"))
    paid = world.lines.mark_paid(line, NOW_MS, invoice_id="in_1", url=None)
    assert paid.status is Status.PROVISIONING
    assert world.line(line).status is Status.PROVISIONING


def test_single_write_is_retried_while_a_transaction_holds_its_item(world: World) -> None:
    """[35][39]"""
    workspace = world.workspace(purchased_phone=Allowance(0, add_on=ADD_ONS[new_line().submission.kind]))
    line = world.added(status=Status.AWAITING_PAYMENT, idempotency_key_hash="k")
    steps: list[Callable[[], object]] = [
        lambda: world.workspaces.consume_rate(workspace, LIMIT, NOW_MS),
        lambda: world.lines.take_lease(line, now_ms=NOW_MS, until_ms=NOW_MS + 1, throttled=False),
        lambda: world.lines.save_invoice(line, "in_1"),
        lambda: world.lines.freeze_response(line, "{}"),
        lambda: world.lines.record_void_reason(line, VoidReason.CANCELED, NOW_MS),
    ]
    for step in steps:
        world.wire.watch()
        world.wire.instead("UpdateItem", BUSY, BUSY)
        step()
        assert world.wire.operations == {"UpdateItem": 3}
    stored = world.line(line)
    assert (stored.lease_until_ms, stored.invoice_id, stored.void_reason) == (NOW_MS + 1, "in_1", VoidReason.CANCELED)


def test_single_write_raises_after_the_last_conflict(world: World) -> None:
    """[34]"""
    workspace = world.workspace()
    world.wire.watch()
    world.wire.instead("UpdateItem", *[BUSY] * CONFLICT_ATTEMPTS)
    with pytest.raises(TableUnavailable):
        world.workspaces.consume_rate(workspace, LIMIT, NOW_MS)
    assert world.wire.operations == {"UpdateItem": CONFLICT_ATTEMPTS}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
        ("ProvisionedThroughputExceededException", 400),
        ("RequestLimitExceeded", 400),
        ("ServiceUnavailable", 503),
        ("Unknown", 500),
    ],
)
def test_failure_that_passes_is_the_tables_own_after_botocores_retries(world: World, code: str, status: int) -> None:
    """[34] botocore has retried it."""
    workspace = world.workspace()
    world.wire.watch()
    world.wire.instead("UpdateItem", refusal(code, ResponseMetadata={"HTTPStatusCode": status}))
    with pytest.raises(TableUnavailable, match=code):
        world.workspaces.consume_rate(workspace, LIMIT, NOW_MS)
    assert world.wire.operations == {"UpdateItem": 1}


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException"])
def test_single_write_raises_any_other_error_at_once(world: World, code: str) -> None:
    """[34]"""
    workspace = world.workspace()
    world.wire.watch()
    world.wire.instead("UpdateItem", refusal(code, ResponseMetadata={"HTTPStatusCode": 499}))
    with pytest.raises(ClientError, match=code):
        world.workspaces.consume_rate(workspace, LIMIT, NOW_MS)
    assert world.wire.operations == {"UpdateItem": 1}


def test_unprocessed_keys_and_conflicts_are_retried_only_until_the_invocation_ends(world: World) -> None:
    """[34]"""
    workspace = world.workspace()
    unread = {"Keys": [{"pk": {"S": "W#acme"}, "sk": {"S": "WORKSPACE"}}]}
    throttled = {"Responses": {}, "UnprocessedKeys": {world.table_name: unread}, "ResponseMetadata": {}}
    calls: dict[str, tuple[dict[str, Any], Callable[[], object]]] = {
        "BatchGetItem": (throttled, lambda: world.snapshot("acme")),
        "TransactWriteItems": (CONFLICT, lambda: world.insert(workspace, new_line())),
        "UpdateItem": (BUSY, lambda: world.workspaces.consume_rate(workspace, LIMIT, NOW_MS)),
    }
    for operation, (answer, call) in calls.items():
        world.wire.watch()
        world.wire.instead(operation, *[answer] * CONFLICT_ATTEMPTS)
        with limit_calls(-CALLS_GRACE_S), pytest.raises(TableUnavailable):
            call()
        assert world.wire.operations == {operation: 1}
    world.wire.instead("BatchGetItem", *[throttled] * CONFLICT_ATTEMPTS)
    with pytest.raises(TableUnavailable):
        world.snapshot("acme")  # without an end, after the last attempt


def test_failed_condition_returns_the_item_it_found(world: World) -> None:
    """[35]"""
    world.workspace()
    taken = Write(workspace_key("acme"), put={"customer": "cus_2"}, condition="attribute_not_exists(#pk)")
    with pytest.raises(ConditionFailed) as failed:
        world.table.write(taken)
    assert failed.value.item == world.raw(world.now())
    assert str(failed.value) == "The conditional request failed", "the item may be personal"
    with pytest.raises(ConditionFailed) as absent:
        world.table.write(NOTHING)
    assert absent.value.item is None


def test_batch_get_reads_unprocessed_keys_again(world: World) -> None:
    """[1][38]"""
    workspace = world.workspace()
    world.api_keys.insert("acme", ApiKey("a" * 64, "first", NOW_MS))
    world.added(idempotency_key_hash="k")

    def nothing_read(keys: list[dict[str, Any]]) -> dict[str, Any]:
        return {"Responses": {}, "UnprocessedKeys": {world.table_name: {"Keys": keys}}, "ResponseMetadata": {}}

    keys = [{"pk": {"S": "W#acme"}, "sk": {"S": name}} for name in ("WORKSPACE", f"APIKEY#{'a' * 64}", "IDEMPOTENCY#k")]
    world.wire.watch()
    world.wire.instead("BatchGetItem", nothing_read(keys), nothing_read(keys[:2]))
    snapshot = world.snapshot("acme", api_key_hash="a" * 64, idempotency_key_hash="k")
    assert world.wire.operations == {"BatchGetItem": 3}
    asked = world.wire.calls[-1][1]["RequestItems"][world.table_name]
    assert asked == {"Keys": keys[:2], "ConsistentRead": True}
    assert snapshot.workspace is not None
    assert snapshot.workspace.revision == workspace.revision
    assert snapshot.api_key == ApiKey("a" * 64, "first", NOW_MS)
    assert len(world.slept) == 2


def test_batch_get_splits_more_than_a_hundred_keys(world: World) -> None:
    """[47]"""
    world.workspace(purchased_phone=Allowance(1))
    line = world.added()
    world.wire.watch()
    wanted = [("acme", f"{number:024x}") for number in range(200)] + [("acme", line.id)]
    assert world.lines.get_many(wanted) == [line]
    assert world.wire.operations == {"BatchGetItem": 3}
    assert world.lines.get_many([]) == []


def test_key_that_is_named_twice_is_read_once(world: World) -> None:
    """DynamoDB refuses a batch that repeats a key, as two entries of one line do while it changes its status."""
    world.workspace()
    line = world.added()
    assert world.lines.get_many([("acme", line.id)] * 2) == [line]


def test_every_read_but_the_indexes_is_consistent(world: World) -> None:
    """[38]"""
    world.workspace()
    world.wire.watch()
    world.now()
    world.snapshot("acme")
    world.lines.of_workspace("acme")
    list(world.workspaces.ids())
    for operation, call in world.wire.calls:
        (read,) = call.get("RequestItems", {"": call}).values()
        assert read["ConsistentRead"] is True, operation
    world.wire.watch()
    world.stores.operator.workspace_ids()
    assert "ConsistentRead" not in world.wire.calls[0][1], "DynamoDB refuses it"


def test_scan_reads_both_segments_page_after_page(world: World) -> None:
    """[53]"""
    world.workspace()
    world.wire.watch()
    last_page: dict[str, Any] = {"Items": [], "ResponseMetadata": {}}  # a real table tells which segment a key is in
    world.wire.instead("Scan", next_page({"pk": "W#", "sk": ""}), last_page, last_page)
    list(world.workspaces.ids())
    first, second, third = [call for _, call in world.wire.calls]
    assert [call["TotalSegments"] for call in (first, second, third)] == [2, 2, 2]
    assert {first["Segment"], second["Segment"]} == {0, 1}
    assert (third["Segment"], third["ExclusiveStartKey"]) in [
        (segment, {"pk": {"S": "W#"}, "sk": {"S": ""}}) for segment in (0, 1)
    ]


def test_missing_index_is_an_error_that_says_what_to_do(world: World) -> None:
    missing = {"Code": "ValidationException", "Message": "The table does not have the specified index: operator"}
    coming = missing | {"Message": "Cannot read from backfilling global secondary index: operator"}
    denied = {"Code": "AccessDeniedException", "Message": "not authorized on resource table/T/index/operator"}
    world.wire.instead("Query", *(refusal("", Error=error) for error in (missing, coming, denied, missing)))
    with pytest.raises(table.IndexMissing, match=r"index operator is missing: docs/recover\.md says how to add it"):
        world.stores.operator.workspace_ids()
    with pytest.raises(table.IndexMissing, match="index operator is still being built: wait"):
        world.stores.operator.workspace_ids()
    with pytest.raises(ClientError, match="AccessDenied"):
        world.stores.operator.workspace_ids()
    with pytest.raises(ClientError, match="Validation"):
        world.lines.of_workspace("acme")


def test_no_module_uses_a_client_s_exception_classes() -> None:
    """[26] A client makes its exception classes when one is first asked for: of two threads, each makes its own."""
    for path in (ROOT / "layers/line_requests").rglob("*.py"):
        attributes = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        assert "exceptions" not in attributes, path
