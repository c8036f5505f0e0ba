"""A customer's subscriptions at Stripe, and the add-on quantities on them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import stripe

from line_requests.billing.client import PAGE, list_all
from line_requests.billing.customers import require_deleted_customer
from line_requests.billing.errors import or_none, stripe_errors
from line_requests.domain.errors import BillingRefused
from line_requests.domain.model import Workspace
from line_requests.domain.prices import NO_PERIOD, PendingCharge, Period
from line_requests.domain.submission import Kind

# On every subscription item that this product adds, so that it can remove items that no plan names any more.
ADDED_BY_US = {"line_requests": "add_on"}
# An invoice may be dated a little before the period that it charges for.
CREATED_MARGIN_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class StripeItem:
    """An item of a subscription; `ours` when this product added it, whether or not a plan still names its price."""

    id: str
    quantity: int
    ours: bool
    period: Period = NO_PERIOD
    interval: str = "month"
    interval_count: int = 1
    entitles: bool = True
    """Whether it is worth anything: not at quantity 0. A metered item has no quantity, and is."""


@dataclass(frozen=True, slots=True)
class StripeSubscription:
    """A subscription as Stripe has it; `items` are by price."""

    id: str
    status: str
    created_s: int
    items: Mapping[str, StripeItem]
    currency: str
    anchor_s: int
    latest_invoice: str | None = None
    """The invoice of its present period, or a later one."""


@dataclass(frozen=True, slots=True)
class StripeRenewal:
    """What an invoice charges for a subscription item in one period."""

    price: str
    quantity: int
    period: Period


@dataclass(frozen=True, slots=True)
class StripeCharge:
    """An invoice item that this product has made for places that were owed beyond what was charged."""

    number: int
    kind: Kind
    places: int
    period_end_s: int
    created_s: int


class Subscriptions:
    """The subscriptions of one Stripe account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def of_customer(self, customer: str) -> list[StripeSubscription]:
        """All of a customer's subscriptions, ended ones too."""
        params: stripe.params.SubscriptionListParams = {
            "customer": customer,
            "status": "all",
            "limit": PAGE,
        }
        try:
            return [self._subscription(one) for one in list_all(self._client, "/v1/subscriptions", params)]
        except BillingRefused as refusal:
            require_deleted_customer(self._client, customer, refusal)
            return []

    def listed(self) -> Iterator[StripeSubscription]:
        """Every subscription of the account that is not canceled, a page a call; for operators only."""
        # Without a status: https://docs.stripe.com/api/subscriptions/list
        params: stripe.params.SubscriptionListParams = {"limit": PAGE}
        yield from map(self._subscription, list_all(self._client, "/v1/subscriptions", params))

    def _subscription(self, subscription: Mapping[str, Any]) -> StripeSubscription:
        embedded = subscription["items"]
        items: Iterable[Mapping[str, Any]] = embedded["data"]
        if embedded["has_more"]:
            params: stripe.params.SubscriptionItemListParams = {"subscription": subscription["id"], "limit": PAGE}
            items = list_all(self._client, "/v1/subscription_items", params)
        return StripeSubscription(
            id=subscription["id"],
            status=subscription["status"],
            created_s=subscription["created"],
            currency=subscription["currency"],
            anchor_s=subscription["billing_cycle_anchor"],
            items=dict(map(_item, items)),
            latest_invoice=subscription.get("latest_invoice"),
        )

    def set_quantity(self, subscription_id: str, price: str, item: StripeItem | None, quantity: int | None) -> None:
        """Sets, never increments, an add-on price's quantity from the next period on; None: no item (contract 50)."""
        items = self._client.v1.subscription_items
        with stripe_errors():
            if item is None:
                items.create(
                    {
                        "subscription": subscription_id,
                        "price": price,
                        "quantity": quantity or 0,
                        "proration_behavior": "none",
                        "metadata": ADDED_BY_US,
                    }
                )
            elif quantity is not None:
                items.update(item.id, {"quantity": quantity, "proration_behavior": "none"})
            else:
                items.delete(item.id, {"proration_behavior": "none"})

    def renewals_after(self, customer: str, start_s: int, latest_invoices: Iterable[str] = ()) -> list[StripeRenewal]:
        """What the customer's invoices charge for periods that began after that, of any subscription (contract 52).

        Read off the invoice lines: a quantity that is read later may have been set after the renewal. The latest
        invoices, which the subscriptions name, are read one by one if the list does not have them yet: without them
        the renewals' places would be charged once more.
        """
        params = {"customer": customer, "created": {"gte": start_s - CREATED_MARGIN_S}, "limit": PAGE}
        invoices = list(list_all(self._client, "/v1/invoices", params))
        for invoice_id in sorted(set(latest_invoices).difference(invoice["id"] for invoice in invoices)):
            invoices += self._invoice(invoice_id)
        renewals = [renewal for invoice in invoices for renewal in map(_renewal, self._lines(invoice)) if renewal]
        return [renewal for renewal in renewals if renewal.period.start_s > start_s]

    def _invoice(self, invoice_id: str) -> list[Mapping[str, Any]]:
        found: Any = or_none(lambda: self._client.raw_request("get", f"/v1/invoices/{invoice_id}"))
        return [found.data] if found else []

    def _lines(self, invoice: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        lines: Iterable[Mapping[str, Any]] = invoice["lines"]["data"]
        if invoice["lines"]["has_more"]:
            lines = list_all(self._client, f"/v1/invoices/{invoice['id']}/lines", {"limit": PAGE})
        return lines

    def create_pending_item(self, workspace: Workspace, charge: PendingCharge) -> None:
        """Adds a charge to the subscription's next invoice; the same charge twice is one item."""
        params: stripe.params.InvoiceItemCreateParams = {
            "customer": workspace.customer,
            "subscription": charge.subscription,
            "price_data": {
                "currency": charge.currency,
                "product": charge.product,
                "unit_amount": charge.amount,
                "tax_behavior": charge.tax_behavior,
            },
            "quantity": 1,
            "description": f"{len(charge.from_s)} {charge.kind.words} line{'s' if len(charge.from_s) > 1 else ''}",
            "period": {"start": charge.period.start_s, "end": charge.period.end_s},
            "metadata": _charge_metadata(workspace, charge),
            "tax_rates": list(charge.tax_rates),
        }
        with stripe_errors():
            self._client.v1.invoice_items.create(params, {"idempotency_key": f"{workspace.id}:charge:{charge.number}"})

    def has_item(self, workspace: Workspace, charge: PendingCharge) -> bool:
        """Whether the charge's item exists, for when Stripe may have forgotten its idempotency key."""
        items = self._charge_items(workspace, charge.stored_at_ms // 1000)
        return any(number == charge.number for number, _ in items)

    def charges_after(self, workspace: Workspace, since_s: int) -> list[StripeCharge]:
        """The charges made since then whose numbers the workspace does not know, in the order of the numbers."""
        charges = [
            StripeCharge(number, kind, int(item["metadata"]["places"]), item["period"]["end"], item["date"])
            for number, item in self._charge_items(workspace, since_s)
            for kind in Kind
            if number > workspace.charge_number and kind == item["metadata"].get("kind")
        ]
        return sorted(charges, key=attrgetter("number"))

    def _charge_items(self, workspace: Workspace, since_s: int) -> Iterable[tuple[int, Mapping[str, Any]]]:
        params = {"customer": workspace.customer, "created": {"gte": since_s - CREATED_MARGIN_S}, "limit": PAGE}
        for item in list_all(self._client, "/v1/invoiceitems", params):
            metadata = item.get("metadata") or {}
            if metadata.get("workspace_id") == workspace.id and "charge" in metadata:
                yield int(metadata["charge"]), item


def _charge_metadata(workspace: Workspace, charge: PendingCharge) -> dict[str, str]:
    return {
        "workspace_id": workspace.id,
        "charge": str(charge.number),
        "kind": charge.kind,
        "places": str(len(charge.from_s)),
    }


def _renewal(line: Mapping[str, Any]) -> StripeRenewal | None:
    details = (line.get("parent") or {}).get("subscription_item_details")
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    # A trial's lines charge nothing.
    if not details or not price or details.get("proration") or not line["amount"]:
        return None
    period = Period(line["period"]["start"], line["period"]["end"])
    return StripeRenewal(price, line.get("quantity") or 0, period)


def _item(item: Mapping[str, Any]) -> tuple[str, StripeItem]:
    ours = ADDED_BY_US.items() <= (item.get("metadata") or {}).items()
    recurring = item["price"].get("recurring") or {}
    return item["price"]["id"], StripeItem(
        id=item["id"],
        quantity=item.get("quantity") or 0,  # a metered item has none
        ours=ours,
        period=Period(item["current_period_start"], item["current_period_end"]),
        interval=recurring.get("interval", "month"),
        interval_count=recurring.get("interval_count", 1),
        entitles=item.get("quantity") != 0,
    )
