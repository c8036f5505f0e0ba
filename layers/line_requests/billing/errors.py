"""The Stripe SDK's errors as the product's own. Stripe's texts hold personal data and stay behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

import stripe

from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingRejected,
    BillingUnavailable,
    IdempotencyKeyReused,
    ReplayedFailure,
)

T = TypeVar("T")

# Only these codes cancel a request: they are about its customer, price or address (contract 57). Each is documented at
# https://docs.stripe.com/error-codes#<code with hyphens>; the second line of a comment is a further source.
FINAL_CODES = frozenset(
    {
        # "The specified amount is greater than the maximum amount allowed."
        "amount_too_large",
        # "The specified amount is less than the minimum amount allowed."
        "amount_too_small",
        # "The customer's address is invalid": it is missing, or Stripe Tax does not recognize it.
        # https://docs.stripe.com/tax/customer-locations#invoice-finalization-errors
        "customer_tax_location_invalid",
        # "The postal code provided was incorrect."
        "postal_code_invalid",
        # "The product ... is no longer available for purchase."
        "product_inactive",
        # "The ID provided is not valid": the customer or the product was deleted.
        # https://docs.stripe.com/api/customers/delete
        "resource_missing",
        # "The tax ID number provided is invalid": the customer's.
        "tax_id_invalid",
    }
)


@contextmanager
def stripe_errors() -> Iterator[None]:
    """Raises what the product knows instead of what the SDK raises."""
    try:
        yield
    except stripe.StripeError as error:
        # Not from it: a traceback that is logged later would quote Stripe's text.
        raise _as_billing_error(error) from None


def or_none(retrieve: Callable[[], T]) -> T | None:
    """What Stripe returns; None when it does not know the object: a 404 resource_missing."""
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
        # A 409 idempotency_key_in_use is a plain APIError of the SDK, and so unavailable: it waits.
        return IdempotencyKeyReused(summary)
    if str((error.headers or {}).get("idempotent-replayed", "")).lower() == "true":
        return ReplayedFailure(summary)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return BillingMisconfigured(summary)
    if isinstance(error, stripe.InvalidRequestError) and status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
        param = getattr(error, "param", None)
        what = f"{code or 'invalid_request_error'}{f' ({param})' if param else ''}"
        refusal = BillingRefused if code in FINAL_CODES else BillingRejected
        return refusal(f"Stripe refused: {what}. Fix this in Stripe, then retry.")
    return BillingUnavailable(summary)
