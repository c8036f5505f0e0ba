"""A workspace that is settled: its item, its subscription at Stripe, and what is done to both."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from line_requests.billing.subscriptions import StripeCharge, StripeItem, StripeRenewal, StripeSubscription
from line_requests.domain.prices import Allowance, Counted, Coverage, Plan
from line_requests.domain.submission import Kind
from line_requests.flows.add_ons import AddOns
from line_requests.flows.subscriptions import Refreshed
from tests.decision.examples import ADD_ONS, NOW_MS, PENDING_CHARGE, PERIOD, counts, subscription, workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from line_requests.domain.model import Workspace
    from line_requests.domain.prices import PendingCharge

EMAIL, PHONE = Kind.EMAIL, Kind.PURCHASED_PHONE
NOW_S, END_S = NOW_MS // 1000, PERIOD.end_s
FOR_SALE = subscription(email=Allowance(0, add_on=ADD_ONS[EMAIL]))
COUNTED = Counted("sub_1", END_S, PERIOD.start_s)
CHARGE = replace(
    PENDING_CHARGE,
    tax_behavior="unspecified",
    tax_rates=(),
    period=replace(PERIOD, start_s=NOW_S),
    from_s=(NOW_S,),
)
# What sets the quantity of one email line.
SET = ("sub_1", "price_email", None, 1)


class Ledger:
    """A workspace with its subscription at Stripe, and what is written of it and asked there, in order."""

    def __init__(self, stored: Workspace, *items: tuple[str, StripeItem], also: tuple[Plan, ...] = ()) -> None:
        self.workspace = stored
        self.listed = [StripeSubscription("sub_1", "active", 1, dict(items), "usd", 0)]
        self.did: list[Any] = []
        self.renewed: list[StripeRenewal] = []
        self.latest: list[str] = []
        """The invoices that are read although no list shows them."""
        self.made: list[StripeCharge] = []
        self.items: set[int] = set()
        """The numbers of charges that exist as items."""
        self.trouble: list[Exception] = []
        """What the next items that are made meet."""
        self.counts_change = self.leased = False
        allowances = stored.subscription.allowances if stored.subscription else {}
        self._plans = [*also, Plan("starter", ("price_base",), allowances)]

    def settle(self, now_ms: int = NOW_MS) -> tuple[Workspace | None, int]:
        stub: Any = self
        return AddOns(stub, stub).settle(SimpleNamespace(subscriptions=self), "acme", now_ms)  # type: ignore[arg-type] # as much of it as is called

    # --- the workspace ------------------------------------------------------------------------------

    def lease_quantities(self, _: str, __: int) -> Workspace | None:
        return None if self.leased else self.workspace

    def abandon_quantities(self, _: Workspace) -> None:
        self.did.append("abandoned")

    def finish_quantities(self, seen: Workspace, *, asked_at_ms: int, due_at_ms: int | None) -> Workspace:
        self.did.append(("finished", asked_at_ms, due_at_ms))
        return seen

    def save_charged(
        self,
        seen: Workspace,
        charged: Mapping[Kind, tuple[Coverage, ...]],
        *,
        counted: Counted | None,
        pending_charge: PendingCharge | None,
    ) -> Workspace | None:
        self.did.append(("charge" if pending_charge else "saved", pending_charge or charged))
        if self.counts_change:
            return None
        number = pending_charge.number if pending_charge else seen.charge_number
        changed: dict[str, Any] = {"charged": charged, "pending_charge": pending_charge, "charge_number": number}
        self.workspace = replace(seen, counted=counted or seen.counted, **changed)
        return self.workspace

    def refresh_and_list(self, _: object, seen: Workspace, __: int) -> Refreshed:
        return Refreshed(seen, self.listed, self._plans)

    # --- Stripe -------------------------------------------------------------------------------------

    def renewals_after(self, customer: str, start_s: int, latest: Iterable[str]) -> list[StripeRenewal]:
        self.did.append(("renewals", customer, start_s))
        self.latest = list(latest)
        return [one for one in self.renewed if one.period.start_s > start_s]

    def charges_after(self, seen: Workspace, since_s: int) -> list[StripeCharge]:
        self.did.append(("unknown", since_s))
        return [one for one in self.made if one.number > seen.charge_number]

    def has_item(self, _: Workspace, charge: PendingCharge) -> bool:
        self.did.append(("has", charge.number))
        return charge.number in self.items

    def create_pending_item(self, _: Workspace, charge: PendingCharge) -> None:
        self.did.append(("item", charge.number, charge.kind, charge.amount))
        if self.trouble:
            raise self.trouble.pop(0)

    def set_quantity(self, subscription_id: str, price: str, item: StripeItem | None, quantity: int | None) -> None:
        self.did.append((subscription_id, price, item.id if item else None, quantity))

    def of(self, *names: str) -> list[Any]:
        """What was done under one of these names, each as a tuple."""
        told = [one if isinstance(one, tuple) else (one,) for one in self.did]
        return [one for one in told if one[0] in names]


def holding(places: int = 1, paid: int | None = None, **changes: Any) -> Workspace:  # noqa: ANN401 - any of its fields
    """A workspace with so many email lines, all of them paid for, whose renewal is counted."""
    unpaid = 0 if paid is None else places - paid
    usual: dict[str, Any] = {"held": counts(email=places), "unpaid": counts(email=unpaid), "subscription": FOR_SALE}
    return workspace(**usual | {"counted": COUNTED, "charged": {}} | changes)


def covered(places: int, until_s: int = END_S) -> dict[Kind, tuple[Coverage, ...]]:
    return {EMAIL: (Coverage(until_s, places),)}


def item(name: str, quantity: int, *, ours: bool = True) -> StripeItem:
    return StripeItem(f"si_{name}", quantity, ours=ours)
