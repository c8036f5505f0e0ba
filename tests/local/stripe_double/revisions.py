"""Copies of an invoice: revisions, which replace it, and duplicates, which do not."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .errors import bad_request
from .totals import add_line

if TYPE_CHECKING:
    from .account import Account
    from .errors import Json


def require_revisable(account: Account, invoice_id: str) -> Json:
    """Return an invoice that may be revised.

    "You can revise a finalized invoice in open or uncollectible status. You can't revise invoices that are attached to
    subscriptions": docs.stripe.com/invoicing/invoice-edits; nor one with a payment:
    docs.stripe.com/invoicing/partial-payments#invoice-payment-statuses.
    """
    original = account.get("invoice", invoice_id, "from_invoice[invoice]")
    if original["status"] not in ("open", "uncollectible") or original["parent"] or original["amount_paid"]:
        raise bad_request("You can't revise this invoice.", "from_invoice[invoice]", "invoice_not_editable")
    return original


def copy_content(account: Account, original: Json, draft: Json) -> None:
    """Copy lines, texts and metadata; a line of a copy has no invoice item of its own: assumed."""
    kept = ("description", "footer", "custom_fields", "default_tax_rates", "automatic_tax", "discounts", "metadata")
    draft |= copy.deepcopy({key: original[key] for key in kept})
    for line in original["lines"]["data"]:
        source = copy.deepcopy(line) | {"tax_rates": account.hidden[line["id"]]["tax_rates"]}
        add_line(account, draft, source)
