"""What is believed of a Stripe event, from a webhook or from the feed: that something may have changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Only what can settle a line: a finalized or an uncollectible invoice changes nothing by itself.
INVOICE_EVENTS = (
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.voided",
    "invoice.deleted",
)
# What is paid is told twice; in the feed, where each page is a call, once is enough.
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
    """What an event is taken for: something about this invoice or customer may have changed."""

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
    """Reads the few fields of an event that are believed; its snapshot of the object never is."""
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
