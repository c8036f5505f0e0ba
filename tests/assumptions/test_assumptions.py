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

ENDED = {"canceled", "incomplete_expired"}


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
    assert _still_there(double) == ([] if "bank-debit" not in tried.name else ["open invoice"])


def _still_there(double: StripeDouble) -> list[str]:
    """Return what an experiment left that could still charge somebody or be chosen."""
    return [
        *("customer" for _ in double.all_of("customer")),
        *(kind for kind in ("product", "price") for one in double.all_of(kind) if one["active"]),
        *("subscription" for one in double.all_of("subscription") if one["status"] not in ENDED),
        *(f"{one['status']} invoice" for one in double.all_of("invoice") if one["status"] in {"draft", "open"}),
        *("pending item" for one in double.all_of("invoiceitem") if one["invoice"] is None),
    ]
