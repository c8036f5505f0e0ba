"""Calls and write units, exactly: neither may creep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from line_requests.domain.bodies import created_body
from line_requests.domain.model import ApiKey, Status, VoidReason
from line_requests.domain.prices import Allowance, Amount
from line_requests.domain.submission import Kind, Submission
from line_requests.storage.attributes import marshal
from line_requests.storage.lines import REPUBLISH_AFTER_MS
from tests.decision.examples import ADD_ONS, NOW_MS, subscription
from tests.support.world import LIMIT, World, counts, new_line

if TYPE_CHECKING:
    from collections.abc import Mapping

KIB = 1024
# As long as Stripe's ids are.
REALISTIC = {
    str(kind): Allowance(
        5, cap=10, add_on=type(add_on)(f"price_1{'x' * 23}", f"prod_{'x' * 14}", {"usd": Amount(1500)})
    )
    for kind, add_on in ADD_ONS.items()
}
SUBMISSION = Submission(
    first_name="Margarethe",
    last_name="Hollingsworth-Featherstonehaugh",
    channel_type="phone",
    line_type="byon",
    email="margarethe.hollingsworth@example.com",
    phone="+1 (555) 010-0200",
    zipcode="94107",
    state="CA",
    forward_calls_to="+1 (555) 010-0300",
    profile_image_url="https://images.example.com/avatars/margarethe-hollingsworth.png",
)


def item_bytes(item: Mapping[str, Any]) -> int:
    """An item's size by DynamoDB's rules: names and values, 3 bytes and 1 per entry for each map or list."""

    def size(value: Mapping[str, Any]) -> int:
        kind, content = next(iter(value.items()))
        match kind:
            case "S":
                return len(content.encode())
            case "N":
                return len(content.strip("-").strip("0")) // 2 + 2
            case "M":
                return 3 + sum(len(name.encode()) + size(inner) + 1 for name, inner in content.items())
            case "L":
                return 3 + sum(size(inner) + 1 for inner in content)
            case _:
                return 1

    return sum(len(name.encode()) + size(value) for name, value in item.items())


def realistic(world: World) -> None:
    """A workspace with the longest id, three kinds for sale and three keys."""
    assert world.workspaces.insert("a" * 40, f"cus_{'x' * 14}", livemode=True)
    saved = world.workspaces.save_subscription(world.now("a" * 40), subscription("active", **REALISTIC), NOW_MS)
    assert saved is not None
    for number in range(3):
        world.api_keys.insert("a" * 40, ApiKey(f"{number}" * 64, f"key number {number}", NOW_MS))


def test_workspace_item_is_under_a_kilobyte_with_every_attribute(world: World) -> None:
    """[19]"""
    realistic(world)
    workspace = world.now("a" * 40)
    raw = world.raw(workspace) | {
        "lock": "f" * 24,
        "lock_kind": "purchased_phone",
        "tat_ms": NOW_MS,
        "due_shard": "3",
        "due_at": NOW_MS,
        "quantities_lease_until_ms": NOW_MS,
        "quantities_revision": 10**6,
        "revision": 10**4,
        "held": {str(kind): 9_999 for kind in Kind},
        "unpaid": {str(kind): 9_999 for kind in Kind},
    }
    raw["subscription"] |= {"automatic_tax": True, "id": f"sub_1{'x' * 23}", "status": "incomplete_expired"}
    assert item_bytes(marshal(raw)) < KIB


def test_workspace_item_stays_under_a_kilobyte_with_the_limits_of_an_earlier_subscription(world: World) -> None:
    """[54]"""
    realistic(world)
    saved = world.workspaces.save_subscription(world.now("a" * 40), subscription("past_due", **REALISTIC), NOW_MS)
    assert saved is not None
    assert saved.excess_basis is not None
    assert item_bytes(marshal(world.raw(saved))) < KIB


def test_included_line_with_key_costs_one_read_and_one_transaction(world: World) -> None:
    """[15][19][29]"""
    realistic(world)
    world.wire.watch()
    snapshot = world.snapshot("a" * 40, api_key_hash="0" * 64, idempotency_key_hash="k" * 64)
    assert snapshot.workspace is not None
    assert snapshot.api_key is not None
    line = new_line(
        Kind.BYON_PHONE,
        workspace_id="a" * 40,
        submission=SUBMISSION,
        idempotency_key_hash="k" * 64,
        due_at_ms=NOW_MS + REPUBLISH_AFTER_MS,
    )
    answer = json.dumps(created_body(line, 0))
    world.wire.units = 0
    assert world.insert(snapshot.workspace, line, answer=answer, limit=LIMIT) is None
    assert [operation for operation, _ in world.wire.calls] == ["BatchGetItem", "TransactWriteItems"]
    assert len(world.wire.calls[0][1]["RequestItems"][world.table_name]["Keys"]) == 3
    assert len(world.wire.calls[1][1]["TransactItems"]) == 3
    assert world.wire.units == 7, "two for each of three items, one for the entry in the due index"
    for item in world.everything():
        assert item_bytes(item) < KIB


def test_poll_reads_two_items_in_one_call(world: World) -> None:
    """[36]"""
    world.workspace()
    line = world.added()
    world.wire.watch()
    snapshot = world.snapshot("acme", api_key_hash="0" * 64, line_id=line.id)
    assert snapshot.line == line
    assert snapshot.workspace is None
    assert [operation for operation, _ in world.wire.calls] == ["BatchGetItem"]
    assert len(world.wire.calls[0][1]["RequestItems"][world.table_name]["Keys"]) == 2
    world.snapshot("acme", line_id=line.id)
    assert len(world.wire.calls[1][1]["RequestItems"][world.table_name]["Keys"]) == 1


def test_each_step_and_each_transition_is_one_write(world: World) -> None:
    """[19][39][49]"""
    world.workspace(email=Allowance(0, add_on=ADD_ONS[Kind.EMAIL]))
    line = world.added(Kind.EMAIL, Status.AWAITING_PAYMENT)
    world.wire.watch()
    leased = world.lines.take_lease(line, now_ms=NOW_MS, until_ms=NOW_MS + 1, throttled=False)
    assert leased is not None
    stored = world.lines.save_invoice(leased, "in_1")
    assert stored is not None
    world.lines.record_void_reason(leased, VoidReason.CANCELED, NOW_MS)
    world.lines.save_payment_url(leased, url="https://pay", next_poll_at_ms=NOW_MS, due_at_ms=NOW_MS)
    assert world.wire.operations == {"UpdateItem": 4}
    world.wire.watch()
    paid = world.lines.mark_paid(stored, NOW_MS, invoice_id="in_1", url=None)
    failed = world.lines.mark_failed(paid, "failed", NOW_MS)
    again = world.lines.retry(world.now(), failed, "operator", NOW_MS)
    released = world.lines.release(world.lines.mark_active(again, NOW_MS), "operator", NOW_MS)
    assert released.sequence == 6
    assert world.wire.operations == {"TransactWriteItems": 5, "GetItem": 1}
    assert world.counts()[0] == counts()
