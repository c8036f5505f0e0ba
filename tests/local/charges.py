"""What a workspace is charged, as the operator's Stripe key sees it."""

from typing import TYPE_CHECKING, Any

import stripe

from tests.local.demo import OPERATOR_API_KEY, DemoWorkspace

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

Json = dict[str, Any]


def charges(stack: "LocalStack", workspace: DemoWorkspace) -> Json:
    """Stripe's own objects: the subscription, the items that wait for its next invoice, and the latest invoices."""
    api = stripe.StripeClient(OPERATOR_API_KEY, base_addresses={"api": stack.double.url}).v1
    customer = workspace.customer
    subscription = workspace.subscription and api.subscriptions.retrieve(
        workspace.subscription, {"expand": ["items.data.price.product", "items.data.price.currency_options"]}
    )
    pending = api.invoice_items.list({"customer": customer, "pending": True})
    invoices = api.invoices.list({"customer": customer, "limit": 20})
    return {
        "subscription": subscription and subscription.to_dict(for_json=True),
        "pending": [item.to_dict(for_json=True) for item in pending.data],
        "invoices": [invoice.to_dict(for_json=True) for invoice in invoices.data],
    }
