"""A customer's subscriptions at Stripe, and the add-on quantities on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import stripe

from line_requests.billing.client import PAGE
from line_requests.billing.customers import require_deleted_customer
from line_requests.billing.errors import stripe_errors
from line_requests.domain.errors import BillingRefused

# On every subscription item that this product adds, so that it can remove items that no plan names any more.
ADDED_BY_US = {"line_requests": "add_on"}


@dataclass(frozen=True, slots=True)
class StripeItem:
    """An item of a subscription; `ours` when this product added it, whether or not a plan still names its price."""

    id: str
    quantity: int
    ours: bool


@dataclass(frozen=True, slots=True)
class StripeSubscription:
    """A subscription as Stripe has it; `items` are by price."""

    id: str
    status: str
    created_s: int
    items: Mapping[str, StripeItem]


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
            with stripe_errors():
                listed = list(self._client.v1.subscriptions.list(params).auto_paging_iter())
                return [self._subscription(subscription) for subscription in listed]
        except BillingRefused as refusal:
            require_deleted_customer(self._client, customer, refusal)
            return []

    def _subscription(self, subscription: stripe.Subscription) -> StripeSubscription:
        # Subscript access: a StripeObject's attribute `items` would be a method of dict.
        embedded: Any = subscription["items"]
        items: Iterable[Any] = embedded.data
        if embedded.has_more:
            params: stripe.params.SubscriptionItemListParams = {
                "subscription": subscription.id,
                "limit": PAGE,
            }
            items = self._client.v1.subscription_items.list(params).auto_paging_iter()
        return StripeSubscription(
            id=subscription.id,
            status=subscription.status,
            created_s=subscription.created,
            items=dict(_item(item.to_dict()) for item in items),
        )

    def set_quantity(self, subscription_id: str, price: str, item: StripeItem | None, quantity: int) -> None:
        """Sets, never increments, the quantity of an add-on price from the next period on (contract 50)."""
        items = self._client.v1.subscription_items
        with stripe_errors():
            if item is None:
                items.create(
                    {
                        "subscription": subscription_id,
                        "price": price,
                        "quantity": quantity,
                        "proration_behavior": "none",
                        "metadata": ADDED_BY_US,
                    }
                )
            elif quantity:
                items.update(item.id, {"quantity": quantity, "proration_behavior": "none"})
            else:
                items.delete(item.id, {"proration_behavior": "none"})


def _item(item: Mapping[str, Any]) -> tuple[str, StripeItem]:
    ours = ADDED_BY_US.items() <= (item.get("metadata") or {}).items()
    # A metered item has no quantity at all.
    return item["price"]["id"], StripeItem(item["id"], item.get("quantity") or 0, ours)
