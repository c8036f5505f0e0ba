"""What may be asked of a line by POST, whatever the body holds."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from line_requests.api.http import Request
from line_requests.domain.errors import Invalid
from tests.edges.test_validation import values
from tests.local.ministack import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def action() -> Callable[[Request], str]:
    """The function's own reading of a body, from a module of this test's own."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"TABLE_NAME": "t", "AWS_DEFAULT_REGION": "eu-central-1"}.items():
            environment.setenv(name, value)
        spec = importlib.util.spec_from_file_location(
            "manage_under_test", ROOT / "functions/manage_line_request/app.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    read: Callable[[Request], str] = module._action  # noqa: SLF001 - the whole route is the stories' matter
    return read


def asking(body: object) -> Request:
    return Request({}, "", {}, body if isinstance(body, bytes) else json.dumps(body).encode(), 0)


@pytest.mark.parametrize("name", ["cancel", "payment_link"])
def test_two_actions_are_known(action: Callable[[Request], str], name: str) -> None:
    """[41]"""
    assert action(asking({"action": name, "other": [1]})) == name


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
def test_any_other_action_or_none_or_no_object_is_unsupported(action: Callable[[Request], str], body: object) -> None:
    """[41]"""
    with pytest.raises(Invalid) as refused:
        action(asking(body))
    assert str(refused.value) == "Unsupported action"


@given(value=values)
def test_an_action_of_any_json_type_is_answered(action: Callable[[Request], str], value: object) -> None:
    """[41]"""
    with pytest.raises(Invalid, match="Unsupported action"):
        action(asking({"action": value}))
