"""The product's own parts in this process, wired by its composition root to the given table and Stripe."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from line_requests.deployment import Deployment
from line_requests.settings import Settings
from tests.local.demo import PRODUCT_API_KEY
from tests.local.ministack import session

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_dynamodb.client import DynamoDBClient

NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@cache
def _nowhere(service: str, config: Config) -> Any:  # noqa: ANN401 - boto3's own
    """A client for what is not called; to make one for each test takes as long as the test."""
    return session().client(service, endpoint_url=NOWHERE, config=config)  # type: ignore[call-overload] # any service


def product(dynamodb: DynamoDBClient, table_name: str, stripe_url: str, **settings: str) -> Deployment:
    """A deployment with this table, the product's Stripe key and a generous rate limit; no bus, no secret."""

    def client(service: str, config: Config) -> Any:  # noqa: ANN401 - boto3's own
        return dynamodb if service == "dynamodb" else _nowhere(service, config)

    environment = {
        "TABLE_NAME": table_name,
        "STRIPE_API_KEY": PRODUCT_API_KEY,
        "STRIPE_API_BASE": stripe_url,
        "RATE_LIMIT_PER_MINUTE": "6000",
        "RATE_LIMIT_BURST": "1000",
    }
    return Deployment(Settings.from_environment(environment | settings), client)
