from __future__ import annotations

from tests.races.conftest import shop
from tests.store.conftest import endpoint, world

__all__ = ["endpoint", "shop", "world"]
