"""The Stripe account that experiments use: short ways to make things, time, and the removal of all that was made."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import requests
import stripe

from tests.assumptions.registry import NotTriedError, single

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DAY_S = 86_400
# A month of any length and the hour for which Stripe keeps a renewal's invoice as a draft.
A_MONTH_AND_A_DAY_S = 32 * DAY_S
# https://docs.stripe.com/billing/testing/test-clocks/api-advanced-usage: advancing is asynchronous.
CLOCK_WAIT_S = 180.0
EVENT_WAIT_S = 30.0
CLOCK_SKEW_S = 60  # this machine's clock and Stripe's


class Account:
    """One Stripe account in test mode; what is made through it is deleted, voided or archived by `clean_up`."""

    def __init__(
        self,
        api_key: str,
        *,
        restricted_key: str | None = None,
        live_customer: str | None = None,
        api_base: str | None = None,
    ) -> None:
        self._api_base = api_base
        self._restricted_key = restricted_key
        self._live_customer = live_customer
        self._session = requests.Session()
        self._clean_ups: list[tuple[str, Callable[[], object]]] = []
        self._clock: str | None = None
        self.client = self.client_of(api_key)

    def client_of(self, api_key: str) -> stripe.StripeClient:
        return stripe.StripeClient(
            api_key,
            base_addresses={"api": self._api_base} if self._api_base else {},
            http_client=stripe.RequestsClient(timeout=60, session=self._session),
            max_network_retries=2,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @property
    def v1(self) -> stripe.V1Services:
        return self.client.v1

    def later(self, what: str, clean_up: Callable[[], object]) -> None:
        """Remember how to remove something."""
        self._clean_ups.append((what, clean_up))

    def clean_up(self) -> list[str]:
        """Remove everything, the newest first; returns what could not be removed."""
        left = []
        while self._clean_ups:
            what, remove = self._clean_ups.pop()
            try:
                remove()
            except stripe.StripeError as error:
                left.append(f"{what} ({error.user_message or error})")
        self._clock = None
        return left

    # Making things

    @staticmethod
    def key() -> stripe.RequestOptions:
        """Return options with a fresh idempotency key, and without the SDK's own retries."""
        return {"idempotency_key": f"assumption-{secrets.token_hex(12)}", "max_network_retries": 0}

    def new_customer(
        self,
        *,
        card: str | None = "pm_card_visa",
        balance: int = 0,
        timed: bool = False,
        params: stripe.params.CustomerCreateParams | None = None,
    ) -> str:
        """Return a customer with a card that pays; `timed` ones live on the clock that `advance` moves."""
        wanted: stripe.params.CustomerCreateParams = {"name": "An assumption", "balance": balance}
        if card:
            wanted |= {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
        if timed and (clock := self.clock()):
            wanted["test_clock"] = clock
        customer = self.v1.customers.create(wanted | (params or {})).id
        self.later(f"customer {customer}", partial(self._remove_customer, customer))
        return customer

    def _remove_customer(self, customer: str) -> None:
        if getattr(self.v1.customers.retrieve(customer), "deleted", False):
            return
        for subscription in self.v1.subscriptions.list({"customer": customer}).data:
            self.v1.subscriptions.cancel(subscription.id)
        for invoice in self.v1.invoices.list({"customer": customer, "limit": 100}).data:
            with suppress(stripe.InvalidRequestError):  # a bank debit on its way: nothing ends this invoice
                self._close(invoice)
        for item in self.v1.invoice_items.list({"customer": customer, "pending": True, "limit": 100}).data:
            self.v1.invoice_items.delete(item.id)
        self.v1.customers.delete(customer)

    def _close(self, invoice: stripe.Invoice) -> None:
        """Delete a draft, void what is open; what is partly paid can only be marked as paid elsewhere."""
        if invoice.status == "draft":
            self.v1.invoices.delete(invoice.id)
        elif invoice.status in {"open", "uncollectible"}:
            if invoice.amount_paid:
                self.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
            else:
                self.v1.invoices.void_invoice(invoice.id)

    def new_product(self) -> str:
        product = self.v1.products.create({"name": "Extra line (an assumption)"}).id
        self.later(f"product {product}", lambda: self.v1.products.update(product, {"active": False}))
        return product

    def new_price(
        self,
        unit_amount: int = 1500,
        *,
        interval: str | None = "month",
        params: stripe.params.PriceCreateParams | None = None,
    ) -> str:
        """Return a price in US dollars; without an interval it does not recur."""
        wanted: stripe.params.PriceCreateParams = {
            "product": self.new_product(),
            "currency": "usd",
            "unit_amount": unit_amount,
        }
        if interval:
            wanted["recurring"] = {"interval": interval}
        price = self.v1.prices.create(wanted | (params or {})).id
        self.later(f"price {price}", lambda: self.v1.prices.update(price, {"active": False}))
        return price

    def new_tax_rate(self, percentage: int) -> str:
        """Return a rate that is added to prices."""
        rate = self.v1.tax_rates.create({"display_name": "VAT", "percentage": percentage, "inclusive": False}).id
        self.later(f"tax rate {rate}", lambda: self.v1.tax_rates.update(rate, {"active": False}))
        return rate

    def new_draft(
        self,
        customer: str,
        amount: int | None = 1500,
        *,
        params: stripe.params.InvoiceCreateParams | None = None,
    ) -> stripe.Invoice:
        """Return a draft as the product makes one, with one item of that amount (none: without)."""
        wanted: stripe.params.InvoiceCreateParams = {
            "customer": customer,
            "currency": "usd",
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
        }
        invoice = self.v1.invoices.create(wanted | (params or {}))
        if amount is not None:
            self.add_item(customer, invoice.id, amount)
        return invoice

    def add_item(self, customer: str, invoice: str | None, amount: int = 1500) -> stripe.InvoiceItem:
        """Return an invoice item priced inline; without an invoice it is pending."""
        wanted: stripe.params.InvoiceItemCreateParams = {
            "customer": customer,
            "price_data": {"currency": "usd", "product": self.new_product(), "unit_amount": amount},
        }
        if invoice:
            wanted["invoice"] = invoice
        return self.v1.invoice_items.create(wanted)

    def add_pending_item(
        self,
        customer: str,
        subscription: stripe.Subscription,
        amount: int,
        *,
        period: stripe.params.InvoiceItemCreateParamsPeriod | None = None,
    ) -> stripe.InvoiceItem:
        """Return an item for the next invoice of a subscription."""
        wanted: stripe.params.InvoiceItemCreateParams = {
            "customer": customer,
            "subscription": subscription.id,
            "price_data": {"currency": "usd", "product": self.new_product(), "unit_amount": amount},
        }
        if period:
            wanted["period"] = period
        return self.v1.invoice_items.create(wanted)

    def new_open_invoice(
        self,
        customer: str,
        amount: int = 1500,
        *,
        params: stripe.params.InvoiceCreateParams | None = None,
    ) -> stripe.Invoice:
        """Return a finalized invoice that awaits its payment."""
        draft = self.new_draft(customer, amount, params=params)
        return self.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})

    def new_paid_invoice(self, customer: str, amount: int = 1500) -> stripe.Invoice:
        """Return an invoice paid by the customer's card."""
        return self.v1.invoices.pay(self.new_open_invoice(customer, amount).id)

    def payment_intent_of(self, invoice: stripe.Invoice) -> str:
        """Return the payment intent that paid an invoice."""
        shown = self.v1.invoices.retrieve(invoice.id, {"expand": ["payments"]})
        payments = shown.payments.data if shown.payments else []
        paid = [one.payment for one in payments if one.status == "paid" and one.payment.type == "payment_intent"]
        return str(single("payment intents that paid the invoice", paid).payment_intent)

    def new_refund(self, invoice: stripe.Invoice) -> stripe.Refund:
        """Return the refund of all that an invoice's payment intent paid."""
        return self.v1.refunds.create({"payment_intent": self.payment_intent_of(invoice)})

    def new_subscription(
        self,
        customer: str,
        *prices: str,
        params: stripe.params.SubscriptionCreateParams | None = None,
    ) -> stripe.Subscription:
        """Return a subscription to these prices, one of each."""
        wanted: stripe.params.SubscriptionCreateParams = {
            "customer": customer,
            "items": [{"price": price} for price in prices],
        }
        return self.v1.subscriptions.create(wanted | (params or {}))

    # Time

    def clock(self) -> str | None:
        """Return the test clock of this experiment; none where the whole account's time moves."""
        if self._clock is None:
            clocks = self.v1.test_helpers.test_clocks
            clock = clocks.create({"name": "An assumption", "frozen_time": int(time.time())}).id
            self.later(f"test clock {clock}", lambda: clocks.delete(clock))
            self._clock = clock
        return self._clock

    def now(self) -> int:
        """Return the time of timed customers, in epoch seconds."""
        if self._clock is None:
            return int(time.time())
        return self.v1.test_helpers.test_clocks.retrieve(self._clock).frozen_time

    def advance(self, seconds: int) -> None:
        """Let time pass for timed customers."""
        if self._clock is None:
            raise NotTriedError("this experiment has no timed customer")
        clocks = self.v1.test_helpers.test_clocks
        clocks.advance(self._clock, {"frozen_time": self.now() + seconds})
        clock = self._clock
        if not self.eventually(lambda: clocks.retrieve(clock).status == "ready", timeout_s=CLOCK_WAIT_S):
            raise NotTriedError(f"the test clock did not arrive within {CLOCK_WAIT_S:.0f} s")

    def eventually(self, look: Callable[[], T], *, timeout_s: float = EVENT_WAIT_S) -> T:
        """Return the first true answer, or the last one when the time is over."""
        deadline = time.monotonic() + timeout_s
        while not (answer := look()) and time.monotonic() < deadline:
            time.sleep(1)
        return answer

    def event(self, event_type: str, since_s: int, about: Callable[[stripe.Event], bool]) -> stripe.Event | None:
        """Return the newest event of this type about something; Stripe may record it a little later."""
        created: stripe.params.EventListParamsCreated = {"gte": since_s - CLOCK_SKEW_S}
        params: stripe.params.EventListParams = {"type": event_type, "created": created, "limit": 100}
        return self.eventually(lambda: next(filter(about, self.v1.events.list(params).data), None))

    def page_opens(self, url: str | None) -> bool:
        """Return whether an address shows a page."""
        return url is not None and self._session.get(url, timeout=60).ok

    # What customers, banks and time do; a double has controls for it instead

    def pass_real_time(self, seconds: int) -> None:
        """Let time pass for what follows no test clock."""
        raise NotTriedError(f"this would take {seconds // 3600} hours of real time")

    def fail_next_call(self) -> None:
        """Make the next call take effect and be answered with a 500."""
        raise NotTriedError("a real account cannot be made to answer 500")

    def receive_event(self, trigger: Callable[[], object], secret: str) -> tuple[bytes, str]:  # noqa: ARG002
        """Return the body and the Stripe-Signature of the delivery of an event that `trigger` causes."""
        raise NotTriedError("Stripe delivers events to public addresses only")

    def discount_customer(self, customer: str, percent: int) -> None:
        """Give a customer a lasting discount, as one can in the Dashboard."""
        coupon = self.v1.coupons.create({"percent_off": percent, "duration": "forever"}).id
        self.later(f"coupon {coupon}", lambda: self.v1.coupons.delete(coupon))
        # The pinned version has no parameter for it any more: https://docs.stripe.com/changelog/clover
        path, version = f"/v1/customers/{customer}", "2024-06-20"
        self.client.raw_request("post", path, coupon=coupon, stripe_version=version)

    def break_card(self, customer: str) -> None:
        """Let every further charge of the customer's card fail."""
        # https://docs.stripe.com/testing#declined-payments: it can be attached, and then fails.
        card = self.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer}).id
        self.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})

    def start_bank_debit(self, invoice: stripe.Invoice) -> None:
        """Put a bank debit on its way that does not arrive during the experiment."""
        intent = self.v1.setup_intents.create(
            {
                "customer": str(invoice.customer),
                "allowed_payment_method_types": ["us_bank_account"],
                "payment_method": "pm_usBankAccount_processing",  # https://docs.stripe.com/testing#ach-direct-debit
                "mandate_data": {"customer_acceptance": {"type": "offline", "offline": {}}},
                "confirm": True,
            }
        )
        self.v1.invoices.pay(invoice.id, {"payment_method": str(intent.payment_method)})

    def pay_part(self, invoice: stripe.Invoice, amount: int) -> None:
        """Pay a part of an invoice by card."""
        payment = self.v1.payment_intents.create(
            {
                "amount": amount,
                "currency": invoice.currency,
                "customer": str(invoice.customer),
                "payment_method": "pm_card_visa",
                "allowed_payment_method_types": ["card"],
                "confirm": True,
            }
        )
        self.v1.invoices.attach_payment(invoice.id, {"payment_intent": payment.id})

    def new_disputed_invoice(self) -> stripe.Invoice:
        """Return a paid invoice whose payment the bank disputes."""
        # https://docs.stripe.com/testing#disputes
        return self.new_paid_invoice(self.new_customer(card="pm_card_createDispute"))

    def tax_settings(self) -> str | None:
        """Return the account's default tax behaviour, empty when it has none; None when Stripe Tax is not set up."""
        settings = self.v1.tax.settings.retrieve()
        return (settings.defaults.tax_behavior or "") if settings.status == "active" else None

    def new_failed_refund(self) -> stripe.Refund:
        """Return a refund that the bank refuses, now or a little later."""
        # https://docs.stripe.com/testing#refunds
        return self.new_refund(self.new_paid_invoice(self.new_customer(card="pm_card_refundFail")))

    def narrow_client(self) -> stripe.StripeClient:
        """Return a client whose restricted key may not read invoices."""
        if not self._restricted_key:
            raise NotTriedError("set STRIPE_RESTRICTED_KEY to an rk_test_ key that may not read invoices")
        return self.client_of(self._restricted_key)

    def live_customer(self) -> str:
        """Return the id of a customer of the live mode."""
        if not self._live_customer:
            raise NotTriedError("set STRIPE_LIVE_CUSTOMER to the id of any live customer of this account")
        return self._live_customer
