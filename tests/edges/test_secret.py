"""The Stripe secret: read when needed, cached, and unusable secrets reported as a misconfiguration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from botocore.stub import Stubber

from line_requests.domain.errors import BillingMisconfigured
from line_requests.secret import StripeSecret, api_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stripe"
OLD, NEW = {"api_key": "sk_test_old"}, {"api_key": "sk_test_new"}


@pytest.fixture
def stored() -> Iterator[Callable[..., StripeSecret]]:
    """Makes the deployment's secret, of which Secrets Manager returns these values, one for each call."""
    client = boto3.client(
        "secretsmanager", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    stub = Stubber(client)

    def make(*values: str | None) -> StripeSecret:
        for value in values:
            if value is None:
                stub.add_client_error("get_secret_value", "ResourceNotFoundException")
            else:
                stub.add_response("get_secret_value", {"ARN": ARN, "SecretString": value})
        stub.activate()
        return StripeSecret(SecretsProvider(boto3_client=client), ARN)

    yield make
    stub.assert_no_pending_responses()


def test_secret_is_cached_until_it_is_fetched_by_force(stored: Callable[..., StripeSecret]) -> None:
    """[43]"""
    secret = stored(json.dumps(OLD), json.dumps(NEW))
    assert [secret.read(), secret.read()] == [OLD, OLD]
    assert secret.read(force_fetch=True) == NEW
    assert secret.read() == NEW


@pytest.mark.parametrize("value", [None, "not JSON"])
def test_unreadable_secret_is_a_misconfiguration(stored: Callable[..., StripeSecret], value: str | None) -> None:
    """[34]"""
    with pytest.raises(BillingMisconfigured):
        stored(value).read()


@pytest.mark.parametrize("value", [[], "sk_test_1", None, 7])
def test_secret_that_is_no_object_is_empty(stored: Callable[..., StripeSecret], value: object) -> None:
    """[34][43]"""
    assert stored(json.dumps(value)).read() == {}


@pytest.mark.parametrize("secret", [{}, {"api_key": None}, {"api_key": " "}])
def test_secret_without_api_key_is_a_misconfiguration(secret: dict[str, Any]) -> None:
    """[34]"""
    with pytest.raises(BillingMisconfigured, match="api_key"):
        api_key_of(secret)


def test_white_space_around_the_api_key_is_ignored() -> None:
    """[43]"""
    assert api_key_of({"api_key": " sk_test_1\n"}) == "sk_test_1"
