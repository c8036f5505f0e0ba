"""Customers at Stripe."""

import stripe

from line_requests.billing.errors import or_none
from line_requests.domain.errors import BillingMisconfigured, BillingRefused


def require_deleted_customer(client: stripe.StripeClient, customer: str, refusal: BillingRefused) -> None:
    """Raises BillingMisconfigured unless Stripe says that the customer was deleted.

    A deleted customer's objects are gone with it. An unknown customer means that our API key is wrong.
    """
    found = or_none(lambda: client.v1.customers.retrieve(customer))
    if not getattr(found, "deleted", False):
        raise BillingMisconfigured(str(refusal)) from refusal
