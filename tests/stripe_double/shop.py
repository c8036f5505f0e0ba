"""What the tests hold: a running double, a client of the real SDK, and a few short-cuts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3

from tests.support.account import Account

if TYPE_CHECKING:
    import stripe

API_KEY = "sk_test_product"
START = 1_798_761_600  # 2027-01-01; the clock stands still unless a test moves it
DAY = 86_400
HOUR = 3_600


@dataclass
class Shop(Account):
    api_key: str = API_KEY

    def subscription(
        self, customer: str | None = None, *, unit_amount: int = 1500, trial_days: int = 0
    ) -> stripe.Subscription:
        params: stripe.params.SubscriptionCreateParams = {
            "customer": customer or self.customer(),
            "items": [{"price": self.price(unit_amount)}],
        }
        if trial_days:
            params["trial_period_days"] = trial_days
        return self.v1.subscriptions.create(params)

    def retrieve(self, subscription: stripe.Subscription) -> stripe.Subscription:
        return self.v1.subscriptions.retrieve(subscription.id)

    def invoices(self, subscription: stripe.Subscription) -> list[stripe.Invoice]:
        """Newest first, without the first one."""
        return self.v1.invoices.list({"subscription": subscription.id}).data[:-1]

    def pending(self, subscription: stripe.Subscription) -> list[int]:
        """Amounts of the pending invoice items, oldest first."""
        items = self.v1.invoice_items.list({"customer": str(subscription.customer), "pending": True}).data
        return [item.amount for item in reversed(items)]

    def draft(self, customer: str | None = None, amount: int | None = 1500) -> str:
        customer = customer or self.customer()
        invoice = self.v1.invoices.create({"customer": customer, "currency": "usd"})
        if amount is not None:
            price: stripe.params.InvoiceItemCreateParamsPriceData = {
                "currency": "usd",
                "product": self.product(),
                "unit_amount": amount,
            }
            self.v1.invoice_items.create({"customer": customer, "invoice": invoice.id, "price_data": price})
        return invoice.id

    def open_invoice(self, customer: str | None = None, amount: int = 1500) -> stripe.Invoice:
        return self.v1.invoices.finalize_invoice(self.draft(customer, amount), {"auto_advance": False})

    def events_about(self, object_id: str) -> list[str]:
        """Types of the events about an object, oldest first."""
        events = [e for e in self.double.all_of("event") if e["data"]["object"]["id"] == object_id]
        return [str(event["type"]) for event in reversed(events)]


def browse(method: str, url: str | None) -> urllib3.BaseHTTPResponse:
    """Ask for a page without following redirects."""
    assert url is not None
    return urllib3.request(method, url, redirect=False)
