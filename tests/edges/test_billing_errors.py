"""What Stripe's refusals mean for a line: for good, for a while, or until an operator mends something."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import stripe as stripe_sdk

from line_requests.billing.account import Billing
from line_requests.billing.client import API_VERSION
from line_requests.clock import Clock
from line_requests.domain.errors import (
    BillingMisconfigured,
    BillingRefused,
    BillingUnavailable,
    InvoiceMissing,
    ReplayedFailure,
)
from line_requests.domain.model import Invoice
from tests.decision.examples import CHARGE, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
LINE = line()


class Stripe(ThreadingHTTPServer):
    """Answers what it is told to, the last answer for ever, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: deque[tuple[int, Json, Json]] = deque()
        self.asked: list[tuple[str, str, str | None]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, status: int, body: Json, **headers: str) -> None:
        self.answers.append((status, body, headers))

    def refuse(self, status: int, code: str | None = None, kind: str = "invalid_request_error", **headers: str) -> None:
        error = {"type": kind, "code": code, "param": "customer", "message": "No such customer: ada@example.com"}
        self.answer(status, {"error": error}, **headers)

    def hang(self) -> None:
        self.answers.append((0, {}, {}))

    def billing(self, api_key: str = "sk_test_1", seconds: float = 5.0) -> Billing:
        return Billing(api_key, api_base=self.url, remaining_s=Clock(0, seconds).remaining_s)


class _Handler(BaseHTTPRequestHandler):
    server: Stripe
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Idempotency-Key")))
        answers = self.server.answers
        status, body, headers = answers.popleft() if len(answers) > 1 else answers[0]
        if status == 0:
            self.server.released.wait(30)
            self.close_connection = True
            return
        encoded = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(encoded)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(encoded)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Nothing: the tests look at `asked`."""


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    with Stripe() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


STEPS: dict[str, Callable[[Billing], object]] = {
    "create": lambda billing: billing.create_invoice(LINE),
    "item": lambda billing: billing.add_item(LINE, "in_1"),
    "finalize": lambda billing: billing.finalize(LINE, "in_1"),
}
LOOKS: dict[str, Callable[[Billing], object]] = {
    "find": lambda billing: billing.find(LINE),
    "subscriptions": lambda billing: billing.subscriptions("cus_1"),
    "invoices": lambda billing: list(billing.invoices(since_s=0)),
    "events": lambda billing: list(billing.events(since_s=0, until_s=9)),
    "retrieve": lambda billing: billing.retrieve("in_1"),
    "price": lambda billing: billing.price("price_1"),
}
EVERYTHING = STEPS | LOOKS


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("status", "code"), [(400, "parameter_invalid"), (404, "resource_missing"), (400, None)])
def test_a_refusal_about_the_charge_is_for_good_and_names_what_to_mend(
    stripe: Stripe, step: str, status: int, code: str | None
) -> None:
    """[34]"""
    stripe.refuse(status, code)
    with pytest.raises(BillingRefused) as refused:
        STEPS[step](stripe.billing())
    assert (code or "invalid_request_error") in str(refused.value)
    assert "(customer)" in str(refused.value)
    assert "ada@example.com" not in str(refused.value), "Stripe's own words hold personal data"


@pytest.mark.parametrize("what", EVERYTHING)
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_stripe_does_not_accept_is_an_operator_s_matter(stripe: Stripe, what: str, status: int) -> None:
    """[34]"""
    stripe.refuse(status)
    with pytest.raises(BillingMisconfigured):
        EVERYTHING[what](stripe.billing())


@pytest.mark.parametrize("what", EVERYTHING)
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limit", "invalid_request_error"),
        (400, "rate_limit", "invalid_request_error"),
        (429, "lock_timeout", "invalid_request_error"),
        (500, None, "api_error"),
        (503, None, "api_error"),
        (409, "idempotency_key_in_use", "idempotency_error"),
        (402, "card_declined", "card_error"),
    ],
)
def test_trouble_passes_and_the_request_is_kept(
    stripe: Stripe, what: str, status: int, code: str | None, kind: str
) -> None:
    """[34]"""
    stripe.refuse(status, code, kind, Stripe_Should_Retry="false")
    with pytest.raises(BillingUnavailable) as trouble:
        EVERYTHING[what](stripe.billing())
    assert not isinstance(trouble.value, BillingMisconfigured)
    assert "ada@example.com" not in str(trouble.value)


@pytest.mark.parametrize("step", STEPS)
def test_a_key_reused_for_other_parameters_is_kept_and_an_operator_s_matter(stripe: Stripe, step: str) -> None:
    """[34]"""
    stripe.refuse(400, None, "idempotency_error")
    with pytest.raises(BillingMisconfigured) as reused:
        STEPS[step](stripe.billing())
    assert not isinstance(reused.value, InvoiceMissing)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", [400, 404, 402, 500])
def test_a_replayed_failure_is_old_news_whatever_it_says(stripe: Stripe, step: str, status: int) -> None:
    """[33][34]"""
    stripe.refuse(status, Idempotent_Replayed="true", Stripe_Should_Retry="false")
    with pytest.raises(ReplayedFailure):
        STEPS[step](stripe.billing())


@pytest.mark.parametrize(("api_key", "livemode"), [("sk_live_1", False), ("rk_live_1", False), ("sk_test_1", True)])
@pytest.mark.parametrize("step", [*STEPS, "find"])
def test_a_key_of_the_wrong_mode_asks_stripe_nothing(
    stripe: Stripe, step: str, api_key: str, *, livemode: bool
) -> None:
    """[34]"""
    theirs = replace(LINE, charge=replace(CHARGE, livemode=livemode))
    billing = stripe.billing(api_key)
    acts: dict[str, Callable[[], object]] = {
        "create": lambda: billing.create_invoice(theirs),
        "item": lambda: billing.add_item(theirs, "in_1"),
        "finalize": lambda: billing.finalize(theirs, "in_1"),
        "find": lambda: billing.find(theirs),
    }
    with pytest.raises(BillingMisconfigured, match="mode"):
        acts[step]()
    assert stripe.asked == []


def test_a_500_is_tried_once_more_under_the_same_key(stripe: Stripe) -> None:
    """[16][33]"""
    stripe.refuse(500, None, "api_error")
    with pytest.raises(BillingUnavailable):
        stripe.billing().create_invoice(LINE)
    assert stripe.asked == [("POST", "/v1/invoices", f"{LINE.id}:invoice:v1")] * 2


def test_each_step_has_its_own_key_and_version(stripe: Stripe) -> None:
    """[16][33]"""
    stripe.refuse(400)
    later = replace(LINE, stripe_key_version=7)
    billing = stripe.billing()
    with pytest.raises(BillingRefused):
        billing.create_invoice(later)
    with pytest.raises(BillingRefused):
        billing.add_item(later, "in_1")
    with pytest.raises(BillingRefused):
        billing.finalize(later, "in_1")
    assert [key for _, _, key in stripe.asked] == [f"{LINE.id}:{step}:v7" for step in ("invoice", "item", "finalize")]


# --- what is gone, and what could not be closed -----------------------------------------------------------


def test_only_a_404_says_that_an_invoice_is_unknown(stripe: Stripe) -> None:
    """[39]"""
    stripe.refuse(404, "resource_missing")
    assert stripe.billing().retrieve("in_1") == Invoice("in_1", "gone")
    assert stripe.billing().price("price_1") is None
    assert stripe.billing().customer_livemode("cus_1") is None
    stripe.answers.clear()
    stripe.refuse(400)
    with pytest.raises(BillingMisconfigured):
        stripe.billing().retrieve("in_1")


def pending(stripe: Stripe, *metadata: Json | None) -> None:
    """Stripe lists these pending items."""
    items = [{"id": f"ii_{number}", "object": "invoiceitem", "metadata": one} for number, one in enumerate(metadata)]
    stripe.answer(200, {"object": "list", "data": items, "has_more": False, "url": "/v1/invoiceitems"})


def test_what_a_deleted_draft_has_left_is_deleted_and_nothing_else(stripe: Stripe) -> None:
    """[16] One that cannot be deleted any more keeps none of the others."""
    pending(stripe, None, {"line_id": "another"}, {"line_id": LINE.id}, {}, {"line_id": LINE.id}, {"line_id": LINE.id})
    stripe.refuse(400, "invoice_not_editable")
    stripe.refuse(404, "resource_missing")
    stripe.answer(200, {"id": "ii_5", "object": "invoiceitem", "deleted": True})
    stripe.billing().drop_items(LINE)
    deleted = [f"/v1/invoiceitems/ii_{number}" for number in (2, 4, 5)]
    assert [path for method, path, _ in stripe.asked if method == "DELETE"] == deleted


@pytest.mark.parametrize("deleted", [True, False])
def test_a_customer_whose_items_cannot_be_listed_is_gone_or_not_ours(stripe: Stripe, *, deleted: bool) -> None:
    """[39] A wrong key must not close anything."""
    stripe.refuse(400, "resource_missing")
    if deleted:
        stripe.answer(200, {"id": "cus_acme", "object": "customer", "deleted": True})
        stripe.billing().drop_items(LINE)
    else:
        stripe.refuse(404, "resource_missing")
        with pytest.raises(BillingMisconfigured):
            stripe.billing().drop_items(LINE)
    assert [method for method, _, _ in stripe.asked] == ["GET", "GET"]


def an_invoice(status: str) -> Json:
    return {
        "id": "in_1",
        "object": "invoice",
        "status": status,
        "customer": "cus_acme",
        "metadata": {"workspace_id": "acme", "line_id": LINE.id},
        "hosted_invoice_url": "https://invoice.stripe.com/i/1",
        "lines": {"object": "list", "data": [], "has_more": False, "url": "/v1/invoices/in_1/lines"},
    }


@pytest.mark.parametrize("refusal", [400, 404])
@pytest.mark.parametrize("held", ["draft", "open", "paid", "void", "uncollectible"])
def test_an_invoice_that_cannot_be_closed_is_what_stripe_then_holds(stripe: Stripe, refusal: int, held: str) -> None:
    """[39][41]"""
    for seen in ("draft", "open"):
        stripe.answers.clear()
        stripe.asked.clear()
        stripe.refuse(refusal)
        stripe.answer(200, an_invoice(held))
        closed = stripe.billing().close(Invoice("in_1", seen))
        assert (closed.id, closed.status, closed.line_id) == ("in_1", held, LINE.id)
        assert [method for method, _, _ in stripe.asked] == ["DELETE" if seen == "draft" else "POST", "GET"]


def test_trouble_while_closing_says_nothing_about_the_invoice(stripe: Stripe) -> None:
    """[34][41]"""
    stripe.refuse(500, None, "api_error", Stripe_Should_Retry="false")
    for seen in ("draft", "open", "uncollectible"):
        with pytest.raises(BillingUnavailable):
            stripe.billing().close(Invoice("in_1", seen))


def test_an_answer_from_a_key_s_memory_is_marked(stripe: Stripe) -> None:
    """[33]"""
    stripe.answer(200, an_invoice("draft"), Idempotent_Replayed="true")
    stripe.answer(200, an_invoice("draft"))
    assert stripe.billing().create_invoice(LINE).replayed is True
    assert stripe.billing().create_invoice(LINE).replayed is False


def test_what_stripe_says_of_a_customer_reaches_no_log(stripe: Stripe, caplog: pytest.LogCaptureFixture) -> None:
    """[5] Lambda's JSON logs take whatever a library logs at INFO."""
    caplog.set_level(logging.INFO)
    stripe.refuse(400, "resource_missing")
    with pytest.raises(BillingRefused):
        stripe.billing().create_invoice(LINE)
    assert "ada@example.com" not in caplog.text


def test_the_api_version_is_the_one_that_the_sdk_is_made_for() -> None:
    assert stripe_sdk.api_version == API_VERSION


# --- time ---------------------------------------------------------------------------------------------------


def test_a_stripe_that_hangs_is_left_within_the_caller_s_time(stripe: Stripe) -> None:
    """[34][39]"""
    stripe.hang()
    started_s = time.monotonic()
    with pytest.raises(BillingUnavailable):
        stripe.billing(seconds=0.6).retrieve("in_1")
    assert time.monotonic() - started_s < 3


def test_without_time_left_stripe_is_not_asked(stripe: Stripe) -> None:
    """[34]"""
    with pytest.raises(BillingUnavailable):
        stripe.billing(seconds=0.2).retrieve("in_1")
    assert stripe.asked == []


def test_a_stripe_that_cannot_be_reached_is_trouble() -> None:
    """[34]"""
    with Stripe() as gone:
        billing = gone.billing(seconds=2)
    with pytest.raises(BillingUnavailable):
        billing.create_invoice(LINE)
