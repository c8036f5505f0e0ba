"""Ids, API keys and times in the one form that clients, items and events carry."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from line_requests.domain import ids
from line_requests.domain.model import ApiKey
from tests.decision.examples import NOW_MS

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_line_ids_sort_by_time_and_differ() -> None:
    """[20]"""
    made = [ids.new_line_id(now_ms) for now_ms in (NOW_MS, NOW_MS, NOW_MS + 1)]
    assert all(re.fullmatch("[0-9a-f]{24}", line_id) for line_id in made)
    assert made[0][:12] == made[1][:12] < made[2][:12]
    assert len(set(made)) == 3


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("01a2000000000123456789ab", "01a2000000000123456789ab"),
        ("01A2000000000123456789AB", "01a2000000000123456789ab"),
        ("01a2000000000123456789a", None),
        ("01a2000000000123456789abc", None),
        ("g1a2000000000123456789ab", None),
    ],
)
def test_line_id_is_read_in_either_case(text: str, parsed: str | None) -> None:
    """[37]"""
    assert ids.parse_line_id(text) == parsed


def test_api_key_names_its_workspace_and_a_typo_is_seen_without_a_call() -> None:
    """[1]"""
    key = ids.new_api_key("acme-2")
    assert re.fullmatch(r"tuco_acme-2_[0-9a-f]{40}", key)
    assert key != ids.new_api_key("acme-2")
    assert ids.workspace_of_api_key(key) == "acme-2"
    assert ids.workspace_of_api_key(key.replace("acme-2", "acme-3")) is None
    assert ids.workspace_of_api_key(key[:-1]) is None
    assert ids.workspace_of_api_key(f"{key}0") is None


def test_api_key_works_until_it_expires_or_is_revoked() -> None:
    """[2]"""
    key = ApiKey("hash", "label", created_at_ms=0, expires_at_ms=NOW_MS)
    assert [key.works_at(now_ms) for now_ms in (NOW_MS - 1, NOW_MS)] == [True, False]
    assert replace(key, expires_at_ms=None).works_at(NOW_MS)
    assert not replace(key, revoked_at_ms=1).works_at(NOW_MS - 1)


@pytest.mark.parametrize(
    ("text", "is_one"), [("acme", True), ("a" * 40, True), ("a" * 41, False), ("Acme", False), ("", False)]
)
def test_workspace_id_is_short_and_safe_in_keys(text: str, is_one: bool) -> None:  # noqa: FBT001 - a column
    assert ids.is_workspace_id(text) is is_one


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's own zone decides nothing."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_times_are_utc_to_the_millisecond() -> None:
    assert ids.iso_utc(NOW_MS + 7) == "2026-11-22T00:00:00.007Z"
    for text in ("2026-11-22T00:00:00.007Z", "2026-11-22T00:00:00.007", "2026-11-22T01:00:00.007+01:00"):
        assert ids.parse_iso_ms(text) == NOW_MS + 7
