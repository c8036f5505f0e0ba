"""One workspace and Stripe's double over months: paid lines, runs of the reconciler, and what was charged for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli_w

from line_requests.billing.operator_account import OperatorBilling
from line_requests.domain.prices import AddOn, Allowance, Amount, Plan
from line_requests.domain.submission import Kind
from line_requests.operator import commands, import_file, importing, plan_checks, plan_files
from tests.support.shop import WaitingClock

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.support.account import Interval
    from tests.support.shop import Shop

PHONE = Kind.PURCHASED_PHONE
DAY_S = 86_400
MONTH_S = 31 * DAY_S  # no month is longer
UNIT_AMOUNTS: dict[Interval, int] = {"month": 1500, "year": 15_000}
COLUMNS = "workspace,customer,externalId,paid,firstName,lastName,channelType,email"


class Books:
    """The workspace acme on a plan by the month or by the year, which includes no line."""

    def __init__(self, shop: Shop, interval: Interval = "month") -> None:
        self.shop = shop
        self.v1 = shop.account.v1
        product = shop.account.product()
        self.bases = {each: shop.account.price(2900, interval=each) for each in UNIT_AMOUNTS}
        self.add_ons = {
            each: shop.account.price(unit_amount, interval=each, product=product)
            for each, unit_amount in UNIT_AMOUNTS.items()
        }
        shop.world.plans.save([self._plan(each, product) for each in UNIT_AMOUNTS])
        self.customer = shop.account.subscriber(self.bases[interval])
        (subscription,) = self.v1.subscriptions.list({"customer": self.customer}).data
        self.subscription = subscription.id
        commands.create_workspace(
            shop.world.workspaces,
            shop.lifecycle.subscriptions,
            OperatorBilling.of(shop.product.billing(self.clock())),
            "acme",
            customer=self.customer,
            now_ms=self.now_ms,
        )
        self.reconcile()

    def _plan(self, interval: Interval, product: str) -> Plan:
        add_on = AddOn(self.add_ons[interval], product, {"usd": Amount(UNIT_AMOUNTS[interval])})
        return Plan(interval, (self.bases[interval],), {PHONE: Allowance(0, None, add_on)})

    @property
    def now_ms(self) -> int:
        return self.shop.double.advance(0) * 1000

    def clock(self) -> WaitingClock:
        return WaitingClock(self.now_ms, 60)

    # --- the workspace --------------------------------------------------------------------------

    def reconcile(self, after_s: int = 0) -> int:
        """One run of the reconciler, after that time; returns the number of changes at Stripe."""
        due, now_s = self.shop.product.stores.due, self.shop.double.advance(after_s)
        # As if it had run meanwhile: a month of the feed is read in 124 slices.
        due.move_watermark(seen_s=due.watermark_s(), to_s=now_s - 60)
        done = self.shop.product.reconciler(self.clock()).run()
        assert done["failed"] == 0
        return done["quantities"]

    def paid_line(self) -> Line:
        """A further line, requested, paid and active now; its quantity is set."""
        lines, before = self.shop.world.lines, {line.id for line in self.shop.world.lines.of_workspace("acme")}
        self.shop.submit(at=self.clock())
        (line,) = [line for line in lines.of_workspace("acme") if line.id not in before]
        assert line.invoice_id is not None
        self.shop.double.pay_invoice(line.invoice_id)
        paid = self.shop.product.billing(self.clock()).invoices.retrieve(line.invoice_id)
        self.shop.lifecycle.apply(self.clock(), line, paid)
        line = lines.mark_active(self.shop.world.line(line), self.now_ms)
        self.reconcile()
        return line

    def sell_lines_at(self, unit_amount: int, price: str | None = None) -> str:
        """Applies the monthly plan with another add-on price, without a sync; returns the one that it had."""
        before, self.add_ons["month"] = self.add_ons["month"], price or self.shop.account.price(unit_amount)
        table = {
            "base_prices": [self.bases["month"]],
            "lines": {PHONE: {"included": 0, "add_on": self.add_ons["month"]}},
        }
        plans, billing = self.shop.product.stores.plans, OperatorBilling.of(self.shop.product.billing(self.clock()))
        specs = plan_files.read(tomli_w.dumps({"month": table}))
        plans.save(plan_checks.check(specs, plans.all(), billing).plans)
        return before

    def import_line(self) -> None:
        """Imports one line that the subscription charges already."""
        file = f"{COLUMNS}\nacme,{self.customer},one,yes,Ada,Lovelace,phone,\n"
        stores, billing = self.shop.product.stores, OperatorBilling.of(self.shop.product.billing(self.clock()))
        (batch,) = importing.check(stores, lambda: billing, import_file.read(file))
        importing.write(stores, batch, self.now_ms)

    def charged(self) -> dict[int, int]:
        """How many places are charged until when, as stored."""
        places: dict[int, int] = {}
        for one in self.shop.world.now().charged.get(PHONE, ()):
            places[one.until_s] = places.get(one.until_s, 0) + one.places
        return places

    # --- Stripe ---------------------------------------------------------------------------------

    def item_ids(self) -> dict[str, str]:
        return {item.price.id: item.id for item in self.v1.subscriptions.retrieve(self.subscription)["items"].data}

    def set_quantity(self, quantity: int) -> None:
        """As a person does at Stripe, without prorations."""
        item = self.item_ids()[self.add_ons["month"]]
        self.v1.subscription_items.update(item, {"quantity": quantity, "proration_behavior": "none"})

    def quantities(self, subscription: str | None = None) -> dict[str, int]:
        """The quantity of each add-on price that has an item."""
        items = self.v1.subscriptions.retrieve(subscription or self.subscription)["items"].data
        intervals = {price: interval for interval, price in self.add_ons.items()}
        return {intervals[item.price.id]: item.quantity or 0 for item in items if item.price.id in intervals}

    def period(self) -> tuple[int, int]:
        items = self.v1.subscriptions.retrieve(self.subscription)["items"].data
        (period,) = {(item.current_period_start, item.current_period_end) for item in items}
        return period

    def charges(self) -> list[tuple[int, int, int]]:
        """Each charge and credit for lines, invoiced or pending, by time: amount, from when, until when."""
        found: list[Any] = [line for one in self.shop.double.all_of("invoice") for line in one["lines"]["data"]]
        found += [item for item in self.shop.double.all_of("invoiceitem") if item["invoice"] is None]
        bases = set(self.bases.values())
        shown = [
            (one["amount"], one["period"]["start"], one["period"]["end"])
            for one in found
            if one["amount"] and (one["pricing"]["price_details"] or {}).get("price") not in bases
        ]
        return sorted(shown, key=lambda charge: charge[1:])
