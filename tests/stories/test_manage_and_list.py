from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stories.world import EMAIL, LINES, PHONE, Workspace, World, eventually, together

Json = dict[str, Any]


def conflicts(workspace: Workspace, line_id: str, action: str, status: str) -> bool:
    """Whether the action is 409 with the line's status and changes nothing."""
    answer = workspace.manage(line_id, action)
    body = answer.json()
    assert (answer.status_code, set(body)) == (409, {"success", "status", "message"}), answer.text
    return (body["success"], body["status"], bool(body["message"])) == (False, status, True)


def test_cancel_voids_the_invoice(workspace: Workspace) -> None:
    """[41] 200 with GET's shape; again: the same 200; the link no longer takes money."""
    line = workspace.awaiting()["line"]
    canceled = workspace.manage(line["_id"], "cancel")
    assert canceled.status_code == 200
    assert canceled.json() == {
        "success": True,
        "status": "canceled",
        "paymentStatus": "canceled",
        "paymentRequired": False,
        "line": {key: line[key] for key in ("_id", "firstName", "lastName", "channelType", "lineType")}
        | {"provisioningStatus": "canceled", "paymentStatus": "canceled"},
    }
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == "void"
    assert workspace.world.http.post(f"{line['paymentLinkUrl']}/pay").status_code >= 400
    assert workspace.manage(line["_id"], "cancel").content == canceled.content
    assert workspace.get(line["_id"]).content == canceled.content
    assert "Retry-After" not in canceled.headers


def test_concurrent_cancels_answer_the_same_200(workspace: Workspace) -> None:
    """[41]"""
    line = workspace.awaiting()["line"]
    answers = together(4, lambda _: workspace.manage(line["_id"], "cancel"))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert workspace.create().status_code == 201


@pytest.mark.parametrize(
    ("action", "status", "advice"),
    [
        ("cancel", "provisioning", "Wait until it is active or failed, then release it."),
        ("cancel", "active", "Release it."),
        ("cancel", "failed", "Release it."),
        ("payment_link", "canceled", "Request another one with a new Idempotency-Key."),
        ("payment_link", "active", "It is ready to use."),
        ("payment_link", "failed", "Wait until it is provisioned again, or release it."),
    ],
)
def test_action_on_settled_line_is_409(
    world: World, workspace: Workspace, action: str, status: str, advice: str
) -> None:
    """[41]"""
    world.provisioning("manual")
    if status == "canceled":
        line_id = workspace.awaiting()["line"]["_id"]
        workspace.manage(line_id, "cancel")
    else:
        line_id = workspace.included()["line"]["_id"]
    if status in {"active", "failed"}:
        world.provisioned(line_id, "succeeded" if status == "active" else "failed")
    eventually(lambda: workspace.status(line_id) == status)
    assert conflicts(workspace, line_id, action, status)
    assert workspace.status(line_id) == status
    assert workspace.manage(line_id, action).json()["message"].endswith(f". {advice}")


def test_cancel_of_paid_line_is_409_when_webhook_was_lost(world: World, workspace: Workspace) -> None:
    """[41] The line is provisioned."""
    world.webhooks("drop")
    world.provisioning("manual")
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    assert conflicts(workspace, created["line"]["_id"], "cancel", "provisioning")
    assert workspace.line(created["line"]["_id"])["paymentStatus"] == "paid"


@pytest.mark.parametrize("succeeds", [True, False])
def test_cancel_is_409_while_payment_is_processing_and_retried_later(
    world: World,
    workspace: Workspace,
    succeeds: bool,  # noqa: FBT001 - a column
) -> None:
    """[41] If it is paid, paid wins."""
    world.provisioning("manual")
    line = workspace.awaiting()["line"]
    world.stack.double.start_bank_debit(line["stripeInvoiceId"])
    assert conflicts(workspace, line["_id"], "cancel", "awaiting_payment")
    world.stack.double.settle_bank_debit(line["stripeInvoiceId"], succeeded=succeeds)

    def settled() -> bool:
        world.reconcile()
        return workspace.status(line["_id"]) != "awaiting_payment"

    eventually(settled)
    expected = ("provisioning", "paid") if succeeds else ("canceled", "canceled")
    found = workspace.line(line["_id"])
    assert (found["provisioningStatus"], found["paymentStatus"]) == expected
    assert workspace.invoice(line["stripeInvoiceId"])["status"] == ("paid" if succeeds else "void")


def test_payment_link_is_the_hosted_url_of_the_invoice(workspace: Workspace) -> None:
    """[41] The exact body; no second invoice, however often it is requested."""
    created = workspace.awaiting()
    line = created["line"]
    for _ in range(2):
        link = workspace.manage(line["_id"], "payment_link")
        assert (link.status_code, link.json()) == (
            200,
            {
                "success": True,
                "status": "awaiting_payment",
                "paymentUrl": created["paymentUrl"],
                "invoiceId": line["stripeInvoiceId"],
                "reused": True,
            },
        )
    assert len(workspace.invoices()) == 1


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused"])
def test_payment_link_without_active_subscription_is_403_while_unpaid(
    world: World, workspace: Workspace, status: str
) -> None:
    """[41] After a look: the status is Stripe's, and a payment that came first counts."""
    world.webhooks("drop")
    world.provisioning("manual")
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    workspace.change(status=status)
    link = workspace.manage(line_id, "payment_link")
    body = link.json()
    assert (link.status_code, body["success"], body["status"]) == (403, False, "subscription_required")
    assert body["redirect"] == "/billing"
    assert workspace.status(line_id) == "awaiting_payment"
    world.pay(created["paymentUrl"])
    link = workspace.manage(line_id, "payment_link")
    assert (link.status_code, link.json()["paymentStatus"]) == (200, "paid")


def test_payment_link_of_line_paid_meanwhile_answers_as_get(world: World, workspace: Workspace) -> None:
    """[41]"""
    world.webhooks("drop")
    world.provisioning("manual")
    created = workspace.awaiting()
    line_id = created["line"]["_id"]
    world.pay(created["paymentUrl"])
    link = workspace.manage(line_id, "payment_link")
    assert (link.status_code, link.json()["status"], link.json()["paymentStatus"]) == (200, "provisioning", "paid")
    assert link.content == workspace.get(line_id).content


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"cancel"', b"null", b"7", b"{}", b"\xff", b"[" * 60_000]
    + [json.dumps({"action": action}).encode() for action in ("", "Cancel", "delete", None, 7, ["cancel"], {"a": 1})],
    ids=lambda body: ascii(body[:20].decode("latin-1")),
)
def test_unknown_action_is_400(workspace: Workspace, body: bytes) -> None:
    """[41] None, another, or a body that is no object; nothing changes."""
    line = workspace.awaiting()["line"]
    answer = workspace.send("POST", f"{LINES}/{line['_id']}", content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": "Unsupported action"})
    assert workspace.line(line["_id"]) == line


def test_action_checks_in_documented_order(workspace: Workspace) -> None:
    """[41] 401, 400 for the id, 404, 400 for the action, 409, 200."""
    line_id = workspace.included()["line"]["_id"]
    nobody = {"Authorization": "Bearer nobody"}
    bad, good = {"action": "explode"}, {"action": "cancel"}
    asked = [
        workspace.send("POST", f"{LINES}/bad", json=bad, headers=nobody),
        workspace.send("POST", f"{LINES}/bad", json=bad),
        workspace.send("POST", f"{LINES}/{'0' * 24}", json=bad),
        workspace.send("POST", f"{LINES}/{line_id}", json=bad),
        workspace.send("POST", f"{LINES}/{line_id}", json=good),
    ]
    assert [answer.status_code for answer in asked] == [401, 400, 404, 400, 409]
    assert [answer.json().get("error") for answer in asked[1:4]] == [
        "Invalid line request id",
        "Line request not found",
        "Unsupported action",
    ]


def test_list_is_newest_first_and_paged(world: World) -> None:
    """[42] Each line once; nextCursor is null on the last page."""
    world.provisioning("manual")
    workspace = world.workspace("scale")
    made = [workspace.included(body)["line"]["_id"] for body in [EMAIL] * 5 + [PHONE] * 4]
    seen: list[str] = []
    cursor = None
    for size in (4, 4, 1):
        query = {"limit": 4} | ({"cursor": cursor} if cursor else {})
        page = workspace.page(**query).json()
        assert set(page) == {"success", "lines", "nextCursor"}
        assert len(page["lines"]) == size
        seen += [line["_id"] for line in page["lines"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert seen == list(reversed(made))
    exact = workspace.page(limit=9).json()
    assert (len(exact["lines"]), exact["nextCursor"]) == (9, None)
    assert workspace.page().json() == workspace.page(limit=20).json()


def test_list_filters_by_status(world: World) -> None:
    """[42] On every page."""
    world.provisioning("manual")
    workspace = world.workspace("scale").full(EMAIL, 5)
    failed = workspace.included()["line"]["_id"]
    world.provisioned(failed, "failed")
    eventually(lambda: workspace.status(failed) == "failed")
    canceled = workspace.awaiting(EMAIL)["line"]["_id"]
    workspace.manage(canceled, "cancel")
    awaiting = workspace.awaiting(EMAIL)["line"]
    assert [line["_id"] for line in workspace.page(status="failed").json()["lines"]] == [failed]
    assert [line["_id"] for line in workspace.page(status="canceled").json()["lines"]] == [canceled]
    assert workspace.page(status="awaiting_payment").json()["lines"] == [awaiting]
    assert workspace.page(status="active").json()["lines"] == []
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        page = workspace.page(status="provisioning", limit=2, **({"cursor": cursor} if cursor else {})).json()
        found += [line["provisioningStatus"] for line in page["lines"]]
        cursor = page["nextCursor"]
    assert found == ["provisioning"] * 5


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "٣"},
        {"limit": "9" * 5000},
        {"status": "ACTIVE"},
        {"cursor": ""},
        {"cursor": "ö"},
        {"cursor": "A" * 5000},
    ],
    ids=lambda query: ascii(query)[:30],
)
def test_list_with_bad_query_is_400(spare: Workspace, query: Json) -> None:
    """[42]"""
    answer = spare.page(**query)
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


def test_list_with_cursor_of_another_workspace_is_400(world: World) -> None:
    """[42]"""
    workspace, other = world.workspace("scale"), world.workspace("scale")
    for owner in (workspace, other):
        owner.full(EMAIL, 2)
    cursor = workspace.page(limit=1).json()["nextCursor"]
    assert workspace.page(limit=1, cursor=cursor).status_code == 200
    assert other.page(limit=1, cursor=cursor).status_code == 400
    assert other.page(limit=1, cursor=cursor[:-1]).status_code == 400


def test_list_makes_no_stripe_call(world: World, workspace: Workspace) -> None:
    """[42] It answers the stored state, even when that is out of date."""
    world.webhooks("drop")
    created = workspace.awaiting()
    world.pay(created["paymentUrl"])
    calls = workspace.calls()
    assert workspace.line(created["line"]["_id"]) == created["line"]
    assert calls() == []
