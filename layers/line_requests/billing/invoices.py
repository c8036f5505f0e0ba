"""A line's invoice at Stripe, step by step.

Every parameter is a function of the line alone and the idempotency keys are `<line id>:<step>:v<n>`, so a retry by any
caller, after a deploy or an edited plan, is the same call.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import stripe

from line_requests.billing.client import PAGE, list_all
from line_requests.billing.customers import require_deleted_customer
from line_requests.billing.errors import or_none, stripe_errors
from line_requests.domain import decision
from line_requests.domain.errors import BillingMisconfigured, BillingRefused, BillingRejected, ReplayedFailure
from line_requests.domain.model import Invoice, Line
from line_requests.domain.prices import Charge
from line_requests.telemetry import logger

# Revisions of revisions; the SDK's docstring calls `latest_revision` the most recent one, so usually one step.
REVISIONS_MAX = 10


class Invoices:
    """The invoices of one Stripe account."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        self._client = client
        self._livemode = livemode

    def create_draft(self, line: Line) -> Invoice:
        """Step 1: a draft that neither advances by itself nor charges a saved card."""
        charge = self._charge(line)
        params: stripe.params.InvoiceCreateParams = {
            "customer": charge.customer,
            "currency": charge.currency,
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "automatic_tax": {"enabled": charge.automatic_tax},
            "metadata": {"workspace_id": line.workspace_id, "line_id": line.id},
        }
        if charge.memo:
            params["description"] = charge.memo
        if charge.footer:
            params["footer"] = charge.footer
        with stripe_errors():
            return _invoice(self._client.v1.invoices.create(params, _stripe_key(line, "invoice")))

    def add_item(self, line: Line, invoice_id: str) -> None:
        """Step 2: its one item, at the frozen amount; an invoice item refuses a recurring price."""
        charge = self._charge(line)
        params: stripe.params.InvoiceItemCreateParams = {
            "customer": charge.customer,
            "invoice": invoice_id,
            "price_data": {
                "currency": charge.currency,
                "product": charge.product,
                "unit_amount": charge.amount,
                "tax_behavior": charge.tax_behavior,
            },
            "quantity": 1,
            "description": charge.description,
            "period": {"start": charge.period.start_s, "end": charge.period.end_s},
            "metadata": {"workspace_id": line.workspace_id, "line_id": line.id},
            "tax_rates": list(charge.tax_rates),
        }
        with stripe_errors():
            self._client.v1.invoice_items.create(params, _stripe_key(line, "item"))

    def expected_items(self, line: Line) -> tuple[tuple[str, int], ...]:
        """The items that the line's invoice has to have, in the form of `Invoice.items`."""
        charge = self._charge(line)
        return ((charge.currency, charge.amount),)

    def finalize(self, line: Line, invoice_id: str) -> Invoice:
        """Step 3: the invoice gets its hosted page; with nothing to pay it is paid at once."""
        self._charge(line)
        params: stripe.params.InvoiceFinalizeInvoiceParams = {"auto_advance": False}
        with stripe_errors():
            answer = self._client.v1.invoices.finalize_invoice(invoice_id, params, _stripe_key(line, "finalize"))
            return _invoice(answer)

    def retrieve(self, invoice_id: str) -> Invoice:
        """The invoice as it is now, or the last revision that replaced it; `gone` when Stripe does not know it.

        Raises BillingMisconfigured when Stripe refuses to show it: a read never decides that a request is canceled.
        """
        invoice = self._retrieve(invoice_id)
        for _ in range(REVISIONS_MAX):
            if invoice.status != "void" or invoice.latest_revision is None:
                break
            invoice = replace(self._retrieve(invoice.latest_revision), revises=invoice_id)
        return invoice

    def _retrieve(self, invoice_id: str) -> Invoice:
        try:
            invoice = or_none(lambda: self._client.v1.invoices.retrieve(invoice_id))
        except BillingRefused as refusal:
            raise BillingMisconfigured(str(refusal)) from refusal
        return _invoice(invoice) if invoice else Invoice(invoice_id, "gone")

    def find_by_metadata(self, line: Line, *, void: bool = False) -> Invoice | None:
        """The line's invoice by its metadata, for when Stripe may have forgotten the idempotency keys.

        Listing is consistent, Search lags. Of several, the one that is closest to paid; a void one only if `void`.
        """
        charge = self._charge(line)
        params: stripe.params.InvoiceListParams = {
            "customer": charge.customer,
            "created": {"gte": line.created_at_ms // 1000 - 3600},
            "limit": PAGE,
        }
        weight = {"paid": 3, "uncollectible": 2, "open": 1, "void": -1}
        with stripe_errors():
            listed = self._client.v1.invoices.list(params).auto_paging_iter()
            ours = [i for i in map(_invoice, listed) if i.line_id == line.id and (void or i.status != "void")]
        return max(ours, key=lambda i: weight.get(i.status, 0), default=None)

    def void_or_delete(self, invoice: Invoice) -> Invoice:
        """Deletes a draft or voids an invoice; returns the invoice as Stripe then has it.

        An invoice that was paid meanwhile comes back paid, one that was revised as its revision. One with a bank debit
        under way or with a part payment comes back open.
        """
        try:
            with stripe_errors():
                if invoice.status == "draft":
                    self._client.v1.invoices.delete(invoice.id)
                    return Invoice(invoice.id, "gone")
                return _invoice(self._client.v1.invoices.void_invoice(invoice.id))
        except (BillingRefused, BillingRejected, ReplayedFailure):
            return self.retrieve(invoice.id)

    def delete_pending_items(self, line: Line) -> None:
        """Deletes the items that deleted drafts left pending, before the customer's next invoice charges them.

        Stripe does not document whether items go with their draft. The draft goes first: without its items, a late
        finalize call would make it paid.
        """
        charge = self._charge(line)
        params: stripe.params.InvoiceItemListParams = {"customer": charge.customer, "pending": True, "limit": PAGE}
        try:
            listed = list(list_all(self._client, "/v1/invoiceitems", params))
        except BillingRefused as refusal:
            require_deleted_customer(self._client, charge.customer, refusal)
            return
        for item in listed:
            if (item["metadata"] or {}).get("line_id") == line.id:
                try:
                    or_none(partial(self._client.v1.invoice_items.delete, item["id"]))
                except (BillingRefused, BillingRejected):
                    logger.warning("the item is on another invoice by now", extra={"line_id": line.id})

    def since(self, *, since_s: int) -> Iterator[Invoice]:
        """Every invoice created since then, a hundred a call: cheaper than one call per line."""
        params: stripe.params.InvoiceListParams = {"created": {"gte": since_s}, "limit": PAGE}
        yield from map(_invoice_of, list_all(self._client, "/v1/invoices", params))

    def _charge(self, line: Line) -> Charge:
        if line.charge is None:
            raise BillingMisconfigured(f"line {line.id} has no charge")
        if line.charge.livemode is not self._livemode:
            raise BillingMisconfigured("the Stripe key's mode is not the mode of the line's customer")
        return line.charge


def _stripe_key(line: Line, step: str) -> "stripe.RequestOptions":
    return {"idempotency_key": f"{line.id}:{step}:v{line.stripe_key_version}"}


def _invoice(invoice: stripe.Invoice) -> Invoice:
    response = invoice.last_response
    replayed = bool(response and response.headers.get("Idempotent-Replayed") == "true")
    return _invoice_of(invoice.to_dict(), replayed=replayed)


def _invoice_of(invoice: Mapping[str, Any], *, replayed: bool = False) -> Invoice:
    metadata: Mapping[str, str] = invoice.get("metadata") or {}
    credited = ("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")
    total, notes = invoice.get("total") or 0, sum(invoice.get(name) or 0 for name in credited)
    return Invoice(
        id=invoice["id"],
        status=decision.standing(invoice.get("status") or "", total, notes),
        workspace_id=metadata.get("workspace_id", ""),
        line_id=metadata.get("line_id", ""),
        customer=_id(invoice.get("customer")) or "",
        url=invoice.get("hosted_invoice_url"),
        items=tuple((item["currency"], item["amount"]) for item in invoice["lines"]["data"]),
        amount_paid=invoice.get("amount_paid") or 0,
        revises=_id((invoice.get("from_invoice") or {}).get("invoice")),
        latest_revision=_id(invoice.get("latest_revision")),
        replayed=replayed,
    )


def _id(named: Any) -> str | None:  # noqa: ANN401 - JSON
    """The id of an object, expanded or not."""
    return named["id"] if isinstance(named, Mapping) else named or None
