"""Keys, versions, parameters and the shape of refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize("api_key", ["nonsense", "sk_live_abc"])
def test_bad_api_key_is_401(shop: Shop, api_key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as refused:
        shop.client(api_key).v1.invoices.list()

    assert refused.value.http_status == 401


def test_revoked_api_key_is_401_and_restricted_key_works(shop: Shop) -> None:
    shop.double.revoked_api_keys.add("sk_test_old")

    with pytest.raises(stripe.AuthenticationError):
        shop.client("sk_test_old").v1.invoices.list()
    assert shop.client("rk_test_some").v1.invoices.list().data == []


def test_api_key_without_scope_is_403(shop: Shop) -> None:
    shop.double.forbidden_api_keys.add("rk_test_narrow")

    with pytest.raises(stripe.PermissionError):
        shop.client("rk_test_narrow").v1.invoices.list()


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


def test_idempotency_key_replays_status_and_body(shop: Shop) -> None:
    first = shop.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    again = shop.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})

    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert len(shop.double.all_of("customer")) == 1
    assert [entry.replayed for entry in shop.double.request_log] == [False, True]


def test_idempotency_key_is_shared_by_api_keys_of_the_account(shop: Shop) -> None:
    first = shop.client("sk_test_one").v1.customers.create({}, {"idempotency_key": "k"})
    again = shop.client("sk_test_two").v1.customers.create({}, {"idempotency_key": "k"})

    assert again.id == first.id


def test_idempotency_key_with_other_parameters_is_refused(shop: Shop) -> None:
    shop.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})

    with pytest.raises(stripe.IdempotencyError) as other_parameters:
        shop.v1.customers.create({"name": "Bob"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        shop.v1.products.create({"name": "Ada"}, {"idempotency_key": "k"})

    assert other_parameters.value.http_status == 400


def test_idempotency_key_saves_refusal_while_executing(shop: Shop) -> None:
    draft = shop.draft()
    assert post(shop, f"/v1/invoices/{draft}/void", "", key="k").status == 400
    shop.v1.invoices.finalize_invoice(draft)

    again = post(shop, f"/v1/invoices/{draft}/void", "", key="k")

    assert (again.status, again.headers["Idempotent-Replayed"]) == (400, "true")
    assert shop.v1.invoices.retrieve(draft).status == "open"


def test_idempotency_key_does_not_save_refused_parameter(shop: Shop) -> None:
    assert post(shop, "/v1/customers", "nme=Ada", key="k").status == 400

    assert post(shop, "/v1/customers", "name=Ada", key="k").status == 200


def test_idempotency_key_expires_after_a_day(shop: Shop) -> None:
    first = shop.v1.customers.create({}, {"idempotency_key": "k"})

    shop.double.advance_seconds(DAY_S - 60)
    assert shop.v1.customers.create({}, {"idempotency_key": "k"}).id == first.id
    shop.double.advance_seconds(60)
    assert shop.v1.customers.create({}, {"idempotency_key": "k"}).id != first.id


def test_idempotency_key_in_use_is_409(shop: Shop) -> None:
    shop.double.latency_ms = 300

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: post(shop, "/v1/customers", "name=Ada", key="k"), range(2)))

    assert sorted(answer.status for answer in answers) == [200, 409]
    refused = max(answers, key=lambda answer: answer.status)
    assert refused.json()["error"]["code"] == "idempotency_key_in_use"
    assert len(shop.double.all_of("customer")) == 1


def test_idempotency_key_is_ignored_on_delete(shop: Shop) -> None:
    draft = shop.draft()
    shop.v1.invoices.delete(draft, options={"idempotency_key": "k"})

    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.invoices.delete(draft, options={"idempotency_key": "k"})

    assert gone.value.http_status == 404


def test_parallel_calls_with_one_key_have_one_effect(shop: Shop) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(shop, "/v1/customers", "name=Ada", key="k"), range(64)))

    assert {answer.status for answer in answers} <= {200, 409}
    assert len(shop.double.all_of("customer")) == 1


def test_request_log_has_parameters_and_keys(shop: Shop) -> None:
    shop.double.reset_request_log()
    shop.v1.customers.create({"name": "Ada", "balance": -5}, {"idempotency_key": "k"})

    (entry,) = shop.double.request_log

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
