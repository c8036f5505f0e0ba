"""A stateful Stripe double over HTTP, driven by the real SDK."""

from .clock import Clock
from .idempotency import FaultKind
from .server import LoggedRequest, StripeDouble
from .webhooks import Delivery, WebhookMode

__all__ = ["Clock", "Delivery", "FaultKind", "LoggedRequest", "StripeDouble", "WebhookMode"]
