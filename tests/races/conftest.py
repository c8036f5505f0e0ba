from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.local.stripe_double import StripeDouble
from tests.races.shop import API_KEY, Shop
from tests.store.conftest import endpoint, world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.store.world import World

__all__ = ["endpoint", "world"]


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with StripeDouble(product_api_key=API_KEY) as double:
        yield Shop(world, double)
