from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.page.chromium import executable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.stack import LocalStack

# tests/conftest.py reports it.
collect_ignore_glob = [] if executable() else ["*_in_browser.py"]

expect.set_options(timeout=30_000)  # the local stack shares its machine with other tests


class OpenPage(Protocol):
    def __call__(self, path: str, **options: Any) -> Page: ...  # noqa: ANN401 - those of Browser.new_page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; closed after each module, because no other event loop can run in the thread meanwhile."""
    launch = {"executable_path": executable(), "args": ["--process-per-site"]}  # else each page that is paid on has one
    with sync_playwright() as playwright, playwright.chromium.launch(**launch) as browser:  # type: ignore[arg-type]
        yield browser


@pytest.fixture(scope="module")
def problems() -> list[str]:
    """What the consoles of the open pages report as errors; a test that expects some removes them."""
    return []


@pytest.fixture(scope="module")
def tab(browser: Browser, problems: list[str]) -> Page:
    """The page of the tests that need no options: another one would start another process."""
    return _listen(browser.new_page(), problems)


@pytest.fixture
def open_page(browser: Browser, tab: Page, stack: LocalStack, problems: list[str]) -> Iterator[OpenPage]:
    """Opens pages of the local stack, and fails the test if any of them reports an error."""

    def open_page(path: str, **options: Any) -> Page:  # noqa: ANN401
        page = _listen(browser.new_page(**options), problems) if options else tab
        page.goto(urljoin(stack.origin, path))
        return page

    yield open_page
    tab.goto("about:blank")
    # Or the next test would find the workspace that this one chose.
    forget = {"origin": stack.origin, "storageTypes": "local_storage"}
    tab.context.new_cdp_session(tab).send("Storage.clearDataForOrigin", forget)
    for page in [page for context in browser.contexts for page in context.pages if page is not tab]:
        page.close()
    found, problems[:] = problems[:], []
    assert found == []


def _listen(page: Page, problems: list[str]) -> Page:
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return page
