"""Events and their delivery"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import partial
from typing import TYPE_CHECKING

import stripe

from tests.assumptions.registry import assumption, expect, refused

if TYPE_CHECKING:
    from tests.assumptions.account import Account

TYPES = [
    "invoice.created", "invoice.deleted", "invoice.finalization_failed", "invoice.finalized",
    "invoice.marked_uncollectible", "invoice.overdue", "invoice.paid", "invoice.payment_action_required",
    "invoice.payment_failed", "invoice.payment_succeeded", "invoice.sent", "invoice.upcoming", "invoice.updated",
    "invoice.voided", "invoice.will_be_due", "customer.created", "customer.deleted", "customer.updated",
    "invoiceitem.created", "invoiceitem.deleted",
]  # fmt: skip
SECRET = "whsec_assumption"


def is_about(object_id: str, event: stripe.Event) -> bool:
    return bool(event.data.object["id"] == object_id)


@assumption(
    source="stripe.params.EventListParams.types",
    if_true="The reconciler reads its feed with one list call per page: its types are fewer than twenty.",
    if_false="The feed would have to be read in several passes.",
)
def event_list_takes_up_to_twenty_types(account: Account) -> None:
    """A list of events takes 20 types and refuses 21 with 400."""
    customer = account.new_customer()
    params: stripe.params.EventListParams = {"types": TYPES, "limit": 100}
    found = account.eventually(
        lambda: [event for event in account.v1.events.list(params).data if is_about(customer, event)]
    )
    expect("events of a new customer", [event.type for event in found], ["customer.created"])

    with refused(400):
        account.v1.events.list({"types": [*TYPES, "customer.subscription.updated"]})


@assumption(
    source="https://docs.stripe.com/api/events/list",
    if_true="The feed is read in slices from the watermark on, each from its newest event back.",
    if_false="The first page would be the oldest of 30 days, and the reconciler never up to date.",
)
def event_list_is_newest_first_within_its_bounds(account: Account) -> None:
    """Events come newest first, and created.gte and created.lte include their second."""
    customer = account.new_customer()
    draft = account.new_draft(customer, amount=None)
    account.v1.invoices.update(draft.id, {"description": "first"})
    account.v1.invoices.update(draft.id, {"description": "second"})

    def is_second_update(event: stripe.Event) -> bool:
        return bool(event.data.object["id"] == draft.id and event.data.object["description"] == "second")

    newest = account.event("invoice.updated", draft.created, is_second_update)
    if newest is None:
        expect("event of the second update", newest, "invoice.updated")
        return

    bounds: stripe.params.EventListParamsCreated = {"gte": draft.created, "lte": newest.created}
    listed = account.v1.events.list({"type": "invoice.updated", "created": bounds, "limit": 100}).data
    ours = [event.data.object["description"] for event in listed if event.data.object["id"] == draft.id]
    times = [event.created for event in listed]
    expect("newest first", times, sorted(times, reverse=True))
    expect("the draft's updates", ours, ["second", "first"])


@assumption(
    source="https://docs.stripe.com/api/events/object",
    if_true="The event's metadata says whether it is ours; others are acknowledged without a call.",
    if_false="Every event would cost a retrieve.",
)
def event_shows_the_object_with_its_metadata_as_it_was_then(account: Account) -> None:
    """An event carries a snapshot of the whole object, metadata included, as it was at that moment."""
    customer = account.new_customer()
    draft = account.new_draft(customer, None, params={"metadata": {"line_id": "l1"}})
    account.v1.invoices.update(draft.id, {"metadata": {"line_id": "l2"}})
    event = account.event("invoice.created", draft.created, partial(is_about, draft.id))
    seen = event and (event.data.object["status"], event.data.object["metadata"]["line_id"])

    expect("status and metadata", seen, ("draft", "l1"))


@assumption(
    source="https://docs.stripe.com/api/events/types",
    if_true="invoice.paid promotes a line, whichever way it was paid.",
    if_false="invoice.payment_succeeded would have to be listened to as well.",
)
def invoice_paid_event_is_sent_for_every_kind_of_payment(account: Account) -> None:
    """Stripe sends invoice.paid for a card payment, a payment outside Stripe and an invoice of 0."""
    since = account.now()
    by_card = account.new_paid_invoice(account.new_customer())
    elsewhere = account.new_open_invoice(account.new_customer())
    account.v1.invoices.pay(elsewhere.id, {"paid_out_of_band": True})
    for_nothing = account.new_open_invoice(account.new_customer(), 0)
    for how, invoice in (("by card", by_card), ("outside Stripe", elsewhere), ("of 0", for_nothing)):
        event = account.event("invoice.paid", since, partial(is_about, invoice.id))
        expect(f"event of the invoice paid {how}", event is not None, assumed=True)


@assumption(
    source="https://docs.stripe.com/api/events/types",
    if_true="A changed plan, status or quantity refreshes the workspace within seconds.",
    if_false="Workspaces would be refreshed by the reconciler alone.",
)
def subscription_events_are_sent_for_every_change(account: Account) -> None:
    """Creation, a changed item and the end of a subscription come as customer.subscription.* events."""
    since = account.now()
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    item = subscription["items"].data[0]
    account.v1.subscription_items.update(item.id, {"quantity": 2, "proration_behavior": "none"})
    account.v1.subscriptions.cancel(subscription.id)
    for change in ("created", "updated", "deleted"):
        event = account.event(f"customer.subscription.{change}", since, partial(is_about, subscription.id))
        expect(f"event {change}", event is not None, assumed=True)


@assumption(
    source="https://docs.stripe.com/webhooks/signature",
    if_true="The product verifies deliveries with the SDK, over the raw body, for two secrets at a time.",
    if_false="Every delivery would be refused; an alarm counts refused signatures.",
)
def webhook_signature_is_an_hmac_of_time_and_body(account: Account) -> None:
    """Stripe-Signature is `t=<seconds>,v1=<HMAC-SHA256 of "<seconds>.<body>" by the endpoint's secret>`."""
    body, header = account.receive_event(account.new_customer, SECRET)
    match = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", header)
    expect("the header's form", match is not None, assumed=True)
    at_s, signature = match.groups() if match else ("", "")
    wanted = hmac.new(SECRET.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()

    expect("signature", signature, wanted)
    event = stripe.Webhook.construct_event(body, header, SECRET)
    expect("type", event.type, "customer.created")
