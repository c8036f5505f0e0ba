"""One pass over a line that awaits payment: which calls and writes follow what the table and Stripe hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain.errors import (
    BillingRefused,
    BillingRejected,
    BillingUnavailable,
    InvoiceMissing,
    ReplayedFailure,
)
from line_requests.domain.model import Invoice, Status, VoidReason
from line_requests.flows.leases import LEASE_MS, POLL_INTERVAL_MS, Until
from tests.decision.examples import NOW_MS
from tests.edges.bench import DRAFT, HOUR_MS, OPEN, Bench, alarms, now

if TYPE_CHECKING:
    from tests.support.world import World


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


# --- the lease ----------------------------------------------------------------------------------


def test_line_that_is_ready_is_returned_without_a_call(bench: Bench) -> None:
    """[23][31]"""
    line = bench.line()
    assert bench.lifecycle.advance(now(), line, Until.FINALIZED, wait=True) == line
    paid = bench.world.lines.mark_paid(line, NOW_MS, invoice_id="in_1", url=None)
    assert bench.advance(paid, wait=True) == paid
    assert bench.calls == []
    assert bench.world.line(line) == paid


def test_holder_calls_stripe_until_a_second_before_its_lease_ends(bench: Bench) -> None:
    """[31][34]"""
    bench.advance(bench.line())
    assert [clock.remaining_s() for clock in bench.clocks] == [LEASE_MS / 1000 - 1]


def test_caller_waits_for_another_ones_lease_at_growing_pauses(bench: Bench) -> None:
    """[31]"""
    line = bench.line(lease_until_ms=NOW_MS + 3_000)
    at = now()
    assert bench.advance(line, at, wait=True).lease_until_ms == 0
    assert at.waited_s[:3] == [0.05, pytest.approx(0.075), pytest.approx(0.1125)]
    assert at.waited_s[-1] == 0.5
    assert sum(at.waited_s) == pytest.approx(3.0, abs=0.5)
    assert bench.calls == ["retrieve in_1", "subscription"]


@pytest.mark.parametrize(("budget_s", "waited_s"), [(0.1, [0.05]), (0.099, [])])
def test_caller_gives_up_while_it_could_still_try_twice(bench: Bench, budget_s: float, waited_s: list[float]) -> None:
    """[31][34]"""
    line = bench.line(lease_until_ms=NOW_MS + 3_000)
    at = now(budget_s=budget_s)
    with pytest.raises(BillingUnavailable, match="still working") as trouble:
        bench.advance(line, at, wait=True)
    assert (trouble.value.line_id, at.waited_s) == (line.id, waited_s)


def test_caller_that_does_not_wait_gets_the_line_as_it_is(bench: Bench) -> None:
    """[39]"""
    line = bench.line(lease_until_ms=NOW_MS + 3_000)
    assert bench.advance(line) == line
    assert bench.calls == []


@pytest.mark.parametrize(("lease_until_ms", "calls"), [(NOW_MS, 0), (NOW_MS + 1, 2)])
def test_poll_between_intervals_waits_only_for_a_holder(bench: Bench, lease_until_ms: int, calls: int) -> None:
    """[39]"""
    line = bench.line(lease_until_ms=lease_until_ms, next_poll_at_ms=NOW_MS + 40)
    bench.advance(line, wait=True, throttled=True)
    assert len(bench.calls) == calls


# --- the invoice is built -----------------------------------------------------------------------


def test_new_line_gets_its_invoice_in_three_calls(bench: Bench) -> None:
    """[16][39]"""
    line = bench.line(None, lease_until_ms=NOW_MS + LEASE_MS)
    made = bench.lifecycle.finalize_new(now(), line)
    assert bench.calls == ["create", "item in_1", "finalize in_1"]
    assert (made.invoice_id, made.payment_url, made.lease_until_ms) == ("in_1", OPEN.url, 0)
    assert (made.next_poll_at_ms, made.due_at_ms) == (NOW_MS, NOW_MS + HOUR_MS), "the first poll may ask at once"


@pytest.mark.parametrize(
    ("later_ms", "calls"),
    [
        (23 * HOUR_MS, ["create", "item in_1", "finalize in_1"]),
        (23 * HOUR_MS + 1, ["find", "find", "create", "item in_1", "finalize in_1"]),
    ],
)
def test_keys_that_stripe_may_have_forgotten_are_replaced_after_a_search(
    bench: Bench, later_ms: int, calls: list[str]
) -> None:
    """[33][57]"""
    made = bench.advance(bench.line(None), now(later_ms))
    assert bench.calls == calls
    assert made.stripe_key_version == (2 if "find" in calls else 1)


@pytest.mark.parametrize("known", [True, False])
def test_invoice_of_forgotten_keys_is_found(bench: Bench, *, known: bool) -> None:
    """[16][33] By its id, else by its metadata; it is not made again."""
    line = bench.line(DRAFT, invoice_id="in_1" if known else None)
    made = bench.advance(line, now(24 * HOUR_MS))
    assert (made.invoice_id, made.payment_url, made.stripe_key_version) == ("in_1", OPEN.url, 2)
    found = ["retrieve in_1", "retrieve in_1"] if known else ["find"]
    assert bench.calls == [*found, "finalize in_1"]


def test_keys_that_another_caller_replaced_are_taken_from_it(bench: Bench) -> None:
    """[33][57]"""
    line, lines = bench.line(DRAFT), bench.world.lines
    bench.meanwhile["retrieve"] = lambda: lines.rotate_stripe_keys(line, NOW_MS + 24 * HOUR_MS)
    made = bench.advance(line, now(24 * HOUR_MS))
    assert (made.stripe_key_version, made.payment_url) == (2, OPEN.url)


def test_draft_that_another_caller_replaces_is_replaced_once(bench: Bench) -> None:
    """[16][33]"""
    line, lines = bench.line(replace(DRAFT, id="in_0")), bench.world.lines
    del bench.invoices["in_0"]
    bench.meanwhile["find"] = lambda: lines.rotate_stripe_keys(line, NOW_MS, forget_invoice=True)
    made = bench.advance(line)
    assert (made.stripe_key_version, made.invoice_id) == (2, "in_1")


def test_draft_with_other_items_is_replaced(bench: Bench) -> None:
    """[16][33]"""
    made = bench.advance(bench.line(replace(DRAFT, id="in_0", items=(*OPEN.items, ("usd", 1)))))
    assert bench.calls[:2] == ["retrieve in_0", "void in_0"]
    assert (made.invoice_id, made.payment_url) == ("in_1", OPEN.url)


def test_replayed_answer_is_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """[33] It is as old as the first one."""
    line = bench.line(None)
    bench.invoices["in_1"] = replace(OPEN, status="paid")
    monkeypatch.setattr(bench, "create_draft", lambda _: replace(DRAFT, items=(), replayed=True))
    paid = bench.advance(line)
    assert (paid.status, bench.calls) == (Status.PROVISIONING, ["retrieve in_1"])


def test_draft_that_was_deleted_is_replaced(bench: Bench) -> None:
    """[33][39]"""
    line = bench.line(replace(DRAFT, id="in_0"))
    del bench.invoices["in_0"]
    made = bench.advance(line)
    assert bench.calls == ["retrieve in_0", "find", "pending", "find", "create", "item in_1", "finalize in_1"]
    assert (made.invoice_id, made.stripe_key_version, made.payment_url) == ("in_1", 2, OPEN.url)


def test_draft_that_was_deleted_is_replaced_by_another_invoice_of_the_line(bench: Bench) -> None:
    """[16][39]"""
    line = bench.line(replace(DRAFT, id="in_0"))
    bench.invoices = {"in_1": OPEN}
    made = bench.advance(line)
    assert bench.calls == ["retrieve in_0", "find", "pending"]
    assert (made.invoice_id, made.payment_url) == ("in_1", OPEN.url)


def test_deleted_draft_of_a_customer_whom_stripe_does_not_know_alarms(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """[39] Our key is wrong then."""
    line = bench.line(replace(DRAFT, id="in_0"))
    del bench.invoices["in_0"]
    bench.trouble["find"] = [BillingRefused("No such customer")]
    with pytest.raises(InvoiceMissing, match=line.id):
        bench.advance(line)
    assert alarms(capsys) == ["InvoiceMissing"]


def test_first_stored_invoice_wins_over_a_late_caller_s(bench: Bench) -> None:
    """[16][31]"""
    line = bench.line(None)
    bench.invoices["in_2"] = replace(OPEN, id="in_2", url="https://pay/2")
    bench.meanwhile["create"] = lambda: bench.world.lines.save_invoice(line, "in_2")
    made = bench.advance(line)
    assert (made.invoice_id, made.payment_url) == ("in_2", "https://pay/2")
    assert bench.calls == ["create", "retrieve in_2"]


@pytest.mark.parametrize("paid_by", ["in_1", "in_2"])
def test_draft_of_a_line_that_was_settled_meanwhile_is_deleted_unless_it_is_its_invoice(
    bench: Bench, paid_by: str
) -> None:
    """[16][31] No one else knows of it."""
    line = bench.line(None)
    bench.invoices["in_2"] = replace(OPEN, id="in_2", status="paid")
    bench.meanwhile["create"] = lambda: bench.world.lines.mark_paid(line, NOW_MS, invoice_id=paid_by, url=None)
    assert bench.advance(line).status is Status.PROVISIONING
    assert bench.calls == (["create"] if paid_by == "in_1" else ["create", "void in_1"])


@pytest.mark.parametrize("charge_found", [True, False])
def test_final_refusal_cancels_with_one_alarm(
    bench: Bench, capsys: pytest.CaptureFixture[str], *, charge_found: bool
) -> None:
    """[34][57]"""
    line = bench.line(None)
    bench.trouble["item" if charge_found else "create"] = [BillingRefused("No such product")]
    if not charge_found:
        bench.trouble["create"] *= 2
    with pytest.raises(BillingRefused, match="No such product"):
        bench.advance(line)
    after = bench.world.line(line)
    assert (after.status, after.history[-1].cause, bench.invoices) == (Status.CANCELED, "billing_refused", {})
    assert bench.calls == ["create", *["item in_1", "retrieve in_1", "void in_1", "pending"][: 4 * charge_found]]
    assert alarms(capsys) == ["BillingRefused"]


def test_draft_of_new_keys_is_deleted_before_the_line_is_canceled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[27][41] Another caller may create it right after the search."""
    line = bench.line(None, void_reason=VoidReason.CANCELED)
    bench.trouble["create"] = [ReplayedFailure("500")]
    monkeypatch.setattr(bench, "find_by_metadata", lambda line, **_: {bench.create_draft(line): None}.popitem()[1])
    canceled = bench.advance(line)
    assert (canceled.status, canceled.stripe_key_version, bench.invoices) == (Status.CANCELED, 2, {})


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("seen", [True, False])
def test_draft_that_another_caller_has_made_instead_is_deleted_before_the_line_is_settled(
    bench: Bench, *, saved: bool, seen: bool
) -> None:
    """[27][39] It was replaced before this caller stored the reason to void; the draft that it had read may be gone."""
    line, lines = bench.line(replace(DRAFT, id="in_0")), bench.world.lines
    if seen:
        del bench.invoices["in_0"]
    bench.subscribe(included=1)

    def replaced() -> None:
        forgotten = lines.rotate_stripe_keys(line, NOW_MS, forget_invoice=True)
        assert forgotten is not None
        bench.invoices["in_1"] = replace(DRAFT, line_id=line.id, items=())
        if saved:
            lines.save_invoice(forgotten, "in_1")

    bench.meanwhile["retrieve"] = replaced
    waived = bench.advance(line)
    assert (waived.status, waived.stripe_key_version, bench.invoices) == (Status.PROVISIONING, 2, {})
    looks = [*(["void in_0"] * (not seen)), "retrieve in_1" if saved else "find"]
    assert bench.calls == ["retrieve in_0", *looks, "void in_1", "pending"]


@pytest.mark.parametrize("unknown", [{}, {"in_9": replace(DRAFT, id="in_9")}])
def test_draft_is_not_made_again_once_a_reason_to_void_is_stored(bench: Bench, unknown: dict[str, Invoice]) -> None:
    """[27][41] A caller stores it while another one replaces the deleted draft, perhaps by one whose id was lost."""
    line = bench.line(replace(DRAFT, id="in_0"))
    bench.invoices = dict(unknown)
    bench.meanwhile["pending"] = lambda: bench.world.lines.record_void_reason(line, VoidReason.CANCELED, NOW_MS)
    canceled = bench.advance(line)
    assert (canceled.status, canceled.invoice_id, bench.invoices) == (Status.CANCELED, "in_0", {})
    assert "create" not in bench.calls


@pytest.mark.parametrize("refusal", [BillingRefused("no"), BillingRejected("no")])
def test_refusal_is_not_final_when_the_draft_changed_meanwhile(
    bench: Bench, capsys: pytest.CaptureFixture[str], refusal: Exception
) -> None:
    """[57]"""
    line = bench.line(DRAFT)

    def finalized_by_another_caller() -> None:
        bench.invoices["in_1"] = OPEN

    bench.trouble["finalize"], bench.meanwhile["finalize"] = [refusal], finalized_by_another_caller
    made = bench.advance(line)
    assert (made.awaiting, made.payment_url, made.void_reason) == (True, OPEN.url, None)
    assert alarms(capsys) == []


def test_refusal_that_is_not_final_keeps_the_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """[57]"""
    line = bench.line(DRAFT)
    bench.trouble["finalize"] = [BillingRejected("tax")]
    with pytest.raises(BillingRejected) as trouble:
        bench.advance(line)
    after = bench.world.line(line)
    assert (trouble.value.line_id, after.awaiting, after.void_reason) == (line.id, True, None)
    assert after.lease_until_ms == 0
    assert alarms(capsys) == ["StripeRefused"]


def test_pass_that_never_ends_gives_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """[34]"""
    line = bench.line(None)
    monkeypatch.setattr("line_requests.flows.invoicing.Invoicing.build", lambda _, line, __: (line, None))
    with pytest.raises(BillingUnavailable, match="more steps"):
        bench.advance(line)


# --- the invoice is open ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "reads"),
    [
        ("open", None, 1),
        ("open", VoidReason.CANCELED, 0),
        ("uncollectible", None, 0),
        ("void", None, 0),
        ("paid", None, 0),
        ("draft", None, 0),
    ],
)
def test_subscription_is_read_while_the_invoice_can_be_paid(
    bench: Bench, status: str, reason: VoidReason | None, reads: int
) -> None:
    """[39]"""
    bench.advance(bench.line(replace(OPEN, status=status), void_reason=reason))
    assert bench.calls.count("subscription") == reads


def test_part_payment_alarms_once_for_each_part(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """[56]"""
    line = bench.line()
    for paid, alarmed in ((0, 0), (500, 1), (500, 0), (600, 1)):
        bench.invoices["in_1"] = replace(OPEN, amount_paid=paid)
        line = bench.advance(line, now(9_000))
        assert (line.awaiting, line.amount_paid) == (True, paid)
        assert alarms(capsys) == ["PartiallyPaid"] * alarmed


def test_look_that_changes_nothing_stores_the_next_one(bench: Bench) -> None:
    """[39][47]"""
    at, line = now(2 * HOUR_MS), bench.line()
    bench.world.wire.watch()
    after = bench.advance(line, at)
    assert bench.world.wire.operations == {"UpdateItem": 2, "GetItem": 1}, "the lease, the workspace, the next look"
    assert (after.next_poll_at_ms, after.due_at_ms) == (at.now_ms() + POLL_INTERVAL_MS, at.now_ms() + 2 * HOUR_MS)
    assert after.lease_until_ms == 0


@pytest.mark.parametrize(("url", "stored"), [("https://pay/new", "https://pay/new"), (None, OPEN.url)])
def test_link_follows_stripe_and_is_never_lost(bench: Bench, url: str | None, stored: str) -> None:
    """[39]"""
    assert bench.advance(bench.line(replace(OPEN, url=url))).payment_url == stored


@pytest.mark.parametrize(
    ("window_ms", "due_ms"), [(HOUR_MS // 2, HOUR_MS // 2), (HOUR_MS, HOUR_MS), (9 * HOUR_MS, HOUR_MS)]
)
def test_line_is_due_when_its_payment_window_ends(world: World, window_ms: int, due_ms: int) -> None:
    """[47]"""
    bench = Bench(world, window_ms=window_ms)
    assert bench.advance(bench.line()).due_at_ms == NOW_MS + due_ms


def test_part_paid_line_beyond_its_window_is_due_at_its_next_recheck(world: World) -> None:
    """[56] Its invoice cannot be voided."""
    bench = Bench(world, window_ms=HOUR_MS)
    line = bench.line(replace(OPEN, amount_paid=500))
    for later_ms in (HOUR_MS, 2 * HOUR_MS):
        assert bench.advance(line, now(later_ms)).due_at_ms == NOW_MS + 2 * later_ms


@pytest.mark.parametrize("part", [0, 500])
@pytest.mark.parametrize("status", ["open", "uncollectible"])
def test_void_that_stripe_refuses_is_due_at_once_unless_a_part_is_paid(bench: Bench, status: str, part: int) -> None:
    """[41][56]"""
    line = bench.line(replace(OPEN, status=status, amount_paid=part), void_reason=VoidReason.CANCELED)
    bench.unvoidable = True
    after = bench.advance(line)
    assert bench.calls == (["retrieve in_1"] if part else ["retrieve in_1", "void in_1"])
    assert (after.awaiting, after.due_at_ms) == (True, NOW_MS + (HOUR_MS if part else 0))


def test_reason_that_is_stored_during_a_look_is_due_at_once(bench: Bench) -> None:
    """[27][41][47]"""
    line = bench.line()
    bench.meanwhile["subscription"] = lambda: bench.world.lines.record_void_reason(line, VoidReason.CANCELED, NOW_MS)
    after = bench.advance(line)
    assert (after.void_reason, after.due_at_ms, after.awaiting) == (VoidReason.CANCELED, NOW_MS, True)
    assert after.lease_until_ms == 0


def test_look_at_an_invoice_that_was_revised_meanwhile_stores_no_link(bench: Bench) -> None:
    """[56]"""
    line = bench.line()
    bench.meanwhile["subscription"] = lambda: bench.world.lines.follow_revision(line, "in_2", "https://pay/2")
    after = bench.advance(line)
    assert (after.invoice_id, after.payment_url) == ("in_2", "https://pay/2")
    assert bench.world.line(line) == after
