"""What a run of the reconciler does with a piece of work that fails (contract 47)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from line_requests.domain import errors
from line_requests.flows.progress import Progress
from tests.support.shop import WaitingClock, clock

if TYPE_CHECKING:
    from line_requests.clock import Clock


def failing(error: Exception) -> None:
    raise error


def alarms(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [
        name for one in printed if "_aws" in one for name in ("StripeRefused", "ReconcileLineFailed") if name in one
    ]


@pytest.mark.parametrize(
    ("error", "alarmed"),
    [
        (errors.BillingUnavailable("no answer"), []),
        (errors.BillingMisconfigured("a wrong key"), ["StripeRefused"]),
        (errors.InvoiceMissing("in_1"), []),
        (errors.TableUnavailable("throttled"), ["ReconcileLineFailed"]),
        (RuntimeError("ada@example.com"), ["ReconcileLineFailed"]),
    ],
)
def test_failure_is_counted_and_alarmed_once_and_stops_nothing(
    error: Exception, alarmed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """[47] InvoiceMissing has raised an alarm of its own."""
    progress = Progress(clock())
    progress.guard("line", failing, error)
    progress.guard("line", progress.count, "lines")
    assert progress.summary() == {"events": 0, "lines": 1, "republished": 0, "quantities": 0, "failed": 1}
    assert alarms(capsys) == alarmed


def test_misconfiguration_that_has_alarmed_does_not_alarm_again(capsys: pytest.CaptureFixture[str]) -> None:
    """[47]"""
    trouble = errors.BillingMisconfigured("a wrong key")
    trouble.alarmed = True
    Progress(clock()).guard("line", failing, trouble)
    assert alarms(capsys) == []


@pytest.mark.parametrize(("at", "runs"), [(WaitingClock(0, 0.0), 0), (WaitingClock(0, 0.1), 1)])
def test_work_begins_only_while_there_is_time(at: Clock, runs: int) -> None:
    """[47]"""
    progress = Progress(at)
    progress.guard("line", progress.count, "lines", 1)
    assert progress.summary()["lines"] == runs
