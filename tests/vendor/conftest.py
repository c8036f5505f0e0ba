"""What the checks want said at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vendor.traffic import Traffic, call_billing, live

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.stack import LocalStack

NOTES = pytest.StashKey[list[str]]()


@pytest.fixture
def note(pytestconfig: pytest.Config) -> Callable[[str], None]:
    return pytestconfig.stash.setdefault(NOTES, []).append


@pytest.fixture(scope="session")
def traffic(running_stack: LocalStack) -> Traffic:
    """What the product and the double say to each other; the stack lives through the stories once."""
    heard = Traffic()
    with heard.listen(running_stack.double):
        live(running_stack)
        call_billing(running_stack)
    return heard


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(NOTES, []):
        terminalreporter.write_line(line)
