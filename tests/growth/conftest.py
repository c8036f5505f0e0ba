from __future__ import annotations

from typing import Any

import pytest

from tests.growth.trees import Tree, copy
from tests.races.conftest import shop
from tests.store.conftest import endpoint, world

__all__ = ["endpoint", "shop", "world"]


@pytest.fixture(scope="module")
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A copy of the product with the edits of the test's module."""
    tree = copy(tmp_path_factory.mktemp("grown"))
    tree.edit(request.module.EDITS)
    return tree


@pytest.fixture(scope="module")
def used(request: pytest.FixtureRequest, tree: Tree) -> dict[str, Any]:
    """What became of the module's request on that copy."""
    used: dict[str, Any] = tree.run("tests.growth.use_line", request.module.REQUEST)
    return used
