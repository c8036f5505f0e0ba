"""The load's own stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.local.stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running_stack() -> Iterator[LocalStack]:
    """A stack of their own: these tests examine all of a deployment, and other tests leave it as they please."""
    with LocalStack() as stack:
        yield stack
