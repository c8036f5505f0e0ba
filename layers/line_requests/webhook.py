"""Stripe's events: verified by signature, then taken as hints to look at Stripe (contract 43-46)."""

import json
import re

from line_requests import items, listing, subscriptions
from line_requests.billing import is_live, signed
from line_requests.clock import Clock
from line_requests.errors import BillingRefused, InvalidSignature, InvoiceMissing
from line_requests.hints import Hint, hint_of
from line_requests.http import Request
from line_requests.lifecycle import Lifecycle
from line_requests.model import Invoice, Line
from line_requests.registry import Registry
from line_requests.settings import Settings
from line_requests.store import Store
from line_requests.telemetry import logger

TOLERANCE_S = 300
# A flood of forged deliveries must not become a flood of look-ups in Secrets Manager.
REFETCH_INTERVAL_MS = 60_000

_refetched_at_ms = 0


def verified(request: Request, settings: Settings) -> Hint:
    """The event that a delivery carries; raises InvalidSignature unless Stripe sent it just now."""
    global _refetched_at_ms  # noqa: PLW0603 - once a minute per process, whoever asks
    header = request.headers.get("stripe-signature", "")
    # The SDK verifies the first `t`, so that one has to be recent, not another beside it.
    sent_s = re.match(r"t=([0-9]{1,12})(?:,|$)", header)
    if sent_s is None or abs(request.at_ms / 1000 - int(sent_s[1])) > TOLERANCE_S:
        raise InvalidSignature("The signature's timestamp is missing or not recent")
    secret = settings.stripe_secret()
    if not signed(request.body, header, secret.get("webhook_secrets")):
        # Secrets are cached; one that was rotated in a moment ago may be new to this process.
        if request.at_ms - _refetched_at_ms < REFETCH_INTERVAL_MS:
            raise InvalidSignature("No signature matches")
        _refetched_at_ms = request.at_ms
        secret = settings.stripe_secret(fresh=True)
        if not signed(request.body, header, secret.get("webhook_secrets")):
            raise InvalidSignature("No signature matches")
    try:
        hint = hint_of(json.loads(request.body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidSignature("The body is not an event") from None
    if hint.livemode is not is_live(str(secret.get("api_key", ""))):
        raise InvalidSignature("The event is of the other mode")
    return hint


def apply(hint: Hint, store: Store, registry: Registry, lifecycle: Lifecycle, clock: Clock) -> None:
    """Looks at what the event is about and applies what Stripe holds now; nothing for others' events."""
    if hint.about_our_invoice:
        line = store.line(hint.workspace_id, hint.line_id) if names_a_line(hint) else None
        if line is not None:
            invoice = lifecycle.billing.retrieve(hint.object_id)
            if belongs(invoice, line):
                try:
                    lifecycle.observe(line, invoice)
                except InvoiceMissing:
                    logger.warning("an event names an invoice that is gone", extra={"line_id": line.id})
                except BillingRefused as refusal:
                    logger.info("canceled: Stripe refuses it", extra={"line_id": line.id, "reason": str(refusal)})
    elif hint.about_subscription:
        workspace_id = registry.workspace_of_customer(hint.customer) if hint.customer else None
        if workspace_id is not None:
            workspace = subscriptions.refresh(registry, lifecycle.billing, workspace_id, clock.now_ms())
            if workspace is not None:
                lifecycle.reconsider(workspace)


def names_a_line(hint: Hint) -> bool:
    """Whether an event's metadata could be ours: anybody can put anything there."""
    return bool(re.fullmatch(items.WORKSPACE_ID, hint.workspace_id)) and listing.line_id(hint.line_id) == hint.line_id


def belongs(invoice: Invoice, line: Line) -> bool:
    """Whether the invoice is the line's own: metadata can be copied, the customer cannot."""
    if invoice.status == "gone":
        return invoice.id == line.invoice_id
    customer = line.charge.customer if line.charge else None
    return invoice.line_id == line.id and invoice.customer == customer
