"""Subscriptions and their items"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tests.assumptions.registry import assumption, expect, refused, single

if TYPE_CHECKING:
    import stripe

    from tests.assumptions.account import Account

UPDATE = "stripe.SubscriptionService.update"
CANCEL = "https://docs.stripe.com/billing/subscriptions/cancel"
PRORATIONS = "https://docs.stripe.com/billing/subscriptions/prorations"
WEEK_S = 7 * 86_400
NO_PRORATION = "none"


def items_of(subscription: stripe.Subscription) -> list[stripe.SubscriptionItem]:
    # By subscript: `items` as an attribute is a method of dict.
    return cast("list[stripe.SubscriptionItem]", subscription["items"].data)


def invoices_of(account: Account, subscription: stripe.Subscription) -> list[stripe.Invoice]:
    """Return the subscription's invoices, oldest first."""
    return account.v1.invoices.list({"subscription": subscription.id, "limit": 100}).data[::-1]


def pending_of(account: Account, customer: str) -> list[int]:
    """Return the amounts of the customer's pending items, sorted."""
    items = account.v1.invoice_items.list({"customer": customer, "pending": True, "limit": 100}).data
    return sorted(item.amount for item in items)


@assumption(
    source="https://docs.stripe.com/api/subscription_items/create",
    if_true="`plans apply` accepts recurring prices only, for both the item and the copied first charge.",
    if_false="A plan could name a one-time price and the add-on would be charged once instead of monthly.",
)
def subscription_item_needs_recurring_price(account: Account) -> None:
    """A subscription item with a one-time price is refused with 400."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())

    with refused(400):
        account.v1.subscription_items.create(
            {"subscription": subscription.id, "price": account.new_price(interval=None)}
        )


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/multiple-products",
    if_true="Of two writers that add an add-on, the second is refused, retrieves the item and sets its quantity.",
    if_false="An add-on could stand on two items and be charged twice; the workspace's lease keeps writers apart.",
)
def subscription_item_of_a_price_exists_once(account: Account) -> None:
    """A second item with the same price on one subscription is refused with 400."""
    price = account.new_price()
    subscription = account.new_subscription(account.new_customer(), price)

    with refused(400):
        account.v1.subscription_items.create({"subscription": subscription.id, "price": price, "quantity": 1})


@assumption(
    source="stripe.SubscriptionItem.current_period_end",
    if_true="The period is read from the base price's item; the first charge is a share of it.",
    if_false="Without a period the first charge falls back to the calendar.",
)
def subscription_period_stands_on_its_items(account: Account) -> None:
    """Each item carries current_period_start and current_period_end, a month apart; the subscription has neither."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    item = single("items", items_of(subscription))
    days = (item.current_period_end - item.current_period_start) / 86_400

    expect("starts with the subscription", item.current_period_start, subscription.start_date)
    expect("days are a month's", 28 <= days <= 31, assumed=True)
    expect("a period on the subscription", "current_period_end" in subscription, assumed=False)


@assumption(
    source="stripe.SubscriptionService.create",
    if_true="A new subscription covers its base plan from the first second; lines are charged apart from it.",
    if_false="The workspace would be incomplete and every POST answered 403 until it pays.",
)
def new_subscription_is_active_and_paid_at_once(account: Account) -> None:
    """A subscription of a customer with a working card is active, and its first invoice paid, when the call returns."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    invoice = single("invoices", invoices_of(account, subscription))

    expect("status", (subscription.status, invoice.status, invoice.amount_paid), ("active", "paid", 1500))
    expect("billing reason", invoice.billing_reason, "subscription_create")


@assumption(
    source=PRORATIONS,
    if_true="Setting what is owed charges nothing by itself: the product charges the rest of the period, once.",
    if_false="Stripe's proration would be charged on top of the line's invoice.",
)
def quantity_set_without_proration_charges_nothing_now(account: Account) -> None:
    """A quantity set with proration_behavior=none makes neither an invoice nor a pending item."""
    customer = account.new_customer()
    subscription = account.new_subscription(customer, account.new_price())
    item = single("items", items_of(subscription))
    account.v1.subscription_items.update(item.id, {"quantity": 3, "proration_behavior": NO_PRORATION})

    expect("invoices", len(invoices_of(account, subscription)), 1)
    expect("pending items", pending_of(account, customer), [])


@assumption(
    source=PRORATIONS,
    if_true="An add-on that appears or goes in mid-period changes the next renewal only.",
    if_false="Each new add-on would be charged twice for its first period, and each removal credited.",
)
def item_added_and_removed_without_proration_charges_nothing_now(account: Account) -> None:
    """Adding and deleting a paid item with proration_behavior=none makes neither an invoice nor a pending item."""
    customer = account.new_customer()
    subscription = account.new_subscription(customer, account.new_price())
    item = account.v1.subscription_items.create(
        {
            "subscription": subscription.id,
            "price": account.new_price(900),
            "quantity": 2,
            "proration_behavior": NO_PRORATION,
        }
    )
    account.v1.subscription_items.delete(item.id, {"proration_behavior": NO_PRORATION})

    expect("invoices", len(invoices_of(account, subscription)), 1)
    expect("pending items", pending_of(account, customer), [])


@assumption(
    source=PRORATIONS,
    if_true="Quantities edited in the Dashboard charge by Stripe's rules; the product takes that as it is.",
    if_false="The ledger's tolerance for other people's edits is wider than needed.",
)
def quantity_set_with_proration_leaves_pending_items_by_the_second(account: Account) -> None:
    """A quantity raised with create_prorations leaves pending items for the rest of the period, to the second."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price(3000))
    item = single("items", items_of(subscription))
    account.advance(WEEK_S)
    now = account.now()
    account.v1.subscription_items.update(item.id, {"quantity": 2, "proration_behavior": "create_prorations"})

    length, left = item.current_period_end - item.current_period_start, item.current_period_end - now
    share = 3000 * left / length
    # A call may fall into the next second where time is not frozen.
    close = abs(sum(pending_of(account, customer)) - share) <= 1
    expect(f"pending items are within a cent of {share:.2f}: {pending_of(account, customer)}", close, assumed=True)
    expect("invoices", len(invoices_of(account, subscription)), 1)


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/billing-mode/compare#credit-proration-calculations",
    if_true="The product never mixes both ways: a place raised with `none` would not be credited when it is given up.",
    if_false="Stripe would credit places that were never charged; the product still sets `none` always.",
)
def proration_credits_what_was_debited_and_not_the_quantity(account: Account) -> None:
    """Places added with proration_behavior=none earn no credit when they are removed with create_prorations."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price(3000))
    item = single("items", items_of(subscription))
    account.v1.subscription_items.update(item.id, {"quantity": 3, "proration_behavior": NO_PRORATION})
    account.advance(WEEK_S)
    account.v1.subscription_items.update(item.id, {"quantity": 1, "proration_behavior": "create_prorations"})

    expect("sum of pending items", sum(pending_of(account, customer)), 0)


@assumption(
    source=UPDATE,
    if_true="`plans apply` refuses a free base price beside an add-on: its first paid item would be charged twice.",
    if_false="Free base plans could have add-ons.",
)
def free_subscription_that_becomes_paid_charges_at_once(account: Account) -> None:
    """The first paid item of a free subscription is charged at once, even with proration_behavior=none."""
    subscription = account.new_subscription(account.new_customer(), account.new_price(0))
    account.v1.subscription_items.create(
        {
            "subscription": subscription.id,
            "price": account.new_price(900),
            "quantity": 1,
            "proration_behavior": NO_PRORATION,
        }
    )

    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [0, 900])


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/billing-cycle",
    if_true="A paid base price whose quantity is 0 is no free plan: add-ons beside it charge as usual.",
    if_false="Setting the first add-on's quantity would charge it at once, on top of the line's invoice.",
)
def quantity_raised_from_zero_without_proration_charges_nothing_now(account: Account) -> None:
    """A subscription whose paid prices all have quantity 0 is not free: raising one charges nothing at once."""
    subscription = account.new_subscription(
        account.new_customer(), params={"items": [{"price": account.new_price(), "quantity": 0}]}
    )
    item = single("items", items_of(subscription))
    account.v1.subscription_items.update(item.id, {"quantity": 2, "proration_behavior": NO_PRORATION})

    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [0])


@assumption(
    source="https://docs.stripe.com/api/subscription_items/delete",
    if_true="An add-on that is no longer owed and is all that its subscription has stays, with quantity 0.",
    if_false="The item would be deleted as everywhere else, or its quantity billed until a person cancels.",
)
def last_item_of_a_subscription_cannot_be_deleted_but_set_to_zero(account: Account) -> None:
    """Deleting a subscription's only item is refused with 400; its quantity can be set to 0, which charges nothing."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    item = single("items", items_of(subscription))
    with refused(400):
        account.v1.subscription_items.delete(item.id, {"proration_behavior": NO_PRORATION})
    changed = account.v1.subscription_items.update(item.id, {"quantity": 0, "proration_behavior": NO_PRORATION})

    expect("quantity", changed.quantity, 0)
    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [1500])


@assumption(
    source="stripe.Subscription.status",
    if_true="A workspace whose first payment failed has no plan yet: every POST is 403.",
    if_false="A workspace could order lines without ever having paid for its plan.",
)
def subscription_is_incomplete_until_its_first_invoice_is_paid(account: Account) -> None:
    """A subscription whose first charge fails is incomplete, and active once that invoice is paid."""
    customer = account.new_customer()
    account.break_card(customer)
    subscription = account.new_subscription(customer, account.new_price())
    invoice = single("invoices", invoices_of(account, subscription))
    expect("status at first", (subscription.status, invoice.status), ("incomplete", "open"))
    account.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})

    expect("status once paid", account.v1.subscriptions.retrieve(subscription.id).status, "active")


@assumption(
    source=UPDATE,
    if_true="A new interval begins a new period: lines not covered to its end are charged for the rest by one item.",
    if_false="The old period's end stays, and with it what is covered.",
)
def interval_change_begins_a_new_period_and_charges_it(account: Account) -> None:
    """Changing a monthly price to a yearly one starts a year now and charges it at once, even without proration."""
    customer = account.new_customer(timed=True)
    subscription = account.new_subscription(customer, account.new_price())
    item = single("items", items_of(subscription))
    account.advance(WEEK_S)
    changed = account.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item.id, "price": account.new_price(12_000, interval="year")}],
            "proration_behavior": NO_PRORATION,
        },
    )

    yearly = single("items", items_of(changed))
    expect("starts now", abs(yearly.current_period_start - account.now()) <= 1, assumed=True)
    expect(
        "ends in a year", 365 <= (yearly.current_period_end - yearly.current_period_start) / 86_400 <= 366, assumed=True
    )
    expect("totals", [invoice.total for invoice in invoices_of(account, subscription)], [1500, 12_000])


def _in_trial(account: Account) -> stripe.Subscription:
    return account.new_subscription(account.new_customer(), account.new_price(), params={"trial_period_days": 14})


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/trials/free-trials",
    if_true="In a trial only first charges are charged; the price of a full interval counts from its end.",
    if_false="A trial would charge a period: the ledger would show it.",
)
def trial_charges_nothing_until_its_end(account: Account) -> None:
    """A trialing subscription has one paid invoice of 0, and its period ends with the trial."""
    subscription = _in_trial(account)
    item = single("items", items_of(subscription))
    invoice = single("invoices", invoices_of(account, subscription))

    expect("status", subscription.status, "trialing")
    expect("invoice", (invoice.status, invoice.total), ("paid", 0))
    expect("its lines", [line.amount for line in invoice.lines.data], [0])
    expect("period ends with the trial", item.current_period_end, subscription.trial_end)


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/trials/free-trials",
    if_true="What a trial's invoice lines cover is not counted as charged, for they charge nothing.",
    if_false="The rest of a trial that was ended early would be free, or charged twice.",
)
def trial_that_is_ended_early_starts_a_charged_period(account: Account) -> None:
    """A trial that is ended now is followed by a charged period, from now on."""
    subscription = _in_trial(account)
    ended = account.v1.subscriptions.update(subscription.id, {"trial_end": "now"})
    lines = [line for invoice in invoices_of(account, subscription) for line in invoice.lines.data]

    expect("status", ended.status, "active")
    expect("amounts", [line.amount for line in lines], [0, 1500])
    expect("the trial's line still ends with it", lines[0].period.end, subscription.trial_end)
    expect("the period starts", lines[1].period.start, ended.trial_end)


@assumption(
    source=CANCEL,
    if_true="Until the period's end the workspace may order lines; then its waiting requests are canceled.",
    if_false="Workspaces would lose their plan at the click instead of at the end of what they paid for.",
)
def subscription_set_to_cancel_stays_active(account: Account) -> None:
    """A subscription set to cancel at the period's end is still active."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    changed = account.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})

    expect("status", (changed.status, changed.cancel_at_period_end), ("active", True))


@assumption(
    source="https://docs.stripe.com/billing/subscriptions/pause-payment",
    if_true="Paused collection changes nothing for lines: active is active.",
    if_false="A workspace whose collection is paused would be answered 403.",
)
def paused_collection_leaves_the_subscription_active(account: Account) -> None:
    """A subscription whose collection is paused stays active."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    paused = account.v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})

    expect("status", paused.status, "active")
    expect("pauses", paused.pause_collection is not None, assumed=True)


@assumption(
    source="stripe.SubscriptionService.cancel",
    if_true="The product still reads the plan of an ended subscription, for what the workspace had.",
    if_false="An ended subscription would be taken for one with an unknown plan and raise an alarm.",
)
def canceled_subscription_keeps_its_items(account: Account) -> None:
    """A canceled subscription is still retrieved with its items, prices and quantities."""
    price = account.new_price()
    subscription = account.new_subscription(account.new_customer(), price)
    account.v1.subscriptions.cancel(subscription.id)

    ended = account.v1.subscriptions.retrieve(subscription.id)
    expect("status", ended.status, "canceled")
    expect("items", [(item.price.id, item.quantity) for item in items_of(ended)], [(price, 1)])


@assumption(
    source="stripe.SubscriptionService.cancel",
    if_true="Quantities of ended subscriptions stay as they are; after a lost race the product retrieves again.",
    if_false="A quantity could be set on an ended subscription, where it charges nothing.",
)
def canceled_subscription_refuses_new_quantities(account: Account) -> None:
    """The quantity of a canceled subscription's item cannot be set: 4xx."""
    subscription = account.new_subscription(account.new_customer(), account.new_price())
    item = single("items", items_of(subscription))
    account.v1.subscriptions.cancel(subscription.id)

    with refused(400):
        account.v1.subscription_items.update(item.id, {"quantity": 2, "proration_behavior": NO_PRORATION})


@assumption(
    source="stripe.SubscriptionService.list",
    if_true="The product lists with status=all: an ended subscription must be seen to end what waits for it.",
    if_false="The parameter status=all is not needed.",
)
def list_hides_canceled_subscriptions_unless_all_are_wanted(account: Account) -> None:
    """A list by customer omits canceled subscriptions; with status=all it has them, newest first."""
    customer = account.new_customer()
    ended = account.new_subscription(customer, account.new_price())
    running = account.new_subscription(customer, account.new_price())
    account.v1.subscriptions.cancel(ended.id)

    listed = account.v1.subscriptions.list({"customer": customer}).data
    everything = account.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    expect("listed", [s.id for s in listed], [running.id])
    expect("all", sorted(s.id for s in everything), sorted([ended.id, running.id]))


@assumption(
    source="stripe.SubscriptionService.list",
    if_true="The snapshot read after a change is the newest one; an older one never overwrites it.",
    if_false="A POST could be decided by the previous plan; the next webhook or reconcile fixes it.",
)
def list_shows_a_subscription_change_right_after_it(account: Account) -> None:
    """A list by customer shows a quantity set just before."""
    customer = account.new_customer()
    subscription = account.new_subscription(customer, account.new_price())
    item = single("items", items_of(subscription))
    for quantity in (2, 5, 3):
        account.v1.subscription_items.update(item.id, {"quantity": quantity, "proration_behavior": NO_PRORATION})
        listed = single("subscriptions", account.v1.subscriptions.list({"customer": customer, "status": "all"}).data)
        expect("quantity", items_of(listed)[0].quantity, quantity)
