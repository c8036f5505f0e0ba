"""Stripe's events, from the webhook or the feed: hints that an invoice or a subscription may have changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import stripe

from line_requests.billing.client import PAGE, list_all

# Only the events that can settle a line: a finalized or an uncollectible invoice changes nothing by itself.
INVOICE_EVENTS = (
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.voided",
    "invoice.deleted",
)
# Stripe reports a payment by two events; in the feed, where each page is a call, one is enough.
FEED_INVOICE_EVENTS = tuple(name for name in INVOICE_EVENTS if name != "invoice.payment_succeeded")
SUBSCRIPTION_EVENTS = (
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
)


@dataclass(frozen=True, slots=True)
class Hint:
    """An invoice, or a customer's subscription, may have changed."""

    type: str
    created_s: int
    livemode: bool
    object_id: str
    customer: str
    workspace_id: str
    line_id: str

    @property
    def about_subscription(self) -> bool:
        """Whether the workspace's plan or status may have changed."""
        return self.type in SUBSCRIPTION_EVENTS

    @property
    def about_payment(self) -> bool:
        """Whether money came in."""
        return self.type in {"invoice.paid", "invoice.payment_succeeded"}

    @property
    def about_our_invoice(self) -> bool:
        """Whether a line's invoice may have changed."""
        return self.type in INVOICE_EVENTS and bool(self.line_id and self.workspace_id)


def hint_of(event: Mapping[str, Any]) -> Hint:
    """Reads the few fields of an event that are used; its snapshot of the object never is."""
    subject = event["data"]["object"] if event["type"] in {*INVOICE_EVENTS, *SUBSCRIPTION_EVENTS} else {}
    metadata = subject.get("metadata") or {}
    customer, created = subject.get("customer"), event.get("created")
    return Hint(
        type=str(event["type"]),
        created_s=created if isinstance(created, int) else 0,
        livemode=event["livemode"] is True,
        object_id=str(subject.get("id", "")),
        customer=customer if isinstance(customer, str) else "",
        workspace_id=str(metadata.get("workspace_id", "")),
        line_id=str(metadata.get("line_id", "")),
    )


class Events:
    """The event feed of one Stripe account, which keeps events for 30 days."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def between(self, *, since_s: int, until_s: int) -> Iterator[Hint]:
        """The events of that time that concern lines, newest first."""
        params: stripe.params.EventListParams = {
            "types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS],
            "created": {"gte": since_s, "lte": until_s},
            "limit": PAGE,
        }
        yield from map(hint_of, list_all(self._client, "/v1/events", params))
