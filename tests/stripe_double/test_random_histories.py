"""Random requests, dashboard actions and months: the double never breaks, amounts add up, every act is told of."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from tests.local.stripe_double.dashboard import ACTIONS
from tests.local.stripe_double.errors import ApiError
from tests.stripe_double.shop import DAY
from tests.trace.recorder import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stripe_double.shop import Shop

STEPS = 60
RUNNING = {"active", "trialing", "past_due", "unpaid"}
BEHAVIORS = ("none", "create_prorations", "always_invoice")


class History:
    """One account and what may happen to it; Stripe refuses much of that, as it should."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.double, self.v1 = shop, shop.double, shop.v1
        self.chance = random.Random(seed)
        self.told: dict[tuple[str, str], Any] = {}
        self.double.on_act = self.note
        self.prices = [
            shop.price(amount, interval=interval) for amount in (0, 30, 3100) for interval in ("week", "month", "year")
        ]
        self.customers = [shop.customer(balance) for balance in (0, -700)]
        self.acts: list[Callable[[], Any]] = [
            self.subscribe,
            self.wait,
            self.wait,
            self.add_item,
            self.change_item,
            self.change_subscription,
            self.cancel,
            self.add_pending_item,
            self.touch_invoice,
            self.move_invoice,
            self.break_or_mend_card,
            self.force_status,
        ]

    def note(self, _began_ns: int, changed: list[tuple[str, str, object]]) -> None:
        self.told |= {(kind, name): copy.deepcopy(found) for kind, name, found in changed}

    def step(self) -> None:
        with suppress(stripe.InvalidRequestError, stripe.CardError, ApiError, IndexError):
            self.chance.choice(self.acts)()

    def subscription(self) -> str:
        return str(self.chance.choice(self.double.all_of("subscription"))["id"])

    def invoice(self) -> str:
        return str(self.chance.choice(self.double.all_of("invoice"))["id"])

    def subscribe(self) -> None:
        prices = self.chance.sample(self.prices, self.chance.choice([1, 1, 2]))
        self.v1.subscriptions.create(
            {
                "customer": self.chance.choice(self.customers),
                "items": [{"price": price, "quantity": self.chance.choice([0, 1, 3])} for price in prices],
                "trial_period_days": self.chance.choice([0, 0, 10, 40]),
            }
        )

    def wait(self) -> None:
        self.double.advance(self.chance.choice([1, DAY // 24, DAY, 7 * DAY, 40 * DAY]))

    def add_item(self) -> None:
        self.v1.subscription_items.create(
            {
                "subscription": self.subscription(),
                "price": self.chance.choice(self.prices),
                "proration_behavior": self.chance.choice(BEHAVIORS),
            }
        )

    def change_item(self) -> None:
        item = self.chance.choice(self.double.all_of("subscription_item"))["id"]
        behavior = self.chance.choice(BEHAVIORS)
        if self.chance.random() < 0.3:
            self.v1.subscription_items.delete(item, {"proration_behavior": behavior})
        elif self.chance.random() < 0.5:
            price = self.chance.choice(self.prices)
            self.v1.subscription_items.update(item, {"price": price, "proration_behavior": behavior})
        else:
            quantity = self.chance.randrange(4)
            self.v1.subscription_items.update(item, {"quantity": quantity, "proration_behavior": behavior})

    def change_subscription(self) -> None:
        changes: list[stripe.params.SubscriptionUpdateParams] = [
            {"cancel_at_period_end": True},
            {"cancel_at_period_end": False},
            {"trial_end": "now"},
            {"trial_end": self.double.advance(0) + 5 * DAY},
            {"billing_cycle_anchor": {"type": "now"}},
            {"pause_collection": {"behavior": "void"}},
            {"pause_collection": {"behavior": "keep_as_draft", "resumes_at": self.double.advance(0) + 9 * DAY}},
            {"pause_collection": ""},
        ]
        self.v1.subscriptions.update(self.subscription(), self.chance.choice(changes))

    def cancel(self) -> None:
        prorate, invoice_now = self.chance.random() < 0.5, self.chance.random() < 0.5
        self.v1.subscriptions.cancel(self.subscription(), {"prorate": prorate, "invoice_now": invoice_now})

    def add_pending_item(self) -> None:
        subscription = self.v1.subscriptions.retrieve(self.subscription())
        amount = self.chance.choice([-400, 20, 900])
        self.v1.invoice_items.create(
            {
                "customer": str(subscription.customer),
                "subscription": subscription.id,
                "amount": amount,
                "currency": subscription.currency,
            }
        )

    def touch_invoice(self) -> None:
        self.double.touch_invoice(self.invoice(), self.chance.choice(list(ACTIONS)), self.chance.choice([None, 10]))

    def move_invoice(self) -> None:
        invoices = self.v1.invoices
        moves = [invoices.pay, invoices.finalize_invoice, invoices.void_invoice, invoices.mark_uncollectible]
        self.chance.choice(moves)(self.invoice())

    def break_or_mend_card(self) -> None:
        in_the_end = self.chance.choice(["cancel", "unpaid", "past_due"])
        self.double.set_payments(
            self.chance.choice(self.customers),
            succeed=self.chance.random() < 0.5,
            in_the_end=in_the_end,  # type: ignore[arg-type] # mypy widens the choice to str
        )

    def force_status(self) -> None:
        status = self.chance.choice(["active", "trialing", "past_due", "unpaid", "paused", "canceled"])
        self.double.set_subscription_status(self.subscription(), status)

    def check(self) -> None:
        now = self.double.advance(0)
        for invoice in self.double.all_of("invoice"):
            assert invoice["amount_due"] == invoice["amount_paid"] + invoice["amount_remaining"], invoice
            assert 0 <= invoice["amount_remaining"] <= invoice["amount_due"], invoice
            assert invoice["status"] != "paid" or invoice["amount_remaining"] == 0, invoice
            assert invoice["subtotal"] == sum(line["amount"] for line in invoice["lines"]["data"]), invoice
        for kind in KINDS:
            for found in self.double.all_of(kind):
                assert self.told[kind, found["id"]] == found, "an act was not told of, or not all of it"
        for subscription in self.double.all_of("subscription"):
            for item in subscription["items"]["data"] if subscription["status"] in RUNNING else []:
                assert item["current_period_start"] <= now < item["current_period_end"], subscription


@pytest.mark.parametrize("seed", range(8))
def test_random_history_keeps_amounts_and_periods_right(shop: Shop, seed: int) -> None:
    history = History(shop, seed)
    for _ in range(STEPS):
        history.step()
        history.check()
    assert {"invoice", "subscription"} <= set(shop.double.kinds())
