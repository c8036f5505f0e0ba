"""Lists, and what Stripe no longer knows"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stripe

from tests.assumptions.experiments.invoices import metadata_of
from tests.assumptions.registry import accepted, assumption, expect, refused

if TYPE_CHECKING:
    from tests.assumptions.account import Account


@assumption(
    source="https://docs.stripe.com/api/errors",
    if_true="The refusal is final: the line is canceled and the error names the customer to fix.",
    if_false="The request would be kept and retried until an operator reacts to the alarm.",
)
def unknown_customer_is_refused_as_a_parameter(account: Account) -> None:
    """An invoice for an unknown customer is refused with 400 resource_missing about `customer`."""
    with refused(400, code="resource_missing", param="customer", kind=stripe.InvalidRequestError):
        account.v1.invoices.create({"customer": "cus_assumption"})


@assumption(
    source="https://docs.stripe.com/api/errors",
    if_true="The product distinguishes a missing invoice from every other refusal, and cancels no line for it.",
    if_false="A wrong API key would be taken for a refusal about the line.",
)
def unknown_invoice_is_404(account: Account) -> None:
    """Retrieving an unknown invoice is 404 resource_missing."""
    with refused(404, code="resource_missing", param="id", kind=stripe.InvalidRequestError):
        account.v1.invoices.retrieve("in_assumption")


@assumption(
    source="https://docs.stripe.com/search#data-freshness",
    if_true="When keys may be forgotten, the product lists the customer's invoices: Search would lag.",
    if_false="A list that misses the newest draft would let the product make a second one.",
)
def list_shows_an_invoice_right_after_its_creation(account: Account) -> None:
    """A list by customer shows an invoice made just before, with its metadata."""
    customer = account.new_customer()
    for number in range(5):
        draft = account.new_draft(customer, None, params={"metadata": {"line_id": str(number)}})
        newest = account.v1.invoices.list({"customer": customer, "limit": 1}).data
        expect("newest", [(i.id, metadata_of(i)["line_id"]) for i in newest], [(draft.id, str(number))])


@assumption(
    source="https://docs.stripe.com/api/pagination",
    if_true="Sweeps and the event feed follow starting_after until has_more is false and miss nothing.",
    if_false="Lines beyond the first page would have to be retrieved one by one.",
)
def list_pages_follow_each_other_until_has_more_is_false(account: Account) -> None:
    """Pages are newest first, do not overlap, and has_more is false on the last one only."""
    customer = account.new_customer()
    drafts = [account.new_draft(customer, amount=None).id for _ in range(5)]
    seen, more, after = list[str](), list[bool](), ""
    while not more or more[-1]:
        params: stripe.params.InvoiceListParams = {"customer": customer, "limit": 2}
        if after:
            params["starting_after"] = after
        page = account.v1.invoices.list(params)
        seen += [invoice.id for invoice in page.data]
        more.append(page.has_more)
        after = seen[-1]

    expect("invoices", sorted(seen), sorted(drafts))
    expect("has_more", more, [True, True, False])


@assumption(
    source="https://docs.stripe.com/api/pagination",
    if_true="The product lists a hundred objects a call.",
    if_false="Sweeps would be refused, or could take larger pages.",
)
def list_page_is_refused_beyond_100_objects(account: Account) -> None:
    """A list takes a limit of 100 and refuses 101 with 400."""
    with accepted("100 objects"):
        account.v1.invoices.list({"limit": 100})

    with refused(400):
        account.v1.invoices.list({"limit": 101})


@assumption(
    source="stripe.params.InvoiceListParams.created",
    if_true="If events name many lines, the reconciler lists all invoices since the oldest line, a hundred a call.",
    if_false="The sweep would have to list everything.",
)
def list_is_limited_to_the_time_of_creation(account: Account) -> None:
    """A list with created.gte includes an invoice made in that second, one with a later bound does not."""
    customer = account.new_customer()
    draft = account.new_draft(customer, amount=None)
    since = account.v1.invoices.list({"customer": customer, "created": {"gte": draft.created}}).data
    later = account.v1.invoices.list({"customer": customer, "created": {"gte": draft.created + 1}}).data

    expect("invoices since then, and later", ([i.id for i in since], len(later)), ([draft.id], 0))


@assumption(
    source="stripe.CustomerService.delete",
    if_true="A deleted customer's subscription is ended, so its waiting requests are canceled.",
    if_false="The workspace would stay subscribed until an operator cancels it.",
)
def deleted_customer_is_retrieved_as_a_stub_and_unsubscribed(account: Account) -> None:
    """A deleted customer is still answered, with deleted=true, and its subscriptions are canceled."""
    customer = account.new_customer()
    subscription = account.new_subscription(customer, account.new_price())
    account.v1.customers.delete(customer)

    expect("deleted", getattr(account.v1.customers.retrieve(customer), "deleted", None), assumed=True)
    expect("subscription", account.v1.subscriptions.retrieve(subscription.id).status, "canceled")


@assumption(
    source="stripe.CustomerService.delete",
    if_true="The refusal is final: the line is canceled and the error names the customer to fix.",
    if_false="The call succeeds and the product has an invoice for a deleted customer, which it voids.",
)
def deleted_customer_gets_no_new_invoice(account: Account) -> None:
    """An invoice for a deleted customer is refused with 400."""
    customer = account.new_customer()
    account.v1.customers.delete(customer)

    with refused(400):
        account.v1.invoices.create({"customer": customer})


@assumption(
    source="stripe.CustomerService.delete",
    if_true="After the refusal the product retrieves the customer, finds it deleted and counts it as unsubscribed.",
    if_false="The list has the canceled subscriptions, from which the same follows.",
)
def deleted_customer_has_no_subscription_list(account: Account) -> None:
    """Listing the subscriptions of a deleted customer is refused with 400 (Stripe does not say)."""
    customer = account.new_customer()
    account.new_subscription(customer, account.new_price())
    account.v1.customers.delete(customer)

    with refused(400):
        account.v1.subscriptions.list({"customer": customer, "status": "all"})
