"""Drives a line forward from whatever is recorded: the one room behind every door.

Stripe is asked, the answer is compared with what is stored, one conditional write follows. So a
client's retry heals, a poll heals, a webhook and the reconciler heal, and a duplicate changes
nothing.
"""

from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from line_requests import decision, subscriptions
from line_requests.clock import Clock
from line_requests.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingUnavailable,
    InvoiceMissing,
    StaleAnswer,
)
from line_requests.model import Closing, Invoice, Line, Status, Workspace
from line_requests.registry import Registry
from line_requests.store import Store
from line_requests.telemetry import alarm, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from line_requests.billing import Billing

# However many poll, Stripe is asked about one line once in this time (contract 39).
LOOK_INTERVAL_MS = 3_000
# Three calls of Stripe's slowest sort. Stripe is asked nothing in the last interval of a lease, which is nobody's, nor
# in the second before: who still works is not disturbed, and the next one waits for who has crashed and is in time.
LEASE_MS = 16_000
LEASE_MARGIN_S = 1.0
# A client's request may take longer than that, and not as long as API Gateway's 30 s, whatever Stripe does.
REQUEST_BUDGET_S = 20.0
# A look that a client waits for, but would rather not wait for long.
PEEK_S = 4.0
# The reconciler's look at an unpaid line: after an hour, then each time as late again, at most a day.
DUE_AFTER_MIN_MS = 3_600_000
DUE_AFTER_MAX_MS = 24 * 3_600_000
# Create, item, finalize, a look back after each, an intent, a void and one spare.
STEPS_MAX = 12
# Stripe keeps idempotency keys for at least 24 hours; an hour's margin for clocks and queues.
KEY_LIFETIME_MS = 23 * 3_600_000


class Lifecycle:
    """What one invocation can do for lines that await payment."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        open_billing: "Callable[[Callable[[], float]], Billing]",
        clock: Clock,
        window_ms: int,
    ) -> None:
        self._store = store
        self._registry = registry
        self._open_billing = open_billing
        self._clock = clock
        self._window_ms = window_ms
        self._kept_s = 0.0
        """Time that is not for Stripe."""

    @cached_property
    def billing(self) -> "Billing":
        """Stripe, opened by the first who needs it: an included line never does."""
        return self._open_billing(lambda: self._clock.remaining_s() - self._kept_s)

    # --- doors ----------------------------------------------------------------------------------

    def make(self, line: Line) -> Line:
        """Finishes the invoice of a line that this caller has just written, and so leased."""
        with self._ending_lease(line):
            return self._advance(line, None)

    def poll(self, line: Line) -> Line:
        """Brings a waiting line up to date with Stripe, unless somebody just did or has just tried.

        Raises BillingUnavailable when Stripe is in trouble; what is stored then still stands.
        """
        if not line.half_made:
            return self.look(line)
        return self._work_on(line, until=lambda line: not line.half_made, polled=True)

    def look(self, line: Line) -> Line:
        """The same without waiting: the line as it was while somebody else works on it."""
        leased = self._lease(line, grace_ms=LOOK_INTERVAL_MS if line.half_made else 0)
        return self._resume(leased) if leased else line

    def look_back(self, line: Line) -> None:
        """Looks once more whether a canceled line was paid all the same."""
        next_look_ms = None
        try:
            invoice = self.billing.find(line)
        except BillingRefused:
            # Its customer was deleted, or belongs to another account than our key.
            invoice = self.billing.retrieve(line.invoice_id) if line.invoice_id else None
            next_look_ms = self._clock.now_ms() + DUE_AFTER_MAX_MS
        if invoice is not None and invoice.status == "paid" and not line.refund_due:
            self._flag_refund(line, invoice)
        else:
            self._store.due_at(line, next_look_ms)

    def peek(self, line: Line, workspace: Workspace) -> Line:
        """Looks at the invoice at once and without a lease, and writes only what it settles."""
        if line.half_made or line.invoice_id is None:
            return self.finish(line)
        with self._within(PEEK_S):
            invoice = self.billing.retrieve(line.invoice_id)
        return self.observe(line, invoice, workspace)

    def finish(self, line: Line) -> Line:
        """Waits until the line's invoice is finished, by us or by whoever has its lease.

        Raises BillingUnavailable when it is not in time, BillingRefused when it never will be.
        """
        return self._work_on(line, until=lambda line: not line.half_made)

    def renew(self, line: Line) -> Line:
        """Looks now, for a client who asks for the link it is about to show."""
        return self._work_on(line, until=lambda line: not line.awaiting)

    def close(self, line: Line, closing: Closing) -> Line:
        """Ends the request for this reason: intent first, then the void, then what it means.

        The line comes back awaiting payment when a payment is on its way, and paid when it won.
        """
        return self._work_on(self._intend(line, closing), until=lambda line: not line.awaiting)

    def reconsider(self, workspace: Workspace) -> None:
        """After a change of the subscription: ends a waiting request that need not be paid any more."""
        line = self._store.line(workspace.id, workspace.lock) if workspace.lock else None
        if line is not None and line.awaiting:
            now_ms = self._clock.now_ms()
            # Looked at before any intent: an invoice that was void before this change is no part of it.
            if decision.reason_to_close(line, workspace, now_ms, self._window_ms) is not None:
                self.renew(line)

    def _work_on(self, line: Line, *, until: "Callable[[Line], bool]", polled: bool = False) -> Line:
        """Takes the lease as soon as nobody works on the line, and goes on with it once.

        However many poll in vain, one of them tries each interval, and the others do not wait for it.
        """
        pause_s = 0.05
        while not until(line):
            leased = self._lease(line, grace_ms=0 if polled else LOOK_INTERVAL_MS)
            if leased is not None:
                return self._resume(leased, polled=polled)
            if polled and line.look_after_ms <= self._clock.now_ms() + LOOK_INTERVAL_MS:
                return line
            if self._clock.remaining_s() < 2 * pause_s:
                raise BillingUnavailable("another caller is still working on the invoice")
            self._clock.sleep(pause_s)
            pause_s = min(0.5, pause_s * 1.5)
            line = self._now(line)
        return line

    def _lease(self, line: Line, grace_ms: int = 0) -> Line | None:
        now_ms = self._clock.now_ms()
        return self._store.take_lease(line, free_by_ms=now_ms + grace_ms, until_ms=now_ms + LEASE_MS)

    def observe(self, line: Line, invoice: Invoice, workspace: Workspace | None = None) -> Line:
        """Applies an invoice that was just fetched: the webhook's and the reconciler's door.

        A workspace that was just read spares another read: whatever is written has its conditions.
        """
        if line.refundable and invoice.status == "paid":
            return self._flag_refund(line, invoice)
        if not line.awaiting or line.invoice_id not in {None, invoice.id}:
            return line
        if invoice.status == "paid":
            return self._settle(line, invoice, decision.Promote())  # whatever the workspace says
        workspace = workspace or self._workspace(line)
        move = decision.next_move(line, workspace, invoice, self._clock.now_ms(), self._window_ms)
        match move:
            case decision.Promote() | decision.Cancel() | decision.Include():
                settled = self._settle(line, invoice, move)
                # Intended meanwhile, which changes what a void invoice means; it happens once.
                again = settled.awaiting and settled.closing is not line.closing
                return self.observe(settled, invoice, workspace) if again else settled
            case decision.Intend() | decision.Close() | decision.Make():
                return self.finish(line) if line.half_made else self.look(line)
            case decision.Missing():
                raise self._missing(line)
            case decision.Rest():
                return line

    # --- one step after the other ---------------------------------------------------------------

    def _resume(self, leased: Line, *, polled: bool = False) -> Line:
        """Goes on with a line whose history at Stripe is unknown: look before any step."""
        with self._ending_lease(leased, polled=polled):
            invoice = self.billing.retrieve(leased.invoice_id) if leased.invoice_id else None
            if invoice is not None and invoice.status == "open" and leased.closing is None:
                subscriptions.refresh(self._registry, self.billing, leased.workspace_id, self._clock.now_ms())
            return self._advance(leased, invoice)

    @contextmanager
    def _ending_lease(self, line: Line, *, polled: bool = False) -> "Iterator[None]":
        """Gives the lease back after trouble: a half-made line may be retried at once, polled only later."""
        lease_s = (line.look_after_ms - LOOK_INTERVAL_MS - self._clock.now_ms()) / 1000
        try:
            with self._within(lease_s - LEASE_MARGIN_S):
                yield
        except BillingUnavailable as trouble:
            self._end_lease(line, trouble, polled=polled)
            raise

    @contextmanager
    def _within(self, seconds: float) -> "Iterator[None]":
        """Asks Stripe for no longer than this."""
        before_s, self._kept_s = self._kept_s, max(self._kept_s, self._clock.remaining_s() - seconds)
        try:
            yield
        finally:
            self._kept_s = before_s

    def _end_lease(self, line: Line, trouble: BillingUnavailable, *, polled: bool) -> None:
        if isinstance(trouble, BillingMisconfigured) and not trouble.told:
            trouble.told = True
            alarm("StripeRefused", f"kept, but an operator is needed: {trouble}", line_id=line.id)
        else:
            logger.warning("Stripe is in trouble", extra={"line_id": line.id, "reason": str(trouble)})
        now_ms = self._clock.now_ms()
        after_ms = now_ms if line.half_made and not polled else now_ms + LOOK_INTERVAL_MS
        self._store.end_lease(line, look_after_ms=after_ms, due_at_ms=now_ms)

    def _advance(self, line: Line, invoice: Invoice | None) -> Line:  # noqa: C901 - one arm per move
        """Takes every step that can be taken now; the line's lease is ours.

        Raises BillingRefused once the line is canceled for it, BillingUnavailable when kept.
        """
        refusal: BillingRefused | None = None
        workspace = self._workspace(line)
        for _ in range(STEPS_MAX):
            if not line.awaiting:
                break
            move = decision.next_move(line, workspace, invoice, self._clock.now_ms(), self._window_ms)
            if isinstance(move, decision.Make):
                try:
                    line, invoice = self._make_step(line, invoice)
                except BillingRefused as error:
                    refusal, line, invoice = self._refused(line, invoice, error)
            elif isinstance(move, decision.Intend):
                line = self._intend(line, move.closing)
            elif isinstance(move, decision.Close):
                line, invoice = self._close_step(line, invoice)
                if invoice.status in {"open", "uncollectible"}:
                    return self._rest(line, invoice)
            elif invoice is None or isinstance(move, decision.Missing):
                raise self._missing(line)
            elif isinstance(move, decision.Rest):
                return self._rest(line, invoice)
            else:
                line = self._settle(line, invoice, move)
        else:
            raise BillingUnavailable("too many steps at once")
        if refusal is not None and line.status is Status.CANCELED:
            raise refusal
        return line

    def _make_step(self, line: Line, invoice: Invoice | None) -> tuple[Line, Invoice | None]:
        """The next of create, item, finalize, chosen by what Stripe was seen to hold."""
        if self._clock.now_ms() - line.keyed_at_ms > KEY_LIFETIME_MS:
            return self._fresh_keys(line)
        try:
            if invoice is not None and invoice.status == "gone":
                return self._replaced(line)
            if invoice is None:
                # Under an earlier key an invoice may have been made that nobody has seen yet.
                found = self.billing.find(line) if line.key_version > 1 else None
                return self._adopt(line, found or self.billing.create_invoice(line))
            return line, self._fill(line, invoice)
        except StaleAnswer:
            return self._fresh_keys(line)

    def _fill(self, line: Line, draft: Invoice) -> Invoice:
        """The draft with our item; with just that, finalized; with others, deleted."""
        ours = self.billing.items_of(line)
        if not draft.items:
            self.billing.add_item(line, draft.id)
            return replace(draft, items=ours)
        if draft.items == ours:
            return self._believed(self.billing.finalize(line, draft.id))
        # By hand, or by a call that came late: nobody can tell what is meant, so another draft takes its place.
        logger.warning("the draft has other items than ours", extra={"line_id": line.id, "invoice": draft.id})
        return self.billing.close(draft)

    def _refused(
        self, line: Line, invoice: Invoice | None, refusal: BillingRefused
    ) -> tuple[BillingRefused | None, Line, Invoice]:
        """What Stripe refuses is for good, unless other hands have changed the draft: then it is judged again."""
        seen = self.billing.retrieve(invoice.id) if invoice else None
        if seen is not None and seen.status != "draft":
            return None, line, seen
        # Told before it is remembered: twice is better than never.
        alarm("BillingRefused", str(refusal), line_id=line.id)
        return refusal, self._intend(line, Closing.BILLING_REFUSED), seen or Invoice("", "gone")

    def _fresh_keys(self, line: Line) -> tuple[Line, Invoice | None]:
        """New keys, stored before they are used, and a look at what the old ones have done."""
        line = self._store.next_key_version(line, self._clock.now_ms()) or self._now(line)
        if line.invoice_id is not None:
            return line, self.billing.retrieve(line.invoice_id)
        found = self.billing.find(line)
        return self._adopt(line, found) if found is not None else (line, None)

    def _replaced(self, line: Line) -> tuple[Line, Invoice | None]:
        """Forgets a draft that was deleted; raises InvoiceMissing when our key does not know the customer either."""
        try:
            another = self.billing.find(line)
        except BillingRefused:
            raise self._missing(line) from None
        self.billing.drop_items(line)
        line = self._store.next_key_version(line, self._clock.now_ms(), forget_invoice=True) or self._now(line)
        return self._adopt(line, another) if another is not None else (line, None)

    def _adopt(self, line: Line, invoice: Invoice) -> tuple[Line, Invoice]:
        """Saves the invoice's id; when another caller saved another one first, that one counts."""
        line = self._store.save_invoice(line, invoice.id) or self._now(line)
        if line.invoice_id not in {None, invoice.id}:
            return line, self.billing.retrieve(line.invoice_id or "")
        return line, self._believed(invoice)

    def _believed(self, invoice: Invoice) -> Invoice:
        """A replayed answer is as old as the first one was: look again."""
        return self.billing.retrieve(invoice.id) if invoice.replayed else invoice

    def _close_step(self, line: Line, invoice: Invoice | None) -> tuple[Line, Invoice]:
        """Voids or deletes; a draft whose id was lost is found by asking for it again."""
        if invoice is None:
            try:
                line, invoice = self._make_step(line, None)
            except BillingRefused:
                invoice = None
            if invoice is None or line.invoice_id is None:
                return line, Invoice("", "gone")
        return line, self.billing.close(invoice)

    def _settle(self, line: Line, invoice: Invoice, move: decision.Settlement) -> Line:
        if invoice.status == "gone" and invoice.id:
            self.billing.drop_items(line)
        now_ms = self._clock.now_ms()
        match move:
            case decision.Promote():
                promoted = self._store.promote(line, now_ms, invoice_id=invoice.id, url=invoice.url)
                return self._flag_refund(promoted, invoice) if promoted.refundable else promoted
            case decision.Include():
                return self._store.include(line, now_ms)
            case decision.Cancel(cause):
                return self._store.cancel(line, cause, now_ms)

    def _flag_refund(self, line: Line, invoice: Invoice) -> Line:
        if not line.refund_due:
            # Told before it is remembered: twice is better than never.
            alarm("RefundDue", "paid after it was canceled", line_id=line.id, invoice=invoice.id)
            self._store.flag_refund(line, invoice.id)
        return line

    def _rest(self, line: Line, invoice: Invoice) -> Line:
        """Nothing more to do now: remember where to pay, and when to look again."""
        now_ms = self._clock.now_ms()
        age_ms = now_ms - line.created_at_ms
        due_at_ms = now_ms + min(DUE_AFTER_MAX_MS, max(DUE_AFTER_MIN_MS, age_ms))
        expires_at_ms = decision.expiry_ms(line, self._window_ms)
        if expires_at_ms is not None:
            due_at_ms = min(due_at_ms, expires_at_ms)
        if line.closing is not None:
            due_at_ms = now_ms
        rested = self._store.rest(
            line,
            url=invoice.url or line.payment_url,
            # Just made is not yet looked at: the first poll may look at once.
            look_after_ms=now_ms if line.half_made else now_ms + LOOK_INTERVAL_MS,
            due_at_ms=due_at_ms,
        )
        if rested is not None and rested.closing is not line.closing:
            return self._rest(rested, invoice)  # Intended meanwhile: due now, should who intends it crash.
        return rested or self._now(line)

    def _intend(self, line: Line, closing: Closing) -> Line:
        return self._store.intend(line, closing, self._clock.now_ms()) or self._now(line)

    def _missing(self, line: Line) -> InvoiceMissing:
        alarm("InvoiceMissing", "Stripe does not know the invoice", line_id=line.id, invoice=line.invoice_id)
        return InvoiceMissing(f"Stripe does not know the invoice of line {line.id}")

    def _now(self, line: Line) -> Line:
        """The line as it is now; lines are never deleted."""
        return self._store.line(line.workspace_id, line.id) or line

    def _workspace(self, line: Line) -> Workspace:
        workspace = self._registry.workspace(line.workspace_id)
        if workspace is None:
            raise BillingMisconfigured(f"workspace {line.workspace_id} is missing")
        return workspace
