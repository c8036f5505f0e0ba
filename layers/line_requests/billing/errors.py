"""The Stripe SDK's errors as the product's own. Stripe's texts hold personal data and stay behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

import stripe

from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingUnavailable,
    ReplayedFailure,
)

T = TypeVar("T")


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Raises what the product knows instead of what the SDK raises."""
    try:
        yield
    except stripe.StripeError as error:
        # Not from it: a traceback that is logged later would quote Stripe's text.
        raise _as_billing_error(error) from None


def or_none(retrieve: Callable[[], T]) -> T | None:
    """What Stripe returns; None when it does not know the object."""
    try:
        return retrieve()
    except stripe.StripeError as error:
        failure = _as_billing_error(error)
        if isinstance(failure, BillingRefused) and error.http_status == HTTPStatus.NOT_FOUND:
            return None
        raise failure from None


def _as_billing_error(error: stripe.StripeError) -> BillingRefused | BillingUnavailable:
    status, code = error.http_status, error.code or ""
    summary = f"{type(error).__name__} {status or ''} {code}".strip()
    if isinstance(error, stripe.IdempotencyError):
        in_use = status == HTTPStatus.CONFLICT
        return BillingUnavailable(summary) if in_use else BillingMisconfigured(summary)
    if str((error.headers or {}).get("idempotent-replayed", "")).lower() == "true":
        return ReplayedFailure(summary)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return BillingMisconfigured(summary)
    if isinstance(error, stripe.InvalidRequestError) and status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
        param = getattr(error, "param", None)
        what = f"{code or 'invalid_request_error'}{f' ({param})' if param else ''}"
        return BillingRefused(f"Stripe refused: {what}. Fix this in Stripe, then retry.")
    return BillingUnavailable(summary)
