"""The console page in a headless Chromium, against the real stack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from tests.local.stack import LocalStack
    from tests.page.conftest import OpenPage

WIDTHS = [360, 768, 1440]
COLOR_SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
PRORATED = re.compile(r"\$14\.\d\d now, then \$15\.00 a month")  # a day of a month has passed
TIMES = "\N{MULTIPLICATION SIGN}"


def open_console(open_page: OpenPage, path: str = "/", plan: str = "starter", **options: object) -> Page:
    """The console, showing a fresh workspace on this plan."""
    page = open_page(path, **options)
    workspace = page.get_by_role("combobox", name="Workspace", exact=True)
    expect(workspace).not_to_have_value("")
    before = workspace.input_value()
    page.get_by_role("combobox", name="Create a workspace").select_option(plan)
    expect(workspace).not_to_have_value(before)
    expect_statuses(page)
    return page


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_console(open_page)


def click(page: Page | Locator, text: str) -> None:
    page.get_by_role("button", name=text, exact=True).click()


def choose(page: Page, text: str) -> None:
    page.get_by_role("radio", name=text, exact=True).check(force=True)  # its label lies over it


def card(page: Page, title: str) -> Locator:
    return page.locator(".card").filter(has=page.get_by_role("heading", name=title, exact=True))


def expect_statuses(page: Page, *statuses: str) -> None:
    expect(page.locator("#lines .tags .tag:last-child")).to_have_text(list(statuses))


def request_lines(page: Page, *statuses: str) -> None:
    """Request one line after the other; each is in its status before the next."""
    for count in range(1, len(statuses) + 1):
        click(page, "Request this line")
        expect_statuses(page, *statuses[-count:])


def pay(page: Page) -> None:
    """Pay as the customer does who follows the link."""
    with page.expect_popup() as opened:
        page.locator("#lines a.pay").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(opened.value.get_by_role("status")).to_have_text("Paid")


def test_included_line_becomes_active(page: Page) -> None:
    request_lines(page, "active")
    expect(page.locator(".decision .included.taken")).to_be_visible()


def test_paid_line_waits_for_its_payment(page: Page) -> None:
    request_lines(page, "awaiting payment", "active")
    expect(page.locator(".decision .payable.taken")).to_be_visible()
    pay(page)
    expect_statuses(page, "active", "active")
    expect(page.locator("#announcement")).to_have_text("Sales Line 2: active")


def test_background_tab_keeps_polling(open_page: OpenPage) -> None:
    page = open_console(open_page)
    page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'hidden' })")
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    request_lines(page, "active")


def test_reconciler_finds_payment_without_webhooks_and_polls(page: Page, stack: LocalStack) -> None:
    choose(page, "drop")
    page.get_by_label("poll each open line").uncheck()
    request_lines(page, "awaiting payment", "active")
    assert stack.webhook_mode == "drop"
    pay(page)
    page.wait_for_timeout(2000)  # the page reads the list, which never asks Stripe
    expect_statuses(page, "awaiting payment", "active")
    click(page, "Run it once")
    expect_statuses(page, "active", "active")
    expect(page.locator("#summary")).not_to_be_empty()


def test_manual_provisioner_answers_by_button(page: Page, stack: LocalStack) -> None:
    choose(page, "manual")
    request_lines(page, "provisioning")
    assert stack.provisioner.mode == "manual"
    click(page, "Provisioner: failed")
    expect_statuses(page, "failed")


def test_refusal_says_why(page: Page, problems: list[str]) -> None:
    choose(page, "Bring your own")
    click(page, "Request this line")
    expect(page.locator("#answer")).to_contain_text("403 forbidden line type")
    expect(page.locator(".decision .refused.taken")).to_be_visible()
    expect_refused(problems, {403: 1})


def test_ten_at_once_make_one_payable_request(page: Page, problems: list[str]) -> None:
    request_lines(page, "active")
    click(page, "Ten at once")
    expect(page.locator("#answer div")).to_have_text(
        [f"1 {TIMES} 201 awaiting payment", f"9 {TIMES} 409 request in progress"]
    )
    expect_statuses(page, "awaiting payment", "active")
    expect_refused(problems, {409: 9})


def test_ten_at_once_with_one_key_are_one_request(page: Page) -> None:
    page.get_by_label("Idempotency-Key").fill("one")
    click(page, "Ten at once")
    expect(page.locator("#answer div")).to_have_text(
        [f"1 {TIMES} 201 provisioning", f"9 {TIMES} 201 provisioning (replayed)"]
    )
    expect_statuses(page, "active")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("drafts the invoice", "fails before the effect"),
        ("adds the invoice item", "fails before the effect"),
        ("finalizes the invoice", "refuses with 429"),
    ],
)
def test_crashed_request_heals(page: Page, problems: list[str], step: str, kind: str) -> None:
    request_lines(page, "active")
    page.get_by_role("combobox", name="While the product").select_option(step)
    page.get_by_role("combobox", name="Stripe", exact=True).select_option(kind)
    click(page, "Crash create here")
    expect(page.locator("#fault")).to_contain_text("The request is half made.")
    expect_statuses(page, "awaiting payment", "active")
    expect(page.locator("#lines a.pay")).to_have_count(0)
    click(page, "Stripe recovers")
    pay(page)
    expect_statuses(page, "active", "active")
    expect_refused(problems, {503: 1})


def test_charges_are_those_of_stripe(page: Page) -> None:
    charged = card(page, "Charged at Stripe")
    expect(charged.locator("#subscription")).to_contain_text(f"Plan starter1 {TIMES} $29.00 a month")
    request_lines(page, "awaiting payment", "active")
    expect(charged.locator("#invoices li")).to_have_count(2)
    expect(charged.locator("#invoices li").first).to_contain_text("open")
    pay(page)
    expect(charged.locator("#invoices li").first).to_contain_text("paid")
    click(page, "Run it once")
    expect(charged.locator("#subscription")).to_contain_text(f"Purchased phone line1 {TIMES} $15.00 a month")


def test_renewal_is_shown_a_month_later(
    moving_stack: LocalStack, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.local.stack.MAX_RUNS", 12)  # `make demo` and docs/billing.md run the reconciler 60 times
    moving_stack.demo.stop_renewals()
    page = open_console(open_page, moving_stack.origin)
    request_lines(page, "awaiting payment", "active")
    pay(page)
    expect_statuses(page, "active", "active")

    for button in ("A day later", "A month later"):
        click(page, button)
        expect(page.locator("#advanced")).to_have_text("Time passes…")
        expect(page.locator("#advanced")).to_have_text("Time has passed.", timeout=120_000)
        if button == "A day later":
            expect(page.locator("#price")).to_have_text(PRORATED)

    charged = card(page, "Charged at Stripe")
    expect(charged.locator("#subscription")).to_contain_text(f"Purchased phone line1 {TIMES} $15.00 a month")
    expect(charged.locator("#invoices li")).to_have_count(3)
    expect(charged.locator("#invoices li").first).to_contain_text("Renewal ↗$44.00 paid")
    expect(charged.locator("#pending")).to_have_text("None.")


def test_keyboard_keeps_its_place_while_lines_change(page: Page) -> None:
    choose(page, "manual")
    request_lines(page, "provisioning")
    expect(page.get_by_role("button", name="Request this line")).to_be_enabled()
    page.get_by_label("First name").focus()
    page.keyboard.press("Enter")
    expect_statuses(page, "awaiting payment", "provisioning")
    expect(page.locator("#answer")).to_contain_text("201 awaiting payment")  # one canceled before that is made again
    expect(page.get_by_label("First name")).to_be_focused()
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Space")
    expect_statuses(page, "canceled", "provisioning")
    expect(page.get_by_role("heading", name="Sales Line 2")).to_be_focused()


def test_console_fits_and_is_accessible(open_page: OpenPage) -> None:
    page = open_console(open_page, viewport={"width": WIDTHS[0], "height": 800}, color_scheme="dark")
    request_lines(page, "awaiting payment", "active")
    page.locator("#log summary").first.click()
    for color_scheme in COLOR_SCHEMES:
        page.emulate_media(color_scheme=color_scheme)
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (red + green + blue < 200) == (color_scheme == "dark")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [width, True]
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()


def expect_refused(problems: list[str], expected: dict[int, int]) -> None:
    """Chromium reports answers from 400 on as errors: these are expected, no others are there."""
    for status, count in expected.items():
        told = [problem for problem in problems if f"status of {status}" in problem]
        assert len(told) == count, problems
        problems[:] = [problem for problem in problems if problem not in told]
