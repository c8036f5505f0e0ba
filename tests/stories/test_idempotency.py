from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.stories.world import BYON, EMAIL, LINES, PHONE, Workspace, World, eventually, together

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]


def replayed(again: httpx.Response, first: httpx.Response, *, mismatch: bool = False) -> bool:
    """Whether it repeats the original response byte for byte, with the header."""
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("Idempotency-Mismatch") == ("true" if mismatch else None)
    return bool(again.headers.get("Idempotency-Replayed") == "true")


def fresh(answer: httpx.Response) -> bool:
    return answer.status_code == 201 and not {"idempotency-replayed", "idempotency-mismatch"} & set(answer.headers)


@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"])
def test_key_in_header_or_body_is_the_same_key(workspace: Workspace, name: str) -> None:
    """[28] The header's name in any case; both may be sent if they are equal."""
    first = workspace.send("POST", LINES, json=PHONE, headers={name: "k-1"})
    assert fresh(first)
    assert replayed(workspace.create(PHONE | {"idempotencyKey": "k-1"}), first)
    assert replayed(workspace.create(PHONE | {"idempotencyKey": "k-1"}, key="k-1"), first)
    assert len(workspace.lines()) == 1


def test_keys_of_different_workspaces_are_separate(world: World, workspace: Workspace) -> None:
    """[28] [4]"""
    other = world.workspace()
    assert fresh(workspace.create(key="k"))
    assert fresh(other.create(key="k"))


@pytest.mark.parametrize("key", ['"order-1"', "'order-1'", "ключ", "🔑", "a\xa0b", "%20", "a;b=c"])
def test_quoted_and_unicode_keys_in_the_header_are_kept_as_they_are(workspace: Workspace, key: str) -> None:
    """[28] A quoted key is another key than the same one without quotes."""

    def create(key: str) -> httpx.Response:
        return workspace.send("POST", LINES, json=PHONE, headers={"Idempotency-Key": key.encode()})

    first = create(key)
    assert fresh(first)
    assert replayed(create(key), first)
    assert fresh(create(key.strip("\"'") if key[0] in "\"'" else f"{key}2"))


@pytest.mark.parametrize("values", [["k", "k"], ["k, k"], ["k,k,k"], ["k", "k, k"]])
def test_header_that_a_proxy_doubled_is_one_key(workspace: Workspace, values: list[str]) -> None:
    """[28] Sent twice or joined by commas: one line and one invoice; different values are 400."""
    workspace.included()
    first = workspace.create(key="k")

    def create(*keys: str) -> httpx.Response:
        headers = [("Authorization", f"Bearer {workspace.api_key}"), *(("Idempotency-Key", key) for key in keys)]
        return workspace.world.send("POST", LINES, json=PHONE, headers=headers)

    assert replayed(create(*values), first)
    assert create(*values, "j").status_code == 400
    assert (len(workspace.lines()), len(workspace.invoices())) == (2, 1)


@pytest.mark.parametrize("key", [None, "", "   "])
def test_blank_key_means_none(world: World, key: str | None) -> None:
    """[28] [32] Without a key two equal requests are two lines."""
    workspace = world.workspace("scale")
    body = PHONE | {"idempotencyKey": key}
    answers = [workspace.create(body), workspace.create(body), workspace.create(body, key="")]
    assert all(fresh(answer) for answer in answers)
    assert len(workspace.lines()) == 3


def test_included_request_replays_its_201(workspace: Workspace) -> None:
    """[29] The original status and body; nothing is created, no Stripe call is made."""
    first = workspace.create(key="k")
    calls = workspace.calls()
    for _ in range(3):
        assert replayed(workspace.create(key="k"), first)
    eventually(lambda: workspace.status(first.json()["line"]["_id"]) == "active")
    assert replayed(workspace.create(key="k"), first)
    assert (calls(), len(workspace.lines())) == ([], 1)


def test_awaiting_request_replays_its_201_instead_of_409(world: World, workspace: Workspace) -> None:
    """[29] Also after the payment, when GET has the current state."""
    workspace.included()
    first = workspace.create(key="k")
    line_id = first.json()["line"]["_id"]
    assert replayed(workspace.create(key="k"), first)
    world.pay(first.json()["paymentUrl"])
    eventually(lambda: workspace.status(line_id) == "active")
    assert replayed(workspace.create(key="k"), first)
    assert workspace.get(line_id).json()["paymentStatus"] == "paid"
    assert len(workspace.invoices()) == 1


@pytest.mark.parametrize("body", [PHONE | {"firstName": "Grace"}, EMAIL, BYON, PHONE | {"zipcode": "1"}])
def test_replay_with_another_body_has_mismatch_header(workspace: Workspace, body: Json) -> None:
    """[29] Nothing else differs; unknown fields do not make another body."""
    first = workspace.create(key="k")
    assert replayed(workspace.create(body, key="k"), first, mismatch=True)
    assert replayed(workspace.create(PHONE | {"unknown": 1, "firstName": " Ada "}, key="k"), first)
    assert len(workspace.lines()) == 1


def test_bad_body_is_400_even_with_known_key(workspace: Workspace) -> None:
    """[29]"""
    first = workspace.create(key="k")
    refused = workspace.create(PHONE | {"firstName": ""}, key="k")
    assert (refused.status_code, "Idempotency-Replayed" in refused.headers) == (400, False)
    assert replayed(workspace.create(key="k"), first)


def test_replay_comes_before_subscription_and_lock(world: World, workspace: Workspace) -> None:
    """[29] A known key replays where a new request would be 409, then 403."""
    first = workspace.create(key="k")
    workspace.awaiting()
    assert replayed(workspace.create(key="k"), first)
    workspace.change(status="past_due")
    world.quiet()
    assert workspace.create(EMAIL).status_code == 403
    assert replayed(workspace.create(key="k"), first)


def test_key_is_judged_again_after_429(world: World) -> None:
    """[30] [35]"""
    workspace = world.workspace("scale")
    for key in ("k1", "k2", "k3", "k4", "k5"):
        workspace.use_up()
        refused = workspace.create(EMAIL, key=key)
        if refused.status_code == 429:
            break
    else:
        pytest.fail("a window that is used up lets everything through")
    time.sleep(refused.json()["retryAfterMs"] / 1000)
    assert fresh(workspace.create(EMAIL, key=key))


@pytest.mark.parametrize("circumstance", ["included", "payable"])
def test_concurrent_requests_with_one_key_make_one_line_and_one_answer(workspace: Workspace, circumstance: str) -> None:
    """[31] All of them answer the same 201; one invoice."""
    if circumstance == "payable":
        workspace.included()
    before = len(workspace.lines())
    answers = together(8, lambda _: workspace.create(key="k"))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert len([answer for answer in answers if fresh(answer)]) == 1
    assert len(workspace.lines()) == before + 1
    assert len(workspace.invoices()) == (1 if circumstance == "payable" else 0)


def test_concurrent_request_finishes_the_invoice_of_the_first(world: World, workspace: Workspace) -> None:
    """[31] The first loses Stripe's answer; both answer the same 201."""
    workspace.included()
    world.faults("error_after", count=1, path="/v1/invoiceitems")
    answers = together(4, lambda _: workspace.create(key="k"))
    finished = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert len({answer.content for answer in finished}) == 1
    assert workspace.create(key="k").content == finished[0].content
    assert len([i for i in workspace.invoices() if i["status"] in {"draft", "open"}]) == 1


@pytest.mark.parametrize("end", ["paid", "canceled", "failed"])
def test_key_replays_after_line_was_paid_canceled_or_failed(world: World, workspace: Workspace, end: str) -> None:
    """[32]"""
    world.provisioning("manual")
    workspace.included()
    first = workspace.create(key="k")
    line_id = first.json()["line"]["_id"]
    if end == "canceled":
        workspace.manage(line_id, "cancel")
    else:
        world.pay(first.json()["paymentUrl"])
        eventually(lambda: workspace.status(line_id) == "provisioning")
        if end == "failed":
            world.provisioned(line_id, "failed")
            eventually(lambda: workspace.status(line_id) == "failed")
    assert replayed(workspace.create(key="k"), first)
    assert len(workspace.lines()) == 2


def test_key_is_free_when_its_line_is_canceled_before_any_201(world: World, workspace: Workspace) -> None:
    """[32] After 503 and a cancel the key makes a new line."""
    workspace.included()
    world.faults("error_before", path="/v1/invoices")
    assert workspace.create(key="k").status_code == 503
    world.no_faults()
    half_made = workspace.lines()[0]["_id"]
    assert workspace.manage(half_made, "cancel").json()["status"] == "canceled"
    created = workspace.create(key="k")
    assert fresh(created)
    assert created.json()["line"]["_id"] != half_made
    assert workspace.status(half_made) == "canceled"


def test_key_is_free_after_502(world: World, workspace: Workspace) -> None:
    """[32]"""
    workspace.included()
    world.webhooks("drop")
    world.stripe.v1.customers.delete(workspace.customer)
    ids = set()
    for _ in range(2):
        refused = workspace.create(key="k")
        assert (refused.status_code, set(refused.json())) == (502, {"error"})
        ids.add(workspace.lines()[0]["_id"])
    assert len(ids) == 2
    assert [line["provisioningStatus"] for line in workspace.lines()[:2]] == ["canceled", "canceled"]
