"""Ids, pages and cursors as clients send them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from line_requests.api.pagination import Page, cursor_after
from line_requests.domain.errors import Invalid
from line_requests.domain.ids import parse_line_id
from line_requests.domain.model import Status
from tests.decision.examples import LINE_ID, line_ids, workspace_ids


def test_line_id_is_24_hex_digits_in_either_case() -> None:
    """[37]"""
    assert parse_line_id(LINE_ID) == LINE_ID
    assert parse_line_id(LINE_ID.upper()) == LINE_ID


@pytest.mark.parametrize(
    "text", ["", "0" * 23, "0" * 25, "g" * 24, f"{LINE_ID}\n", f" {LINE_ID}", "\N{FULLWIDTH DIGIT ZERO}" * 24, "-"]
)
def test_line_id_is_none_for_other_text(text: str) -> None:
    """[37]"""
    assert parse_line_id(text) is None


@given(st.text(max_size=30))
def test_line_id_parser_accepts_any_text(text: str) -> None:
    """[37]"""
    assert parse_line_id(text) in {None, text.lower()}


def test_page_defaults_to_twenty_lines_of_any_status() -> None:
    """[42]"""
    assert Page.of({}, "acme") == Page(limit=20, status=None, before=None)


@pytest.mark.parametrize("limit", ["1", "20", "100", "007"])
def test_page_limit_accepts_1_to_100(limit: str) -> None:
    """[42]"""
    assert Page.of({"limit": limit}, "acme").limit == int(limit)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.0", "", " 1", "1\n", "ten", "٣", "1e1", "9" * 5000])
def test_page_limit_refuses_other_values(limit: str) -> None:
    """[42]"""
    with pytest.raises(Invalid, match="limit"):
        Page.of({"limit": limit}, "acme")


@pytest.mark.parametrize("status", Status)
def test_page_filters_by_each_status(status: Status) -> None:
    """[42]"""
    assert Page.of({"status": status.value}, "acme").status is status


@pytest.mark.parametrize("status", ["", "Active", "done", "active,failed"])
def test_page_refuses_unknown_status(status: str) -> None:
    """[42]"""
    with pytest.raises(Invalid, match="status"):
        Page.of({"status": status}, "acme")


@given(workspace_ids, line_ids)
@example("aa", "01a2000000000123456789a1")  # whose encoding ends with a letter
def test_cursor_returns_the_line_it_was_made_for(workspace_id: str, before: str) -> None:
    """[42]"""
    text = cursor_after(workspace_id, before)
    assert text is not None
    assert Page.of({"cursor": text}, workspace_id).before == before


def test_cursor_is_none_after_last_page() -> None:
    """[42]"""
    assert cursor_after("acme", None) is None


@given(workspace_ids, workspace_ids, line_ids)
def test_cursor_of_another_workspace_is_refused(ours: str, theirs: str, before: str) -> None:
    """[42]"""
    text = cursor_after(theirs, before)
    assert text is not None
    if ours != theirs:
        with pytest.raises(Invalid, match="cursor"):
            Page.of({"cursor": text}, ours)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "====",
        LINE_ID,
        "nonsense",
        encoded("acme/"),
        encoded(f"acme/{LINE_ID.upper()}"),
        encoded(f"acme/{LINE_ID}/"),
        encoded(f"acme/{LINE_ID}") + "=",
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        encoded(f"acme/{LINE_ID}") * 50,
    ],
)
def test_cursor_that_was_never_issued_is_refused(text: str) -> None:
    """[42]"""
    with pytest.raises(Invalid, match="cursor"):
        Page.of({"cursor": text}, "acme")


@given(st.dictionaries(st.sampled_from(["limit", "status", "cursor", "other"]), st.text()))
def test_page_reads_or_refuses_any_query(query: dict[str, str]) -> None:
    """[42]"""
    try:
        page = Page.of(query, "acme")
    except Invalid:
        return
    assert 1 <= page.limit <= 100
