"""Every assumption is tried on the Stripe double, which has to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.assumptions import catalogue
from tests.assumptions.double_account import DoubleAccount
from tests.assumptions.registry import Assumption, Verdict, run
from tests.local.stripe_double import StripeDouble

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble() as running:
        running.latency_ms = 2  # so that simultaneous calls meet
        yield running


@pytest.mark.parametrize("tried", catalogue.ASSUMPTIONS, ids=lambda tried: tried.name)
def test_assumption_is_true_of_double(double: StripeDouble, tried: Assumption) -> None:
    with DoubleAccount(double) as account:
        result = run(tried, account)

    assert (result.verdict, result.detail) == (Verdict.TRUE, "")
    assert result.left_behind == ()
