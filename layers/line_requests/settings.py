"""What the deployment sets, from environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from line_requests.domain.rate_limit import RateLimit

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment's settings."""

    table_name: str
    bus_name: str
    stripe_secret_arn: str
    stripe_api_base: str
    limit: RateLimit
    window_ms: int
    """How long an invoice may stay unpaid; 0: without limit."""
    clerk_issuer: str
    clerk_public_key: str
    clerk_authorized_parties: frozenset[str]
    stripe_api_key: str = ""
    """An operator's own key instead of the secret's; functions never have one."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """The environment variables, with the contract's defaults; raises KeyError or ValueError."""
        parties = env.get("CLERK_AUTHORIZED_PARTIES", "").split(",")
        return cls(
            table_name=env["TABLE_NAME"],
            bus_name=env.get("BUS_NAME", ""),
            stripe_secret_arn=env.get("STRIPE_SECRET_ARN", ""),
            stripe_api_base=env.get("STRIPE_API_BASE") or "https://api.stripe.com",
            limit=RateLimit(
                # CloudFormation's numbers may have a fraction.
                per_minute=int(float(env.get("RATE_LIMIT_PER_MINUTE", "120"))),
                burst=int(float(env.get("RATE_LIMIT_BURST", "60"))),
            ),
            window_ms=int(float(env.get("PAYMENT_WINDOW_HOURS", "0")) * HOUR_MS),
            clerk_issuer=env.get("CLERK_ISSUER", ""),
            clerk_public_key=env.get("CLERK_PUBLIC_KEY", "").replace("\\n", "\n"),
            clerk_authorized_parties=frozenset(filter(None, map(str.strip, parties))),
            stripe_api_key=env.get("STRIPE_API_KEY", "").strip(),
        )
