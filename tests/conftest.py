"""What every test may use: one local stack per test process, as it was found for each test."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.examples import node
from tests.local.stack import LocalStack
from tests.local.terminal import forget_deployment
from tests.page.chromium import executable
from tests.trace.check import checked_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


forget_deployment()

# Modules and tests stay: as often as by default, looking for garbage among them takes an eighth of the time.
gc.set_threshold(50_000, 20, 20)

# The same examples in every run, however slow the machine is; EXAMPLES=1000 makes up so many new ones instead.
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.register_profile("new", max_examples=EXAMPLES or 100, deadline=None)
hypothesis.settings.load_profile("new" if EXAMPLES else "steady")

# What runs the product in its own process and is quick enough to be traced when coverage is asked for.
MEASURED = {"decision", "edges", "operator", "store"}
WITH_A_STACK = {"examples", "fuzz", "load", "local", "page", "stories"}
# Each takes more than half a minute: none of them may be the last, for which the other processes wait.
LONGEST = (
    "page/test_console_in_browser.py",
    "operator/test_docs.py",
    "proof/test_explorer.py",
    "fuzz/test_api.py",
    "local/test_process.py",
    "operator/test_doctor.py",
    "page/test_panels_in_browser.py",
    "growth/test_two_releases.py",
    "edges/test_aws_failures.py",
)
assert all((Path(__file__).parent / file).exists() for file in LONGEST)


@pytest.fixture(scope="session")
def running_stack() -> Iterator[LocalStack]:
    """One per process: webhook modes and faults are the whole stack's, so parallel processes cannot share it."""
    # tests/stories/test_events.py puts that workspace's items into the table by hand.
    with checked_stack(without={"acme"}) as stack:
        yield stack


@pytest.fixture
def moving_stack() -> Iterator[LocalStack]:
    """A stack of its own, for a test that moves its clock: time in this process follows until the stack stops."""
    with LocalStack() as stack:
        yield stack


@pytest.fixture
def stack(running_stack: LocalStack) -> Iterator[LocalStack]:
    """The local stack; its modes and faults are what they are at start, again after the test."""
    yield running_stack
    running_stack.reset()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest goes first, then what waits for a stack; what only computes fills every process to the end."""
    if config.pluginmanager.hasplugin("_cov"):
        for item in items:
            if item.path.parent.name not in MEASURED:
                item.add_marker("no_cover")
    assert len({item.nodeid for item in items}) == len(items), "of tests with one id pytest-xdist runs only one"

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.parent.name
        file = f"{folder}/{item.path.name}"
        return LONGEST.index(file) if file in LONGEST else len(LONGEST), folder not in WITH_A_STACK

    items.sort(key=place)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what did not run, instead of skipping it silently."""
    if executable() is None:
        terminalreporter.write_line(
            "NOT RUN: tests/page/*_in_browser.py, because no Chromium was found (install one, or name it in CHROMIUM)"
        )
    if node.command() is None:
        terminalreporter.write_line(
            "NOT RUN: tests/examples/test_quickstart.py with TypeScript, because no Node of 22.18 or later was found"
            " (install one, or name it in NODE; `make clients` installs what an older one needs)"
        )
