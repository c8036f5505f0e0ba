from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stripe

from tests.local.stripe_double import Clock, StripeDouble
from tests.stripe_double.shop import API_KEY, START, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def shop() -> Iterator[Shop]:
    http = stripe.RequestsClient(timeout=10)
    with StripeDouble(product_api_key=API_KEY, hang_s=5, clock=Clock(lambda: START)) as double:
        yield Shop(double, http)
    http.close()  # type: ignore[no-untyped-call]  # not annotated by the SDK
