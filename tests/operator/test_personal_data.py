from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from line_requests.domain.bodies import created_body
from line_requests.domain.model import Delivered, IdempotencyRecord, Line
from line_requests.domain.reversals import Reversal
from line_requests.domain.submission import Submission
from line_requests.storage import records
from line_requests.storage.table import Write
from tests.operator import lines

if TYPE_CHECKING:
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

PERSONAL = {
    "first_name": "Augusta",
    "last_name": "Byron",
    "email": "ada@personal.example",
    "phone": "+15551234567",
    "zipcode": "94107",
    "state": "Kentshire",
    "forward_calls_to": "+15557654321",
    "profile_image_url": "https://personal.example/ada.png",
}
SUBMISSION = Submission(channel_type="phone", line_type="purchased", **PERSONAL)

DELIVERED = Delivered("+15559876543", "byron@personal.example", "carrier-1815")


@pytest.fixture
def released(deployment: Deployment, acme: str) -> Line:
    """A line that was canceled, with an idempotency key that replays its answer."""
    line = lines.requested(deployment, acme, SUBMISSION)
    record = IdempotencyRecord(line.id, "fingerprint", json.dumps(created_body(line, 0)))
    key = records.idempotency_key(acme, "key")
    deployment.stores.table.write(Write(key, put=records.idempotency_item(record)))
    active = deployment.stores.lines.mark_active(line, lines.AT_MS + 1, DELIVERED)
    return deployment.stores.lines.release(active, "released_by_operator", lines.AT_MS + 2)


def _stored(deployment: Deployment) -> str:
    return json.dumps(boto3.client("dynamodb").scan(TableName=deployment.table_name)["Items"])


def test_an_export_has_all_that_is_stored(console: Console, acme: str, released: Line) -> None:
    console.json("workspace", "link", acme, "org_acme")
    key = console.json("key", "issue", acme, "--label", "website")["key"]
    export = console.json("workspace", "export", acme)
    assert (export["workspace"], export["organisations"], export["apiKeys"][0]["label"]) == (
        acme,
        ["org_acme"],
        "website",
    )
    (line,) = export["lines"]
    assert line["line"] == released.id
    delivered = {DELIVERED.phone, DELIVERED.email, DELIVERED.reference}
    assert {*PERSONAL.values(), *delivered} <= {str(value) for value in line.values()}
    assert line["created"] == "2026-11-18T11:06:40.000Z"
    assert key not in json.dumps(export)


def test_erased_lines_keep_no_words_of_a_provisioner(console: Console, deployment: Deployment, acme: str) -> None:
    line = lines.requested(deployment, acme, SUBMISSION)
    deployment.stores.lines.mark_failed(line, f"{PERSONAL['phone']} is not free", lines.AT_MS + 1)
    assert PERSONAL["phone"] in _stored(deployment)
    console.json("workspace", "erase", acme, "--yes")
    assert not [text for text in PERSONAL.values() if text in _stored(deployment)]
    failed = console.json("line", "show", line.id)["history"][-1]
    assert (failed["status"], failed["cause"]) == ("failed", "provisioning_failed")


def test_erased_lines_name_nobody_and_keep_amounts_and_history(
    console: Console, deployment: Deployment, acme: str, released: Line
) -> None:
    before = console.json("line", "show", released.id)
    assert console.json("workspace", "erase", acme, "--yes") == {
        "workspace": acme,
        "linesErased": 1,
        "responsesErased": 1,
    }
    stored = _stored(deployment)
    assert not [text for text in PERSONAL.values() if text in stored]
    after = console.json("line", "show", released.id)
    assert {name for name in before if before[name] != after[name]} == {
        "firstName",
        "lastName",
        "email",
        "phone",
        "zipcode",
        "state",
        "forwardCallsTo",
        "profileImageUrl",
        "deliveredPhone",
        "deliveredEmail",
        "reference",
    }
    assert (after["firstName"], after["email"], after["history"]) == ("erased", None, before["history"])
    record = deployment.stores.lines.idempotency_record(acme, "key")
    assert record is not None
    assert record.response_body is not None
    assert json.loads(record.response_body)["line"]["_id"] == released.id
    assert console.json("workspace", "erase", acme, "--yes")["linesErased"] == 1


def test_nothing_is_erased_while_lines_hold_places(
    console: Console, deployment: Deployment, acme: str, released: Line
) -> None:
    held = lines.active(deployment, acme)
    said = f"1 lines of acme hold places: {held.id}; cancel or release them first"
    for verb in ("erase", "delete"):
        assert console.refused("workspace", verb, acme, "--yes") == said
    assert console.json("line", "show", released.id)["firstName"] == "Augusta"


def test_an_erased_failed_line_is_not_provisioned_again(console: Console, deployment: Deployment, acme: str) -> None:
    failed = lines.failed(deployment, acme)
    console.json("workspace", "erase", acme, "--yes")
    said = f"the personal data of the line {failed.id} was erased, so it cannot be provisioned"
    assert console.refused("line", "retry", failed.id) == said


def test_a_deleted_workspace_leaves_only_its_lines(
    shop: Shop, console: Console, deployment: Deployment, acme: str, released: Line
) -> None:
    customer = console.json("workspace", "show", acme)["customer"]
    console.json("workspace", "link", acme, "org_acme")
    key = console.json("key", "issue", acme)["key"]
    assert console.refused("workspace", "delete", acme).endswith("for good? Confirm with --yes")
    assert console.json("workspace", "delete", acme, "--yes") == {"workspace": acme, "deleted": True, "linesKept": 1}
    assert console.refused("workspace", "show", acme) == "there is no workspace acme"
    stored = _stored(deployment)
    assert not [text for text in (*PERSONAL.values(), customer, "org_acme", key) if text in stored]
    assert console.json("line", "show", released.id, "--workspace", acme)["status"] == "canceled"
    said = "acme is the id of a deleted workspace whose lines are kept; take another id"
    assert console.refused("workspace", "create", acme, "--customer", customer) == said
    assert console.json("workspace", "create", "acme-2", "--customer", customer)["customer"] == customer
    assert shop.v1.customers.retrieve(customer).id == customer


@pytest.mark.parametrize("ours", [True, False])
def test_a_workspace_whose_add_on_is_still_billed_at_stripe_is_not_deleted(
    shop: Shop, console: Console, acme: str, released: Line, *, ours: bool
) -> None:
    """An imported line's item is not ours, but of an add-on's price; with quantity 0, either is billed for nothing."""
    assert released.workspace_id == acme
    customer = console.json("workspace", "show", acme)["customer"]
    subscription = shop.v1.subscriptions.list({"customer": customer}).data[0].id
    price = shop.price() if ours else console.json("plans", "show")[0]["lines"][0]["addOn"]
    other: Any = {"customer": customer, "items": [{"price": price}]}
    shop.v1.subscriptions.create(other)
    item = shop.v1.subscription_items.create(
        {"subscription": subscription, "price": price, "metadata": {"line_requests": "add_on"} if ours else {}}
    )
    said = f"{subscription} still carries an add-on of acme; the reconciler removes it within minutes"
    assert console.refused("workspace", "delete", acme, "--yes") == said
    assert console.json("workspace", "show", acme)["workspace"] == acme
    shop.v1.subscription_items.update(item.id, {"quantity": 0})
    assert console.json("workspace", "delete", acme, "--yes")["deleted"]


def test_nothing_is_erased_or_exported_past_a_line_that_a_newer_release_wrote(
    console: Console, deployment: Deployment, acme: str, released: Line
) -> None:
    other = deployment.stores.lines.mark_active(lines.requested(deployment, acme, SUBMISSION), lines.AT_MS + 3)
    said = lines.unreadable(deployment, deployment.stores.lines.release(other, "released_by_operator", lines.AT_MS + 4))
    stored = _stored(deployment)
    for words in (["export"], ["erase", "--yes"], ["delete", "--yes"]):
        assert console.refused("workspace", *words, acme) == said
    assert _stored(deployment) == stored
    assert console.json("line", "show", released.id)["firstName"] == "Augusta"


def test_workspace_is_not_deleted_before_what_was_paid_for_its_failed_line_went_back(
    console: Console, deployment: Deployment, acme: str, shop: Shop
) -> None:
    failed = lines.paid_and_failed(deployment, shop.double, lines.invoiced(deployment, acme))
    (held,) = (line.id for line in deployment.stores.lines.of_workspace(acme) if line.id != failed.id)
    console.json("line", "release", held, "--yes")
    said = (
        f"what was paid for 1 lines of acme has not gone back: {failed.id}; "
        "run line-requests line refund LINE for each, and delete once Stripe has sent the money"
    )
    assert console.refused("workspace", "delete", acme, "--yes") == said
    console.json("line", "release", failed.id, "--yes")
    assert console.refused("workspace", "delete", acme, "--yes") == said
    assert deployment.stores.workspaces.get(acme) is not None
    console.json("line", "refund", failed.id, "--yes")
    assert console.json("workspace", "delete", acme, "--yes")["deleted"]


def test_workspace_is_deleted_when_its_failed_line_s_payment_went_back_at_stripe(
    console: Console, deployment: Deployment, acme: str, shop: Shop
) -> None:
    failed = lines.paid_and_failed(deployment, shop.double, lines.invoiced(deployment, acme))
    (held,) = (line.id for line in deployment.stores.lines.of_workspace(acme) if line.id != failed.id)
    console.json("line", "release", held, "--yes")
    refund = Reversal(lines.AT_MS, "re_1", "refund_succeeded", 1500, "usd")
    assert deployment.stores.lines.save_reversals(failed, [refund], refund_due=False) is not None
    assert console.json("workspace", "delete", acme, "--yes")["deleted"]
