from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from line_requests.billing.client import API_VERSION
from line_requests.billing.events import INVOICE_EVENTS, REVERSAL_EVENTS, SUBSCRIPTION_EVENTS
from line_requests.operator import stripe_setup
from line_requests.operator.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop

URL = "https://api.example.com/stripe/webhook"


@pytest.fixture
def secret(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> str:
    arn = boto3.client("secretsmanager").create_secret(
        Name=f"stripe-of-{deployment.table_name}", SecretString=json.dumps({"api_key": "sk_test_product"})
    )["ARN"]
    monkeypatch.setenv("STRIPE_SECRET_ARN", arn)
    return arn


@pytest.fixture(autouse=True)
def no_endpoints(shop: Shop) -> Iterator[None]:
    yield
    for endpoint in shop.v1.webhook_endpoints.list().data:
        shop.v1.webhook_endpoints.delete(endpoint.id)


def _stored(secret: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])


def test_the_endpoint_has_what_the_code_needs_and_its_secret_is_stored(
    shop: Shop, console: Console, secret: str
) -> None:
    done = console.json("setup-stripe", "--url", URL)
    (endpoint,) = shop.v1.webhook_endpoints.list().data
    assert (endpoint.id, endpoint.url, endpoint.api_version) == (done["endpoint"], URL, API_VERSION)
    assert set(endpoint.enabled_events) == {*INVOICE_EVENTS, *SUBSCRIPTION_EVENTS, *REVERSAL_EVENTS}
    stored = _stored(secret)
    assert stored["api_key"] == "sk_test_product"
    (signing,) = stored["webhook_secrets"]
    assert signing.startswith("whsec_")
    assert signing not in json.dumps(done)


def test_again_it_updates_what_other_hands_changed(shop: Shop, console: Console, secret: str) -> None:
    first = console.json("setup-stripe", "--url", URL)
    shop.v1.webhook_endpoints.update(first["endpoint"], {"enabled_events": ["charge.failed"], "disabled": True})
    stored = _stored(secret)
    again = console.json("setup-stripe", "--url", URL)
    assert (again["done"], again["endpoint"], again["events"]) == ("updated", first["endpoint"], first["events"])
    assert shop.v1.webhook_endpoints.retrieve(first["endpoint"]).status == "enabled"
    assert _stored(secret) == stored


def test_a_rotation_replaces_the_endpoint_and_keeps_the_secret_before(
    shop: Shop, console: Console, secret: str
) -> None:
    first = console.json("setup-stripe", "--url", URL)
    (before,) = _stored(secret)["webhook_secrets"]
    rotated = console.json("setup-stripe", "--url", URL, "--rotate")
    assert rotated["deleted"] == [first["endpoint"]]
    assert [one.id for one in shop.v1.webhook_endpoints.list().data] == [rotated["endpoint"]]
    newest, kept = _stored(secret)["webhook_secrets"]
    assert (newest != before, kept) == (True, before)


def test_an_endpoint_of_another_version_is_replaced(shop: Shop, console: Console, secret: str) -> None:
    old = shop.v1.webhook_endpoints.create({"url": URL, "enabled_events": ["*"], "api_version": "2024-06-20"}).id
    other = shop.v1.webhook_endpoints.create({"url": "https://other.example.com", "enabled_events": ["*"]}).id
    assert console.json("setup-stripe", "--url", URL)["deleted"] == [old]
    assert other in {one.id for one in shop.v1.webhook_endpoints.list().data}
    assert len(_stored(secret)["webhook_secrets"]) == 1


@pytest.mark.parametrize("newest", [API_VERSION, "2024-06-20"])
def test_several_endpoints_of_the_url_become_one_whose_secret_is_stored(
    shop: Shop, console: Console, secret: str, newest: str
) -> None:
    """As after a crash before or after the new secret was stored: nothing tells which endpoint's secret it is."""
    first = console.json("setup-stripe", "--url", URL)["endpoint"]
    (before,) = _stored(secret)["webhook_secrets"]
    more: Any = {"url": URL, "enabled_events": ["*"], "api_version": newest}
    more = shop.v1.webhook_endpoints.create(more).id
    done = console.json("setup-stripe", "--url", URL)
    assert (done["done"], set(done["deleted"])) == ("created", {first, more})
    (left,) = shop.v1.webhook_endpoints.list().data
    assert (left.id, left.api_version) == (done["endpoint"], API_VERSION)
    assert _stored(secret)["webhook_secrets"][1:] == [before]
    assert console.json("setup-stripe", "--url", URL)["done"] == "updated"


@pytest.mark.parametrize("value", ["{}", "not JSON", '["sk_test"]'])
def test_a_secret_without_an_api_key_is_refused_before_anything_is_made(
    shop: Shop, console: Console, secret: str, value: str
) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=value)
    assert "has no api_key" in console.refused("setup-stripe", "--url", URL)
    assert shop.v1.webhook_endpoints.list().data == []


@pytest.mark.parametrize("broken", [[""], [" "], [None, 7], ["sk_test_1"], "whsec_text", {"whsec_key": 1}, 7])
def test_signing_secrets_that_are_none_are_replaced(shop: Shop, console: Console, secret: str, broken: object) -> None:
    first = console.json("setup-stripe", "--url", URL)["endpoint"]
    value = json.dumps(_stored(secret) | {"webhook_secrets": broken})
    boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=value)
    done = console.json("setup-stripe", "--url", URL)
    assert (done["done"], done["deleted"]) == ("created", [first])
    assert [one.id for one in shop.v1.webhook_endpoints.list().data] == [done["endpoint"]]
    (signing,) = _stored(secret)["webhook_secrets"]
    assert signing.startswith("whsec_")
    assert console.json("setup-stripe", "--url", URL)["done"] == "updated"


def test_rotation_keeps_the_usable_secret_among_others(console: Console, secret: str) -> None:
    console.json("setup-stripe", "--url", URL)
    (before,) = _stored(secret)["webhook_secrets"]
    value = json.dumps(_stored(secret) | {"webhook_secrets": ["", f" {before}\n", None]})
    boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=value)
    assert console.json("setup-stripe", "--url", URL)["done"] == "updated"
    assert console.json("setup-stripe", "--url", URL, "--rotate")["done"] == "created"
    assert _stored(secret)["webhook_secrets"][1:] == [before]


@pytest.mark.parametrize("own", ["test", "live"])
def test_operators_key_of_another_mode_than_the_deployments_is_refused(
    shop: Shop, console: Console, secret: str, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", f"sk_{own}_operator")
    other = {"test": "live", "live": "test"}[own]
    value = json.dumps({"api_key": f"rk_{other}_product", "webhook_secrets": []})
    boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=value)
    said = (
        f"STRIPE_API_KEY is of {own} mode, the api_key in the secret {secret} of {other} mode; "
        "set a key of the same mode"
    )
    assert console.refused("setup-stripe", "--url", URL) == said
    assert console.refused("workspace", "create", "acme", "--customer", "cus_1") == said
    assert shop.v1.webhook_endpoints.list().data == []
    assert _stored(secret) == json.loads(value)


def test_secret_that_an_operator_may_not_read_does_not_stop_them(
    console: Console, starter: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:none")
    assert console.json("workspace", "create", "acme", "--customer", shop.subscriber(starter))["workspace"] == "acme"


class ReadOnlySecrets:
    """As with a role that may read the secret but not write it."""

    def __init__(self, trouble: BaseException) -> None:
        self.trouble = trouble

    def get_secret_value(self, **_: str) -> dict[str, str]:
        return {"SecretString": json.dumps({"api_key": "sk_test_product"})}

    def put_secret_value(self, **_: str) -> None:
        raise self.trouble


@pytest.mark.parametrize(
    "trouble",
    [ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutSecretValue"), KeyboardInterrupt()],
    ids=["denied", "interrupted"],
)
def test_an_endpoint_whose_secret_cannot_be_stored_is_deleted_again(
    shop: Shop, deployment: Deployment, trouble: BaseException
) -> None:
    assert deployment.table_name
    with pytest.raises(type(trouble)):
        stripe_setup.set_up(Target(None).billing().setup, ReadOnlySecrets(trouble), "arn", URL)
    assert shop.v1.webhook_endpoints.list().data == []


def test_it_has_to_know_where_and_which_secret(console: Console) -> None:
    said = console.refused("setup-stripe")
    assert said == "name the deployment with --stack, or set STRIPE_SECRET_ARN and give --url"
