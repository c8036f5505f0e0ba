"""The action that the body of POST /api/line-requests/{id} names, whatever the body is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from line_requests.api.http import Request
from line_requests.api.requests import read_action
from line_requests.domain.errors import Invalid
from tests.edges.test_any_body import values

ACTIONS = {"cancel": None, "payment_link": None}


def request_with(body: object) -> Request:
    return Request({}, "", {}, body if isinstance(body, bytes) else json.dumps(body).encode(), 0)


@pytest.mark.parametrize("name", ACTIONS)
def test_read_action_accepts_known_actions(name: str) -> None:
    """[41]"""
    assert read_action(request_with({"action": name, "other": [1]}), ACTIONS) == name


@pytest.mark.parametrize("other", [[{}] * 200, [[]] * 200, {str(n): {} for n in range(200)}, "[" * 200])
def test_wide_body_is_not_deep(other: object) -> None:
    """[13] Only nesting counts, not the number of objects."""
    assert read_action(request_with({"action": "cancel", "other": other}), ACTIONS) == "cancel"


@pytest.mark.parametrize(("lists", "accepted"), [(99, True), (100, False)])
def test_body_may_have_a_hundred_levels(lists: int, *, accepted: bool) -> None:
    """[13]"""
    body = b'{"action": "cancel", "other": ' + b"[" * lists + b"]" * lists + b"}"
    if accepted:
        assert read_action(request_with(body), ACTIONS) == "cancel"
    else:
        with pytest.raises(Invalid):
            read_action(request_with(body), ACTIONS)


REFUSED: list[Any] = [
    {},
    [],
    None,
    "cancel",
    7,
    b"",
    b"not JSON",
    b"\xff",
    *[{"action": value} for value in (None, "", "Cancel", " cancel", "pay", 7, True, [], ["cancel"], {}, {"a": 1})],
]


@pytest.mark.parametrize("body", REFUSED, ids=repr)
def test_read_action_refuses_other_action_or_no_object(body: object) -> None:
    """[41]"""
    with pytest.raises(Invalid) as refused:
        read_action(request_with(body), ACTIONS)
    assert (str(refused.value), refused.value.field) == ("Unsupported action", "action")


@given(value=values)
def test_read_action_refuses_any_json_value(value: object) -> None:
    """[41]"""
    with pytest.raises(Invalid, match="Unsupported action"):
        read_action(request_with({"action": value}), ACTIONS)
