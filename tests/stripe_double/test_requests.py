"""Keys, versions, parameters and the shape of refusals."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import pytest
import stripe
import stripe.params
import urllib3

from tests.local.stripe_double import routes
from tests.stripe_double.shop import API_KEY

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop

DAY_S = 24 * 60 * 60


def post(shop: Shop, path: str, body: str, key: str | None = None, api_key: str = API_KEY) -> urllib3.BaseHTTPResponse:
    """Speak HTTP directly, for what the SDK does not let through or does not show."""
    headers = {"Authorization": f"Bearer {api_key}"} | ({"Idempotency-Key": key} if key else {})
    return urllib3.request("POST", shop.double.url + path, body=body, headers=headers)


@pytest.mark.parametrize(("api_key", "status"), [("sk_live_abc", 401), ("sk_test_old", 401), ("rk_test_some", 200)])
def test_live_and_revoked_api_keys_are_401(shop: Shop, api_key: str, status: int) -> None:
    shop.double.revoked_api_keys.add("sk_test_old")

    assert post(shop, "/v1/customers", "", api_key=api_key).status == status


def test_open_invoice_is_not_editable(shop: Shop) -> None:
    invoice = shop.open_invoice().id
    finalized = post(shop, f"/v1/invoices/{invoice}/finalize", "").json()["error"]
    added = post(shop, "/v1/invoiceitems", f"invoice={invoice}&amount=5").json()["error"]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.invoices.delete(invoice)

    assert {finalized["code"], added["code"], refused.value.code} == {"invoice_not_editable"}
    assert added["param"] == "invoice"


def test_canceled_subscription_cannot_be_canceled_again(shop: Shop) -> None:
    subscription = shop.subscription().id
    shop.v1.subscriptions.cancel(subscription)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.subscriptions.cancel(subscription)

    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_last_item_of_a_subscription_cannot_be_deleted(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        shop.v1.subscription_items.delete(shop.subscription()["items"].data[0].id)


def test_other_api_versions_are_refused(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="version"):
        shop.client(version="2020-08-27").v1.invoices.list()

    answer = shop.client(version=stripe.api_version).v1.invoices.list().last_response
    assert answer is not None
    assert answer.headers["stripe-version"] == stripe.api_version
    assert answer.headers["request-id"].startswith("req_")
    assert "stripe-should-retry" not in answer.headers


def test_unknown_url_is_404(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as refused:
        shop.v1.payouts.list()

    assert refused.value.http_status == 404


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("/v1/customers", "nme=Ada", "parameter_unknown", "nme"),
        ("/v1/invoices", "customer=c&automatic_tax[enable]=true", "parameter_unknown", "automatic_tax[enable]"),
        ("/v1/invoices", "automatic_tax[liability][type]=self", "parameter_missing", "automatic_tax[enabled]"),
        ("/v1/invoices", "days_until_due=soon", "parameter_invalid_integer", "days_until_due"),
        ("/v1/invoices", "auto_advance=yes", None, "auto_advance"),
        ("/v1/invoices", "customer=", "parameter_invalid_empty", "customer"),
        ("/v1/invoices", "customer[id]=c", None, "customer"),
        ("/v1/invoices", "collection_method=by_pigeon", None, "collection_method"),
        ("/v1/invoices", "expand=customer", None, "expand"),
        ("/v1/invoices", "auto_advance=false", "parameter_missing", "customer"),
        ("/v1/invoiceitems", "price_data[currency]=usd", "parameter_missing", "price_data[product]"),
        ("/v1/subscription_items", "price=price_1", "parameter_missing", "subscription"),
        ("/v1/subscriptions", "items[0][prices]=p", "parameter_unknown", "items[0][prices]"),
        ("/v1/customers", "metadata[" + "k" * 41 + "]=v", None, "metadata[" + "k" * 41 + "]"),
    ],
)
def test_parameters_are_checked_against_sdk_types(
    shop: Shop, path: str, body: str, code: str | None, param: str
) -> None:
    answer = post(shop, path, body)

    error = answer.json()["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error["param"]) == (code, param)


def test_every_endpoint_names_an_sdk_parameter_type() -> None:
    for method, path, params_type, _ in routes.TABLE:
        assert attrgetter(f"{params_type}Params")(stripe.params), f"{method} {path}"


def test_list_parameters_are_parsed_in_both_notations(shop: Shop) -> None:
    customer, price = shop.customer(), shop.price()

    answer = post(shop, "/v1/subscriptions", f"customer={customer}&items[][price]={price}&expand[]=customer")

    assert answer.json()["customer"]["id"] == customer


def test_idempotency_key_is_shared_by_api_keys_of_the_account(shop: Shop) -> None:
    first = shop.client("sk_test_one").v1.customers.create({}, {"idempotency_key": "k"})
    again = shop.client("sk_test_two").v1.customers.create({}, {"idempotency_key": "k"})

    assert again.id == first.id


def test_idempotency_key_expires_after_a_day(shop: Shop) -> None:
    first = shop.v1.customers.create({}, {"idempotency_key": "k"})

    shop.double.advance_seconds(DAY_S - 60)
    assert shop.v1.customers.create({}, {"idempotency_key": "k"}).id == first.id
    shop.double.advance_seconds(60)
    assert shop.v1.customers.create({}, {"idempotency_key": "k"}).id != first.id


def test_request_log_has_parameters_and_keys(shop: Shop) -> None:
    shop.double.reset_request_log()
    shop.v1.customers.create({"name": "Ada", "balance": -5}, {"idempotency_key": "k"})

    shop.v1.customers.create({"name": "Ada", "balance": -5}, {"idempotency_key": "k"})

    entry, again = shop.double.request_log

    assert (entry.replayed, again.replayed) == (False, True)
    assert (entry.method, entry.path, entry.status) == ("POST", "/v1/customers", 200)
    assert (entry.params, entry.idempotency_key) == ({"name": "Ada", "balance": -5}, "k")
    assert entry.api_key == API_KEY


def test_rate_limit_applies_per_endpoint(shop: Shop) -> None:
    shop.double.calls_per_second_per_endpoint = 2

    shop.v1.invoices.list()
    shop.v1.invoices.list()
    with pytest.raises(stripe.RateLimitError):
        shop.v1.invoices.list()

    assert shop.v1.customers.list().data == []


def test_connection_is_kept_alive(shop: Shop) -> None:
    with urllib3.connection_from_url(shop.double.url, maxsize=1) as pool:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        answers = [pool.request("GET", "/v1/invoices", headers=headers).json()["data"] for _ in range(3)]
        connections = pool.num_connections

    assert (answers, connections) == ([[], [], []], 1)
