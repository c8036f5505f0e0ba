"""How a line that awaits payment is settled, by events and by other callers, and what follows when Stripe fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingRejected,
    BillingUnavailable,
    InvoiceMissing,
)
from line_requests.domain.model import Invoice, Status, VoidReason
from line_requests.flows.leases import LEASE_MS, POLL_INTERVAL_MS
from tests.decision.examples import NOW_MS
from tests.edges.bench import DRAFT, OPEN, Bench, alarms, now

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


# --- the line is settled ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "status", "pending"),
    [(None, "awaiting", True), (VoidReason.CANCELED, "canceled", True), (VoidReason.INCLUDED, "provisioning", True)],
)
def test_deleted_draft_settles_only_a_line_with_a_reason(
    bench: Bench, reason: VoidReason | None, status: str, *, pending: bool
) -> None:
    """[39] Its items are deleted first."""
    line = bench.line(DRAFT, void_reason=reason)
    gone = Invoice("in_1", "gone")
    bench.invoices.clear()
    after = bench.lifecycle.apply_then_advance(now(), line, gone)
    assert after.status.startswith(status)
    assert ("pending" in bench.calls) is pending
    assert bench.calls.count("pending") == 1


def test_finalized_invoice_that_stripe_does_not_know_changes_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """[39]"""
    line = bench.line()
    bench.invoices.clear()
    for advances in (True, False):
        with pytest.raises(InvoiceMissing):
            bench.advance(line) if advances else bench.lifecycle.apply(now(), line, Invoice("in_1", "gone"))
        assert alarms(capsys) == ["InvoiceMissing"]
        assert bench.world.line(line).awaiting
    assert "pending" not in bench.calls


def test_void_invoice_settles_as_the_reason_says_that_was_stored_meanwhile(bench: Bench) -> None:
    """[39][44]"""
    line = bench.line()
    bench.world.lines.record_void_reason(line, VoidReason.INCLUDED, NOW_MS)
    settled = bench.lifecycle.apply(now(), line, replace(OPEN, status="void"))
    assert (settled.status, settled.history[-1].cause) == (Status.PROVISIONING, "plan_includes_line")
    assert bench.calls == []


def test_payment_is_one_write(bench: Bench) -> None:
    """[44] Whatever the workspace says, which is not read."""
    line = bench.line()
    bench.world.wire.watch()
    paid = bench.lifecycle.apply_then_advance(now(), line, replace(OPEN, status="paid"))
    assert paid.status is Status.PROVISIONING
    assert bench.world.wire.operations == {"TransactWriteItems": 1}


@pytest.mark.parametrize("status", ["open", "draft", "uncollectible", "void", "paid"])
def test_invoice_that_is_not_the_line_s_settles_only_when_it_is_paid(bench: Bench, status: str) -> None:
    """[45][56]"""
    line = bench.line()
    after = bench.lifecycle.apply_then_advance(now(), line, replace(OPEN, id="in_9", status=status))
    assert after.status is (Status.PROVISIONING if status == "paid" else Status.AWAITING_PAYMENT)
    assert (after == line) is (status != "paid")
    assert bench.calls == (["retrieve in_1", "void in_1"] if status == "paid" else [])


@pytest.mark.parametrize("status", ["paid", "void"])
def test_copy_meets_the_invoice_that_was_stored_meanwhile(bench: Bench, status: str) -> None:
    """[56] The line was read before: a paid copy has the invoice voided, a void one settles nothing."""
    line = bench.line(None)
    bench.invoices["in_1"] = OPEN
    stored = bench.world.lines.save_invoice(line, "in_1")
    after = bench.lifecycle.apply(now(), line, replace(OPEN, id="in_2", status=status))
    if status == "paid":
        assert (after.status, after.invoice_id, bench.invoices["in_1"].status) == (
            Status.PROVISIONING,
            "in_2",
            "void",
        )
    else:
        assert (after, bench.invoices["in_1"].status) == (stored, "open")


def test_open_invoice_of_an_event_needs_no_call(bench: Bench) -> None:
    """[44]"""
    line = bench.line()
    assert bench.lifecycle.apply_then_advance(now(), line, OPEN) == line
    assert bench.calls == []


@pytest.mark.parametrize("heard", [True, False])
def test_revision_becomes_the_line_s_invoice_when_it_is_heard_of(bench: Bench, *, heard: bool) -> None:
    """[56] A caller waits for the lease's holder, who may have read the original."""
    line = bench.line(lease_until_ms=NOW_MS + 1_000)
    revision = replace(OPEN, id="in_2", url="https://pay/2", revises="in_1")
    bench.invoices["in_1"] = revision  # a read follows revisions
    at = now()
    after = bench.lifecycle.apply_then_advance(at, line, revision if heard else OPEN)
    assert (after.invoice_id, after.payment_url) == (("in_2", "https://pay/2") if heard else ("in_1", OPEN.url))
    assert bool(at.waited_s) is heard


def test_revision_of_an_earlier_invoice_makes_the_line_s_own_be_read(bench: Bench) -> None:
    """[56] It may be revised by now, too."""
    line = bench.line(replace(OPEN, id="in_3"))
    bench.invoices["in_3"] = replace(OPEN, id="in_4", revises="in_3")
    after = bench.lifecycle.apply_then_advance(now(), line, replace(OPEN, id="in_2", revises="in_1"))
    assert after.invoice_id == "in_4"


def test_revision_that_another_caller_follows_first_is_followed_once(bench: Bench) -> None:
    """[56]"""
    line, lines = bench.line(), bench.world.lines
    bench.invoices["in_1"] = replace(OPEN, id="in_2", revises="in_1")
    bench.meanwhile["retrieve"] = lambda: lines.follow_revision(line, "in_2", "https://pay/2")
    assert bench.advance(line).invoice_id == "in_2"


def test_draft_of_a_revision_is_not_the_line_s_invoice(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """[56] A person works on it; its link and its parts are not stored."""
    line = bench.line()
    bench.invoices["in_1"] = replace(OPEN, id="in_2", revises="in_1", status="draft", url="https://2", amount_paid=5)
    after = bench.advance(line)
    assert (after.invoice_id, after.payment_url, after.amount_paid) == ("in_1", OPEN.url, 0)
    assert alarms(capsys) == []


def test_event_that_needs_stripe_does_not_wait_for_a_lease(bench: Bench) -> None:
    """[44] Its holder does what is needed."""
    line = bench.line(lease_until_ms=NOW_MS + 1_000, void_reason=VoidReason.CANCELED)
    assert bench.lifecycle.apply_then_advance(now(), line, OPEN) == line
    assert bench.calls == []


@pytest.mark.parametrize("seen_waiting", [True, False])
def test_payment_of_a_canceled_line_is_flagged(
    bench: Bench, capsys: pytest.CaptureFixture[str], *, seen_waiting: bool
) -> None:
    """[44][55] Also when the caller has not seen the cancel."""
    line = bench.line()
    canceled = bench.world.lines.cancel(line, "canceled", NOW_MS)
    after = bench.lifecycle.apply(now(), line if seen_waiting else canceled, replace(OPEN, status="paid"))
    assert (after.status, bench.world.line(line).refund_due) == (Status.CANCELED, True)
    assert alarms(capsys) == ["RefundDue"]


# --- the lock's holder, and the workspace -------------------------------------------------------


def test_holder_that_is_half_made_is_finished_and_another_one_looked_at_without_a_lease(bench: Bench) -> None:
    """[23][25]"""
    half = bench.line(DRAFT, lease_until_ms=NOW_MS + 1_000)
    at = now()
    made = bench.lifecycle.check_holder(at, half, bench.world.now())
    assert (made.payment_url, bool(at.waited_s)) == (OPEN.url, True)
    bench.calls.clear()
    bench.clocks.clear()
    leased = bench.world.lines.take_lease(made, now_ms=NOW_MS, until_ms=NOW_MS + 99_000, throttled=False)
    assert leased is not None
    bench.invoices["in_1"] = replace(OPEN, status="paid")
    assert bench.lifecycle.check_holder(now(), leased, bench.world.now()).status is Status.PROVISIONING
    assert bench.calls == ["retrieve in_1"]
    assert bench.clocks[0].remaining_s() == 4.0, "its client waits"


@pytest.mark.parametrize(("included", "status"), [(0, Status.AWAITING_PAYMENT), (1, Status.PROVISIONING)])
def test_waiting_line_that_need_not_be_paid_is_waived(bench: Bench, included: int, status: Status) -> None:
    """[39][46] Another caller's lease is waited for."""
    workspace = bench.world.now()
    bench.world.wire.watch()
    bench.lifecycle.end_if_unneeded(now(), workspace)
    assert bench.world.wire.operations == {}
    line = bench.line(lease_until_ms=NOW_MS + 500)
    bench.subscribe(included)
    at = now()
    bench.lifecycle.end_if_unneeded(at, bench.world.now())
    assert bench.world.line(line).status is status
    assert bool(at.waited_s) is bool(included)
    assert bool(bench.calls) is bool(included)
    settled = bench.world.now()
    if included:
        bench.calls.clear()
        bench.lifecycle.end_if_unneeded(now(), replace(settled, lock=line.id))
        assert bench.calls == []


@pytest.mark.parametrize("lease", [True, False])
def test_cancel_waits_for_the_lease_and_voids(bench: Bench, *, lease: bool) -> None:
    """[41]"""
    line = bench.line(lease_until_ms=NOW_MS + 500 if lease else 0)
    at = now()
    canceled = bench.lifecycle.cancel(at, line, VoidReason.CANCELED)
    assert (canceled.status, bool(at.waited_s)) == (Status.CANCELED, lease)
    assert bench.invoices["in_1"].status == "void"
    assert bench.lifecycle.cancel(now(), canceled, VoidReason.CANCELED) == canceled


@pytest.mark.parametrize(
    ("trouble", "earlier", "calls"),
    [
        (None, None, ["create", "void in_1"]),
        (BillingRefused("no product"), None, ["create"]),
        (BillingRejected("no tax"), None, ["create", "find"]),
        (BillingRejected("no tax"), OPEN, ["create", "find", "void in_1"]),
    ],
)
def test_cancel_finds_a_draft_whose_id_was_lost_by_making_it_again(
    bench: Bench, trouble: Exception | None, earlier: Invoice | None, calls: list[str]
) -> None:
    """[27][41] Stripe answers the same call with the same draft."""
    line = bench.line(None)
    bench.invoices = {"in_1": earlier} if earlier else {}
    bench.trouble = {"create": [trouble]} if trouble else {}
    assert bench.lifecycle.cancel(now(), line, VoidReason.CANCELED).status is Status.CANCELED
    assert [call for call in bench.calls if call != "pending"] == calls


def test_cancel_voids_the_invoice_that_another_caller_stored_while_the_draft_was_made_again(bench: Bench) -> None:
    """[27][41] No one else knows of the draft."""
    line = bench.line(None)
    bench.invoices["in_2"] = replace(OPEN, id="in_2")
    bench.meanwhile["create"] = lambda: bench.world.lines.save_invoice(line, "in_2")
    canceled = bench.lifecycle.cancel(now(), line, VoidReason.CANCELED)
    assert (canceled.status, canceled.invoice_id) == (Status.CANCELED, "in_2")
    assert bench.calls == ["create", "void in_1", "retrieve in_2", "void in_2"]


# --- Stripe fails -------------------------------------------------------------------------------


@pytest.mark.parametrize("throttled", [True, False])
@pytest.mark.parametrize("half_made", [True, False])
def test_lease_is_given_back_when_stripe_fails(bench: Bench, *, half_made: bool, throttled: bool) -> None:
    """[23][34][39] A half-made line may be retried at once, a poll only after its interval."""
    line = bench.line(DRAFT if half_made else OPEN)
    bench.trouble["retrieve"] = [BillingUnavailable("timed out")]
    with pytest.raises(BillingUnavailable) as trouble:
        bench.advance(line, throttled=throttled)
    after = bench.world.line(line)
    wait_ms = 0 if half_made and not throttled else POLL_INTERVAL_MS
    assert trouble.value.line_id == line.id
    assert (after.lease_until_ms, after.next_poll_at_ms, after.due_at_ms) == (0, NOW_MS + wait_ms, NOW_MS)


def test_new_line_that_stripe_does_not_answer_for_may_be_polled_at_once(bench: Bench) -> None:
    """[23][34]"""
    line = bench.line(None, lease_until_ms=NOW_MS + LEASE_MS)
    bench.trouble["create"] = [BillingUnavailable("timed out")]
    with pytest.raises(BillingUnavailable):
        bench.lifecycle.finalize_new(now(), line)
    after = bench.world.line(line)
    assert (after.lease_until_ms, after.next_poll_at_ms) == (0, NOW_MS)


@pytest.mark.parametrize("alarmed", [True, False])
def test_misconfiguration_alarms_once(bench: Bench, capsys: pytest.CaptureFixture[str], *, alarmed: bool) -> None:
    """[34]"""
    trouble = BillingMisconfigured("a wrong key")
    trouble.alarmed = alarmed
    bench.trouble["retrieve"] = [trouble]
    with pytest.raises(BillingMisconfigured):
        bench.advance(bench.line())
    assert trouble.alarmed
    assert alarms(capsys) == ([] if alarmed else ["StripeRefused"])


def test_line_without_its_workspace_is_kept(bench: Bench) -> None:
    """[34] As when an operator restores a part of the table."""
    line = bench.line()
    bench.world.client.delete_item(
        TableName=bench.world.table_name, Key={"pk": {"S": "W#acme"}, "sk": {"S": "WORKSPACE"}}
    )
    with pytest.raises(BillingMisconfigured, match="workspace acme is missing"):
        bench.advance(line)
    assert bench.world.line(line).lease_until_ms == 0


def test_invoice_that_was_voided_after_the_backup_cancels_a_request_of_a_restored_table(bench: Bench) -> None:
    """[24][33] No other is made: the table knows of none, and Stripe has forgotten its keys."""
    line = bench.line(replace(OPEN, status="void"), invoice_id=None)
    canceled = bench.advance(line, now(86_400_000))
    assert (canceled.status, canceled.history[-1].cause) == (Status.CANCELED, "invoice_voided")
    assert "create" not in bench.calls
