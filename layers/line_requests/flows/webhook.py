"""Stripe's events: verified by signature, then taken as hints to read Stripe (contract 43-46)."""

import json
import re

from line_requests.billing.client import is_live, is_signed
from line_requests.billing.events import MALFORMED, Hint, hint_of, is_thin
from line_requests.clock import Clock
from line_requests.domain.errors import BillingRefused, InvalidSignature, InvoiceMissing
from line_requests.domain.ids import is_workspace_id, parse_line_id
from line_requests.domain.model import Invoice, Line
from line_requests.flows.lifecycle import Lifecycle
from line_requests.secret import StripeSecret
from line_requests.storage.stores import Stores
from line_requests.storage.workspaces import Workspaces
from line_requests.telemetry import alarm, logger

TOLERANCE_S = 300
# A flood of forged deliveries must not become a flood of reads of the secret.
REFETCH_INTERVAL_MS = 60_000


class Webhook:
    """One deployment's webhook endpoint."""

    def __init__(self, secret: StripeSecret, stores: Stores, lifecycle: Lifecycle) -> None:
        self._secret = secret
        self._lines = stores.lines
        self._workspaces = stores.workspaces
        self._lifecycle = lifecycle
        self._refetched_at_ms = 0

    def verify(self, body: bytes, signature: str, now_ms: int) -> Hint:
        """The event that a delivery carries; raises InvalidSignature, with an alarm, unless Stripe sent it just now."""
        try:
            return self._verify(body, signature, now_ms)
        except InvalidSignature as refusal:
            alarm("WebhookSignatureRefused", str(refusal))
            raise

    def _verify(self, body: bytes, signature: str, now_ms: int) -> Hint:
        # The SDK verifies the first `t`, so that one has to be recent.
        sent_s = re.match(r"t=([0-9]{1,12})(?:,|$)", signature)
        if sent_s is None or abs(now_ms / 1000 - int(sent_s[1])) > TOLERANCE_S:
            raise InvalidSignature("The signature's timestamp is missing or not recent")
        secret = self._secret.read()
        if not is_signed(body, signature, secret.get("webhook_secrets")):
            # The secret is cached: one that was just rotated in may be new to this process.
            if now_ms - self._refetched_at_ms < REFETCH_INTERVAL_MS:
                raise InvalidSignature("No signature matches")
            self._refetched_at_ms = now_ms
            secret = self._secret.read(force_fetch=True)
            if not is_signed(body, signature, secret.get("webhook_secrets")):
                raise InvalidSignature("No signature matches")
        try:
            event = json.loads(body)
            if is_thin(event):
                raise InvalidSignature("The event is thin; create the endpoint with snapshot events")
            hint = hint_of(event)
        except (*MALFORMED, RecursionError):
            raise InvalidSignature("The body is not an event") from None
        if hint.livemode is not is_live(str(secret.get("api_key", ""))):
            raise InvalidSignature("The event is of another mode than the secret's Stripe key")
        return hint

    def apply(self, clock: Clock, hint: Hint) -> None:
        """Fetches what the event is about and applies its present state; other people's events change nothing."""
        if hint.about_our_invoice:
            line = self._lines.get(hint.workspace_id, hint.line_id) if names_a_line(hint) else None
            if line is not None:
                self._apply_invoice(clock, line, hint.object_id)
            elif names_a_line(hint):
                report_without_line(self._workspaces, hint)
        elif hint.about_reversal:
            self._lifecycle.reversals.apply(clock, hint)
        elif hint.about_subscription and hint.customer:
            workspace_id = self._workspaces.of_customer(hint.customer)
            if workspace_id is not None:
                self._lifecycle.sync_subscription(clock, workspace_id)

    def _apply_invoice(self, clock: Clock, line: Line, invoice_id: str) -> None:
        invoice = self._lifecycle.connect(clock).invoices.retrieve(invoice_id)
        if not belongs(invoice, line):
            return
        try:
            self._lifecycle.apply_then_advance(clock, line, invoice)
        except InvoiceMissing:
            logger.warning("an event names an invoice that is gone", extra={"line_id": line.id})
        except BillingRefused as refusal:
            logger.info("canceled: Stripe refuses it", extra={"line_id": line.id, "reason": str(refusal)})


def names_a_line(hint: Hint) -> bool:
    """Whether an event's metadata could be ours: anyone can write anything there."""
    return is_workspace_id(hint.workspace_id) and parse_line_id(hint.line_id) == hint.line_id


def report_without_line(workspaces: Workspaces, hint: Hint) -> None:
    """Raises an alarm if the invoice is of a workspace's customer: its line was lost, as when a table is restored."""
    if hint.customer and workspaces.of_customer(hint.customer) == hint.workspace_id:
        alarm("InvoiceWithoutLine", "an invoice of ours has no line", line_id=hint.line_id, invoice=hint.object_id)


def belongs(invoice: Invoice, line: Line) -> bool:
    """Whether the invoice is the line's own, its revision or a copy: metadata can be copied, the customer cannot."""
    if line.invoice_id is not None and line.invoice_id in {invoice.id, invoice.revises}:
        return True
    customer = line.charge.customer if line.charge else None
    named = (invoice.workspace_id, invoice.line_id) == (line.workspace_id, line.id)
    return invoice.status != "gone" and named and invoice.customer == customer
