from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.local.demo import PRODUCT_API_KEY
from tests.stories.world import EMAIL, PHONE, Workspace, World, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

# The three calls that make an invoice, by the paths they begin with.
STEPS = {"create": "/v1/invoices", "item": "/v1/invoiceitems", "finalize": "/v1/invoices/in_"}
KINDS = ["error_before", "error_after", "rate_limit"]


def half_made(world: World, kind: str, step: str) -> tuple[Workspace, str]:
    """A request that Stripe's failure has stopped at that step, and its line; the failure is over."""
    workspace = world.workspace().full()
    world.faults(kind, path=STEPS[step])
    answer = workspace.create(key="k")
    assert answer.status_code in {201, 503}, answer.text  # 201: it has found what happened despite the error
    world.no_faults()
    return workspace, workspace.lines()[0]["_id"]


def finished_once(workspace: Workspace, line_id: str) -> bool:
    """Whether the line has its hosted page, and Stripe one invoice that counts, with one item."""
    [invoice] = [i for i in workspace.invoices() if i["status"] != "void"]
    line = workspace.line(line_id)
    assert len(invoice["lines"]["data"]) == 1
    assert invoice["amount_due"] == 1500
    return (invoice["status"], line.get("paymentLinkUrl")) == ("open", invoice["hosted_invoice_url"])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_finishes_the_same_request(world: World, kind: str, step: str) -> None:
    """[33] [34] Whatever fails at whatever step: the same _id, one invoice, finished."""
    workspace, line_id = half_made(world, kind, step)
    again = workspace.create(key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line_id)
    assert finished_once(workspace, line_id)
    assert workspace.create(key="k").content == again.content
    assert len(workspace.lines()) == 2


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_poll_finishes_it(world: World, kind: str, step: str) -> None:
    """[34] [33] Without the key, by anyone who looks."""
    workspace, line_id = half_made(world, kind, step)
    polled = workspace.get(line_id).json()
    assert (polled["status"], bool(polled["paymentUrl"])) == ("awaiting_payment", True)
    assert finished_once(workspace, line_id)
    assert workspace.create(key="k").json()["line"]["_id"] == line_id


@pytest.mark.parametrize("kind", KINDS)
def test_the_reconciler_finishes_it_without_any_client(world: World, kind: str) -> None:
    """[34] [47] Stopped at whatever step; nobody asks again, and still it can be paid."""
    left = [half_made(world, kind, step) for step in STEPS]
    world.reconcile()
    for workspace, line_id in left:
        assert finished_once(workspace, line_id)
        world.pay(workspace.line(line_id)["paymentLinkUrl"])
    for workspace, line_id in left:
        eventually(lambda: workspace.line(line_id)["paymentStatus"] == "paid")  # noqa: B023 - looked at at once


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["error_before", "error_after"])
def test_one_failure_is_outlasted_at_once(world: World, kind: str, step: str) -> None:
    """[33] A single bad answer costs a repetition, not the request; the repetition makes no second invoice."""
    workspace = world.workspace().full()
    world.faults(kind, count=1, path=STEPS[step])
    created = workspace.create()
    assert created.status_code == 201
    assert finished_once(workspace, created.json()["line"]["_id"])


def test_a_time_out_at_any_step_makes_no_second_invoice(world: World) -> None:
    """[33] [34] Stripe does it and never answers: the repetition is the same call."""
    workspaces = {step: world.workspace().full() for step in STEPS}
    log = world.stack.double.request_log
    start = len(log)
    with ThreadPoolExecutor() as pool:
        answers = {}
        # All three hang at the same time, each at its own step.
        for step, workspace in workspaces.items():
            world.control("stripe/faults", kind="timeout_after", count=1, path=STEPS[step])
            answers[step] = pool.submit(workspace.create, key="k")
            while sum(call.fault == "timeout_after" for call in log[start:]) < len(answers):
                time.sleep(0.02)
        for step, workspace in workspaces.items():
            answer = answers[step].result()
            assert answer.status_code in {201, 503}, step
            finished = workspace.create(key="k")
            assert finished.status_code == 201, step
            assert finished_once(workspace, finished.json()["line"]["_id"]), step


def test_while_stripe_hangs_every_answer_comes_in_time(world: World) -> None:
    """[34] [39] [25] [23] 503 within 25 s with Retry-After, a poll within 8 s, a conflict all the same."""
    fresh = world.workspace().full()
    waiting, asked, linked = (world.workspace() for _ in range(3))
    ids = {workspace.id: workspace.awaiting()["line"]["_id"] for workspace in (waiting, asked, linked)}
    world.faults("timeout_after")
    with ThreadPoolExecutor() as pool:
        created = pool.submit(timed, fresh.create)
        polled = pool.submit(timed, lambda: waiting.get(ids[waiting.id]))
        blocked = pool.submit(timed, lambda: asked.create(EMAIL))
        link = pool.submit(timed, lambda: linked.manage(ids[linked.id], "payment_link"))
        answer, seconds = polled.result()
        assert (answer.status_code, answer.json()["status"]) == (200, "awaiting_payment")
        assert answer.json()["paymentUrl"]
        assert seconds < 8
        answer, seconds = blocked.result()
        assert (answer.status_code, answer.json()["status"]) == (409, "request_in_progress")
        assert answer.json()["existingLine"]["paymentLinkUrl"]
        assert seconds < 25
        for trouble in (created, link):
            answer, seconds = trouble.result()
            assert (answer.status_code, set(answer.json())) == (503, {"error"})
            assert int(answer.headers["Retry-After"]) > 0
            assert seconds < 25


def timed(ask: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - started


def test_stripe_unreachable_is_503_and_not_the_workspaces_fault(world: World, workspace: Workspace) -> None:
    """[34] The body says nothing of Stripe's own words; Retry-After is there."""
    workspace.included()
    world.faults("error_before")
    answer = workspace.create(key="k")
    assert (answer.status_code, set(answer.json())) == (503, {"error"})
    assert int(answer.headers["Retry-After"]) > 0
    assert "support@stripe.com" not in answer.text
    assert workspace.lines()[0]["provisioningStatus"] == "awaiting_payment"


def test_stripe_refusing_for_good_cancels_the_request(world: World, workspace: Workspace) -> None:
    """[34] 502 that names what to mend; the lock is free, no invoice is left, an operator is told."""
    workspace.included()
    world.webhooks("drop")
    world.stripe.v1.customers.delete(workspace.customer)
    refused = workspace.create(key="k")
    assert (refused.status_code, set(refused.json())) == (502, {"error"})
    assert "customer" in refused.json()["error"]
    canceled = workspace.lines()[0]
    assert (canceled["provisioningStatus"], canceled["paymentStatus"]) == ("canceled", "canceled")
    assert workspace.invoices() == []
    assert workspace.create(EMAIL).status_code == 201
    eventually(lambda: world.alarmed("BillingRefused", canceled["_id"]))


@pytest.mark.parametrize("refusal", ["revoked_api_keys", "forbidden_api_keys"])
def test_a_bad_stripe_key_is_never_for_good(world: World, workspace: Workspace, refusal: str) -> None:
    """[34] 401 and 403 keep the request, and an operator is told."""
    workspace.included()
    world.quiet()
    refused_keys: set[str] = getattr(world.stack.double, refusal)
    refused_keys.add(PRODUCT_API_KEY)
    try:
        assert workspace.create(key="k").status_code == 503
    finally:
        refused_keys.discard(PRODUCT_API_KEY)
    line = workspace.lines()[0]
    assert line["provisioningStatus"] == "awaiting_payment"
    eventually(lambda: world.alarmed("StripeRefused", line["_id"]))
    finished = workspace.create(key="k")
    assert (finished.status_code, finished.json()["line"]["_id"]) == (201, line["_id"])
    assert finished_once(workspace, line["_id"])


def test_a_plan_edited_meanwhile_does_not_change_the_charge(world: World) -> None:
    """[33] [34] What Stripe is told is frozen with the line: after an upgrade the retry is the same call."""
    workspace, line_id = half_made(world, "error_before", "item")
    world.webhooks("drop")
    workspace.change(status="past_due")
    again = workspace.create(PHONE | {"firstName": "Grace"}, key="k")
    assert (again.status_code, again.json()["line"]["_id"]) == (201, line_id)
    assert again.headers["Idempotency-Mismatch"] == "true"
    assert finished_once(workspace, line_id)
