from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.edges.scripted_stripe import ScriptedStripe
from tests.races.conftest import shop
from tests.store.conftest import endpoint, function, world

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["endpoint", "function", "shop", "world"]


@pytest.fixture
def stripe() -> Iterator[ScriptedStripe]:
    with ScriptedStripe() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()
