"""A stateful Stripe double over HTTP, driven by the real SDK."""

from .idempotency import FaultKind
from .server import LoggedRequest, StripeDouble
from .webhooks import Delivery, WebhookMode

__all__ = ["Delivery", "FaultKind", "LoggedRequest", "StripeDouble", "WebhookMode"]
