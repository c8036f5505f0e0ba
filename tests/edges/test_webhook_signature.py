"""A webhook delivery is accepted only with a recent signature by one of the secrets."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import WebhookSignature

from line_requests.billing.client import is_signed
from line_requests.billing.events import hint_of
from line_requests.deployment import Deployment
from line_requests.domain.errors import InvalidSignature
from line_requests.flows import webhook
from line_requests.flows.webhook import Webhook
from line_requests.secret import StripeSecret
from line_requests.settings import Settings
from tests.decision.examples import LINE_ID, NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_S = NOW_MS // 1000
NEW, OLD = "whsec_new", "whsec_old"
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "type": "invoice.paid",
    "livemode": False,
    "data": {
        "object": {
            "id": "in_1",
            "customer": "cus_1",
            "metadata": {"workspace_id": "acme", "line_id": LINE_ID},
        }
    },
}
BODY = json.dumps(EVENT)


@cache
def deployment() -> Deployment:
    settings = Settings.from_environment({"TABLE_NAME": "t"})
    return Deployment(settings, boto3.Session("a", "b", region_name="eu-central-1").client)


class Secrets(StripeSecret):
    """The deployment's secret as each read finds it: the cached one first, the fetched one last."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self.found = found
        self.reads: list[bool] = []
        self.webhook = Webhook(self, deployment().stores, deployment().lifecycle)

    def read(self, *, force_fetch: bool = False) -> dict[str, Any]:
        self.reads.append(force_fetch)
        return self.found[-1 if force_fetch else 0]


def both(*webhook_secrets: str) -> dict[str, Any]:
    return {"api_key": "sk_test_1", "webhook_secrets": list(webhook_secrets)}


def sign(body: str = BODY, secret: str = NEW, at_s: int = NOW_S) -> str:
    return str(WebhookSignature.generate_signature_header(body, secret, at_s))


def verify(
    header: str | None, body: bytes = BODY.encode(), secrets: Secrets | None = None, at_ms: int = NOW_MS
) -> object:
    return (secrets or Secrets([both(NEW, OLD)])).webhook.verify(body, header or "", at_ms)


def assert_refused(header: str | None, body: bytes = BODY.encode(), secrets: Secrets | None = None) -> None:
    with pytest.raises(InvalidSignature):
        verify(header, body, secrets)


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_signature_of_either_secret_is_accepted_during_rotation(secret: str) -> None:
    """[43]"""
    known = Secrets([both(NEW, OLD)])
    assert verify(sign(secret=secret), secrets=known) == hint_of(EVENT)
    assert known.reads == [False], "the cached one"


def test_any_signature_of_the_header_is_accepted() -> None:
    """[43]"""
    theirs, ours = sign(secret="whsec_other"), sign()
    assert verify(f"{theirs},{ours.partition(',')[2]}") == hint_of(EVENT)
    assert verify(f"{ours},v0=1234") == hint_of(EVENT)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 299, 300])
def test_timestamp_within_five_minutes_is_accepted(seconds: int) -> None:
    """[43]"""
    assert verify(sign(at_s=NOW_S + seconds)) == hint_of(EVENT)


@pytest.mark.parametrize("seconds", [-86_400, -301, 301, 86_400])
def test_timestamp_more_than_five_minutes_off_is_refused(seconds: int) -> None:
    """[43]"""
    assert_refused(sign(at_s=NOW_S + seconds))


def test_timestamp_is_compared_with_time_of_the_event() -> None:
    """[43]"""
    assert abs(time.time() - NOW_S) > 300 or verify(sign())
    then_s = NOW_S - 10**6
    assert verify(sign(at_s=then_s), at_ms=then_s * 1000)


def test_second_timestamp_does_not_make_an_old_delivery_recent() -> None:
    """[43]"""
    old_s = NOW_S - 3600
    old, _, signature = sign(at_s=old_s).partition(",")
    for header in (
        f"{old},t={NOW_S},{signature}",
        f"t={NOW_S},{old},{signature}",
        f"t= {old_s},t={NOW_S},{signature}",
        f"t=+{old_s},t={NOW_S},{signature}",
        f"v1=x,{old},t={NOW_S},{signature}",
    ):
        assert_refused(header)


def test_body_with_a_changed_byte_is_refused() -> None:
    """[43]"""
    assert_refused(sign(), (BODY + " ").encode())
    assert_refused(sign(), BODY.replace("acme", "acmf").encode())


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "garbage",
        ",",
        "=",
        "t=",
        "t=,v1=",
        "t=abc,v1=abc",
        f"t={NOW_S}",
        f"t={NOW_S},v1=",
        f"t={NOW_S},v1={'0' * 64}",
        f"t={NOW_S},v0={'0' * 64}",
        f"t={NOW_S},v1",
        f"t={NOW_S},v1=é",
        f"t={NOW_S},v1=\ud800",
        f"t={'9' * 5000},v1=x",
        "v1=abc",
        f"t={'9' * 12},v1=x",
        f"t=-{NOW_S},v1=x",
        "t=٣,v1=x",
    ],
)
def test_missing_or_malformed_signature_header_is_refused(header: str | None) -> None:
    """[43]"""
    assert_refused(header)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_unsigned_header_and_body_is_refused(header: str, body: bytes) -> None:
    """[43]"""
    assert_refused(header, body)
    assert_refused(f"t={NOW_S},v1={header}", body)


@pytest.mark.parametrize(
    "secret",
    [{}, both(), both(""), both(" ", ""), *({"webhook_secrets": found} for found in (NEW, None, [None], [0]))],
)
def test_every_delivery_is_refused_without_a_secret(secret: dict[str, Any]) -> None:
    """[43]"""
    for key in ("", NEW, "None"):
        assert_refused(sign(secret=key), secrets=Secrets([secret]))


def test_empty_secret_beside_a_good_one_verifies_nothing() -> None:
    """[43]"""
    assert verify(sign(), secrets=Secrets([both("", NEW)])) == hint_of(EVENT)
    assert_refused(sign(secret=""), secrets=Secrets([both("", NEW)]))


UNREADABLE: list[Callable[[], str]] = [
    lambda: "",
    lambda: "[]",
    lambda: "null",
    lambda: "{}",
    lambda: "not JSON",
    lambda: json.dumps(EVENT | {"data": None}),
    lambda: json.dumps(EVENT | {"data": {"object": 7}}),
    lambda: json.dumps(EVENT | {"data": {"object": {"metadata": "text"}}}),
    lambda: json.dumps({name: value for name, value in EVENT.items() if name != "livemode"}),
    lambda: "[" * 100_000,
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_signed_body_that_is_no_event_is_refused(body: Callable[[], str]) -> None:
    """[43]"""
    assert_refused(sign(body()), body().encode())


def test_body_that_is_not_utf_8_is_refused() -> None:
    """[43]"""
    assert_refused(sign(), b"\xff\xfe")
    assert is_signed(b"\xff\xfe", sign(), [NEW]) is False


@pytest.mark.parametrize(
    "thin",
    [
        {"object": "v2.core.event", "type": "v1.invoice.paid"},
        {"object": "v2.core.event", "type": "v2.core.event_destination.ping"},
        {"type": "v1.billing.meter.no_meter_found"},
    ],
)
def test_thin_event_is_refused_with_an_alarm(thin: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """[43] An endpoint of thin events would drop every payment in silence."""
    body = json.dumps({"livemode": False, "data": {}} | thin)
    with pytest.raises(InvalidSignature, match="thin"):
        verify(sign(body), body.encode())
    assert '"WebhookSignatureRefused":[1.0]' in capsys.readouterr().out


def test_refused_signature_alarms_and_an_accepted_one_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """[43]"""
    verify(sign())
    assert capsys.readouterr().out == ""
    for header in (None, sign(secret="whsec_other"), sign(at_s=NOW_S - 301)):
        assert_refused(header)
        assert capsys.readouterr().out.count('"WebhookSignatureRefused":[1.0]') == 1


@pytest.mark.parametrize(("api_key", "livemode"), [("sk_test_1", True), ("sk_live_1", False), ("rk_live_1", False)])
def test_event_of_the_other_mode_is_refused(api_key: str, livemode: object) -> None:
    """[43]"""
    body = json.dumps(EVENT | {"livemode": livemode})
    assert_refused(sign(body), body.encode(), Secrets([both(NEW) | {"api_key": api_key}]))


# --- rotation -------------------------------------------------------------------------------------------


def test_new_secret_is_fetched_when_no_cached_one_matches() -> None:
    """[43]"""
    known = Secrets([both(NEW)])
    verify(sign(), secrets=known)
    assert known.reads == [False]
    rotated = Secrets([both(OLD), both(NEW)])
    assert verify(sign(), secrets=rotated) == hint_of(EVENT)
    assert rotated.reads == [False, True]


def test_forged_deliveries_cause_at_most_one_fetch_a_minute() -> None:
    """[43]"""
    known = Secrets([both(OLD), both(OLD)])
    for later_ms in (0, 1, 59_999, 60_000, 60_001):
        with pytest.raises(InvalidSignature):
            verify(sign(), secrets=known, at_ms=NOW_MS + later_ms)
    assert known.reads == [False, True, False, False, False, True, False]


def test_delivery_without_recent_timestamp_reads_no_secret() -> None:
    """[43]"""
    known = Secrets([both(NEW)])
    for header in (None, "garbage", sign(at_s=NOW_S - 301)):
        assert_refused(header, secrets=known)
    assert known.reads == []


# --- hints ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workspace_id", "line_id", "named"),
    [
        ("acme", LINE_ID, True),
        ("Acme", LINE_ID, False),
        ("a" * 41, LINE_ID, False),
        ("acme#1", LINE_ID, False),
        ("acme", LINE_ID.upper(), False),
        ("acme", "", False),
        ("", LINE_ID, False),
    ],
)
def test_hint_names_a_line_only_with_well_formed_metadata(workspace_id: str, line_id: str, *, named: bool) -> None:
    """[45]"""
    subject = EVENT["data"]["object"] | {"metadata": {"workspace_id": workspace_id, "line_id": line_id}}
    hint = hint_of(EVENT | {"data": {"object": subject}})
    assert (hint.about_our_invoice and webhook.names_a_line(hint)) is named


def test_hint_about_foreign_objects_concerns_no_line() -> None:
    """[45]"""
    for subject in ({"id": "in_1"}, {"id": "in_1", "metadata": None}, {"id": "in_1", "metadata": {}, "customer": {}}):
        hint = hint_of(EVENT | {"data": {"object": subject}})
        assert not hint.about_our_invoice
        assert not hint.about_subscription
    unknown = hint_of(EVENT | {"type": "charge.refunded"})
    assert not unknown.about_our_invoice
