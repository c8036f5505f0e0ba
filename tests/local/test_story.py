"""`make demo`: every chapter is told and true, and a wrong fact ends it with exit code 1."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.local.ministack import ROOT
from tests.local.story import MONTH_S, Story, run
from tests.local.stripe_double.periods import DAY_S, add_intervals
from tests.local.test_process import ELSEWHERE, assert_nothing_is_left

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.local.stack import LocalStack

CHAPTERS: dict[str | None, str] = {
    Story.included.__doc__: "Stripe was not called",
    Story.paid.__doc__: "Stripe's webhook arrived: the line is paid",
    Story.lost_webhook.__doc__: "The client's poll asked Stripe: the line is paid",
    Story.crash.__doc__: "Stripe has one invoice for it",
    Story.provisioned.__doc__: "Three lines are active and paid",
    Story.renewal.__doc__: "Stripe renewed the plan and three lines in one invoice of $74.00",
}


def test_demo_tells_every_chapter_and_ends_by_itself(tmp_path: Path) -> None:
    """Without a terminal it is plain text; nothing outlives it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.local.story"],
        cwd=ROOT,
        env={**os.environ, **ELSEWHERE, "TMPDIR": str(tmp_path), "PYTHONPATH": "layers"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.split("\n\n")
    assert "\x1b" not in done.stdout
    for number, ((title, fact), chapter) in enumerate(zip(CHAPTERS.items(), told[1:-1], strict=True), start=1):
        assert chapter.startswith(f"{number}. {title}\n"), chapter
        assert f"  ✓ {fact}\n" in f"{chapter}\n"
    assert_nothing_is_left(tmp_path)


def test_month_of_the_demo_shows_a_finished_renewal_whatever_the_date() -> None:
    """Stripe finalizes a renewal's invoice after an hour; the console's button and docs/billing.md say the same."""
    monthly = {"interval": "month", "interval_count": 1}
    for day in range(4 * 366):
        start_s = day * DAY_S
        assert add_intervals(start_s, monthly, 1) + 3600 < start_s + MONTH_S
    for page in ("tests/local/console/console.html", "docs/billing.md"):
        assert re.findall(r"\b2[67]\d{5}\b", (ROOT / page).read_text()) == [str(MONTH_S)]


@pytest.mark.parametrize(
    ("disturb", "wrong"),
    [
        (lambda stack: stack.double.set_faults("error_before", 1000), "expected 201 awaiting_payment, not 503"),
        (lambda stack: stack.set_webhook_mode("drop"), "Stripe's webhook arrived: the line is paid: no"),
    ],
)
def test_demo_fails_at_the_first_wrong_fact(
    stack: LocalStack, disturb: Callable[[LocalStack], None], wrong: str
) -> None:
    disturb(stack)
    printed = io.StringIO()
    assert run(stack, Console(file=printed)) == 1
    assert f"  ✗ {wrong}" in printed.getvalue()
