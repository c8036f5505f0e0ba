"""The console page in a headless Chromium, against the real stack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.page.chromium import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local.stack import LocalStack

STATUSES = "[...document.querySelectorAll('#lines .line .top .tag:last-child')].map((tag) => tag.textContent).join()"


@pytest.fixture
def page(stack: LocalStack, tmp_path: Path) -> Iterator[Browser]:
    """The console, showing a fresh workspace on the plan `starter`."""
    with Browser(tmp_path) as browser:
        browser.open(f"{stack.origin}/")
        first = browser.wait_for("document.querySelector('#workspace')?.value")
        choose(browser, "#new-workspace", "starter")
        browser.wait_for(f"document.querySelector('#workspace').value !== '{first}'")
        browser.wait_for("document.querySelector('#count').textContent === '0'")
        yield browser


def click(page: Browser, text: str) -> None:
    button = f"[...document.querySelectorAll('button')].find((b) => b.offsetParent && b.textContent === '{text}')"
    page.wait_for(f"Boolean({button})")
    page.run(f"{button}.click()")


def choose(page: Browser, selector: str, value: str) -> None:
    page.run(
        f"(() => {{ const select = document.querySelector('{selector}'); select.value = '{value}';"
        " select.dispatchEvent(new Event('change')); })()"
    )


def pay(page: Browser) -> None:
    """Pay as the customer does who follows the link: the hosted page is on Stripe's origin."""
    url = page.wait_for("document.querySelector('#lines a.pay')?.href")
    page.run(f"fetch('{url}/pay', {{ method: 'POST', mode: 'no-cors' }}).then(() => true)")


def test_an_included_line_becomes_active_before_ones_eyes(page: Browser) -> None:
    click(page, "Request this line")
    page.wait_for("document.querySelector('.idea .lit')?.classList.contains('included')")
    page.wait_for(f"{STATUSES} === 'active'")
    assert page.problems == []


def test_a_paid_line_waits_for_its_payment_and_goes_on(page: Browser) -> None:
    click(page, "Request this line")
    page.wait_for(f"{STATUSES} === 'active'")
    click(page, "Request this line")
    page.wait_for("document.querySelector('.idea .lit')?.classList.contains('payable')")
    page.wait_for(f"{STATUSES} === 'awaiting payment,active'")
    pay(page)
    page.wait_for(f"{STATUSES} === 'active,active'")
    assert page.problems == []


def test_without_webhooks_and_polls_the_reconciler_finds_the_payment(page: Browser, stack: LocalStack) -> None:
    click(page, "drop")
    page.wait_for("document.querySelector('[data-value=drop]').ariaPressed === 'true'")
    assert stack.webhook_mode == "drop"
    page.run("document.querySelector('#heal').click()")
    for _ in range(2):
        click(page, "Request this line")
        page.wait_for("!document.querySelector('#send').disabled")
    pay(page)
    time.sleep(2)  # two rounds of looking at the list, which never heals
    assert page.run(STATUSES).startswith("awaiting payment")
    click(page, "Run it once")
    page.wait_for(f"{STATUSES} === 'active,active'")
    page.wait_for("!document.querySelector('#reconcile').disabled")  # the run goes on when its line is settled
    assert page.problems == []


def test_a_manual_provisioner_answers_by_button(page: Browser) -> None:
    click(page, "manual")
    page.wait_for("document.querySelector('[data-value=manual]').ariaPressed === 'true'")
    click(page, "Request this line")
    click(page, "Provisioner: failed")
    page.wait_for(f"{STATUSES} === 'failed'")
    assert page.problems == []


def test_a_refusal_says_why(page: Browser) -> None:
    click(page, "Bring your own")
    click(page, "Request this line")
    answer = page.wait_for("document.querySelector('#answer').innerText")
    assert answer.startswith("403 forbidden line type")
    page.wait_for("document.querySelector('.idea .lit')?.classList.contains('refused')")


def test_it_is_usable_on_a_phone_and_in_the_dark(stack: LocalStack, tmp_path: Path) -> None:
    with Browser(tmp_path, width=390, height=800, dark=True) as browser:
        browser.open(f"{stack.origin}/")
        browser.wait_for("document.querySelector('#workspace')?.value")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        red, green, blue = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert red + green + blue < 200
