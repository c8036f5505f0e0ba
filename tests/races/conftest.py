from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.local.demo import PRODUCT_API_KEY
from tests.local.stripe_double import StripeDouble
from tests.store.conftest import endpoint, world
from tests.support.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.world import World

__all__ = ["endpoint", "world"]


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with StripeDouble(product_api_key=PRODUCT_API_KEY) as double:
        yield Shop(world, double)
