"""Stripe accepts a call and never answers. These stories mostly wait."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.stories.world import EMAIL, STEPS, World

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx


def test_time_out_at_any_step_makes_no_second_invoice(world: World) -> None:
    """[33] [34] Stripe does the work and never answers: the retry is the same call."""
    workspaces = {step: world.workspace().full() for step in STEPS}
    log = world.stack.double.request_log
    start = len(log)
    with ThreadPoolExecutor() as pool:
        answers = {}
        # All three hang at once, each at another step.
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
            assert workspace.finished_once(finished.json()["line"]["_id"]), step


def test_answers_come_in_time_while_stripe_hangs(world: World) -> None:
    """[34] [39] [25] [23] 503 within 25 s with Retry-After, a poll within 8 s, a 409 as well."""
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
