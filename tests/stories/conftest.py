"""Fixtures of the stories: each test process runs its stories on one local stack, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.stories.listener import Listener
from tests.stories.log_scan import LogScan
from tests.stories.world import Workspace, World, eventually, world_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.stack import LocalStack


@pytest.fixture(scope="session")
def _world(running_stack: LocalStack) -> Iterator[World]:
    scan = LogScan(running_stack)
    with world_on(running_stack) as world:
        world.http.event_hooks["request"].append(scan.request)
        yield world
    # [5] Whatever the stories of this process did.
    assert scan.leaks() == {}


@pytest.fixture
def world(_world: World, stack: LocalStack) -> World:
    """The stack with its initial modes, which `stack` restores after the test, and with nothing due."""
    eventually(lambda: stack.gateway.in_flight == 0)  # of pages that are closed, say
    _world.quiet()
    stack.double.forget_events()  # otherwise each reconciler run would read the events of all earlier stories
    stack.demo.forget_due()  # and check the lines that they left
    return _world


@pytest.fixture
def workspace(world: World) -> Workspace:
    """A fresh workspace on the starter plan: one phone line and one e-mail line included, more for sale."""
    return world.workspace("starter")


@pytest.fixture(scope="session")
def _spares(_world: World) -> Iterator[Workspace]:
    def take_turns() -> Iterator[Workspace]:
        while True:
            # The burst of one workspace allows 60 requests.
            yield from [_world.workspace()] * 20

    return take_turns()


@pytest.fixture
def spare(world: World, _spares: Iterator[Workspace]) -> Iterator[Workspace]:
    """A workspace for requests that are refused; it has no line before and after."""
    workspace = next(_spares)
    yield workspace
    assert (workspace.world, workspace.lines()) == (world, [])


@pytest.fixture(scope="session")
def listener(running_stack: LocalStack) -> Iterator[Listener]:
    """Receives everything that is published on the bus from its first use on."""
    listener = Listener(running_stack.ministack, running_stack.deployment.bus)
    yield listener
    listener.close()
