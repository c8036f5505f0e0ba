"""Which call does what, and which of the SDK's parameter types checks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import (
    catalogue,
    credit_notes,
    discounts,
    invoice_items,
    invoice_states,
    invoices,
    payments,
    refunds,
    settings,
    subscription_items,
    subscriptions,
)
from .errors import ApiError, Json, bad_request, no_such
from .periods import DAY_S

if TYPE_CHECKING:
    from .account import Account

_MAX_EVENT_TYPES = 20
_EVENT_LIFE_S = 30 * DAY_S

Act = Callable[..., Json]


@dataclass(frozen=True)
class Route:
    """One endpoint; `act` gets the account, the checked parameters and the ids in the path."""

    method: str
    path: str
    params_type: str
    act: Act

    @property
    def name(self) -> str:
        """Return the endpoint as Stripe's documentation writes it."""
        return f"{self.method} {self.path}"


def _retrieve(kind: str) -> Act:
    return lambda account, _params, object_id: account.get(kind, object_id)


def _retrieve_event(account: Account, _params: Json, event_id: str) -> Json:
    """GET /v1/events/{id}: "if it was created in the last 30 days" (docstring of stripe.EventService.retrieve)."""
    event = account.get("event", event_id)
    if not _is_kept(account, event):
        raise no_such("event", event_id, status=404)
    return event


def _is_kept(account: Account, event: Json) -> bool:
    return bool(event["created"] > account.now() - _EVENT_LIFE_S)


def _list_events(account: Account, params: Json) -> Json:
    """GET /v1/events: "going back up to 30 days" (docstring of stripe.EventService.list)."""
    types = params.get("types", [params["type"]] if "type" in params else None)
    if types and len(types) > _MAX_EVENT_TYPES:
        raise bad_request(f"You can filter by at most {_MAX_EVENT_TYPES} types.", "types")

    def keep(event: Json) -> bool:
        return _is_kept(account, event) and (types is None or _is_one_of(event["type"], types))

    return account.page("event", params, "/v1/events", keep)


def _is_one_of(event_type: str, types: list[str]) -> bool:
    return any(
        event_type == wanted or (wanted.endswith("*") and event_type.startswith(wanted[:-1])) for wanted in types
    )


TABLE: list[tuple[str, str, str, Act]] = [
    ("POST", "/v1/invoices", "InvoiceCreate", invoices.create),
    ("GET", "/v1/invoices", "InvoiceList", invoices.retrieve_list),
    ("GET", "/v1/invoices/:id", "InvoiceRetrieve", invoices.retrieve),
    ("POST", "/v1/invoices/:id", "InvoiceUpdate", invoices.update),
    ("DELETE", "/v1/invoices/:id", "InvoiceDelete", invoices.delete),
    ("GET", "/v1/invoices/:id/lines", "InvoiceLineItemList", invoices.list_lines),
    ("POST", "/v1/invoices/:id/finalize", "InvoiceFinalizeInvoice", invoice_states.finalize),
    ("POST", "/v1/invoices/:id/pay", "InvoicePay", invoice_states.pay),
    ("POST", "/v1/invoices/:id/void", "InvoiceVoidInvoice", invoice_states.void),
    (
        "POST",
        "/v1/invoices/:id/mark_uncollectible",
        "InvoiceMarkUncollectible",
        invoice_states.mark_uncollectible,
    ),
    ("POST", "/v1/invoiceitems", "InvoiceItemCreate", invoice_items.create),
    ("GET", "/v1/invoiceitems", "InvoiceItemList", invoice_items.retrieve_list),
    ("GET", "/v1/invoiceitems/:id", "InvoiceItemRetrieve", _retrieve("invoiceitem")),
    ("DELETE", "/v1/invoiceitems/:id", "InvoiceItemDelete", invoice_items.delete),
    ("GET", "/v1/invoice_payments", "InvoicePaymentList", payments.retrieve_list),
    ("GET", "/v1/invoice_payments/:id", "InvoicePaymentRetrieve", _retrieve("invoice_payment")),
    ("GET", "/v1/payment_intents/:id", "PaymentIntentRetrieve", _retrieve("payment_intent")),
    ("GET", "/v1/charges/:id", "ChargeRetrieve", _retrieve("charge")),
    ("POST", "/v1/refunds", "RefundCreate", refunds.create),
    ("GET", "/v1/refunds", "RefundList", refunds.retrieve_list),
    ("GET", "/v1/refunds/:id", "RefundRetrieve", _retrieve("refund")),
    ("GET", "/v1/disputes", "DisputeList", refunds.list_disputes),
    ("GET", "/v1/disputes/:id", "DisputeRetrieve", _retrieve("dispute")),
    ("POST", "/v1/credit_notes", "CreditNoteCreate", credit_notes.create),
    ("GET", "/v1/credit_notes", "CreditNoteList", credit_notes.retrieve_list),
    ("GET", "/v1/credit_notes/preview", "CreditNotePreview", credit_notes.preview),
    ("GET", "/v1/credit_notes/:id", "CreditNoteRetrieve", _retrieve("credit_note")),
    ("POST", "/v1/credit_notes/:id/void", "CreditNoteVoidCreditNote", credit_notes.void),
    ("POST", "/v1/coupons", "CouponCreate", discounts.create_coupon),
    ("GET", "/v1/coupons/:id", "CouponRetrieve", _retrieve("coupon")),
    ("GET", "/v1/account", "AccountRetrieveCurrent", settings.retrieve_account),
    ("GET", "/v1/tax/settings", "tax.SettingsRetrieve", settings.retrieve_tax_settings),
    ("POST", "/v1/tax/settings", "tax.SettingsUpdate", settings.update_tax_settings),
    (
        "GET",
        "/v1/billing_portal/configurations",
        "billing_portal.ConfigurationList",
        settings.list_portal_configurations,
    ),
    ("POST", "/v1/webhook_endpoints", "WebhookEndpointCreate", settings.create_webhook_endpoint),
    ("GET", "/v1/webhook_endpoints", "WebhookEndpointList", settings.list_webhook_endpoints),
    ("GET", "/v1/webhook_endpoints/:id", "WebhookEndpointRetrieve", _retrieve("webhook_endpoint")),
    ("POST", "/v1/webhook_endpoints/:id", "WebhookEndpointUpdate", settings.update_webhook_endpoint),
    ("DELETE", "/v1/webhook_endpoints/:id", "WebhookEndpointDelete", settings.delete_webhook_endpoint),
    ("POST", "/v1/products", "ProductCreate", catalogue.create_product),
    ("GET", "/v1/products", "ProductList", catalogue.list_products),
    ("GET", "/v1/products/:id", "ProductRetrieve", _retrieve("product")),
    ("POST", "/v1/products/:id", "ProductUpdate", catalogue.update_product),
    ("POST", "/v1/prices", "PriceCreate", catalogue.create_price),
    ("GET", "/v1/prices", "PriceList", catalogue.list_prices),
    ("GET", "/v1/prices/:id", "PriceRetrieve", _retrieve("price")),
    ("POST", "/v1/prices/:id", "PriceUpdate", catalogue.update_price),
    ("POST", "/v1/tax_rates", "TaxRateCreate", catalogue.create_tax_rate),
    ("GET", "/v1/tax_rates/:id", "TaxRateRetrieve", _retrieve("tax_rate")),
    ("POST", "/v1/customers", "CustomerCreate", catalogue.create_customer),
    ("GET", "/v1/customers", "CustomerList", catalogue.list_customers),
    ("GET", "/v1/customers/:id", "CustomerRetrieve", catalogue.retrieve_customer),
    ("POST", "/v1/customers/:id", "CustomerUpdate", catalogue.update_customer),
    ("DELETE", "/v1/customers/:id", "CustomerDelete", subscriptions.delete_customer),
    ("POST", "/v1/subscriptions", "SubscriptionCreate", subscriptions.create),
    ("GET", "/v1/subscriptions", "SubscriptionList", subscriptions.retrieve_list),
    ("GET", "/v1/subscriptions/:id", "SubscriptionRetrieve", _retrieve("subscription")),
    ("POST", "/v1/subscriptions/:id", "SubscriptionUpdate", subscriptions.update),
    ("DELETE", "/v1/subscriptions/:id", "SubscriptionCancel", subscriptions.cancel),
    ("POST", "/v1/subscription_items", "SubscriptionItemCreate", subscription_items.create),
    ("GET", "/v1/subscription_items", "SubscriptionItemList", subscription_items.retrieve_list),
    (
        "GET",
        "/v1/subscription_items/:id",
        "SubscriptionItemRetrieve",
        _retrieve("subscription_item"),
    ),
    ("POST", "/v1/subscription_items/:id", "SubscriptionItemUpdate", subscription_items.update),
    (
        "DELETE",
        "/v1/subscription_items/:id",
        "SubscriptionItemDelete",
        subscription_items.delete,
    ),
    ("GET", "/v1/events", "EventList", _list_events),
    ("GET", "/v1/events/:id", "EventRetrieve", _retrieve_event),
]
_ROUTES = [
    (Route(method, path, f"{params_type}Params", act), re.compile(path.replace(":id", "([A-Za-z0-9_]+)")))
    for method, path, params_type, act in TABLE
]


def find_route(method: str, path: str) -> tuple[Route, tuple[Any, ...]]:
    """Return the endpoint of a call and the ids in its path, or refuse as Stripe does."""
    for route, pattern in _ROUTES:
        if route.method == method and (match := pattern.fullmatch(path)):
            return route, match.groups()
    message = f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs."
    raise ApiError(404, message)
