from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import pytest
import stripe

if TYPE_CHECKING:
    from tests.stripe_double.shop import Shop

KEY: stripe.RequestOptions = {"idempotency_key": "k"}


def names(shop: Shop) -> list[str]:
    return [customer["name"] for customer in shop.double.all_of("customer")]


@pytest.mark.parametrize(("kind", "status"), [("error_before", 500), ("rate_limit", 429)])
def test_fault_before_the_call_has_no_effect_and_is_not_saved(
    shop: Shop, kind: Literal["error_before", "rate_limit"], status: int
) -> None:
    shop.double.set_faults(kind, 1)

    with pytest.raises(stripe.StripeError) as failed:
        shop.v1.customers.create({"name": "Ada"}, KEY)
    assert (failed.value.http_status, names(shop)) == (status, [])

    shop.v1.customers.create({"name": "Ada"}, KEY)
    assert names(shop) == ["Ada"]


def test_error_after_is_saved_under_its_key(shop: Shop) -> None:
    shop.double.set_faults("error_after", 1)

    with pytest.raises(stripe.APIError):
        shop.v1.customers.create({"name": "Ada"}, KEY)
    with pytest.raises(stripe.APIError) as failed:
        shop.v1.customers.create({"name": "Ada"}, KEY)

    assert names(shop) == ["Ada"]
    assert failed.value.headers is not None
    assert failed.value.headers["idempotent-replayed"] == "true"


def test_timeout_after_has_its_effect_and_its_response_is_replayed(shop: Shop) -> None:
    shop.double.set_faults("timeout_after", 1)

    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(shop.v1.customers.create, {"name": "Ada"}, KEY)
        while not names(shop):
            time.sleep(0.01)
        again = shop.v1.customers.create({"name": "Ada"}, KEY)
        assert not hanging.done()
        shop.double.set_faults("timeout_after", 0)
        assert hanging.result(timeout=2).id == again.id

    assert names(shop) == ["Ada"]


def test_faults_spare_other_api_keys_and_paths(shop: Shop) -> None:
    shop.double.set_faults("error_before", 1, "/v1/invoices")

    shop.client("sk_test_other").v1.invoices.list()
    shop.v1.customers.list()
    with pytest.raises(stripe.APIError):
        shop.v1.invoices.list()
    shop.v1.invoices.list()


@pytest.mark.parametrize("kind", ["error_before", "rate_limit"])
def test_new_faults_replace_old_ones_and_count_zero_clears_them(
    shop: Shop, kind: Literal["error_before", "rate_limit"]
) -> None:
    shop.double.set_faults("error_before", 5)
    shop.double.set_faults(kind, 1)
    with pytest.raises(stripe.StripeError):
        shop.v1.customers.list()
    shop.v1.customers.list()

    shop.double.set_faults(kind, 5)
    shop.double.set_faults(kind, 0)
    shop.v1.customers.list()


def test_sdk_retry_gets_through_error_before(shop: Shop) -> None:
    shop.double.set_faults("error_before", 1)

    shop.v1.customers.create({"name": "Ada"}, {"max_network_retries": 1})

    assert names(shop) == ["Ada"]
    assert [entry.status for entry in shop.double.request_log] == [500, 200]
