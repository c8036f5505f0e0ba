"""What the console shows of the routes for integrators, in a headless Chromium against the real stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page.test_console_in_browser import (
    choose,
    click,
    expect_statuses,
    open_console,
    pay,
    request_lines,
)

if TYPE_CHECKING:
    from tests.local.stack import LocalStack
    from tests.page.conftest import OpenPage


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_console(open_page)


def price(page: Page, text: str) -> None:
    expect(page.locator("#price")).to_have_text(text)


def test_allowance_of_each_kind_follows_the_lines(page: Page) -> None:
    phone, own, email = (page.locator("#allowance li").nth(row) for row in range(3))
    each = "each further one $15.00 a month"
    expect(phone).to_have_text(f"Purchased phone0 of 1 used included0 held \N{MIDDLE DOT} {each}")
    expect(own).to_have_text("Own number0 of 0 used forbidden0 held")
    request_lines(page, "awaiting payment", "active")
    expect(phone).to_have_text(f"Purchased phone1 of 1 used locked2 held \N{MIDDLE DOT} {each}")
    expect(email).to_contain_text("0 of 1 used locked")
    pay(page)
    expect(phone).to_contain_text("1 of 1 used payable2 held")


def test_price_is_shown_before_the_request_and_is_what_is_charged(page: Page) -> None:
    """[62]"""
    price(page, "The plan includes this line. It starts at once.")
    request_lines(page, "active")
    price(page, "$15.00 now, then $15.00 a month. It starts when it is paid.")
    click(page, "Request this line")
    expect_statuses(page, "awaiting payment", "active")
    price(page, "Another request awaits payment. Pay or cancel it first.")
    expect(page.locator("#invoices li").first).to_contain_text("$15.00 open")
    choose(page, "Bring your own")
    price(page, "The plan does not offer this line.")


def test_price_says_that_the_plan_allows_no_more(open_page: OpenPage) -> None:
    page = open_console(open_page, plan="capped")
    request_lines(page, "active")
    price(page, "The plan allows no more of these lines.")
    page.get_by_role("radio", name="Email").check(force=True)
    price(page, "The plan does not offer this line.")


def test_price_is_in_the_currency_and_interval_of_the_subscription(open_page: OpenPage, stack: LocalStack) -> None:
    """A yen has no cents, and a year's price is prorated like a month's."""
    made = stack.demo.create_workspace("starter", "active", currency="jpy")
    stack.demo.change_subscription(made.id, interval="year")
    page = open_page("/")
    page.get_by_role("combobox", name="Workspace", exact=True).select_option(made.id)
    expect(page.locator("#subscription")).to_contain_text("\N{YEN SIGN}29,000 a year")
    request_lines(page, "active")
    price(page, "\N{YEN SIGN}15,000 now, then \N{YEN SIGN}15,000 a year. It starts when it is paid.")


def test_lines_in_use_show_what_was_delivered(page: Page) -> None:
    """[59] [60]"""
    expect(page.locator("#in-use li")).to_have_text("None.")
    request_lines(page, "active")
    line = page.locator("#in-use li")
    expect(line).to_contain_text("Sales Line 1+1 415 555 01")
    expect(line).to_contain_text("Purchased phone \N{MIDDLE DOT} since ")


def test_history_shows_causes_and_the_receipt(page: Page, stack: LocalStack) -> None:
    """[61] It follows while it is open, and is used with the keyboard alone."""
    request_lines(page, "active")
    choose(page, "manual")
    expect(page.get_by_role("radio", name="manual", exact=True)).to_be_checked()
    click(page, "Request this line")
    expect_statuses(page, "awaiting payment", "active")
    page.get_by_text("History").first.focus()
    page.keyboard.press("Enter")
    entries = page.locator(".line").first.locator(".history li")
    expect(entries).to_have_count(1)
    expect(entries.first).to_contain_text("awaiting payment requested Invoice")
    pay(page)
    expect(entries).to_have_count(2)
    expect(entries.last).to_contain_text("provisioning paid invoice paid Receipt")
    receipt = entries.last.get_by_role("link").get_attribute("href")
    assert receipt
    assert receipt.startswith(stack.double.url)
    assert httpx.get(receipt).status_code == 200
    click(page, "Provisioner: failed")
    expect(entries).to_have_count(3)
    middle_dot = "\N{MIDDLE DOT}"
    expect(entries.last).to_contain_text(f"provisioning failed {middle_dot} unavailable {middle_dot} no number is left")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_line_is_released_by_button(page: Page) -> None:
    """[63]"""
    request_lines(page, "active")
    click(page, "Release")
    expect_statuses(page, "canceled")
    expect(page.locator("#log summary").first).to_contain_text("DELETE /api/lines/")
    expect(page.locator("#in-use li")).to_have_text("None.")
    expect(page.locator("#allowance li").first).to_contain_text("0 of 1 used included")
