"""Stripe's events, from the webhook or the feed: hints that an invoice or a subscription may have changed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import stripe

from line_requests.billing.client import PAGE, list_all
from line_requests.telemetry import logger

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
# They tell of money that goes back: https://docs.stripe.com/api/events/types
REVERSAL_EVENTS = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "credit_note.created",
    "credit_note.updated",
    "credit_note.voided",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
# All that the webhook endpoint has to send.
WEBHOOK_EVENTS = frozenset({*INVOICE_EVENTS, *SUBSCRIPTION_EVENTS, *REVERSAL_EVENTS})
# The feed takes 20 types, and a movement of a dispute's funds comes with another of its events.
FEED_REVERSAL_EVENTS = tuple(name for name in REVERSAL_EVENTS if not name.startswith("charge.dispute.funds_"))
# Stripe's ids have at most 255 characters: https://docs.stripe.com/upgrades
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
# What reading an event of another shape raises.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Hint:
    """An invoice, or a customer's subscription, may have changed, or money may have gone back."""

    type: str
    created_s: int
    livemode: bool
    object_id: str
    customer: str
    workspace_id: str
    line_id: str
    invoice_id: str = ""
    payment_intent: str = ""

    @property
    def about_subscription(self) -> bool:
        """Whether the workspace's plan or status may have changed."""
        return self.type in SUBSCRIPTION_EVENTS

    @property
    def about_reversal(self) -> bool:
        """Whether money may have gone back, of an invoice or of a payment that is named."""
        return self.type in REVERSAL_EVENTS and bool(self.invoice_id or self.payment_intent)

    @property
    def about_payment(self) -> bool:
        """Whether money came in."""
        return self.type in {"invoice.paid", "invoice.payment_succeeded"}

    @property
    def about_our_invoice(self) -> bool:
        """Whether a line's invoice may have changed."""
        return self.type in INVOICE_EVENTS and bool(self.object_id and self.line_id and self.workspace_id)


def is_thin(event: object) -> bool:
    """Whether it is one of Stripe's thin events, which carry no object: https://docs.stripe.com/event-destinations."""
    if not isinstance(event, Mapping):
        return False
    return event.get("object") == "v2.core.event" or str(event.get("type", "")).startswith(("v1.", "v2."))


def hint_of(event: Mapping[str, Any]) -> Hint:
    """Reads the few fields of an event that are used; its snapshot of the object never is.

    Raises one of MALFORMED for what is no event.
    """
    subject = event["data"]["object"] if event["type"] in WEBHOOK_EVENTS else {}
    metadata = subject.get("metadata") or {}
    created = event.get("created")
    return Hint(
        type=str(event["type"]),
        created_s=created if isinstance(created, int) else 0,
        livemode=event["livemode"] is True,
        object_id=id_of(subject),
        customer=id_of(subject.get("customer")),
        workspace_id=str(metadata.get("workspace_id", "")),
        line_id=str(metadata.get("line_id", "")),
        invoice_id=id_of(subject.get("invoice")),
        payment_intent=id_of(subject.get("payment_intent")),
    )


def id_of(named: object) -> str:
    """The id of an object, expanded or not; empty for what cannot be an id of Stripe's."""
    named = named.get("id") if isinstance(named, Mapping) else named
    return named if isinstance(named, str) and _ID.fullmatch(named) else ""


class Events:
    """The event feed of one Stripe account, which keeps events for 30 days."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def between(self, *, since_s: int, until_s: int) -> Iterator[Hint]:
        """The events of that time that concern lines, newest first."""
        params: stripe.params.EventListParams = {
            "types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS, *FEED_REVERSAL_EVENTS],
            "created": {"gte": since_s, "lte": until_s},
            "limit": PAGE,
        }
        for event in list_all(self._client, "/v1/events", params):
            try:
                yield hint_of(event)
            except MALFORMED:
                logger.warning("an event of the feed has another shape")
