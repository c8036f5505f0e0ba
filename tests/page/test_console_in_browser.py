"""The console page in a headless Chromium, against the real stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from tests.local.stack import LocalStack
    from tests.page.conftest import OpenPage


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The console, showing a fresh workspace on the plan `starter`."""
    page = open_page("/")
    first = page.locator("#workspace option").first.inner_text()
    page.locator("#new-workspace").select_option("starter")
    expect(page.locator("#workspace")).not_to_have_value(first)
    expect_statuses(page)
    return page


def click(page: Page, text: str) -> None:
    page.get_by_role("button", name=text, exact=True).click()


def expect_statuses(page: Page, *statuses: str) -> None:
    expect(page.locator("#lines .line .top .tag:last-child")).to_have_text(list(statuses))


def pay(page: Page) -> None:
    """Pay as the customer does who follows the link."""
    with page.expect_popup() as opened:
        page.locator("#lines a.pay").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(opened.value.get_by_role("status")).to_have_text("Paid")


def test_included_line_becomes_active(page: Page) -> None:
    click(page, "Request this line")
    expect(page.locator(".idea .lit.included")).to_be_visible()
    expect_statuses(page, "active")


def test_paid_line_waits_for_its_payment(page: Page) -> None:
    click(page, "Request this line")
    expect_statuses(page, "active")
    click(page, "Request this line")
    expect(page.locator(".idea .lit.payable")).to_be_visible()
    expect_statuses(page, "awaiting payment", "active")
    pay(page)
    expect_statuses(page, "active", "active")


def test_reconciler_finds_payment_without_webhooks_and_polls(page: Page, stack: LocalStack) -> None:
    click(page, "drop")
    expect(page.locator("[data-value=drop]")).to_have_attribute("aria-pressed", "true")
    assert stack.webhook_mode == "drop"
    page.locator("#heal").uncheck()
    click(page, "Request this line")
    expect_statuses(page, "active")
    click(page, "Request this line")
    pay(page)
    page.wait_for_timeout(2000)  # the page reads the list twice, which never heals
    expect_statuses(page, "awaiting payment", "active")
    click(page, "Run it once")
    expect_statuses(page, "active", "active")
    expect(page.locator("#reconcile")).to_be_enabled()  # the run goes on when its line is settled


def test_manual_provisioner_answers_by_button(page: Page) -> None:
    click(page, "manual")
    expect(page.locator("[data-value=manual]")).to_have_attribute("aria-pressed", "true")
    click(page, "Request this line")
    click(page, "Provisioner: failed")
    expect_statuses(page, "failed")


def test_refusal_says_why(page: Page, problems: list[str]) -> None:
    click(page, "Bring your own")
    click(page, "Request this line")
    expect(page.locator("#answer")).to_contain_text("403 forbidden line type")
    expect(page.locator(".idea .lit.refused")).to_be_visible()
    assert len(problems) == 1
    assert "status of 403" in problems.pop()


def test_it_fits_a_phone_in_the_dark(open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 390, "height": 800}, color_scheme="dark")
    expect(page.locator("#workspace")).not_to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rgb = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert sum(rgb) < 200
