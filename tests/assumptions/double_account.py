"""The Stripe double as a test account: its controls replace customers, banks and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tests.assumptions.account import Account
from tests.support.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Callable

    import stripe

    from tests.local.stripe_double import StripeDouble

T = TypeVar("T")

API_KEY = "sk_test_assumptions"
NARROW_KEY = "rk_test_assumptions"


class DoubleAccount(Account):
    """An account of the double; its whole clock moves, so that no customer needs one of its own."""

    def __init__(self, double: StripeDouble) -> None:
        self._double = double
        self._passed_s = 0
        double.product_api_key = API_KEY
        double.forbidden_api_keys.add(NARROW_KEY)
        super().__init__(API_KEY, restricted_key=NARROW_KEY, live_customer="cus_live", api_base=double.url)

    def clock(self) -> None:
        return None

    def now(self) -> int:
        return super().now() + self._passed_s

    def advance(self, seconds: int) -> None:
        self._double.advance(seconds)
        self._passed_s += seconds

    def eventually(self, look: Callable[[], T], *, timeout_s: float = 0) -> T:  # noqa: ARG002 - the double answers at once
        return look()

    def pass_real_time(self, seconds: int) -> None:
        self.advance(seconds)

    def fail_next_call(self) -> None:
        self._double.set_faults("error_after", 1)

    def discount_customer(self, customer: str, percent: int) -> None:
        self._double.discount_customer(customer, percent_off=percent)

    def break_card(self, customer: str) -> None:
        self._double.set_payments(customer, succeed=False)

    def pay_part(self, invoice: stripe.Invoice, amount: int) -> None:
        self._double.touch_invoice(invoice.id, "pay_part", amount)

    def new_disputed_invoice(self) -> stripe.Invoice:
        invoice = self.new_paid_invoice(self.new_customer())
        self._double.touch_invoice(invoice.id, "dispute")
        return invoice

    def new_failed_refund(self) -> stripe.Refund:
        refund = self.new_refund(self.new_paid_invoice(self.new_customer()))
        self._double.fail_refund(refund.id)
        return refund

    def new_tax_rate(self, percentage: int) -> str:
        # The double cannot archive one.
        return self.v1.tax_rates.create({"display_name": "VAT", "percentage": percentage, "inclusive": False}).id

    def start_bank_debit(self, invoice: stripe.Invoice) -> None:
        self._double.start_bank_debit(invoice.id)

    def receive_event(self, trigger: Callable[[], object], secret: str) -> tuple[bytes, str]:
        with receiving() as server:
            self._double.webhook_secrets, self._double.webhook_endpoint = [secret], server.url
            trigger()
            self._double.wait_idle()
            self._double.webhook_endpoint = None
        return server.received[-1]
