from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import stripe

from tests.local.stripe_double import StripeDouble
from tests.stripe_double.shop import DAY
from tests.support.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stripe_double.shop import Shop
    from tests.support.receiver import Receiver

SECRETS = ["whsec_new", "whsec_old"]


@pytest.fixture
def receiver(shop: Shop) -> Iterator[Receiver]:
    with receiving() as server:
        shop.double.webhook_endpoint, shop.double.webhook_secrets = server.url, SECRETS
        yield server
        shop.double.webhook_endpoint = None


@pytest.mark.parametrize("secret", SECRETS)
def test_webhook_verifies_with_every_active_secret(shop: Shop, receiver: Receiver, secret: str) -> None:
    customer = shop.customer()
    assert shop.double.wait_idle()

    payload, signature = receiver.received[0]
    event = stripe.Webhook.construct_event(payload, signature, secret)

    assert (event.type, event.livemode, event.api_version) == ("customer.created", False, stripe.api_version)
    assert event.data.object["id"] == customer
    assert str(event.request and event.request.id).startswith("req_")
    assert signature.count("v1=") == 2
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(payload, signature, "whsec_other")


def test_webhooks_of_one_customer_arrive_in_order(shop: Shop, receiver: Receiver) -> None:
    invoice = shop.open_invoice()
    shop.double.pay_invoice(invoice.id)
    assert shop.double.wait_idle()

    about = [t for t in receiver.types() if t.startswith("invoice.")]

    assert about == shop.events_about(invoice.id)


def test_webhook_is_retried_within_a_second_after_server_error(shop: Shop, receiver: Receiver) -> None:
    receiver.statuses = [503]
    started = time.monotonic()
    shop.customer()

    receiver.wait_for(2)

    assert receiver.received[0][0] == receiver.received[1][0]
    assert time.monotonic() - started < 1
    assert shop.double.wait_idle()
    assert [d.status for d in shop.double.webhook_deliveries] == [503, 200]


def test_webhook_is_retried_after_connection_error(shop: Shop, receiver: Receiver) -> None:
    shop.double.webhook_endpoint = "http://127.0.0.1:9/nobody"
    shop.customer()
    while not shop.double.webhook_deliveries:
        time.sleep(0.01)

    shop.double.webhook_endpoint = receiver.url

    assert shop.double.flush()
    assert receiver.types() == ["customer.created"]
    assert [d.status for d in shop.double.webhook_deliveries] == [None, 200]


def test_webhook_is_not_retried_after_client_error(shop: Shop, receiver: Receiver) -> None:
    receiver.statuses = [400]
    shop.customer()

    assert shop.double.wait_idle(0.4)
    assert len(receiver.received) == 1


def test_dropped_events_stay_in_feed(shop: Shop, receiver: Receiver) -> None:
    shop.double.set_webhook_mode("drop")
    shop.customer()

    assert shop.double.wait_idle()
    assert receiver.received == []
    assert [event.type for event in shop.v1.events.list().data] == ["customer.created"]


def test_drop_mode_drops_pending_retries(shop: Shop, receiver: Receiver) -> None:
    receiver.statuses = [500]
    shop.customer()
    receiver.wait_for(1)

    shop.double.set_webhook_mode("drop")

    assert shop.double.wait_idle(1)
    assert len(receiver.received) == 1


def test_duplicate_mode_delivers_twice(shop: Shop, receiver: Receiver) -> None:
    shop.double.set_webhook_mode("duplicate")
    shop.customer()

    assert shop.double.wait_idle()
    assert receiver.types() == ["customer.created"] * 2
    assert len({json.loads(payload)["id"] for payload, _ in receiver.received}) == 1


def test_reverse_mode_reverses_burst_within_a_second(shop: Shop, receiver: Receiver) -> None:
    invoice = shop.open_invoice()
    assert shop.double.wait_idle()
    receiver.received.clear()
    shop.double.set_webhook_mode("reverse")

    started = time.monotonic()
    shop.double.pay_invoice(invoice.id)
    assert shop.double.wait_idle()

    assert time.monotonic() - started < 1
    assert [t for t in receiver.types() if t.startswith("invoice.")] == ["invoice.payment_succeeded", "invoice.paid"]


def test_webhook_types_filter_and_event_can_be_resent(shop: Shop, receiver: Receiver) -> None:
    shop.double.webhook_event_types = frozenset({"invoice.paid"})
    invoice = shop.open_invoice()
    shop.double.pay_invoice(invoice.id)
    assert shop.double.wait_idle()
    assert receiver.types() == ["invoice.paid"]

    shop.double.resend_event(json.loads(receiver.received[0][0])["id"])

    assert shop.double.wait_idle()
    assert receiver.types() == ["invoice.paid"] * 2


def test_feed_is_filtered_by_creation_and_paged(shop: Shop) -> None:
    shop.customer()
    shop.double.advance_seconds(1000)
    for _ in range(5):
        shop.customer()
    cut = shop.double.all_of("event")[0]["created"] - 500

    later = shop.v1.events.list({"created": {"gt": cut}, "limit": 2})
    earlier = shop.v1.events.list({"created": {"lte": cut}})

    assert (later.has_more, len(list(later.auto_paging_iter()))) == (True, 5)
    assert len(earlier.data) == 1
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.events.list({"limit": 101})


def test_feed_forgets_events_after_30_days(shop: Shop) -> None:
    shop.customer()
    (event,) = shop.v1.events.list().data
    shop.double.advance(30 * DAY - 1)
    assert shop.v1.events.retrieve(event.id).id == event.id

    shop.double.advance(1)

    assert shop.v1.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.events.retrieve(event.id)


def test_stopped_double_refuses_connections() -> None:
    http = stripe.RequestsClient(timeout=2)
    with StripeDouble() as double:
        client = stripe.StripeClient("sk_test_1", base_addresses={"api": double.url}, http_client=http)
        client.v1.customers.list()

    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.list()
    http.close()  # type: ignore[no-untyped-call]  # not annotated by the SDK
