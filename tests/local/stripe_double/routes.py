"""Which call does what, and which of the SDK's parameter types checks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import catalogue, invoice_items, invoices, subscriptions
from .errors import ApiError, Json, bad_request

if TYPE_CHECKING:
    from .account import Account

_MAX_EVENT_TYPES = 20

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


def _list_events(account: Account, params: Json) -> Json:
    types = params.get("types", [params["type"]] if "type" in params else None)
    if types and len(types) > _MAX_EVENT_TYPES:
        raise bad_request(f"You can filter by at most {_MAX_EVENT_TYPES} types.", "types")
    return account.page("event", params, "/v1/events", lambda e: types is None or _is_one_of(e["type"], types))


def _is_one_of(event_type: str, types: list[str]) -> bool:
    return any(
        event_type == wanted or (wanted.endswith("*") and event_type.startswith(wanted[:-1])) for wanted in types
    )


TABLE: list[tuple[str, str, str, Act]] = [
    ("POST", "/v1/invoices", "InvoiceCreate", invoices.create),
    ("GET", "/v1/invoices", "InvoiceList", invoices.retrieve_list),
    ("GET", "/v1/invoices/:id", "InvoiceRetrieve", _retrieve("invoice")),
    ("POST", "/v1/invoices/:id", "InvoiceUpdate", invoices.update),
    ("DELETE", "/v1/invoices/:id", "InvoiceDelete", invoices.delete),
    ("GET", "/v1/invoices/:id/lines", "InvoiceLineItemList", invoices.list_lines),
    ("POST", "/v1/invoices/:id/finalize", "InvoiceFinalizeInvoice", invoices.finalize),
    ("POST", "/v1/invoices/:id/pay", "InvoicePay", invoices.pay),
    ("POST", "/v1/invoices/:id/void", "InvoiceVoidInvoice", invoices.void),
    (
        "POST",
        "/v1/invoices/:id/mark_uncollectible",
        "InvoiceMarkUncollectible",
        invoices.mark_uncollectible,
    ),
    ("POST", "/v1/invoiceitems", "InvoiceItemCreate", invoice_items.create),
    ("GET", "/v1/invoiceitems", "InvoiceItemList", invoice_items.retrieve_list),
    ("GET", "/v1/invoiceitems/:id", "InvoiceItemRetrieve", _retrieve("invoiceitem")),
    ("DELETE", "/v1/invoiceitems/:id", "InvoiceItemDelete", invoice_items.delete),
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
    ("POST", "/v1/subscription_items", "SubscriptionItemCreate", subscriptions.create_item),
    ("GET", "/v1/subscription_items", "SubscriptionItemList", subscriptions.list_items),
    (
        "GET",
        "/v1/subscription_items/:id",
        "SubscriptionItemRetrieve",
        _retrieve("subscription_item"),
    ),
    ("POST", "/v1/subscription_items/:id", "SubscriptionItemUpdate", subscriptions.update_item),
    (
        "DELETE",
        "/v1/subscription_items/:id",
        "SubscriptionItemDelete",
        subscriptions.delete_item,
    ),
    ("GET", "/v1/events", "EventList", _list_events),
    ("GET", "/v1/events/:id", "EventRetrieve", _retrieve("event")),
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
