"""Renewals, and the ends of trials and subscriptions"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.assumptions.account import A_MONTH_AND_A_DAY_S, DAY_S
from tests.assumptions.experiments.subscriptions import CANCEL, NO_PRORATION, invoices_of, items_of, pending_of
from tests.assumptions.registry import assumption, expect, single

if TYPE_CHECKING:
    import stripe

    from tests.assumptions.account import Account

SUBSCRIPTION_INVOICES = "https://docs.stripe.com/billing/invoices/subscription"
BILLING_CYCLE = "https://docs.stripe.com/billing/subscriptions/billing-cycle"
INVOICE_ITEM = "stripe.params.InvoiceItemCreateParams.subscription"
TRIALS = "https://docs.stripe.com/billing/subscriptions/trials/free-trials"


@assumption(
    source=BILLING_CYCLE,
    if_true="A workspace is due for the reconciler at its period's end, when the next period begins.",
    if_false="The time between two periods would be covered by no charge.",
)
def renewal_charges_the_next_period_without_a_gap(account: Account) -> None:
    """A renewal makes one paid invoice for a period that begins where the last one ended."""
    subscription = account.new_subscription(account.new_customer(timed=True), account.new_price())
    before = single("items", items_of(subscription))
    account.advance(A_MONTH_AND_A_DAY_S)
    after = single("items", items_of(account.v1.subscriptions.retrieve(subscription.id)))
    renewal = renewal_of(account, subscription)

    expect("the next period starts", after.current_period_start, before.current_period_end)
    expect("invoice", (renewal.status, renewal.total, renewal.billing_reason), ("paid", 1500, "subscription_cycle"))
    line = single("lines", renewal.lines.data)
    expect("its line", (line.period.start, line.period.end), (after.current_period_start, after.current_period_end))


@assumption(
    source="stripe.Subscription.latest_invoice",
    if_true="A renewal whose invoice the list does not show yet is counted: the invoice is read by its id.",
    if_false="Its places would be charged again by a pending item, if the list of invoices ever lagged.",
)
def renewed_subscription_names_the_invoice_of_its_renewal(account: Account) -> None:
    """After a renewal the subscription's latest invoice is that of the renewal."""
    subscription = account.new_subscription(account.new_customer(timed=True), account.new_price())
    account.advance(A_MONTH_AND_A_DAY_S)

    renewed = account.v1.subscriptions.retrieve(subscription.id)
    expect("latest invoice", renewed.latest_invoice, renewal_of(account, subscription).id)


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/quantities",
    if_true="From the renewal on an add-on is charged by its quantity, so a quantity in time needs no other charge.",
    if_false="Renewals would charge what was owed a period ago; coverage would have to be asked of each invoice.",
)
def renewal_charges_the_quantity_set_before_it(account: Account) -> None:
    """A quantity set in mid-period without proration is charged by the next renewal, for the whole next period."""
    subscription = account.new_subscription(account.new_customer(timed=True), account.new_price())
    item = single("items", items_of(subscription))
    account.v1.subscription_items.update(item.id, {"quantity": 3, "proration_behavior": NO_PRORATION})
    account.advance(A_MONTH_AND_A_DAY_S)
    renewal = renewal_of(account, subscription)

    expect("total", renewal.total, 4500)
    expect("lines", [(line.amount, line.quantity) for line in renewal.lines.data], [(4500, 3)])


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/quantities",
    if_true="The product charges the missed period itself, by one pending item, once it sets the quantity.",
    if_false="Setting a quantity would charge by itself, twice with the product's item.",
)
def renewal_ignores_a_quantity_set_after_it(account: Account) -> None:
    """A quantity set after a renewal without proration leaves that period's charge as it was."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price())
    item = single("items", items_of(subscription))
    account.advance(A_MONTH_AND_A_DAY_S)
    account.v1.subscription_items.update(item.id, {"quantity": 3, "proration_behavior": NO_PRORATION})

    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [1500, 1500])
    expect("pending items", pending_of(account, customer), [])


@assumption(
    source=INVOICE_ITEM,
    if_true="What is owed beyond the coverage is one pending item, and the renewal collects it.",
    if_false="The product would have to make and finalize an invoice of its own.",
)
def renewal_collects_pending_items_of_its_subscription(account: Account) -> None:
    """A pending item made for a subscription is on its next renewal invoice, with its period."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price())
    start = account.now()
    account.add_pending_item(customer, subscription, 733, period={"start": start, "end": start + DAY_S})
    account.advance(A_MONTH_AND_A_DAY_S)
    renewal = renewal_of(account, subscription)

    expect("amounts", sorted(line.amount for line in renewal.lines.data), [733, 1500])
    periods = [(line.period.start, line.period.end) for line in renewal.lines.data if line.amount == 733]
    expect("period of the item", periods, [(start, start + DAY_S)])
    expect("pending items", pending_of(account, customer), [])


@assumption(
    source=INVOICE_ITEM,
    if_true="A pending item names its subscription, so that another one of the customer cannot collect it.",
    if_false="Whichever renews first would collect it: it is charged anyway.",
)
def renewal_ignores_pending_items_of_another_subscription(account: Account) -> None:
    """A pending item made for one subscription is not on another's renewal invoice."""
    customer = account.new_customer(timed=True)
    renewing = account.new_subscription(customer, account.new_price())
    other = account.new_subscription(customer, account.new_price(interval="year"))
    account.add_pending_item(customer, other, 733)
    account.advance(A_MONTH_AND_A_DAY_S)

    expect("totals", [invoice.total for invoice in invoices_of(account, renewing)], [1500, 1500])
    expect("pending items", pending_of(account, customer), [733])


@assumption(
    source=BILLING_CYCLE,
    if_true="The period by the calendar, charged when the stored one has ended, is the one that Stripe charges.",
    if_false="A first charge around a month's end would cover the wrong days.",
)
def renewal_follows_the_calendar_by_its_anchor(account: Account) -> None:
    """Each monthly period ends on the anchor's day, or on the last day of a shorter month."""
    subscription = account.new_subscription(account.new_customer(timed=True), account.new_price())
    anchor = subscription.billing_cycle_anchor
    account.advance(A_MONTH_AND_A_DAY_S)
    item = single("items", items_of(account.v1.subscriptions.retrieve(subscription.id)))

    expect("start of the second period", item.current_period_start, months_after(anchor, 1))
    expect("end of the second period", item.current_period_end, months_after(anchor, 2))


@assumption(
    source=TRIALS,
    if_true="The first charge in a trial reckons with one base interval from the trial's end.",
    if_false="The first period would have another length than charged for.",
)
def trial_ends_in_an_active_subscription_charged_from_then_on(account: Account) -> None:
    """At a trial's end the subscription becomes active and a whole interval from then on is charged."""
    subscription = account.new_subscription(
        account.new_customer(timed=True), account.new_price(), params={"trial_period_days": 14}
    )
    account.advance(15 * DAY_S)
    active = account.v1.subscriptions.retrieve(subscription.id)
    item = single("items", items_of(active))

    expect("status", active.status, "active")
    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [0, 1500])
    expect("the period starts", item.current_period_start, subscription.trial_end)


@assumption(
    source=CANCEL,
    if_true="The reconciler finds the subscription ended at the period's end, and the workspace over plan.",
    if_false="The subscription would renew and charge; the workspace stays subscribed.",
)
def subscription_set_to_cancel_ends_with_its_period(account: Account) -> None:
    """A subscription set to cancel at the period's end is canceled then, without another charge."""
    subscription = account.new_subscription(account.new_customer(timed=True), account.new_price())
    account.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    account.advance(A_MONTH_AND_A_DAY_S)

    expect("status", account.v1.subscriptions.retrieve(subscription.id).status, "canceled")
    expect("invoices", [invoice.total for invoice in invoices_of(account, subscription)], [1500])


@assumption(
    source="stripe.Subscription.status",
    if_true="past_due ends nothing: lines stay, new requests are answered 403 until it is paid.",
    if_false="A workspace would go on ordering while its renewals fail.",
)
def renewal_that_cannot_be_paid_leaves_the_subscription_past_due(account: Account) -> None:
    """When a renewal cannot be charged its invoice stays open and the subscription is past_due."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price())
    account.break_card(customer)
    account.advance(A_MONTH_AND_A_DAY_S)
    renewal = renewal_of(account, subscription)

    expect("status", account.v1.subscriptions.retrieve(subscription.id).status, "past_due")
    expect("invoice", (renewal.status, renewal.amount_paid), ("open", 0))


@assumption(
    source="stripe.SubscriptionService.cancel",
    if_true="What was owed stays pending: the product leaves it for the customer's next invoice.",
    if_false="A workspace that cancels before the renewal gets the rest of its last period for nothing.",
)
def canceled_subscription_leaves_pending_items(account: Account) -> None:
    """A pending item of a subscription is still pending after it is canceled."""
    customer = account.new_customer()
    subscription = account.new_subscription(customer, account.new_price())
    account.add_pending_item(customer, subscription, 733)
    account.v1.subscriptions.cancel(subscription.id)

    expect("pending items", pending_of(account, customer), [733])


@assumption(
    source="stripe.SubscriptionService.cancel",
    if_true="What a workspace owes when it cancels for the period's end is collected then.",
    if_false="It stays pending, as after an immediate cancel.",
)
def subscription_that_ends_with_its_period_collects_pending_items(account: Account) -> None:
    """A subscription set to cancel at the period's end charges its pending items when it ends."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price())
    account.add_pending_item(customer, subscription, 733)
    account.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    account.advance(A_MONTH_AND_A_DAY_S)

    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [1500, 733])
    expect("pending items", pending_of(account, customer), [])


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/pause-payment",
    if_true="Charged means that an invoice line exists, collected or not: paused periods count as covered.",
    if_false="Paused periods would have to be charged later.",
)
def paused_collection_still_makes_invoices_and_voids_them(account: Account) -> None:
    """With pause_collection.behavior=void a renewal makes its invoice, void, and the subscription stays active."""
    subscription = account.new_subscription(account.new_customer(timed=True), account.new_price())
    account.v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    account.advance(A_MONTH_AND_A_DAY_S)
    renewal = renewal_of(account, subscription)

    expect("status", account.v1.subscriptions.retrieve(subscription.id).status, "active")
    expect("invoice", (renewal.status, renewal.total), ("void", 1500))


def renewal_of(account: Account, subscription: stripe.Subscription) -> stripe.Invoice:
    """Return the invoice of a subscription's first renewal."""
    invoices = invoices_of(account, subscription)
    expect("number of invoices", len(invoices), 2)
    return invoices[1]


def months_after(at_s: int, months: int) -> int:
    """Return the same time of day so many months later, on the last day of a month that is too short."""
    start = datetime.fromtimestamp(at_s, UTC)
    year, month = divmod(start.month - 1 + months, 12)
    last_day = monthrange(start.year + year, month + 1)[1]
    then = start.replace(year=start.year + year, month=month + 1, day=min(start.day, last_day))
    return int(then.timestamp())
