from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.stories.world import BYON, EMAIL, LINES, PHONE, Workspace, World, eventually, together

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]


def replayed(again: httpx.Response, first: httpx.Response, *, mismatch: bool = False) -> bool:
    """Whether it is the original answer, byte for byte, and says so."""
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("Idempotency-Mismatch") == ("true" if mismatch else None)
    return bool(again.headers.get("Idempotency-Replayed") == "true")


def fresh(answer: httpx.Response) -> bool:
    return answer.status_code == 201 and not {"idempotency-replayed", "idempotency-mismatch"} & set(answer.headers)


@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"])
def test_the_key_travels_in_a_header_or_in_the_body(workspace: Workspace, name: str) -> None:
    """[28] One name space, any case of the header's name, and both may be there if they are equal."""
    first = workspace.send("POST", LINES, json=PHONE, headers={name: "k-1"})
    assert fresh(first)
    assert replayed(workspace.create(PHONE | {"idempotencyKey": "k-1"}), first)
    assert replayed(workspace.create(PHONE | {"idempotencyKey": "k-1"}, key="k-1"), first)
    assert len(workspace.lines()) == 1


def test_header_and_body_must_not_differ(workspace: Workspace) -> None:
    """[28]"""
    refused = workspace.create(PHONE | {"idempotencyKey": "a"}, key="b")
    assert (refused.status_code, workspace.lines()) == (400, [])


def test_keys_of_different_workspaces_are_different(world: World, workspace: Workspace) -> None:
    """[28] [4]"""
    other = world.workspace()
    assert fresh(workspace.create(key="k"))
    assert fresh(other.create(key="k"))


@pytest.mark.parametrize("key", ["k", "k" * 255, "🔑" * 255, "with space", "ключ", 'q"uote', "a/b#c"])
def test_keys_have_1_to_255_characters(workspace: Workspace, key: str) -> None:
    """[28]"""
    body = PHONE | {"idempotencyKey": key}
    first = workspace.create(body)
    assert fresh(first)
    assert replayed(workspace.create(body), first)


@pytest.mark.parametrize("key", ["k" * 256, 7, True, ["k"], {"k": 1}, "\ud800"], ids=ascii)
def test_other_keys_are_refused(workspace: Workspace, key: object) -> None:
    """[28] Longer, or not a string."""
    body = json.dumps(PHONE | {"idempotencyKey": key})
    assert workspace.send("POST", LINES, content=body).status_code == 400
    if isinstance(key, str) and key.isascii():
        assert workspace.create(key=key).status_code == 400
    assert workspace.lines() == []


@pytest.mark.parametrize("key", [None, "", "   "])
def test_a_blank_key_is_none(world: World, key: str | None) -> None:
    """[28] [32] Without a key two equal requests are two lines."""
    workspace = world.workspace("scale")
    body = PHONE | {"idempotencyKey": key}
    answers = [workspace.create(body), workspace.create(body), workspace.create(body, key="")]
    assert all(fresh(answer) for answer in answers)
    assert len(workspace.lines()) == 3


def test_an_included_request_replays(world: World, workspace: Workspace) -> None:
    """[29] The original status and body; nothing is created; Stripe is not asked."""
    first = workspace.create(key="k")
    calls = world.calls()
    for _ in range(3):
        assert replayed(workspace.create(key="k"), first)
    eventually(lambda: workspace.status(first.json()["line"]["_id"]) == "active")
    assert replayed(workspace.create(key="k"), first)
    assert (calls(), len(workspace.lines())) == ([], 1)


def test_an_awaiting_request_replays_instead_of_blocking_itself(world: World, workspace: Workspace) -> None:
    """[29] 201, not 409 against itself; also after the payment, when GET has the current state."""
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
def test_another_body_replays_too_and_says_so(workspace: Workspace, body: Json) -> None:
    """[29] Idempotency-Mismatch: true, nothing else is different; unknown fields make no other body."""
    first = workspace.create(key="k")
    assert replayed(workspace.create(body, key="k"), first, mismatch=True)
    assert replayed(workspace.create(PHONE | {"unknown": 1, "firstName": " Ada "}, key="k"), first)
    assert len(workspace.lines()) == 1


def test_a_bad_body_is_400_even_with_a_known_key(workspace: Workspace) -> None:
    """[29]"""
    first = workspace.create(key="k")
    refused = workspace.create(PHONE | {"firstName": ""}, key="k")
    assert (refused.status_code, "Idempotency-Replayed" in refused.headers) == (400, False)
    assert replayed(workspace.create(key="k"), first)


def test_a_replay_comes_before_the_subscription_and_the_lock(world: World, workspace: Workspace) -> None:
    """[29] The order of checks: a known key replays though a new request would be 409, then 403."""
    first = workspace.create(key="k")
    workspace.awaiting()
    assert replayed(workspace.create(key="k"), first)
    workspace.change(status="past_due")
    world.quiet()
    assert workspace.create(EMAIL).status_code == 403
    assert replayed(workspace.create(key="k"), first)


def test_only_a_201_is_remembered(world: World, workspace: Workspace) -> None:
    """[30] After 400, 403 and 409 the same key is judged afresh."""
    assert workspace.create(PHONE | {"lastName": " "}, key="k").status_code == 400
    assert workspace.create(BYON, key="k").status_code == 403
    workspace.change(status="unpaid")
    world.quiet()
    assert workspace.create(key="k").status_code == 403
    workspace.change(status="active")
    world.quiet()
    holder = workspace.awaiting()["line"]["_id"]
    assert workspace.create(EMAIL, key="k").status_code == 409
    workspace.manage(holder, "cancel")
    first = workspace.create(EMAIL, key="k")
    assert fresh(first)
    assert replayed(workspace.create(EMAIL, key="k"), first)


def test_after_a_429_the_key_is_judged_afresh(world: World) -> None:
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
def test_one_key_at_once_is_one_line_and_one_answer(workspace: Workspace, circumstance: str) -> None:
    """[31] Every one of them answers the same 201; one invoice."""
    if circumstance == "payable":
        workspace.included()
    before = len(workspace.lines())
    answers = together(8, lambda _: workspace.create(key="k"))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert len([answer for answer in answers if fresh(answer)]) == 1
    assert len(workspace.lines()) == before + 1
    assert len(workspace.invoices()) == (1 if circumstance == "payable" else 0)


def test_a_loser_helps_to_finish_the_winners_work(world: World, workspace: Workspace) -> None:
    """[31] Two requests with one key, the first of which loses Stripe's answer: both answer the same 201."""
    workspace.included()
    world.faults("error_after", count=1, path="/v1/invoiceitems")
    answers = together(4, lambda _: workspace.create(key="k"))
    finished = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert len({answer.content for answer in finished}) == 1
    assert workspace.create(key="k").content == finished[0].content
    assert len([i for i in workspace.invoices() if i["status"] in {"draft", "open"}]) == 1


@pytest.mark.parametrize("end", ["paid", "canceled", "failed"])
def test_a_key_replays_as_long_as_its_line_exists(world: World, workspace: Workspace, end: str) -> None:
    """[32] Also when it was paid, canceled or failed."""
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


def test_after_a_503_the_key_stays_bound_to_its_line(world: World, workspace: Workspace) -> None:
    """[32] [34] The same key finishes the same line."""
    workspace.included()
    world.faults("error_before", path="/v1/invoices")
    assert workspace.create(key="k").status_code == 503
    half_made = workspace.lines()[0]["_id"]
    world.no_faults()
    finished = workspace.create(key="k")
    assert (finished.status_code, finished.json()["line"]["_id"]) == (201, half_made)
    assert replayed(workspace.create(key="k"), finished)
    assert len(workspace.invoices()) == 1


def test_a_key_is_free_again_when_its_line_is_canceled_unanswered(world: World, workspace: Workspace) -> None:
    """[32] After 503 and a cancel, no 201 was ever answered: the key makes a new line."""
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


def test_after_a_502_the_key_is_free(world: World, workspace: Workspace) -> None:
    """[32] Stripe refused for good, and nothing was answered: the next request is judged anew."""
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
