"""The one machine that moves a line that awaits payment: read Stripe, compare with what is stored, write one change.

A client's retry, a poll, a webhook and the reconciler all run it, so each of them repairs what another left half done,
and a repetition changes nothing.
"""

from collections.abc import Callable

from line_requests.billing.account import Billing
from line_requests.clock import Clock
from line_requests.domain import decision
from line_requests.domain.errors import BillingMisconfigured, BillingRefused, BillingRejected, BillingUnavailable
from line_requests.domain.model import Invoice, Line, Status, VoidReason, Workspace
from line_requests.flows import leases
from line_requests.flows.add_ons import AddOns
from line_requests.flows.extra_invoices import ExtraInvoices, recheck_at_ms
from line_requests.flows.invoicing import DELETED, Invoicing, invoice_missing
from line_requests.flows.reversals import ReversalSync
from line_requests.flows.subscriptions import SubscriptionSync
from line_requests.storage.stores import Stores
from line_requests.telemetry import alarm, logger

HOLDER_LIMIT_S = 4.0  # For a 409, whose client waits for it.
STEPS_MAX = 12  # Create, fill, finalize, a read after each, a reason, a void and one spare.

Connect = Callable[[Clock], Billing]


class Lifecycle:
    """Moves lines forward. Every call brings its own clock, whose end limits its calls to Stripe."""

    def __init__(self, stores: Stores, connect: Connect, window_ms: int) -> None:
        self.connect = connect
        self.subscriptions = SubscriptionSync(stores.workspaces, stores.plans)
        self.reversals = ReversalSync(stores, connect)
        self.add_ons = AddOns(stores.workspaces, self.subscriptions)
        self.extra_invoices = ExtraInvoices(stores.lines, connect, self.reversals)
        self._lines = stores.lines
        self._workspaces = stores.workspaces
        self._window_ms = window_ms

    # --- doors ----------------------------------------------------------------------------------

    def advance(
        self, clock: Clock, line: Line, until: leases.Until, *, wait: bool = False, throttled: bool = False
    ) -> Line:
        """Takes the line's lease, then every step that can be taken now, once.

        `wait`: until another caller's lease ends; else the line comes back as it is. `throttled`: a poll, which asks
        Stripe once per interval.

        Raises BillingUnavailable when Stripe or the lease's holder takes too long, and BillingRefused once the line was
        canceled because Stripe refuses it.
        """
        pause_s = leases.LEASE_PAUSE_MIN_S
        while not until.reached(line):
            now_ms = clock.now_ms()
            leased = self._lines.take_lease(line, now_ms=now_ms, until_ms=now_ms + leases.LEASE_MS, throttled=throttled)
            if leased is not None:
                return self._pass(clock, leased, throttled=throttled)
            if not wait or (throttled and line.lease_until_ms <= now_ms):
                return line
            if clock.remaining_s() < 2 * pause_s:
                raise BillingUnavailable("another caller is still working on the invoice", line_id=line.id)
            clock.sleep(pause_s)
            pause_s = min(leases.LEASE_PAUSE_MAX_S, pause_s * 1.5)
            line = self._reread(line)
        return line

    def finalize_new(self, clock: Clock, line: Line) -> Line:
        """Builds the invoice of a line that the caller has just written with its lease; raises as `advance`."""
        return self._pass(clock, line)

    def apply(self, clock: Clock, line: Line, invoice: Invoice, workspace: Workspace | None = None) -> Line:
        """Without a lease: writes what an invoice that was just fetched settles, else returns the line as it is.

        A workspace that was just read saves a read; every write has its conditions.
        """
        if decision.refund_owed(line, invoice):
            return self.reversals.flag(clock, line, invoice)
        if not line.awaiting or not decision.concerns(line, invoice):
            return line
        move: decision.Move = decision.MarkPaid()  # whatever the workspace says
        if invoice.status != "paid":
            workspace = workspace or self._workspace(line)
            move = self._next_move(clock, line, workspace, invoice)
        if isinstance(move, decision.ReportMissing):
            raise invoice_missing(line)
        if not isinstance(move, decision.Settlement):
            return line
        if invoice.status == "gone":
            self.connect(clock).invoices.delete_pending_items(line)
        settled = self._settle(clock, line, invoice, move)
        # Still waiting: a reason to void, or an invoice, was stored meanwhile, and changes what this one means.
        return self.apply(clock, settled, invoice, workspace) if settled.awaiting else settled

    def apply_then_advance(
        self, clock: Clock, line: Line, invoice: Invoice, workspace: Workspace | None = None
    ) -> Line:
        """For an event or a list that shows an invoice: applies it, and goes on when that needs Stripe."""
        line = self.apply(clock, line, invoice, workspace)
        if not line.awaiting:
            return line
        # Nothing else tells of a revision: wait for a lease's holder, who may have read the original, or another one.
        revised = invoice.revises is not None and invoice.id != line.invoice_id
        if not revised:
            if not decision.concerns(line, invoice):
                return line
            move = self._next_move(clock, line, workspace or self._workspace(line), invoice)
            if isinstance(move, decision.AwaitPayment):
                return line
        return self.advance(clock, line, leases.Until.CHECKED, wait=revised)

    def check_holder(self, clock: Clock, line: Line, workspace: Workspace) -> Line:
        """For a 409: the lock's holder after a short look at its invoice, without a lease."""
        if line.half_made or line.invoice_id is None:
            return self.advance(clock, line, leases.Until.FINALIZED, wait=True)
        invoice = self.connect(clock.limited(HOLDER_LIMIT_S)).invoices.retrieve(line.invoice_id)
        return self.apply_then_advance(clock, line, invoice, workspace)

    def cancel(self, clock: Clock, line: Line, reason: VoidReason) -> Line:
        """Stores the reason, then voids the invoice.

        The line comes back awaiting payment when a payment is under way or a part is paid, and paid when that came
        first.
        """
        line = self._record_void_reason(clock, line, reason)
        return self.advance(clock, line, leases.Until.CHECKED, wait=True)

    def sync_subscription(self, clock: Clock, workspace_id: str) -> Workspace | None:
        """Reads the subscription from Stripe; cancels or waives a waiting request that need not be paid any more."""
        workspace = self.subscriptions.refresh(self.connect(clock), workspace_id, clock.now_ms())
        if workspace is not None:
            self.end_if_unneeded(clock, workspace)
        return workspace

    def end_if_unneeded(self, clock: Clock, workspace: Workspace) -> None:
        """Cancels or waives the workspace's waiting request if its subscription has made the payment pointless."""
        line = self._lines.get(workspace.id, workspace.lock) if workspace.lock else None
        if line is None or not line.awaiting:
            return
        # The reason is stored only after a read: an invoice that was void before this change is not void for it.
        if decision.reason_to_void(line, workspace, clock.now_ms(), self._window_ms) is not None:
            self.advance(clock, line, leases.Until.CHECKED, wait=True)

    # --- one leased pass ------------------------------------------------------------------------

    def _pass(self, clock: Clock, line: Line, *, throttled: bool = False) -> Line:
        """Takes every step within the lease; gives the lease back when Stripe fails."""
        limit = clock.limited((line.lease_until_ms - clock.now_ms()) / 1000 - leases.LEASE_MARGIN_S)
        try:
            billing = self.connect(limit)
            invoice = self._read(clock, line, billing)
            return self._take_steps(clock, line, invoice, Invoicing(self._lines, billing, limit))
        except BillingUnavailable as trouble:
            trouble.line_id = line.id
            self._release_lease(clock, line, trouble, throttled=throttled)
            raise

    def _read(self, clock: Clock, line: Line, billing: Billing) -> Invoice | None:
        """The invoice as it is now; while it is open, the subscription is read too: it may need no payment any more."""
        invoice = billing.invoices.retrieve(line.invoice_id) if line.invoice_id else None
        if invoice is not None and invoice.status == "open" and line.void_reason is None:
            self.subscriptions.refresh(billing, line.workspace_id, clock.now_ms())
        return invoice

    def _take_steps(self, clock: Clock, line: Line, invoice: Invoice | None, invoicing: Invoicing) -> Line:
        refusal: BillingRefused | None = None
        workspace = self._workspace(line)
        for _ in range(STEPS_MAX):
            if not line.awaiting:
                break
            invoice = invoicing.refetch_if_replaced(line, invoice)
            move = self._next_move(clock, line, workspace, invoice)
            if isinstance(move, decision.AwaitPayment):
                return self._await_payment(clock, line, invoice)
            if isinstance(move, decision.BuildInvoice):
                line, invoice, refusal = self._build(clock, line, invoice, invoicing)
            elif isinstance(move, decision.VoidInvoice):
                line, invoice = invoicing.void(line, invoice)
                # A payment is under way, or Stripe refuses for another reason; a revision is voided in its turn.
                if invoice and invoice.status in {"open", "uncollectible"} and invoice.id == line.invoice_id:
                    return self._await_payment(clock, line, invoice)
            else:
                line = self._write(clock, line, invoice, move, invoicing)
        else:
            raise BillingUnavailable("the invoice needs more steps than one pass may take")
        if refusal is not None and line.status is Status.CANCELED:
            raise refusal
        return line

    def _build(
        self, clock: Clock, line: Line, invoice: Invoice | None, invoicing: Invoicing
    ) -> tuple[Line, Invoice | None, BillingRefused | None]:
        """The next step, and Stripe's refusal of it: final, unless the draft changed meanwhile.

        Raises BillingRejected when the refusal is not one that cancels a request.
        """
        try:
            return *invoicing.build(line, invoice), None
        except (BillingRefused, BillingRejected) as refusal:
            seen = invoicing.refetch(invoice) if invoice else None
            if seen is not None and seen.status != "draft":
                return line, seen, None
            if isinstance(refusal, BillingRejected):
                raise
            # The alarm comes before the write: a crash in between repeats it rather than loses it.
            alarm("BillingRefused", str(refusal), line_id=line.id)
            line = self._record_void_reason(clock, line, VoidReason.BILLING_REFUSED)
            return line, seen or DELETED, refusal

    def _write(
        self, clock: Clock, line: Line, invoice: Invoice | None, move: decision.Move, invoicing: Invoicing
    ) -> Line:
        """The moves that only write."""
        if isinstance(move, decision.RecordVoidReason):
            return self._record_void_reason(clock, line, move.reason)
        if invoice is not None and isinstance(move, decision.FollowRevision):
            return self._lines.follow_revision(line, invoice.id, invoice.url) or self._reread(line)
        if invoice is None or not isinstance(move, decision.Settlement):
            raise invoice_missing(line)
        if invoice.status == "gone" and invoice.id:
            invoicing.delete_pending_items(line)
        return self._settle(clock, line, invoice, move)

    def _settle(self, clock: Clock, line: Line, invoice: Invoice, move: decision.Settlement) -> Line:
        now_ms = clock.now_ms()
        match move:
            case decision.MarkPaid():
                replaced = decision.replaced_by(line, invoice)
                paid = self._lines.mark_paid(line, now_ms, invoice_id=invoice.id, url=invoice.url, replaced=replaced)
                return self.extra_invoices.after_payment(clock, paid, invoice)
            case decision.Waive():
                return self._lines.waive(line, now_ms)
            case decision.Cancel(cause):
                return self._lines.cancel(line, cause, now_ms)

    def _await_payment(self, clock: Clock, line: Line, invoice: Invoice | None) -> Line:
        """Stores where to pay and when to check next, and gives the lease back."""
        if invoice is not None and invoice.id != line.invoice_id:
            invoice = None  # another caller has stored a later revision
        amount_paid = invoice.amount_paid if invoice else 0
        if invoice is not None and amount_paid > line.amount_paid:
            # Once for each part: the amount is stored. The alarm comes before the write, so that a crash repeats it.
            alarm("PartiallyPaid", "an invoice is partly paid", line_id=line.id, invoice=invoice.id, paid=amount_paid)
        return self._store_awaiting(clock, line, invoice, amount_paid)

    def _store_awaiting(self, clock: Clock, line: Line, invoice: Invoice | None, amount_paid: int) -> Line:
        now_ms = clock.now_ms()
        due_at_ms = recheck_at_ms(now_ms, since_ms=line.created_at_ms)
        expires_at_ms = decision.expiry_ms(line, self._window_ms)
        if expires_at_ms is not None and now_ms < expires_at_ms:
            due_at_ms = min(due_at_ms, expires_at_ms)
        stored = self._lines.save_payment_url(
            line,
            url=(invoice.url if invoice else None) or line.payment_url,
            # A new invoice was not polled yet: the first poll may ask Stripe at once.
            next_poll_at_ms=now_ms if line.half_made else now_ms + leases.POLL_INTERVAL_MS,
            # A void that was refused is tried again at once, unless a part payment is in its way.
            due_at_ms=due_at_ms if line.void_reason is None or amount_paid else now_ms,
            amount_paid=amount_paid,
        )
        if stored is not None:
            return stored
        current = self._reread(line)
        same_invoice = current.invoice_id == line.invoice_id
        changed = current.awaiting and same_invoice and current.void_reason is not line.void_reason
        return self._store_awaiting(clock, current, invoice, amount_paid) if changed else current

    # --- small steps ----------------------------------------------------------------------------

    def _release_lease(self, clock: Clock, line: Line, trouble: BillingUnavailable, *, throttled: bool) -> None:
        """After a failure: a half-made line may be retried at once, a poll only after its interval."""
        if isinstance(trouble, BillingMisconfigured) and not trouble.alarmed:
            trouble.alarmed = True
            alarm("StripeRefused", f"kept, but an operator is needed: {trouble}", line_id=line.id)
        else:
            logger.warning("Stripe is unavailable", extra={"line_id": line.id, "reason": str(trouble)})
        now_ms = clock.now_ms()
        next_poll_at_ms = now_ms if line.half_made and not throttled else now_ms + leases.POLL_INTERVAL_MS
        self._lines.release_lease(line, next_poll_at_ms=next_poll_at_ms, due_at_ms=now_ms)

    def _record_void_reason(self, clock: Clock, line: Line, reason: VoidReason) -> Line:
        return self._lines.record_void_reason(line, reason, clock.now_ms()) or self._reread(line)

    def _next_move(self, clock: Clock, line: Line, workspace: Workspace, invoice: Invoice | None) -> decision.Move:
        return decision.next_move(line, workspace, invoice, clock.now_ms(), self._window_ms)

    def _reread(self, line: Line) -> Line:
        """The line as it is now; lines are never deleted."""
        return self._lines.get(line.workspace_id, line.id) or line

    def _workspace(self, line: Line) -> Workspace:
        workspace = self._workspaces.get(line.workspace_id)
        if workspace is None:
            raise BillingMisconfigured(f"workspace {line.workspace_id} is missing")
        return workspace
