"""The API reference in a headless Chromium, against the real stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.page.test_console_in_browser import COLOR_SCHEMES

if TYPE_CHECKING:
    from tests.page.conftest import OpenPage


def test_reference_calls_the_stack_with_a_demo_key(open_page: OpenPage) -> None:
    page = open_page("/docs", viewport={"width": 360, "height": 900}, color_scheme="dark")
    expect(page.locator("#workspace")).to_contain_text("starter-")
    create = page.locator("#operations-Line_requests-createLineRequest")
    create.locator(".opblock-summary-control").click()
    create.get_by_role("button", name="Execute").click()
    answer = create.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").last).to_contain_text("201")
    expect(answer).to_contain_text('"firstName": "Ada"')
    for color_scheme in COLOR_SCHEMES:
        page.emulate_media(color_scheme=color_scheme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [width, True]
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(28, 32, 34)"
        assert dark == (color_scheme == "dark")
