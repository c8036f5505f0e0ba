"""What the deployment sets, from the environment; read when a handler asks, never at import."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from line_requests.errors import BillingMisconfigured
from line_requests.rate_limit import RateLimit
from line_requests.table import Table, aws_client

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

    from line_requests.billing import Billing

SECRET_MAX_AGE_S = 300
HOUR_MS = 3_600_000

# When each secret was read, and what it was. Powertools' provider would bring boto3, a tenth of a cold start.
_secrets: dict[str, tuple[float, Any]] = {}


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment."""

    table_name: str
    bus_name: str
    stripe_secret_arn: str
    stripe_api_base: str
    limit: RateLimit
    window_ms: int
    """How long an invoice may stay unpaid; 0: for ever."""
    clerk_issuer: str
    clerk_public_key: str
    clerk_authorized_parties: frozenset[str]

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """The function's environment variables, with the contract's defaults."""
        parties = env.get("CLERK_AUTHORIZED_PARTIES", "").split(",")
        return cls(
            table_name=env["TABLE_NAME"],
            bus_name=env.get("BUS_NAME", ""),
            stripe_secret_arn=env.get("STRIPE_SECRET_ARN", ""),
            stripe_api_base=env.get("STRIPE_API_BASE") or "https://api.stripe.com",
            limit=RateLimit(
                per_minute=int(env.get("RATE_LIMIT_PER_MINUTE", "120")),
                burst=int(env.get("RATE_LIMIT_BURST", "60")),
            ),
            window_ms=int(float(env.get("PAYMENT_WINDOW_HOURS", "0")) * HOUR_MS),
            clerk_issuer=env.get("CLERK_ISSUER", ""),
            clerk_public_key=env.get("CLERK_PUBLIC_KEY", "").replace("\\n", "\n"),
            clerk_authorized_parties=frozenset(filter(None, map(str.strip, parties))),
        )

    def table(self) -> Table:
        """The deployment's table."""
        return Table(aws_client("dynamodb"), self.table_name)

    def events_client(self) -> "EventBridgeClient":
        """A client for the deployment's bus."""
        client: EventBridgeClient = aws_client("events")
        return client

    def stripe_secret(self, *, fresh: bool = False) -> dict[str, Any]:
        """`{"api_key": …, "webhook_secrets": […]}`, cached some minutes so that rotation takes effect.

        Raises BillingMisconfigured when it cannot be read.
        """
        read_at_s, secret = _secrets.get(self.stripe_secret_arn, (0.0, None))
        if fresh or secret is None or time.time() - read_at_s > SECRET_MAX_AGE_S:
            try:
                answer = aws_client("secretsmanager").get_secret_value(SecretId=self.stripe_secret_arn)
                secret = json.loads(answer["SecretString"])
            except (BotoCoreError, ClientError, KeyError, ValueError) as error:
                raise BillingMisconfigured("the Stripe secret cannot be read") from error
            _secrets[self.stripe_secret_arn] = time.time(), secret
        return secret if isinstance(secret, dict) else {}

    def open_billing(self, remaining_s: Callable[[], float]) -> "Billing":
        """Stripe with the deployment's key, for as long as the caller has time."""
        from line_requests.billing import Billing

        api_key = self.stripe_secret().get("api_key")
        if not api_key:
            raise BillingMisconfigured("the Stripe secret has no api_key")
        return Billing(str(api_key), api_base=self.stripe_api_base, remaining_s=remaining_s)
