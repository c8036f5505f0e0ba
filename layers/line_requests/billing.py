"""Stripe, as this product uses it; the only module that imports the SDK.

Parameters are a function of the line alone and the keys are `<line id>:<step>:v<n>`, so a retry
by anybody, after a deploy or an edited plan, is the same call.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

import requests
import stripe

from line_requests.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingUnavailable,
    StaleAnswer,
)
from line_requests.hints import FEED_INVOICE_EVENTS, SUBSCRIPTION_EVENTS, Hint, hint_of
from line_requests.model import Charge, Invoice, Line, TaxBehavior
from line_requests.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

# On every subscription item that this product adds: it takes those away again that no plan names any more.
ADDED_BY_US = {"line_requests": "add_on"}
# Pinned by the SDK, whose types are of this version; moving it is a decision (a test compares).
API_VERSION = "2026-10-28.endive"
# The SDK logs what Stripe refuses, in texts that hold names and addresses.
logging.getLogger("stripe").setLevel(logging.WARNING)

CALL_TIMEOUT_S = 8.0  # Stripe's slowest answers take a few seconds; its own limit is 80.
SMALLEST_CALL_S = 0.3  # Not worth starting with less time left.
MAX_NETWORK_RETRIES = 1
PAGE = 100


@dataclass(frozen=True, slots=True)
class StripePrice:
    """A price as Stripe has it, as far as a plan depends on it."""

    id: str
    product: str
    currency: str
    unit_amount: int | None
    """Minor units of the currency; None when it is no whole number of them, or there are tiers."""
    tax_behavior: TaxBehavior
    interval: str | None
    """Such as `1 month`; None when it does not recur."""
    active: bool
    metered: bool
    tiered: bool
    per_package: bool
    """Whether its amount is for several lines at once."""


@dataclass(frozen=True, slots=True)
class StripeItem:
    """An item of a subscription; `ours` when this product has added it, whatever its price means today."""

    id: str
    quantity: int
    ours: bool


@dataclass(frozen=True, slots=True)
class StripeSubscription:
    """A subscription as Stripe has it; `items` are by price."""

    id: str
    status: str
    created_s: int
    items: Mapping[str, StripeItem]


# Shared by every invocation of this process: a TLS handshake costs as much as a call.
_CONNECTIONS = requests.adapters.HTTPAdapter()


class _DeadlineSession(requests.Session):
    """Cuts every call's time-out to the time that the caller has left."""

    def __init__(self, remaining_s: Callable[[], float]) -> None:
        super().__init__()
        self._remaining_s = remaining_s
        self.mount("https://", _CONNECTIONS)
        self.mount("http://", _CONNECTIONS)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        remaining_s = self._remaining_s()
        if remaining_s < SMALLEST_CALL_S:
            raise requests.Timeout("no time left for another call to Stripe")
        kwargs["timeout"] = min(CALL_TIMEOUT_S, remaining_s)
        return super().request(*args, **kwargs)


class Billing:
    """One Stripe account, for as long as one caller has time."""

    def __init__(self, api_key: str, *, api_base: str, remaining_s: Callable[[], float]) -> None:
        self.livemode = is_live(api_key)
        session = _DeadlineSession(remaining_s)
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base},
            http_client=stripe.RequestsClient(session=session),
            max_network_retries=MAX_NETWORK_RETRIES,
        )

    # --- the invoice of a line ------------------------------------------------------------------

    def create_invoice(self, line: Line) -> Invoice:
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
        with _translated():
            return _invoice(self._client.v1.invoices.create(params, _keyed(line, "invoice")))

    def add_item(self, line: Line, invoice_id: str) -> None:
        """Step 2: the one item, priced by what the plan's recurring price was when it was frozen."""
        charge = self._charge(line)
        params: stripe.params.InvoiceItemCreateParams = {
            "customer": charge.customer,
            "invoice": invoice_id,
            "price_data": {
                "currency": charge.currency,
                "product": charge.product,
                "unit_amount": charge.unit_amount,
                "tax_behavior": charge.tax_behavior,
            },
            "quantity": 1,
            "metadata": {"workspace_id": line.workspace_id, "line_id": line.id},
        }
        if charge.tax_rates:
            params["tax_rates"] = list(charge.tax_rates)
        with _translated():
            self._client.v1.invoice_items.create(params, _keyed(line, "item"))

    def items_of(self, line: Line) -> tuple[tuple[str, int], ...]:
        """What the line's invoice is to consist of, as `Invoice.items` tells it."""
        charge = self._charge(line)
        return ((charge.currency, charge.unit_amount),)

    def finalize(self, line: Line, invoice_id: str) -> Invoice:
        """Step 3: the invoice gets its hosted page; without an amount to pay it is paid at once."""
        self._charge(line)
        params: stripe.params.InvoiceFinalizeInvoiceParams = {"auto_advance": False}
        with _translated():
            answer = self._client.v1.invoices.finalize_invoice(invoice_id, params, _keyed(line, "finalize"))
            return _invoice(answer)

    def retrieve(self, invoice_id: str) -> Invoice:
        """The invoice as it is now; status `gone` when Stripe does not know it.

        A look decides nothing: raises BillingMisconfigured for what Stripe refuses to show.
        """
        try:
            invoice = _known(lambda: self._client.v1.invoices.retrieve(invoice_id))
        except BillingRefused as refusal:
            raise BillingMisconfigured(str(refusal)) from refusal
        return _invoice(invoice) if invoice else Invoice(invoice_id, "gone")

    def find(self, line: Line) -> Invoice | None:
        """The line's invoice by its metadata, for when the idempotency keys may be forgotten.

        Listing is consistent where Search lags. Of several, the one that matters most.
        """
        charge = self._charge(line)
        params: stripe.params.InvoiceListParams = {
            "customer": charge.customer,
            "created": {"gte": line.created_at_ms // 1000 - 3600},
            "limit": PAGE,
        }
        weight = {"paid": 4, "uncollectible": 3, "open": 2, "draft": 1}
        with _translated():
            listed = self._client.v1.invoices.list(params).auto_paging_iter()
            ours = [i for i in map(_invoice, listed) if i.line_id == line.id]
        return max(ours, key=lambda i: weight.get(i.status, 0), default=None)

    def close(self, invoice: Invoice) -> Invoice:
        """Deletes a draft or voids an invoice; returns what Stripe then holds, whatever it answered.

        Paid meanwhile comes back as paid, and one with a bank debit on its way as still open.
        """
        try:
            with _translated():
                if invoice.status == "draft":
                    self._client.v1.invoices.delete(invoice.id)
                    return Invoice(invoice.id, "gone")
                return _invoice(self._client.v1.invoices.void_invoice(invoice.id))
        except (BillingRefused, StaleAnswer):
            return self.retrieve(invoice.id)

    def drop_items(self, line: Line) -> None:
        """Deletes what deleted drafts of the line have left, or the customer's next invoice would charge it.

        Stripe does not say whether items go with their draft. Only afterwards: a draft without items, finalized
        by a lost call, would be paid at once.
        """
        charge = self._charge(line)
        params: stripe.params.InvoiceItemListParams = {"customer": charge.customer, "pending": True, "limit": PAGE}
        try:
            listed = list(self._listed("/v1/invoiceitems", params))
        except BillingRefused as refusal:
            self._went_with(charge.customer, refusal)
            return
        for item in listed:
            if (item["metadata"] or {}).get("line_id") == line.id:
                try:
                    _known(partial(self._client.v1.invoice_items.delete, item["id"]))
                except BillingRefused:
                    logger.warning("an item is on another invoice by now", extra={"line_id": line.id})

    def invoices(self, *, since_s: int) -> Iterator[Invoice]:
        """Every invoice created since then, a hundred a call: cheaper than one look per line."""
        params: stripe.params.InvoiceListParams = {"created": {"gte": since_s}, "limit": PAGE}
        yield from map(_invoice_of, self._listed("/v1/invoices", params))

    # --- subscriptions --------------------------------------------------------------------------

    def subscriptions(self, customer: str) -> list[StripeSubscription]:
        """All of a customer's subscriptions, ended ones too."""
        params: stripe.params.SubscriptionListParams = {
            "customer": customer,
            "status": "all",
            "limit": PAGE,
        }
        try:
            with _translated():
                listed = list(self._client.v1.subscriptions.list(params).auto_paging_iter())
                return [self._subscription(subscription) for subscription in listed]
        except BillingRefused as refusal:
            self._went_with(customer, refusal)
            return []

    def _went_with(self, customer: str, refusal: BillingRefused) -> None:
        """What was deleted with its customer is ended for good; an unknown customer is our key's fault, not theirs."""
        found = _known(lambda: self._client.v1.customers.retrieve(customer))
        if found is None or not getattr(found, "deleted", False):
            raise BillingMisconfigured(str(refusal)) from refusal

    def _subscription(self, subscription: stripe.Subscription) -> StripeSubscription:
        # Subscript access: a StripeObject's attribute `items` would be a method of dict.
        embedded: Any = subscription["items"]
        items: Iterable[Any] = embedded.data
        if embedded.has_more:
            params: stripe.params.SubscriptionItemListParams = {
                "subscription": subscription.id,
                "limit": PAGE,
            }
            items = self._client.v1.subscription_items.list(params).auto_paging_iter()
        return StripeSubscription(
            id=subscription.id,
            status=subscription.status,
            created_s=subscription.created,
            items=dict(_item(item.to_dict()) for item in items),
        )

    def set_quantity(self, subscription_id: str, price: str, item: StripeItem | None, quantity: int) -> None:
        """Sets (never increments) what an add-on price is billed for, from the next period on."""
        items = self._client.v1.subscription_items
        with _translated():
            if item is None:
                items.create(
                    {
                        "subscription": subscription_id,
                        "price": price,
                        "quantity": quantity,
                        "proration_behavior": "none",
                        "metadata": ADDED_BY_US,
                    }
                )
            elif quantity:
                items.update(item.id, {"quantity": quantity, "proration_behavior": "none"})
            else:
                items.delete(item.id, {"proration_behavior": "none"})

    # --- what operators name --------------------------------------------------------------------

    def price(self, price_id: str) -> StripePrice | None:
        """What a plan may name; None when Stripe does not know it."""
        price = _known(lambda: self._client.v1.prices.retrieve(price_id))
        return _price(price) if price else None

    def tax_rate_active(self, tax_rate_id: str) -> bool:
        """Whether an invoice item may name it."""
        rate = _known(lambda: self._client.v1.tax_rates.retrieve(tax_rate_id))
        return rate is not None and rate.active

    def customer_livemode(self, customer_id: str) -> bool | None:
        """The mode that a customer lives in; None when Stripe does not know it, or deleted it."""
        customer = _known(lambda: self._client.v1.customers.retrieve(customer_id))
        return None if customer is None or getattr(customer, "deleted", False) else customer.livemode

    # --- events ---------------------------------------------------------------------------------

    def events(self, *, since_s: int, until_s: int) -> Iterator[Hint]:
        """Stripe's event feed of that time, newest first, of the types that concern lines."""
        params: stripe.params.EventListParams = {
            "types": [*FEED_INVOICE_EVENTS, *SUBSCRIPTION_EVENTS],
            "created": {"gte": since_s, "lte": until_s},
            "limit": PAGE,
        }
        yield from map(hint_of, self._listed("/v1/events", params))

    def _listed(self, path: str, params: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
        """A long list's objects as plain JSON: the SDK's own take ten times as long to make."""
        while True:
            with _translated():
                page: Any = self._client.raw_request("get", path, **params).data
            yield from page["data"]
            if not page["has_more"]:
                return
            params = {**params, "starting_after": page["data"][-1]["id"]}

    def _charge(self, line: Line) -> Charge:
        if line.charge is None:
            raise BillingMisconfigured(f"line {line.id} has no charge")
        if line.charge.livemode is not self.livemode:
            raise BillingMisconfigured("the Stripe key's mode is not the mode of the line's customer")
        return line.charge


def is_live(api_key: str) -> bool:
    """Whether a key, restricted or not, is of live mode."""
    return "_live_" in api_key


def signed(body: bytes, header: str, secrets: object) -> bool:
    """Whether one of the secrets (two during a rotation) made one of a delivery's signatures."""
    if not isinstance(secrets, list) or not header.isascii():
        return False
    for secret in secrets:
        try:
            if secret:
                stripe.WebhookSignature.verify_header(body, header, str(secret))
                return True
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
    return False


def _keyed(line: Line, step: str) -> "stripe.RequestOptions":
    return {"idempotency_key": f"{line.id}:{step}:v{line.key_version}"}


def _invoice(invoice: stripe.Invoice) -> Invoice:
    response = invoice.last_response
    replayed = bool(response and response.headers.get("Idempotent-Replayed") == "true")
    return _invoice_of(invoice.to_dict(), replayed=replayed)


def _invoice_of(invoice: Mapping[str, Any], *, replayed: bool = False) -> Invoice:
    metadata: Mapping[str, str] = invoice.get("metadata") or {}
    customer = invoice.get("customer") or ""
    return Invoice(
        id=invoice["id"],
        status=invoice.get("status") or "",
        line_id=metadata.get("line_id", ""),
        customer=customer if isinstance(customer, str) else customer["id"],
        url=invoice.get("hosted_invoice_url"),
        items=tuple((item["currency"], item["amount"]) for item in invoice["lines"]["data"]),
        replayed=replayed,
    )


def _item(item: Mapping[str, Any]) -> tuple[str, StripeItem]:
    ours = ADDED_BY_US.items() <= (item.get("metadata") or {}).items()
    # A metered item has no quantity at all.
    return item["price"]["id"], StripeItem(item["id"], item.get("quantity") or 0, ours)


def _price(price: stripe.Price) -> StripePrice:
    recurring = price.recurring
    return StripePrice(
        id=price.id,
        product=price.product if isinstance(price.product, str) else price.product.id,
        currency=price.currency,
        unit_amount=price.unit_amount,
        tax_behavior=cast("TaxBehavior", price.tax_behavior or "unspecified"),
        interval=f"{recurring.interval_count} {recurring.interval}" if recurring else None,
        active=price.active,
        metered=recurring is not None and recurring.usage_type == "metered",
        tiered=price.billing_scheme == "tiered",
        per_package=price.transform_quantity is not None,
    )


def _known(retrieve: Callable[[], T]) -> T | None:
    """What Stripe answers; None when it does not know the object."""
    try:
        with _translated():
            return retrieve()
    except BillingRefused as refusal:
        if isinstance(refusal.__cause__, stripe.StripeError) and refusal.__cause__.http_status == HTTPStatus.NOT_FOUND:
            return None
        raise


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the SDK's errors into the product's; their texts hold personal data and stay behind."""
    try:
        yield
    except stripe.StripeError as error:
        raise _translation(error) from error


def _translation(error: stripe.StripeError) -> Exception:
    headers = error.headers or {}
    status, code = error.http_status, error.code or ""
    what = f"{type(error).__name__} {status or ''} {code}".strip()
    if isinstance(error, stripe.IdempotencyError):
        in_use = status == HTTPStatus.CONFLICT
        return BillingUnavailable(what) if in_use else BillingMisconfigured(what)
    if str(headers.get("idempotent-replayed", "")).lower() == "true":
        return StaleAnswer(what)
    if status in {401, 403}:
        return BillingMisconfigured(what)
    if isinstance(error, stripe.InvalidRequestError) and status in {400, 404}:
        param = getattr(error, "param", None)
        mend = f"{code or 'invalid_request_error'}{f' ({param})' if param else ''}"
        return BillingRefused(f"Stripe refused: {mend}. Mend it in Stripe and ask again.")
    return BillingUnavailable(what)
