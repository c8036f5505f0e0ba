"""What time does to subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import pytest

from tests.stripe_double.shop import DAY, HOUR, START

if TYPE_CHECKING:
    import stripe

    from tests.stripe_double.shop import Shop

JANUARY = 31 * DAY


def period(subscription: stripe.Subscription) -> tuple[int, int]:
    item = subscription["items"].data[0]
    return item.current_period_start, item.current_period_end


def test_period_ends_on_last_day_of_short_month(shop: Shop) -> None:
    shop.double.advance(30 * DAY)  # to 31 January
    subscription = shop.subscription()
    ends = []
    for _ in range(4):
        end = period(shop.retrieve(subscription))[1]
        ends.append(f"{datetime.fromtimestamp(end, UTC):%d %b}")
        shop.double.advance(end - shop.double.advance(0))

    assert ends == ["28 Feb", "31 Mar", "30 Apr", "31 May"]


def test_renewal_is_draft_for_an_hour_then_paid(shop: Shop) -> None:
    subscription = shop.subscription()
    shop.double.advance(JANUARY)

    (draft,) = shop.invoices(subscription)
    assert (draft.status, draft.billing_reason, draft.created) == ("draft", "subscription_cycle", START + JANUARY)
    assert draft.automatically_finalizes_at == START + JANUARY + HOUR
    line = draft.lines.data[0]
    assert (line.amount, line.period.start, line.period.end) == (1500, START + JANUARY, START + JANUARY + 28 * DAY)
    assert line.subscription == subscription.id
    assert period(shop.retrieve(subscription)) == (line.period.start, line.period.end)

    shop.double.advance(HOUR)

    (paid,) = shop.invoices(subscription)
    assert (paid.id, paid.status, paid.amount_paid) == (draft.id, "paid", 1500)
    assert shop.retrieve(subscription).latest_invoice == paid.id
    assert shop.events_about(paid.id) == [
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_two_years_make_one_invoice_a_month_at_its_own_time(shop: Shop) -> None:
    subscription = shop.subscription()

    shop.double.advance((365 + 366) * DAY)

    invoices = shop.v1.invoices.list({"subscription": subscription.id, "limit": 100}).data
    assert len(invoices) == 25
    periods = [(i.lines.data[0].period.start, i.lines.data[0].period.end) for i in reversed(invoices)]
    assert all(earlier[1] == later[0] for earlier, later in pairwise(periods))
    assert [invoice.created for invoice in reversed(invoices)] == [start for start, _ in periods]


@pytest.mark.parametrize(
    ("in_the_end", "status"), [("cancel", "canceled"), ("unpaid", "unpaid"), ("past_due", "past_due")]
)
def test_failed_renewal_makes_subscription_past_due_then_applies_account_setting(
    shop: Shop, in_the_end: Literal["cancel", "unpaid", "past_due"], status: str
) -> None:
    subscription = shop.subscription()
    shop.double.set_payments(str(subscription.customer), succeed=False, in_the_end=in_the_end)

    shop.double.advance(JANUARY + HOUR)
    (invoice,) = shop.invoices(subscription)
    assert (invoice.status, invoice.attempt_count, invoice.amount_remaining) == ("open", 1, 1500)
    assert shop.retrieve(subscription).status == "past_due"
    assert "invoice.payment_failed" in shop.events_about(invoice.id)

    shop.double.advance(16 * DAY)
    assert shop.v1.invoices.retrieve(invoice.id).attempt_count == 4
    assert shop.retrieve(subscription).status == status


def test_past_due_subscription_is_active_again_once_paid(shop: Shop) -> None:
    retried, paid = shop.subscription(), shop.subscription()
    for subscription in (retried, paid):
        shop.double.set_payments(str(subscription.customer), succeed=False)
    shop.double.advance(JANUARY + HOUR)

    shop.double.set_payments(str(retried.customer), succeed=True)
    shop.double.advance(3 * DAY)
    shop.double.pay_invoice(shop.invoices(paid)[0].id)

    assert [shop.retrieve(s).status for s in (retried, paid)] == ["active", "active"]


def test_subscription_by_mail_is_past_due_when_its_invoice_is_overdue(shop: Shop) -> None:
    subscription = shop.v1.subscriptions.create(
        {
            "customer": shop.customer(),
            "items": [{"price": shop.price()}],
            "collection_method": "send_invoice",
            "days_until_due": 7,
        }
    )
    invoice = shop.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (invoice.status, subscription.status) == ("draft", "active")

    shop.double.advance(HOUR)
    assert shop.v1.invoices.retrieve(invoice.id).status == "open"
    shop.double.advance(7 * DAY)
    assert shop.retrieve(subscription).status == "past_due"
    shop.v1.invoices.pay(invoice.id)

    assert shop.retrieve(subscription).status == "active"


def test_unpaid_subscription_renews_as_drafts(shop: Shop) -> None:
    subscription = shop.subscription()
    shop.double.set_subscription_status(subscription.id, "unpaid")

    shop.double.advance(JANUARY + DAY)

    (draft,) = shop.invoices(subscription)
    assert (draft.status, draft.auto_advance) == ("draft", False)


def test_subscription_is_incomplete_then_expired_when_first_payment_fails(shop: Shop) -> None:
    customer = shop.customer()
    shop.double.set_payments(customer, succeed=False)
    subscription = shop.subscription(customer)
    assert subscription.status == "incomplete"

    shop.double.advance(23 * HOUR)

    assert shop.retrieve(subscription).status == "incomplete_expired"
    assert shop.v1.invoices.retrieve(str(subscription.latest_invoice)).status == "void"


def test_end_of_trial_is_announced_three_days_before(shop: Shop) -> None:
    subscription = shop.subscription(trial_days=14)
    assert subscription.billing_cycle_anchor == START + 14 * DAY

    shop.double.advance(11 * DAY)

    assert shop.events_about(subscription.id)[-1] == "customer.subscription.trial_will_end"


def test_trial_ended_by_request_charges_at_once(shop: Shop) -> None:
    subscription = shop.subscription(trial_days=14)
    shop.double.advance(DAY)

    ended = shop.v1.subscriptions.update(subscription.id, {"trial_end": "now"})

    (invoice,) = shop.invoices(subscription)
    assert (invoice.status, invoice.total, period(ended)[0]) == ("paid", 1500, START + DAY)


def test_subscription_ends_with_its_period_unless_cancellation_is_withdrawn(shop: Shop) -> None:
    ended, kept = shop.subscription(), shop.subscription()
    for one in (ended, kept):
        set_to = shop.v1.subscriptions.update(one.id, {"cancel_at_period_end": True})
        assert (set_to.status, set_to.cancel_at, set_to.canceled_at) == ("active", START + JANUARY, START)
    withdrawn = shop.v1.subscriptions.update(kept.id, {"cancel_at_period_end": False})
    assert (withdrawn.cancel_at, withdrawn.canceled_at) == (None, None)

    shop.double.advance(2 * JANUARY)

    assert (len(shop.invoices(ended)), len(shop.invoices(kept))) == (0, 2)
    assert shop.events_about(ended.id)[-1] == "customer.subscription.deleted"


def test_resubscription_starts_its_own_period(shop: Shop) -> None:
    customer = shop.customer()
    first = shop.subscription(customer)
    shop.double.advance(10 * DAY)
    shop.v1.subscriptions.cancel(first.id)
    again = shop.subscription(customer)

    shop.double.advance(JANUARY)

    assert period(again) == (START + 10 * DAY, START + 10 * DAY + JANUARY)
    assert (len(shop.invoices(first)), len(shop.invoices(again))) == (0, 1)


def test_cancel_stops_collection_of_open_invoices(shop: Shop) -> None:
    subscription = shop.subscription()
    shop.double.set_payments(str(subscription.customer), succeed=False)
    shop.double.advance(JANUARY + HOUR)
    shop.v1.subscriptions.cancel(subscription.id)
    shop.double.set_payments(str(subscription.customer), succeed=True)

    shop.double.advance(30 * DAY)

    (invoice,) = shop.invoices(subscription)
    assert (invoice.status, invoice.auto_advance, invoice.attempt_count) == ("open", False, 1)


@pytest.mark.parametrize(
    ("behavior", "status"), [("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible"), ("void", "void")]
)
def test_paused_collection_makes_invoices_without_collecting(
    shop: Shop, behavior: Literal["keep_as_draft", "mark_uncollectible", "void"], status: str
) -> None:
    subscription = shop.subscription()
    shop.v1.subscriptions.update(
        subscription.id, {"pause_collection": {"behavior": behavior, "resumes_at": START + 40 * DAY}}
    )

    shop.double.advance(JANUARY + DAY)
    assert [invoice.status for invoice in shop.invoices(subscription)] == [status]
    assert shop.retrieve(subscription).status == "active"

    shop.double.advance(30 * DAY)
    assert shop.retrieve(subscription).pause_collection is None
    assert [invoice.status for invoice in shop.invoices(subscription)] == ["paid", status]


def test_paused_subscription_does_not_renew(shop: Shop) -> None:
    subscription = shop.subscription()
    shop.double.set_subscription_status(subscription.id, "paused")

    shop.double.advance(90 * DAY)
    assert shop.invoices(subscription) == []

    shop.double.set_subscription_status(subscription.id, "active")
    shop.double.advance(DAY)
    assert len(shop.invoices(subscription)) == 1


def test_items_of_two_intervals_renew_separately(shop: Shop) -> None:
    subscription = shop.v1.subscriptions.create(
        {
            "customer": shop.customer(),
            "items": [{"price": shop.price()}, {"price": shop.price(9900, interval="year")}],
        }
    )

    shop.double.advance(366 * DAY)

    totals = [invoice.total for invoice in shop.v1.invoices.list({"subscription": subscription.id, "limit": 50}).data]
    assert totals == [11400] + [1500] * 11 + [11400]
