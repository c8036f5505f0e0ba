from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.local.ministack import ROOT
from tests.support.engine import dynamodb, engine, new_table
from tests.support.lambda_context import load
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


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


@pytest.fixture
def function(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads a function of the deployment, on the test's table."""
    for name, value in {"TABLE_NAME": "t", "BUS_NAME": "lines", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)

    def loaded(folder: str) -> ModuleType:
        module = load(ROOT / "functions" / folder / "app.py")
        monkeypatch.setattr(module.DEPLOYMENT, "stores", world.stores)
        return module

    return loaded
