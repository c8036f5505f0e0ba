"""Idempotency keys"""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import stripe

from tests.assumptions.account import DAY_S
from tests.assumptions.registry import NotTriedError, accepted, assumption, code_of, expect, refused

if TYPE_CHECKING:
    from tests.assumptions.account import Account

IDEMPOTENT_REQUESTS = "https://docs.stripe.com/api/idempotent_requests"
ERRORS = "https://docs.stripe.com/api/errors"
LOW_LEVEL_ERRORS = "https://docs.stripe.com/error-low-level#idempotency"
ROUNDS = 20
CALLERS = 6


def replayed(answer: stripe.StripeObject) -> bool:
    response = answer.last_response
    return response is not None and response.headers.get("Idempotent-Replayed") == "true"


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="A retried step repeats the call with its key and gets the draft that the first call made.",
    if_false="A line could have two drafts: the product would have to list the customer's invoices before each retry.",
)
def idempotency_key_replays_first_answer_for_equal_parameters(account: Account) -> None:
    """A call repeated with the same key and parameters makes nothing and gets the first answer, marked as replayed."""
    customer, key = account.new_customer(), account.key()
    first = account.v1.invoices.create({"customer": customer}, key)
    again = account.v1.invoices.create({"customer": customer}, key)

    expect("the invoice of the second call", again.id, first.id)
    expect("replayed", (replayed(first), replayed(again)), (False, True))
    expect("invoices of the customer", len(account.v1.invoices.list({"customer": customer}).data), 1)


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="A replayed draft may be out of date, so the product retrieves the invoice before the next step.",
    if_false="The retrieve after a replay is not needed; it does no harm.",
)
def idempotency_key_replays_first_answer_after_object_changed(account: Account) -> None:
    """A replay shows the object as it was at the first call, not as it is."""
    customer, key = account.new_customer(), account.key()
    first = account.v1.invoices.create({"customer": customer, "currency": "usd"}, key)
    account.add_item(customer, first.id)
    account.v1.invoices.finalize_invoice(first.id, {"auto_advance": False})

    again = account.v1.invoices.create({"customer": customer, "currency": "usd"}, key)

    expect("status in the replay", again.status, "draft")
    expect("status now", account.v1.invoices.retrieve(first.id).status, "open")


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="The product retrieves the invoice and takes fresh keys: a deploy changed the call's parameters.",
    if_false="A changed call would be answered with the first one's object; the comparison of the draft finds that.",
)
def idempotency_key_is_refused_with_other_parameters(account: Account) -> None:
    """A key that comes back with other parameters is refused with 400 idempotency_error, and nothing is made."""
    customer, key = account.new_customer(), account.key()
    account.v1.invoices.create({"customer": customer}, key)

    with refused(400, kind=stripe.IdempotencyError):
        account.v1.invoices.create({"customer": customer, "description": "other"}, key)
    expect("invoices of the customer", len(account.v1.invoices.list({"customer": customer}).data), 1)


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="Keys name their step (`<line>:invoice:v1`), so one line's steps never collide.",
    if_false="One key per line would have been enough.",
)
def idempotency_key_is_refused_at_another_endpoint(account: Account) -> None:
    """A key that was used at one endpoint is refused at another with 400 idempotency_error."""
    customer, key = account.new_customer(), account.key()
    account.v1.invoices.create({"customer": customer}, key)

    with refused(400, kind=stripe.IdempotencyError):
        account.v1.invoice_items.create({"customer": customer, "amount": 100, "currency": "usd"}, key)


@assumption(
    source=ERRORS,
    if_true="The product waits and retrieves again: another caller holds the key and is about to finish.",
    if_false="Both calls would take effect at once; the lease on the line already keeps them apart.",
)
def idempotency_key_is_in_use_while_the_first_call_runs(account: Account) -> None:
    """Of simultaneous calls with one key one takes effect; the others get its answer or 409 idempotency_key_in_use."""
    customer = account.new_customer()
    for _ in range(ROUNDS):
        key, together = account.key(), threading.Barrier(CALLERS)

        def call(
            key: stripe.RequestOptions = key, together: threading.Barrier = together
        ) -> tuple[int | None, str | None]:
            together.wait(timeout=30)
            try:
                return 200, account.v1.invoices.create({"customer": customer}, key).id
            except stripe.StripeError as error:
                return error.http_status, code_of(error)

        before = len(account.v1.invoices.list({"customer": customer, "limit": 100}).data)
        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list(pool.map(lambda _, call=call: call(), range(CALLERS)))
        made = len(account.v1.invoices.list({"customer": customer, "limit": 100}).data) - before
        expect("invoices made with one key", made, 1)
        if conflicts := {code for status, code in answers if status != 200}:
            expect("refusals", conflicts, {"idempotency_key_in_use"})
            expect("statuses", {status for status, _ in answers}, {200, 409})
            return
    raise NotTriedError(f"in {ROUNDS} rounds of {CALLERS} calls no two met")


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="A replayed refusal may be out of date: the product retrieves the invoice, then takes fresh keys.",
    if_false="Fresh keys are taken once more than needed, which costs one call.",
)
def idempotency_key_replays_refusal_of_a_call_that_ran(account: Account) -> None:
    """A refusal that came while the call ran is saved, and replayed although it would succeed by now."""
    draft, key = account.new_draft(account.new_customer()), account.key()
    with refused(400):
        account.v1.invoices.void_invoice(draft.id, None, key)
    account.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})

    with refused(400):
        account.v1.invoices.void_invoice(draft.id, None, key)
    expect("status", account.v1.invoices.retrieve(draft.id).status, "open")


@assumption(
    source=LOW_LEVEL_ERRORS,
    if_true="After a 500 the product retries with the same key; after a replayed 500 it takes fresh keys.",
    if_false="The retry would take effect, which is what the product wants.",
)
def idempotency_key_replays_server_error(account: Account) -> None:
    """A 500 is saved too: the same key gets it again although the call took effect."""
    customer, key = account.new_customer(), account.key()
    account.fail_next_call()
    with refused(500, kind=stripe.APIError):
        account.v1.invoices.create({"customer": customer}, key)

    with refused(500, kind=stripe.APIError):
        account.v1.invoices.create({"customer": customer}, key)
    expect("invoices of the customer", len(account.v1.invoices.list({"customer": customer}).data), 1)


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="After the operator fixed a plan, the next retry with the same key works.",
    if_false="The retry would get the refusal once more, marked as replayed, and then fresh keys.",
)
def idempotency_key_is_free_after_rejected_parameters(account: Account) -> None:
    """A call rejected for its parameters saves nothing: the key may be used with others."""
    customer, key = account.new_customer(), account.key()
    with refused(400, code="parameter_unknown"):
        account.client.raw_request("post", "/v1/invoices", customer=customer, colour="blue", **key)

    invoice = account.v1.invoices.create({"customer": customer}, key)
    expect("replayed", replayed(invoice), assumed=False)


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="After 23 hours the product takes fresh keys and lists the customer's invoices before it makes another.",
    if_false="An old key would still find its draft; the list finds it as well.",
)
def idempotency_key_is_forgotten_after_a_day(account: Account) -> None:
    """A key that was first used more than 24 hours ago makes a new object."""
    customer, key = account.new_customer(), account.key()
    first = account.v1.invoices.create({"customer": customer}, key)
    account.pass_real_time(DAY_S)

    again = account.v1.invoices.create({"customer": customer}, key)
    expect("made a new invoice", again.id != first.id, assumed=True)


@assumption(
    source="https://docs.stripe.com/api/idempotent_requests",
    if_true="The product sends no key when it deletes, and takes 404 for done.",
    if_false="A repeated delete would be answered like the first one, which is done as well.",
)
def idempotency_key_does_nothing_for_delete(account: Account) -> None:
    """A repeated DELETE with the same key is not replayed: the object is gone, 404."""
    draft, key = account.new_draft(account.new_customer()), account.key()
    account.v1.invoices.delete(draft.id, None, key)

    with refused(404, code="resource_missing"):
        account.v1.invoices.delete(draft.id, None, key)


@assumption(
    source=IDEMPOTENT_REQUESTS,
    if_true="The product's keys (line id, step, version) are well below the limit.",
    if_false="Keys could be longer, or would have to be hashed.",
)
def idempotency_key_is_refused_beyond_255_characters(account: Account) -> None:
    """A key of 255 characters is used; one of 256 is refused with 400."""
    customer, long = account.new_customer(), secrets.token_hex(128)
    with accepted("255 characters"):
        account.v1.invoices.create({"customer": customer}, {"idempotency_key": long[:255]})

    with refused(400):
        account.v1.invoices.create({"customer": customer}, {"idempotency_key": long})
