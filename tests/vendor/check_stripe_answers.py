"""Every answer and event of the Stripe double, against Stripe's own OpenAPI description, which stripe-mock ships."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.assumptions import catalogue
from tests.assumptions.double_account import DoubleAccount
from tests.assumptions.registry import run
from tests.local.stripe_double import StripeDouble
from tests.vendor.stripe_openapi import Description

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vendor.traffic import Traffic

# The SDK's version, which the double speaks, is later than the one that stripe-mock describes. What the description
# leaves out and the SDK's classes declare was added later, or is deprecated.
DECLARED_BY_THE_SDK = (
    ("billing_portal.configuration.features", "subscription_pause"),
    ("dispute.evidence_details", "submission_method"),
    ("invoice", "status_details"),
    ("invoiceitem", "invoicing_rules"),
    ("price.recurring", "trial_period_days"),
    ("product", "type"),
    ("subscription", "status_details"),
    ("subscription_item", "plan"),
)
DIFFERENCES = {
    # Only for who expands it:
    # https://docs.stripe.com/changelog/dahlia/2026-05-27/invoice-object-amount-paid-off-stripe-property
    "invoice: 'amount_paid_off_stripe' is a required property",
    *(f"{path}: Additional properties are not allowed ('{name}' was unexpected)" for path, name in DECLARED_BY_THE_SDK),
}


def test_answers_of_the_double_are_what_stripes_openapi_describes(
    traffic: Traffic, note: Callable[[str], None]
) -> None:
    for assumption in catalogue.ASSUMPTIONS:
        with StripeDouble() as double, traffic.listen(double), DoubleAccount(double) as account:
            run(assumption, account)
    description = Description()
    found: dict[str, str] = {}
    for method, path, status, body in sorted(traffic.answers):
        for fault in description.faults(method, path, status, json.loads(body)):
            found.setdefault(fault, f"{method} {path} {status}")
    for event in traffic.events.values():
        for fault in description.event_faults(event):
            found.setdefault(fault, event["type"])
    note(
        f"Stripe's OpenAPI {description.version} describes {len(traffic.answers)} answers and {len(traffic.events)}"
        f" events of the double, but for {len(DIFFERENCES)} known differences"
    )
    wrong = {fault: where for fault, where in found.items() if fault not in DIFFERENCES}
    assert not wrong, "\n".join(f"{fault} ({where})" for fault, where in sorted(wrong.items()))
    assert found.keys() >= DIFFERENCES, "a difference that is no longer there"


def test_answer_that_is_not_described_is_told() -> None:
    description = Description()
    listed = {"object": "list", "data": [], "has_more": False, "url": "/v1/refunds"}
    assert list(description.faults("GET", "/v1/refunds", 200, listed)) == []
    for change, fault in (
        ({"has_more": None}, "list.has_more: None is not of type 'boolean'"),
        ({"object": "page"}, "page.object: 'page' is not one of ['list']"),
        ({"colour": 1}, "list: Additional properties are not allowed ('colour' was unexpected)"),
        ({"data": [{}]}, "list.data[]: 'id' is a required property"),
    ):
        assert fault in description.faults("GET", "/v1/refunds", 200, listed | change)
    [fault] = description.faults("POST", "/v1/refunds", 400, {"error": {"type": "odd"}})
    assert fault.startswith("error.error.type: 'odd' is not one of ['api_error', ")
