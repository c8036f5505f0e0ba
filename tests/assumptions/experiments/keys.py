"""API keys, modes and versions"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from tests.assumptions.registry import accepted, assumption, expect, refused

if TYPE_CHECKING:
    from tests.assumptions.account import Account


@assumption(
    source="https://docs.stripe.com/keys#limit-access",
    if_true="A missing scope is an alarm about our key, never a reason to cancel a request.",
    if_false="The refusal would be read as one about the line, if it came as 400 or 404.",
)
def restricted_key_without_the_scope_is_403(account: Account) -> None:
    """A call that a restricted key has no permission for is refused with 403."""
    client = account.narrow_client()

    with refused(403, kind=stripe.PermissionError):
        client.v1.invoices.list({"limit": 1})


@assumption(
    source="https://docs.stripe.com/api/authentication",
    if_true="A revoked key is an alarm about our key; requests are kept.",
    if_false="The refusal would be read as one about the line, if it came as 400 or 404.",
)
def unknown_key_is_401(account: Account) -> None:
    """A key that Stripe does not know is refused with 401."""
    client = account.client_of("nonsense")

    with refused(401, kind=stripe.AuthenticationError):
        client.v1.invoices.list({"limit": 1})


@assumption(
    source="https://docs.stripe.com/error-codes#livemode-mismatch",
    if_true="Before any refusal counts as final, the key's mode is compared with the mode of the line's customer.",
    if_false="The wrong mode would have its own code, and the comparison would not be needed.",
)
def object_of_the_other_mode_is_unknown(account: Account) -> None:
    """A live customer asked for with a test key is 404 resource_missing, like one that never existed."""
    with refused(404, code="resource_missing"):
        account.v1.customers.retrieve(account.live_customer())


@assumption(
    source="stripe.Event.livemode",
    if_true="`workspace create` stores the customer's mode, and events of the other mode are refused.",
    if_false="The mode would have to be taken from the key alone.",
)
def object_tells_its_mode(account: Account) -> None:
    """Customers, invoices and events of a test key say livemode=false."""
    customer = account.v1.customers.retrieve(account.new_customer())
    invoice = account.new_draft(customer.id, amount=None)
    events = account.v1.events.list({"limit": 1}).data

    expect("livemode", {customer.livemode, invoice.livemode, *(event.livemode for event in events)}, {False})


@assumption(
    source="https://docs.stripe.com/api/versioning",
    if_true="The product pins the SDK's version, so a newer account default changes nothing.",
    if_false="Shapes could change under the product; a test compares the pin with the SDK.",
)
def answer_is_in_the_version_that_was_asked_for(account: Account) -> None:
    """An answer says that it is in the version of the request's Stripe-Version header."""
    with accepted("the SDK's version"):
        response = account.v1.invoices.list({"limit": 1}).last_response

    expect("version", response and response.headers.get("stripe-version"), stripe.api_version)
