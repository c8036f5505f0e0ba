"""A delivery is Stripe's when one of the secrets signed it just now; everything else is refused alike."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import WebhookSignature

from line_requests.api.http import Request
from line_requests.billing.events import hint_of
from line_requests.domain.errors import InvalidSignature
from line_requests.flows import webhook
from line_requests.settings import Settings
from tests.decision.examples import LINE_ID, NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@dataclass
class Secrets:
    """A deployment's secret as each look at Secrets Manager finds it, the cached one first."""

    found: list[dict[str, Any]]
    looks: list[bool] = field(default_factory=list)

    def settings(self) -> Settings:
        return _WithSecret.of(self)

    def look(self, *, fresh: bool) -> dict[str, Any]:
        self.looks.append(fresh)
        return self.found[-1 if fresh else 0]


@dataclass(frozen=True, slots=True)
class _WithSecret(Settings):
    secrets: Secrets | None = None

    @classmethod
    def of(cls, secrets: Secrets) -> Settings:
        plain = Settings.from_environment({"TABLE_NAME": "t"})
        values: dict[str, Any] = {known.name: getattr(plain, known.name) for known in fields(plain)}
        return cls(**values | {"secrets": secrets})

    def stripe_secret(self, *, fresh: bool = False) -> dict[str, Any]:
        assert self.secrets is not None
        return self.secrets.look(fresh=fresh)


def both(*webhook_secrets: str) -> dict[str, Any]:
    return {"api_key": "sk_test_1", "webhook_secrets": list(webhook_secrets)}


def sign(body: str = BODY, secret: str = NEW, at_s: int = NOW_S) -> str:
    return str(WebhookSignature.generate_signature_header(body, secret, at_s))


def verified(
    header: str | None, body: bytes = BODY.encode(), secrets: Secrets | None = None, at_ms: int = NOW_MS
) -> object:
    headers = {} if header is None else {"stripe-signature": header}
    known = secrets or Secrets([both(NEW, OLD)])
    return webhook.verified(Request(headers, "", {}, body, at_ms), known.settings())


def assert_refused(header: str | None, body: bytes = BODY.encode(), secrets: Secrets | None = None) -> None:
    with pytest.raises(InvalidSignature):
        verified(header, body, secrets)


@pytest.fixture(autouse=True)
def forget_refetches() -> Iterator[None]:
    """Each test is a process that has not refetched a secret yet."""
    webhook._refetched_at_ms = 0  # noqa: SLF001 - the process's own memory
    yield
    webhook._refetched_at_ms = 0  # noqa: SLF001 - the process's own memory


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_either_of_two_secrets_counts_while_they_are_rotated(secret: str) -> None:
    """[43]"""
    assert verified(sign(secret=secret)) == hint_of(EVENT)


def test_any_of_a_delivery_s_signatures_counts() -> None:
    """[43]"""
    theirs, ours = sign(secret="whsec_other"), sign()
    assert verified(f"{theirs},{ours.partition(',')[2]}") == hint_of(EVENT)
    assert verified(f"{ours},v0=1234") == hint_of(EVENT)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 299, 300])
def test_a_delivery_of_the_last_five_minutes_is_recent(seconds: int) -> None:
    """[43]"""
    assert verified(sign(at_s=NOW_S + seconds)) == hint_of(EVENT)


@pytest.mark.parametrize("seconds", [-86_400, -301, 301, 86_400])
def test_an_older_one_or_one_as_far_in_the_future_is_refused(seconds: int) -> None:
    """[43]"""
    assert_refused(sign(at_s=NOW_S + seconds))


def test_time_is_the_event_s_own() -> None:
    """[43]"""
    assert abs(time.time() - NOW_S) > 300 or verified(sign())
    then_s = NOW_S - 10**6
    assert verified(sign(at_s=then_s), at_ms=then_s * 1000)


def test_an_old_delivery_is_not_made_recent_by_a_second_timestamp() -> None:
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


def test_a_body_that_was_changed_by_a_byte_is_refused() -> None:
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
        f"t={'9' * 12},v1=x",
        f"t=-{NOW_S},v1=x",
        "t=٣,v1=x",
    ],
)
def test_a_header_that_is_missing_or_garbage_is_refused(header: str | None) -> None:
    """[43]"""
    assert_refused(header)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_header_on_any_body_is_refused(header: str, body: bytes) -> None:
    """[43]"""
    assert_refused(header, body)
    assert_refused(f"t={NOW_S},v1={header}", body)


@pytest.mark.parametrize(
    "secret", [{}, both(), both(""), both("", ""), {"webhook_secrets": NEW}, {"webhook_secrets": None}]
)
def test_without_a_secret_everything_is_refused(secret: dict[str, Any]) -> None:
    """[43]"""
    for key in ("", NEW, "None"):
        assert_refused(sign(secret=key), secrets=Secrets([secret]))


def test_an_empty_secret_beside_a_good_one_signs_nothing() -> None:
    """[43]"""
    assert verified(sign(), secrets=Secrets([both("", NEW)])) == hint_of(EVENT)
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
def test_a_signed_body_that_is_no_event_is_refused(body: Callable[[], str]) -> None:
    """[43]"""
    assert_refused(sign(body()), body().encode())


def test_a_body_that_is_no_utf_8_is_refused() -> None:
    """[43]"""
    assert_refused(sign(), b"\xff\xfe")
    assert signed(b"\xff\xfe", sign(), [NEW]) is False


@pytest.mark.parametrize(("api_key", "livemode"), [("sk_test_1", True), ("sk_live_1", False), ("rk_live_1", False)])
def test_an_event_of_the_other_mode_is_refused(api_key: str, livemode: object) -> None:
    """[43]"""
    body = json.dumps(EVENT | {"livemode": livemode})
    assert_refused(sign(body), body.encode(), Secrets([both(NEW) | {"api_key": api_key}]))


# --- rotation -------------------------------------------------------------------------------------------


def test_a_secret_that_was_just_rotated_in_is_fetched() -> None:
    """[43]"""
    rotated = Secrets([both(OLD), both(NEW)])
    assert verified(sign(), secrets=rotated) == hint_of(EVENT)
    assert rotated.looks == [False, True]


def test_a_flood_of_forgeries_is_one_fetch_a_minute() -> None:
    """[43]"""
    known = Secrets([both(OLD), both(OLD)])
    for later_ms in (0, 1, 59_999, 60_000, 60_001):
        with pytest.raises(InvalidSignature):
            verified(sign(), secrets=known, at_ms=NOW_MS + later_ms)
    assert known.looks.count(True) == 2


def test_a_forgery_without_a_recent_timestamp_costs_no_look_at_all() -> None:
    """[43]"""
    known = Secrets([both(NEW)])
    for header in (None, "garbage", sign(at_s=NOW_S - 301)):
        assert_refused(header, secrets=known)
    assert known.looks == []


# --- what is read of an event ---------------------------------------------------------------------------


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
def test_only_metadata_that_could_be_ours_names_a_line(workspace_id: str, line_id: str, *, named: bool) -> None:
    """[45]"""
    subject = EVENT["data"]["object"] | {"metadata": {"workspace_id": workspace_id, "line_id": line_id}}
    hint = hint_of(EVENT | {"data": {"object": subject}})
    assert (hint.about_our_invoice and webhook.names_a_line(hint)) is named


def test_other_people_s_events_are_nobody_s() -> None:
    """[45]"""
    for subject in ({"id": "in_1"}, {"id": "in_1", "metadata": None}, {"id": "in_1", "metadata": {}, "customer": {}}):
        hint = hint_of(EVENT | {"data": {"object": subject}})
        assert not hint.about_our_invoice
        assert not hint.about_subscription
    unknown = hint_of(EVENT | {"type": "charge.refunded"})
    assert not unknown.about_our_invoice
