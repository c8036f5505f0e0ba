"""A stateful Stripe double over HTTP, driven by the real SDK."""

from .server import LoggedRequest, StripeDouble
from .webhooks import Delivery

__all__ = ["Delivery", "LoggedRequest", "StripeDouble"]
