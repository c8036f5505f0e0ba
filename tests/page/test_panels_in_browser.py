"""What the console shows of the routes for integrators, in a headless Chromium; the answers are the contract's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

if TYPE_CHECKING:
    from tests.local.stack import LocalStack
    from tests.page.conftest import OpenPage

Json = dict[str, Any]

ADD_ON = {"unitAmount": 1500, "currency": "usd", "interval": "month", "firstCharge": 823}
NOTHING = {"included": 0, "used": 0, "held": 0, "cap": None, "next": "forbidden", "addOn": None}
LINE = {
    "_id": "01a202974dc00123456789ab",
    "firstName": "Ada",
    "lastName": "Lovelace",
    "channelType": "phone",
    "lineType": "purchased",
    "provisioningStatus": "failed",
    "paymentStatus": "paid",
}
IN_USE = LINE | {
    "workspaceId": "acme",
    "phone": "+14155550123",
    "email": None,
    "isActive": True,
    "createdAt": "2026-11-27T15:40:01.123Z",
    "updatedAt": "2026-11-27T15:41:02.123Z",
}


def kind(**values: object) -> Json:
    return {"included": 1, "used": 1, "held": 2, "cap": None, "next": "payable", "addOn": ADD_ON} | values


def event(number: int, status: str, payment_status: str, **values: str) -> Json:
    at = f"2026-11-27T15:4{number}:00.000Z"
    nulls = {"reasonCode": None, "reason": None, "invoiceUrl": None}
    return nulls | {"id": str(number), "at": at, "status": status, "paymentStatus": payment_status} | values


class Routes:
    """Answers in place of the stack."""

    def __init__(self, stack: LocalStack) -> None:
        self.kinds = {"purchased_phone": kind(), "byon_phone": NOTHING, "email": NOTHING}
        self.released: list[str] = []
        self._description = httpx.get(f"{stack.origin}/openapi.json", timeout=30).json()

    def install(self, page: Page) -> None:
        paths = ["/api/allowance", "/api/lines/by-user", "/api/line-requests/{id}/events", "/api/lines/{id}"]
        self._description["paths"] |= {path: {} for path in paths}
        page.route("**/openapi.json", lambda route: route.fulfill(json=self._description))
        page.route("**/api/allowance", lambda route: route.fulfill(json={"success": True, "kinds": self.kinds}))
        page.route("**/api/lines/by-user", lambda route: route.fulfill(json={"lines": [IN_USE]}))
        page.route("**/api/line-requests?**", lambda route: route.fulfill(json={"lines": [LINE]}))
        page.route("**/events", self._events)
        page.route(f"**/api/lines/{LINE['_id']}", self._release)

    def _events(self, route: Route) -> None:
        invoice = {"invoiceUrl": "https://invoice.example/1"}
        reason = {"reasonCode": "address_required", "reason": "no address in this area"}
        events = [
            event(0, "awaiting_payment", "awaiting_payment", cause="requested", **invoice),
            event(1, "provisioning", "paid", cause="invoice_paid", **invoice),
            event(2, "failed", "paid", cause="provisioner", **reason),
        ]
        route.fulfill(json={"success": True, "events": events})

    def _release(self, route: Route) -> None:
        self.released.append(route.request.method)
        route.fulfill(json={"success": True, "status": "canceled"})


@pytest.fixture
def routes(stack: LocalStack) -> Routes:
    return Routes(stack)


@pytest.fixture
def page(open_page: OpenPage, routes: Routes) -> Page:
    page = open_page("about:blank", timezone_id="UTC")
    routes.install(page)
    page.goto("/")
    return page


def test_allowance_of_each_kind_is_shown(page: Page) -> None:
    rows = page.locator("#allowance li")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("Purchased phone1 of 1 used payable2 held · each further one $15.00 a month")


@pytest.mark.parametrize(
    ("allowed", "price"),
    [
        (kind(next="included"), "The plan includes this line. It starts at once."),
        (kind(), "$8.23 now, then $15.00 a month. It starts when it is paid."),
        (
            kind(addOn={"unitAmount": 1500, "currency": "jpy", "interval": "year", "firstCharge": 823}),
            "¥823 now, then ¥1,500 a year. It starts when it is paid.",
        ),
        (kind(next="locked"), "Another request awaits payment. Pay or cancel it first."),
        (NOTHING, "The plan does not offer this line."),
    ],
)
def test_price_is_shown_before_the_request(page: Page, routes: Routes, allowed: Json, price: str) -> None:
    routes.kinds["purchased_phone"] = allowed
    page.reload()
    expect(page.locator("#price")).to_have_text(price)


def test_price_follows_the_form(page: Page) -> None:
    expect(page.locator("#price")).to_contain_text("now, then")
    page.get_by_role("radio", name="Email").check(force=True)
    expect(page.locator("#price")).to_have_text("The plan does not offer this line.")


def test_lines_in_use_show_what_was_delivered(page: Page) -> None:
    expect(page.locator("#in-use li")).to_contain_text("Ada Lovelace+14155550123Purchased phone · since Nov 27, 2026")


def test_history_shows_causes_and_the_receipt(page: Page) -> None:
    page.get_by_text("History").focus()
    page.keyboard.press("Enter")
    entries = page.locator(".history li")
    expect(entries).to_have_count(3)
    expect(entries.nth(0)).to_contain_text("awaiting payment requested Invoice")
    expect(entries.nth(1)).to_contain_text("provisioning paid invoice paid Receipt")
    expect(entries.nth(1).get_by_role("link")).to_have_attribute("href", "https://invoice.example/1")
    expect(entries.nth(2)).to_contain_text("provisioner · address required · no address in this area")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_line_is_released_by_button(page: Page, routes: Routes) -> None:
    page.get_by_role("button", name="Release").click()
    expect(page.locator("#log summary").first).to_contain_text(f"DELETE /api/lines/{LINE['_id']}")
    assert routes.released == ["DELETE"]
