"""One pass over a line that awaits payment: its lease, what it asks Stripe, and when the line is due again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from line_requests.clock import wall_time_ms
from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingUnavailable,
    InvoiceMissing,
)
from line_requests.domain.model import Status, VoidReason
from line_requests.flows.extra_invoices import RECHECK_MIN_MS
from line_requests.flows.leases import LEASE_MS, POLL_INTERVAL_MS, Until
from tests.edges.reversals import hear, touch, waiting
from tests.local.demo import PRODUCT_API_KEY
from tests.support.shop import WaitingClock, clock

if TYPE_CHECKING:
    from line_requests.domain.model import Invoice, Line
    from tests.support.shop import Shop

HOUR_MS = 3_600_000


def half_made(shop: Shop) -> Line:
    """A line of a new workspace whose draft has no item yet; its lease was given back."""
    shop.workspace(0)
    shop.double.set_faults("error_before", 1000, "/v1/invoiceitems")
    with pytest.raises(BillingUnavailable):
        shop.submit("k")
    shop.double.set_faults("error_before", 0)
    (line,) = shop.consistent()
    assert line.half_made
    return line


def held(shop: Shop, line: Line, at: WaitingClock, lease_ms: int) -> Line:
    """The line as it was before another caller took its lease."""
    leased = shop.world.lines.take_lease(line, now_ms=at.now_ms(), until_ms=at.now_ms() + lease_ms, throttled=False)
    assert leased is not None
    return line


def asked(shop: Shop) -> list[str]:
    """The product's calls of Stripe so far."""
    return [f"{call.method} {call.path}" for call in shop.double.request_log if call.api_key == PRODUCT_API_KEY]


def fetched(shop: Shop, line: Line) -> Invoice:
    return shop.product.billing(clock()).invoices.retrieve(str(line.invoice_id))


def test_caller_that_waits_gets_the_lease_when_it_ends(shop: Shop) -> None:
    """[23][33] With ever longer pauses, up to half a second."""
    line = half_made(shop)
    at = WaitingClock(wall_time_ms() + HOUR_MS, 20.0)
    after = shop.lifecycle.advance(at, held(shop, line, at, 2_500), Until.FINALIZED, wait=True)
    assert not after.half_made
    pauses = [0.05, 0.075, 0.1125, 0.16875, 0.253125, 0.3796875, 0.5, 0.5, 0.5]
    assert at.waited_s == pytest.approx(pauses)


def test_caller_that_does_not_wait_gets_the_line_as_it_is(shop: Shop) -> None:
    """[39]"""
    line = half_made(shop)
    at = WaitingClock(wall_time_ms() + HOUR_MS, 20.0)
    assert shop.lifecycle.advance(at, held(shop, line, at, 2_500), Until.FINALIZED) == line
    assert at.waited_s == []


def test_waiting_ends_before_the_callers_time_is_up(shop: Shop) -> None:
    """[34] Twice the next pause has to be left: for the pause, and for the work after it."""
    line = half_made(shop)
    at = WaitingClock(wall_time_ms() + HOUR_MS, 0.1)
    with pytest.raises(BillingUnavailable) as trouble:
        shop.lifecycle.advance(at, held(shop, line, at, 5_000), Until.FINALIZED, wait=True)
    assert (at.waited_s, trouble.value.line_id) == ([0.05], line.id)


@pytest.mark.parametrize(("lease_ms", "waits"), [(0, False), (60, True)])
def test_poll_waits_for_a_holder_but_not_for_its_turn(shop: Shop, lease_ms: int, *, waits: bool) -> None:
    """[39] The line was polled just now, so that its next poll comes later than its lease ends."""
    line = half_made(shop)
    at = WaitingClock(wall_time_ms() + HOUR_MS, 3.0)
    held(shop, line, at, lease_ms)
    leased = shop.world.line(line)
    shop.world.client.update_item(
        TableName=shop.world.table_name,
        Key={"pk": {"S": "W#acme"}, "sk": {"S": f"LINE#{line.id}"}},
        UpdateExpression="SET next_poll_at_ms = :later",
        ExpressionAttributeValues={":later": {"N": str(at.now_ms() + HOUR_MS)}},
    )
    assert shop.lifecycle.advance(at, leased, Until.FINALIZED, wait=True, throttled=True).half_made
    assert at.waited_s == pytest.approx([0.05, 0.075] if waits else [])


def test_pass_after_the_lease_was_taken_leaves_the_rest_of_its_time_to_others(shop: Shop) -> None:
    """[23] Stripe's calls end with the lease, though the caller has more time."""
    line = waiting(shop)
    seen: list[float] = []
    connect = shop.lifecycle.connect

    def watch(limit: WaitingClock) -> object:
        seen.append(limit.remaining_s())
        return connect(limit)

    shop.lifecycle.connect = watch  # type: ignore[assignment] # an attribute
    shop.lifecycle.advance(WaitingClock(wall_time_ms() + HOUR_MS, 300.0), line, Until.CHECKED)
    assert seen == [pytest.approx(LEASE_MS / 1000 - 1.0, abs=0.001)]


def test_new_invoice_is_polled_at_once_and_rechecked_after_an_hour(shop: Shop) -> None:
    """[39][47]"""
    line = waiting(shop)
    assert line.next_poll_at_ms <= wall_time_ms()
    assert line.lease_until_ms == 0
    assert line.due_at_ms == pytest.approx(wall_time_ms() + RECHECK_MIN_MS, abs=10_000)
    at = WaitingClock(wall_time_ms() + 1000, 10.0)
    polled = shop.lifecycle.advance(at, line, Until.CHECKED, throttled=True)
    assert polled.next_poll_at_ms == at.now_ms() + POLL_INTERVAL_MS
    before = asked(shop)
    assert shop.lifecycle.advance(at, polled, Until.CHECKED, throttled=True) == polled
    assert asked(shop) == before, "one poll an interval"


@pytest.mark.parametrize(("window_ms", "due_in_ms"), [(0, RECHECK_MIN_MS), (60_000, 60_000), (2 * HOUR_MS, HOUR_MS)])
def test_line_is_due_when_it_expires(shop: Shop, window_ms: int, due_in_ms: int) -> None:
    """[16][47]"""
    shop.lifecycle._window_ms = window_ms  # noqa: SLF001 - the deployment's setting
    line = waiting(shop)
    assert (line.due_at_ms or 0) - line.created_at_ms == pytest.approx(due_in_ms, abs=5_000)


def test_expired_line_that_cannot_be_voided_is_rechecked_like_any_other(shop: Shop) -> None:
    """[47][56] A part is paid: Stripe would refuse the void, however often it is tried."""
    shop.lifecycle._window_ms = 60_000  # noqa: SLF001 - the deployment's setting
    line = waiting(shop)
    touch(shop, line, "pay_part", 500)
    at = WaitingClock(line.created_at_ms + 60_000, 10.0)
    after = shop.lifecycle.advance(at, line, Until.CHECKED)
    assert (after.awaiting, after.amount_paid, after.void_reason) == (True, 500, None)
    assert after.due_at_ms == at.now_ms() + RECHECK_MIN_MS


@pytest.mark.parametrize("throttled", [True, False])
@pytest.mark.parametrize("made", [True, False])
def test_failed_pass_gives_its_lease_back(shop: Shop, *, made: bool, throttled: bool) -> None:
    """[34][39] A retry may finish a half-made line at once; a poll waits for its interval."""
    line = waiting(shop) if made else half_made(shop)
    shop.double.set_faults("error_before", 1000, "/v1/invoices")
    at = WaitingClock(wall_time_ms() + HOUR_MS, 10.0)
    with pytest.raises(BillingUnavailable) as trouble:
        shop.lifecycle.advance(at, line, Until.CHECKED, throttled=throttled)
    assert trouble.value.line_id == line.id
    now = shop.world.line(line)
    assert (now.lease_until_ms, now.due_at_ms) == (0, at.now_ms())
    assert now.next_poll_at_ms - at.now_ms() == (POLL_INTERVAL_MS if made or throttled else 0)


def test_key_without_permission_alarms_once_per_failure(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[34]"""
    line = waiting(shop)
    shop.double.forbidden_api_keys.add(PRODUCT_API_KEY)
    capsys.readouterr()
    with pytest.raises(BillingMisconfigured) as trouble:
        shop.lifecycle.advance(clock(), line, Until.CHECKED)
    assert trouble.value.alarmed
    assert capsys.readouterr().out.count('"StripeRefused":[1.0]') == 1


def test_unknown_invoice_changes_nothing_and_alarms_once(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[39]"""
    line = waiting(shop)
    shop.double.forget_invoice(str(line.invoice_id))
    gone = fetched(shop, line)
    assert gone.status == "gone"
    capsys.readouterr()
    with pytest.raises(InvoiceMissing):
        shop.lifecycle.apply(clock(), line, gone)
    with pytest.raises(InvoiceMissing):
        shop.lifecycle.advance(clock(), line, Until.CHECKED)
    output = capsys.readouterr().out
    assert output.count('"InvoiceMissing":[1.0]') == 2
    assert "StripeRefused" not in output
    assert shop.world.line(line).awaiting


def test_payment_is_applied_without_reading_the_workspace(shop: Shop) -> None:
    """[44] It counts whatever the workspace says."""
    line = waiting(shop)
    shop.double.pay_invoice(str(line.invoice_id))
    paid = fetched(shop, line)
    shop.world.wire.watch()
    assert shop.lifecycle.apply(clock(), line, paid).status is Status.PROVISIONING
    assert shop.world.wire.operations == {"TransactWriteItems": 1}


def test_open_invoice_is_no_reason_to_take_the_lease(shop: Shop) -> None:
    """[44]"""
    line = waiting(shop)
    invoice = fetched(shop, line)
    shop.world.wire.watch()
    assert shop.lifecycle.apply_then_advance(clock(), line, invoice, shop.world.now()) == line
    assert shop.lifecycle.apply(clock(), line, invoice, shop.world.now()) == line
    assert shop.world.wire.operations == {"GetItem": 2}, "those of this test"


def test_other_invoice_of_the_line_decides_nothing_until_it_is_paid(shop: Shop) -> None:
    """[56]"""
    line = waiting(shop)
    copy = touch(shop, line, "copy_and_pay")
    other = shop.product.billing(clock()).invoices.retrieve(copy["id"])
    void = type(other)(**{name: getattr(other, name) for name in other.__slots__} | {"status": "void"})
    assert shop.lifecycle.apply(clock(), line, void) == line
    assert shop.lifecycle.apply_then_advance(clock(), line, void) == line
    paid = shop.lifecycle.apply(clock(), line, other)
    assert (paid.status, paid.invoice_id) == (Status.PROVISIONING, copy["id"])
    (original,) = [one for one in shop.line_invoices() if one["id"] == line.invoice_id]
    assert original["status"] == "void", "nobody can pay it, too"


def test_reason_that_was_stored_meanwhile_decides_what_a_void_means(shop: Shop) -> None:
    """[39] The reason was stored after the invoice was read."""
    line = waiting(shop)
    shop.stripe.v1.invoices.void_invoice(str(line.invoice_id))
    void = fetched(shop, line)
    shop.world.lines.record_void_reason(line, VoidReason.INCLUDED, wall_time_ms())
    after = shop.lifecycle.apply(clock(), line, void, shop.world.now())
    assert (after.status, after.history[-1].cause) == (Status.PROVISIONING, "plan_includes_line")


def test_subscription_is_read_again_only_with_an_open_invoice(shop: Shop) -> None:
    """[39] That is what it could make pointless."""
    line = waiting(shop)
    (subscription,) = shop.double.all_of("subscription")
    shop.stripe.v1.subscriptions.cancel(subscription["id"])
    shop.double.pay_invoice(str(line.invoice_id))
    before = len(asked(shop))
    paid = shop.lifecycle.advance(clock(), line, Until.CHECKED)
    assert paid.status is Status.PROVISIONING
    assert [call.split("/")[2] for call in asked(shop)[before:]] == ["invoices"]


def test_stored_reason_needs_no_subscription(shop: Shop) -> None:
    """[41]"""
    line = waiting(shop)
    before = len(asked(shop))
    canceled = shop.lifecycle.cancel(clock(), line, VoidReason.CANCELED)
    assert canceled.status is Status.CANCELED
    assert not any("/subscriptions" in call for call in asked(shop)[before:])


def test_holder_that_is_finished_is_checked_without_its_lease(shop: Shop) -> None:
    """[25] One short look at its invoice."""
    line = waiting(shop)
    before, workspace = len(asked(shop)), shop.world.now()
    shop.world.wire.watch()
    assert shop.lifecycle.check_holder(clock(), line, workspace) == line
    assert asked(shop)[before:] == [f"GET /v1/invoices/{line.invoice_id}"]
    assert shop.world.wire.operations == {}


def test_holder_that_is_half_made_is_finished_once_its_lease_ends(shop: Shop) -> None:
    """[23]"""
    line = half_made(shop)
    at = WaitingClock(wall_time_ms() + HOUR_MS, 20.0)
    assert not shop.lifecycle.check_holder(at, held(shop, line, at, 500), shop.world.now()).half_made
    assert at.waited_s


def test_cancel_waits_for_the_leases_holder(shop: Shop) -> None:
    """[41]"""
    line = waiting(shop)
    at = WaitingClock(wall_time_ms() + HOUR_MS, 20.0)
    assert shop.lifecycle.cancel(at, held(shop, line, at, 500), VoidReason.CANCELED).status is Status.CANCELED
    assert at.waited_s


@pytest.mark.parametrize("lock", ["waiting", "free"])
def test_end_of_the_subscription_ends_only_what_waits(shop: Shop, lock: str) -> None:
    """[39][46] It waits for the lease of a request's holder."""
    line = waiting(shop)
    (subscription,) = shop.double.all_of("subscription")
    if lock == "free":
        shop.double.pay_invoice(str(line.invoice_id))
        hear(shop, "invoice.paid")
    at = WaitingClock(wall_time_ms() + HOUR_MS, 20.0)
    assert shop.lifecycle.sync_subscription(at, "acme") == shop.world.now()
    assert shop.world.line(line).awaiting is (lock == "waiting"), "it is active"
    if lock == "waiting":
        held(shop, line, at, 500)
    shop.stripe.v1.subscriptions.cancel(subscription["id"])
    workspace = shop.lifecycle.sync_subscription(at, "acme")
    assert workspace is not None
    assert workspace.subscription is not None
    assert workspace.subscription.status == "canceled"
    assert shop.world.line(line).status is (Status.CANCELED if lock == "waiting" else Status.PROVISIONING)
    assert bool(at.waited_s) is (lock == "waiting")
    assert shop.lifecycle.sync_subscription(at, "unknown") is None


def test_partly_paid_invoice_alarms_once_for_each_part(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """[56]"""
    line = waiting(shop)
    capsys.readouterr()
    for number, part in enumerate((500, None, 300)):
        if part:
            touch(shop, line, "pay_part", part)
        line = shop.lifecycle.advance(clock(later_ms=number * 60_000), line, Until.CHECKED)
        assert capsys.readouterr().out.count('"PartiallyPaid":[1.0]') == bool(part)
    assert line.amount_paid == 800


def test_line_without_its_workspace_is_left_with_an_alarm(shop: Shop) -> None:
    """[34]"""
    line = waiting(shop)
    table, name = shop.world.client, shop.world.table_name
    table.delete_item(TableName=name, Key={"pk": {"S": "W#acme"}, "sk": {"S": "WORKSPACE"}})
    invoice = fetched(shop, line)
    with pytest.raises(BillingMisconfigured, match="acme is missing"):
        shop.lifecycle.apply(clock(), line, invoice)


def test_revision_is_followed_by_whoever_hears_of_it(shop: Shop) -> None:
    """[56] After the holder of the lease, who may have read the original."""
    line = waiting(shop)
    revision = touch(shop, line, "revise")
    seen = shop.product.billing(clock()).invoices.retrieve(revision["id"])
    assert seen.revises == line.invoice_id
    at = WaitingClock(wall_time_ms() + HOUR_MS, 20.0)
    after = shop.lifecycle.apply_then_advance(at, held(shop, line, at, 500), seen)
    assert (after.invoice_id, after.payment_url) == (revision["id"], revision["hosted_invoice_url"])
    assert at.waited_s
    assert shop.world.line(line) == after
