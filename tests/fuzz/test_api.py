"""Every route of openapi.yaml with generated requests, valid and invalid.

No response is a 5xx, and each one matches its description: status, headers, closed body.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local.stack import LocalStack

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# The burst of a workspace is 60 requests.
REQUESTS_PER_WORKSPACE = 50

schema = schemathesis.openapi.from_path(str(OPENAPI))


class Caller:
    """A client whose workspaces take turns, each with a provisioned line and one that awaits payment."""

    def __init__(self, origin: str) -> None:
        self.session = requests.Session()
        self._origin = origin
        self._sent = 0

    def prepare(self) -> None:
        if self._sent % REQUESTS_PER_WORKSPACE == 0:
            made = self.session.post(f"{self._origin}/_local/workspaces", json={"plan": "starter"}).json()
            self.headers = {"Authorization": f"Bearer {made['apiKey']}"}
            body = {"firstName": "Ada", "lastName": "Lovelace", "channelType": "phone"}
            url = f"{self._origin}/api/line-requests"
            answers = [self.session.post(url, json=body, headers=self.headers).json() for _ in range(2)]
            self.ids = [answer["line"]["_id"] for answer in answers]
        self._sent += 1


@pytest.fixture(scope="session")
def caller(running_stack: LocalStack) -> Iterator[Caller]:
    caller = Caller(running_stack.origin)
    yield caller
    caller.session.close()


TESTED = set[str]()


def _described(operation: str) -> Callable[..., None]:
    """A test of one operation."""
    TESTED.add(operation)

    @schema.include(name=operation).parametrize()
    @hypothesis.settings(
        max_examples=1 + hypothesis.settings().max_examples * 3 // 5,  # each example makes one or two requests
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def test(case: schemathesis.Case[Any], caller: Caller, running_stack: LocalStack) -> None:
        """[13] No request is answered 5xx, and every response is described."""
        caller.prepare()
        line_id = str(case.path_parameters.get("id", ""))
        if len(line_id) == 24 and line_id.isascii() and line_id.isalnum():
            # Generated ids are unknown; these exist.
            case.path_parameters["id"] = caller.ids[len(line_id.rstrip("02468aceACE")) % 2]
        case.call_and_validate(
            base_url=running_stack.origin, session=caller.session, headers=caller.headers, checks=CHECKS, timeout=30
        )

    made: Callable[..., None] = test
    return made


# One name each: pytest-xdist runs only one of several tests with the same id.
test_create = _described("POST /api/line-requests")
test_list = _described("GET /api/line-requests")
test_get = _described("GET /api/line-requests/{id}")
test_manage = _described("POST /api/line-requests/{id}")
test_events = _described("GET /api/line-requests/{id}/events")
test_list_in_use = _described("GET /api/lines/by-user")
test_release = _described("DELETE /api/lines/{id}")
test_allowance = _described("GET /api/allowance")
test_webhook = _described("POST /stripe/webhook")


def test_every_operation_has_its_test() -> None:
    assert {found.ok().label for found in schema.get_all_operations() if isinstance(found, Ok)} == TESTED
