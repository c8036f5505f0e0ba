from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.local.stripe_double import Clock, StripeDouble
from tests.stripe_double.shop import API_KEY, START, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def shop() -> Iterator[Shop]:
    double = StripeDouble(product_api_key=API_KEY, hang_s=5, clock=Clock(lambda: START))
    with double, closing(Shop(double)) as shop:
        yield shop
