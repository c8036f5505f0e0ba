from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.engine import dynamodb, engine, new_table
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """One engine per test process."""
    with engine() as url:
        yield url


@pytest.fixture
def world(endpoint: str) -> Iterator[World]:
    """An empty table of the test's own."""
    client = dynamodb(endpoint)
    with new_table(client) as name:
        yield World(client, name)
    client.close()
