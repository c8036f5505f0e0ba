"""Stripe's errors as the product's: permanent, temporary, or until an operator fixes the deployment."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import stripe as stripe_sdk

from line_requests.billing import client
from line_requests.billing.client import API_VERSION
from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingRejected,
    BillingUnavailable,
    ReplayedFailure,
)
from line_requests.domain.model import Invoice
from tests.decision.examples import CHARGE, line
from tests.edges.scripted_stripe import ScriptedStripe, an_invoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from line_requests.billing.operator_account import OperatorBilling

Json = dict[str, Any]
LINE = line()


STEPS: dict[str, Callable[[OperatorBilling], object]] = {
    "create": lambda billing: billing.invoices.create_draft(LINE),
    "item": lambda billing: billing.invoices.add_item(LINE, "in_1"),
    "finalize": lambda billing: billing.invoices.finalize(LINE, "in_1"),
}
READS: dict[str, Callable[[OperatorBilling], object]] = {
    "find": lambda billing: billing.invoices.find_by_metadata(LINE),
    "subscriptions": lambda billing: billing.subscriptions.of_customer("cus_1"),
    "invoices": lambda billing: list(billing.invoices.since(since_s=0)),
    "events": lambda billing: list(billing.events.between(since_s=0, until_s=9)),
    "retrieve": lambda billing: billing.invoices.retrieve("in_1"),
    "price": lambda billing: billing.catalogue.price("price_1"),
}
ALL_CALLS = STEPS | READS


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "amount_too_large"),
        (400, "amount_too_small"),
        (400, "customer_tax_location_invalid"),
        (400, "postal_code_invalid"),
        (400, "product_inactive"),
        (400, "resource_missing"),
        (404, "resource_missing"),
        (400, "tax_id_invalid"),
    ],
)
def test_refusal_about_customer_price_or_address_is_permanent_and_names_what_to_fix(
    stripe: ScriptedStripe, step: str, status: int, code: str
) -> None:
    """[34][57]"""
    stripe.refuse(status, code)
    with pytest.raises(BillingRefused) as refusal:
        STEPS[step](stripe.billing())
    assert code in str(refusal.value)
    assert "(customer)" in str(refusal.value)
    assert "ada@example.com" not in str(refusal.value), "Stripe's texts hold personal data"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, None), (404, None), (400, "parameter_unknown"), (400, "stripe_tax_inactive"), (400, "invoice_not_editable")],
)
def test_any_other_refusal_is_a_misconfiguration_that_names_what_to_fix(
    stripe: ScriptedStripe, step: str, status: int, code: str | None
) -> None:
    """[34][57]"""
    stripe.refuse(status, code)
    with pytest.raises(BillingRejected) as refusal:
        STEPS[step](stripe.billing())
    assert isinstance(refusal.value, BillingMisconfigured)
    assert (code or "invalid_request_error") in str(refusal.value)
    assert "ada@example.com" not in str(refusal.value), "Stripe's texts hold personal data"


@pytest.mark.parametrize("what", ALL_CALLS)
@pytest.mark.parametrize("status", [401, 403])
def test_refused_api_key_is_a_misconfiguration(stripe: ScriptedStripe, what: str, status: int) -> None:
    """[34]"""
    stripe.refuse(status)
    with pytest.raises(BillingMisconfigured):
        ALL_CALLS[what](stripe.billing())


@pytest.mark.parametrize("what", ALL_CALLS)
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limit", "invalid_request_error"),
        (400, "rate_limit", "invalid_request_error"),
        (429, "lock_timeout", "invalid_request_error"),
        (500, None, "api_error"),
        (503, None, "api_error"),
        (409, "idempotency_key_in_use", "idempotency_error"),
        (409, "idempotency_key_in_use", "invalid_request_error"),
        (402, "card_declined", "card_error"),
    ],
)
def test_temporary_failure_is_unavailable_without_stripe_text(
    stripe: ScriptedStripe, what: str, status: int, code: str | None, kind: str
) -> None:
    """[34]"""
    stripe.refuse(status, code, kind, Stripe_Should_Retry="false")
    with pytest.raises(BillingUnavailable) as failure:
        ALL_CALLS[what](stripe.billing())
    assert not isinstance(failure.value, BillingMisconfigured)
    assert "ada@example.com" not in str(failure.value)


@pytest.mark.parametrize("step", STEPS)
def test_reused_idempotency_key_needs_a_new_key_and_else_is_a_misconfiguration(
    stripe: ScriptedStripe, step: str
) -> None:
    """[34][57]"""
    stripe.refuse(400, None, "idempotency_error")
    with pytest.raises(ReplayedFailure) as reused:
        STEPS[step](stripe.billing())
    assert isinstance(reused.value, BillingMisconfigured)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", [400, 404, 402, 500])
def test_replayed_failure_is_reported_as_replayed_whatever_its_status(
    stripe: ScriptedStripe, step: str, status: int
) -> None:
    """[33][34]"""
    stripe.refuse(status, Idempotent_Replayed="true", Stripe_Should_Retry="false")
    with pytest.raises(ReplayedFailure):
        STEPS[step](stripe.billing())


@pytest.mark.parametrize(("api_key", "livemode"), [("sk_live_1", False), ("rk_live_1", False), ("sk_test_1", True)])
@pytest.mark.parametrize("step", [*STEPS, "find"])
def test_api_key_of_wrong_mode_makes_no_call(
    stripe: ScriptedStripe, step: str, api_key: str, *, livemode: bool
) -> None:
    """[34]"""
    theirs = replace(LINE, charge=replace(CHARGE, livemode=livemode))
    billing = stripe.billing(api_key)
    acts: dict[str, Callable[[], object]] = {
        "create": lambda: billing.invoices.create_draft(theirs),
        "item": lambda: billing.invoices.add_item(theirs, "in_1"),
        "finalize": lambda: billing.invoices.finalize(theirs, "in_1"),
        "find": lambda: billing.invoices.find_by_metadata(theirs),
    }
    with pytest.raises(BillingMisconfigured, match="mode"):
        acts[step]()
    assert stripe.calls == []


def test_500_is_retried_once_under_the_same_idempotency_key(stripe: ScriptedStripe) -> None:
    """[16][33]"""
    stripe.refuse(500, None, "api_error")
    with pytest.raises(BillingUnavailable):
        stripe.billing().invoices.create_draft(LINE)
    assert stripe.calls == [("POST", "/v1/invoices", f"{LINE.id}:invoice:v1")] * 2


def test_each_step_has_its_own_idempotency_key_and_version(stripe: ScriptedStripe) -> None:
    """[16][33]"""
    stripe.refuse(400, "resource_missing")
    later = replace(LINE, stripe_key_version=7)
    billing = stripe.billing()
    with pytest.raises(BillingRefused):
        billing.invoices.create_draft(later)
    with pytest.raises(BillingRefused):
        billing.invoices.add_item(later, "in_1")
    with pytest.raises(BillingRefused):
        billing.invoices.finalize(later, "in_1")
    assert [key for _, _, key in stripe.calls] == [f"{LINE.id}:{step}:v7" for step in ("invoice", "item", "finalize")]


# --- unknown objects, and invoices that cannot be voided -----------------------------------------------------------


def test_only_404_means_that_an_object_is_unknown(stripe: ScriptedStripe) -> None:
    """[39]"""
    stripe.refuse(404, "resource_missing")
    assert stripe.billing().invoices.retrieve("in_1") == Invoice("in_1", "gone")
    assert stripe.billing().catalogue.price("price_1") is None
    assert stripe.billing().catalogue.customer_livemode("cus_1") is None
    for status, code in ((400, None), (400, "resource_missing"), (404, None)):
        stripe.answers.clear()
        stripe.refuse(status, code)
        with pytest.raises(BillingMisconfigured):
            stripe.billing().invoices.retrieve("in_1")


def pending(stripe: ScriptedStripe, *metadata: Json | None) -> None:
    """Has Stripe list pending items with this metadata."""
    items = [{"id": f"ii_{number}", "object": "invoiceitem", "metadata": one} for number, one in enumerate(metadata)]
    stripe.answer(200, {"object": "list", "data": items, "has_more": False, "url": "/v1/invoiceitems"})


def test_delete_pending_items_deletes_only_items_of_the_line(stripe: ScriptedStripe) -> None:
    """[16] An item that can no longer be deleted does not stop the others."""
    pending(stripe, None, {"line_id": "another"}, {"line_id": LINE.id}, {}, {"line_id": LINE.id}, {"line_id": LINE.id})
    stripe.refuse(400, "invoice_not_editable")
    stripe.refuse(404, "resource_missing")
    stripe.answer(200, {"id": "ii_5", "object": "invoiceitem", "deleted": True})
    stripe.billing().invoices.delete_pending_items(LINE)
    deleted = [f"/v1/invoiceitems/ii_{number}" for number in (2, 4, 5)]
    assert [path for method, path, _ in stripe.calls if method == "DELETE"] == deleted


@pytest.mark.parametrize("deleted", [True, False])
def test_delete_pending_items_accepts_deleted_customer_but_not_unknown_one(
    stripe: ScriptedStripe, *, deleted: bool
) -> None:
    """[39] A wrong API key must not settle anything."""
    stripe.refuse(400, "resource_missing")
    if deleted:
        stripe.answer(200, {"id": "cus_acme", "object": "customer", "deleted": True})
        stripe.billing().invoices.delete_pending_items(LINE)
    else:
        stripe.refuse(404, "resource_missing")
        with pytest.raises(BillingMisconfigured):
            stripe.billing().invoices.delete_pending_items(LINE)
    assert [method for method, _, _ in stripe.calls] == ["GET", "GET"]


@pytest.mark.parametrize("refusal", [400, 404])
@pytest.mark.parametrize("held", ["draft", "open", "paid", "void", "uncollectible"])
def test_refused_void_or_delete_returns_the_invoice_as_stripe_has_it(
    stripe: ScriptedStripe, refusal: int, held: str
) -> None:
    """[39][41]"""
    for seen in ("draft", "open"):
        stripe.answers.clear()
        stripe.calls.clear()
        stripe.refuse(refusal)
        stripe.answer(200, an_invoice(held))
        closed = stripe.billing().invoices.void_or_delete(Invoice("in_1", seen))
        assert (closed.id, closed.status, closed.line_id) == ("in_1", held, LINE.id)
        assert [method for method, _, _ in stripe.calls] == ["DELETE" if seen == "draft" else "POST", "GET"]


def test_void_or_delete_raises_when_stripe_is_unavailable(stripe: ScriptedStripe) -> None:
    """[34][41]"""
    stripe.refuse(500, None, "api_error", Stripe_Should_Retry="false")
    for seen in ("draft", "open", "uncollectible"):
        with pytest.raises(BillingUnavailable):
            stripe.billing().invoices.void_or_delete(Invoice("in_1", seen))


def test_replayed_answer_is_marked(stripe: ScriptedStripe) -> None:
    """[33]"""
    stripe.answer(200, an_invoice("draft"), Idempotent_Replayed="true")
    stripe.answer(200, an_invoice("draft"))
    assert stripe.billing().invoices.create_draft(LINE).replayed is True
    assert stripe.billing().invoices.create_draft(LINE).replayed is False


def test_stripe_text_reaches_no_log(stripe: ScriptedStripe, caplog: pytest.LogCaptureFixture) -> None:
    """[5] Lambda's JSON logs include what libraries log at INFO."""
    caplog.set_level(logging.INFO)
    stripe.refuse(400, "resource_missing")
    with pytest.raises(BillingRefused):
        stripe.billing().invoices.create_draft(LINE)
    assert "ada@example.com" not in caplog.text


def test_api_version_is_the_one_of_the_sdk() -> None:
    assert stripe_sdk.api_version == API_VERSION


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_all_clients_share_one_pool_of_connections(scheme: str) -> None:
    """A TLS handshake costs as much as a call."""
    first, second = (client._DeadlineSession(lambda: 1.0) for _ in range(2))  # noqa: SLF001 - the SDK hides its session
    assert first.get_adapter(f"{scheme}://api.stripe.com") is second.get_adapter(f"{scheme}://api.stripe.com")


# --- time ---------------------------------------------------------------------------------------------------


def test_hanging_stripe_is_abandoned_within_the_clock(stripe: ScriptedStripe) -> None:
    """[34][39]"""
    stripe.hang()
    started_s = time.monotonic()
    with pytest.raises(BillingUnavailable):
        stripe.billing(seconds=0.6).invoices.retrieve("in_1")
    assert time.monotonic() - started_s < 3


def test_no_call_is_made_without_time_left(stripe: ScriptedStripe) -> None:
    """[34]"""
    with pytest.raises(BillingUnavailable):
        stripe.billing(seconds=0.2).invoices.retrieve("in_1")
    assert stripe.calls == []


def test_unreachable_stripe_is_unavailable() -> None:
    """[34]"""
    with ScriptedStripe() as gone:
        billing = gone.billing(seconds=2)
    with pytest.raises(BillingUnavailable):
        billing.invoices.create_draft(LINE)
