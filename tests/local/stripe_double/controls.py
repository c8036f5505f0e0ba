"""What customers, banks and time do: controls that are no API calls."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from . import discounts, invoice_states, renewals, subscription_status
from .dashboard import Dashboard
from .payments import DECLINED_CARD

if TYPE_CHECKING:
    from .account import AfterRetries
    from .errors import Json


class Controls(Dashboard):
    """Controls of one account; every method is thread-safe."""

    def advance(self, seconds: int) -> int:
        """Let time pass and do what falls due meanwhile, in order; return the new time."""
        with self._lock:
            self._account.clock.advance(seconds)
            self._account.catch_up()
            return self._account.now()

    advance_seconds = advance

    def invoice(self, invoice_id: str) -> Json:
        """Return an invoice without an API call."""
        with self._lock:
            return copy.deepcopy(self._account.get("invoice", invoice_id))

    def all_of(self, kind: str) -> list[Json]:
        """Return every object of a kind ("invoice", "event", "subscription", …), newest first."""
        with self._lock:
            return copy.deepcopy(list(self._account.newest(kind)))

    def kinds(self) -> list[str]:
        """Return the kinds of which objects exist."""
        with self._lock:
            return [kind for kind, table in self._account.tables.items() if table]

    def pay_invoice(self, invoice_id: str) -> None:
        """Pay an invoice as its customer would, with a card that is not declined."""
        with self._lock:
            invoice_states.pay(self._account, {"payment_method": "pm_card_visa"}, invoice_id)

    def forget_invoice(self, invoice_id: str) -> None:
        """Make an invoice unknown from now on, as a key of another account would find it."""
        with self._lock:
            self._account.note(self._account.tables["invoice"].pop(invoice_id))

    def alter_invoice(self, invoice_id: str, **fields: object) -> None:
        """Change an invoice against Stripe's rules, as only a race inside of Stripe can; no event tells of it."""
        with self._lock:
            invoice = self._account.get("invoice", invoice_id)
            invoice.update(fields)
            self._account.note(invoice)

    def keep_off_lists(self, *object_ids: str) -> None:
        """Leave these objects out of every list, as lists that lag would; none: show all again."""
        with self._lock:
            self._account.unlisted = frozenset(object_ids)

    def forget_events(self) -> None:
        """Empty the feed, as a month does."""
        with self._lock:
            self._account.tables["event"].clear()

    def age_events(self, seconds: int) -> None:
        """Move every event's creation into the past."""
        with self._lock:
            for event in self._account.tables["event"].values():
                event["created"] -= seconds

    def start_bank_debit(self, invoice_id: str) -> None:
        """Start a payment by bank debit: the invoice stays open and void fails."""
        with self._lock:
            invoice_states.start_bank_debit(self._account, invoice_id)

    def settle_bank_debit(self, invoice_id: str, *, succeeded: bool) -> None:
        """End a bank debit: paid, or still open."""
        with self._lock:
            invoice_states.settle_bank_debit(self._account, invoice_id, succeeded=succeeded)

    def set_payments(self, customer_id: str, *, succeed: bool, in_the_end: AfterRetries = "cancel") -> None:
        """Let a customer's automatic payments succeed or fail; `in_the_end` is for after the last retry."""
        with self._lock:
            settings = self._account.get("customer", customer_id)["invoice_settings"]
            settings["default_payment_method"] = None if succeed else DECLINED_CARD
            self._account.after_failed_payments = in_the_end

    def discount_customer(self, customer_id: str, *, percent_off: float) -> Json:
        """Give a customer a discount on every invoice, as the dashboard can."""
        with self._lock:
            customer = self._account.get("customer", customer_id)
            coupon = discounts.create_coupon(self._account, {"duration": "forever", "percent_off": percent_off})
            discount = discounts.redeem(self._account, coupon["id"], customer=customer_id)
            self._account.change("customer.updated", customer, {"discount": discount})
            return copy.deepcopy(discount)

    def set_subscription_status(
        self,
        subscription_id: str,
        status: str | None = None,
        *,
        cancel_at_period_end: bool | None = None,
        pause_collection: Json | str | None = None,
    ) -> Json:
        """Force a subscription into any of Stripe's states; `""` ends `pause_collection`."""
        with self._lock:
            forced = subscription_status.set_status(
                self._account,
                subscription_id,
                status,
                cancel_at_period_end=cancel_at_period_end,
                pause_collection=pause_collection,
            )
            renewals.schedule(self._account, forced)
            self._account.catch_up()
            return copy.deepcopy(forced)
