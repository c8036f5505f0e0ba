"""The one origin answers as AWS's HTTP API would."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.local import gateway
from tests.local.session_tokens import AUTHORIZED_PARTY

if TYPE_CHECKING:
    from tests.local.stack import LocalStack

LINES = "/api/line-requests"
ask = partial(httpx.request, timeout=30)


@pytest.fixture
def authorized(stack: LocalStack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.demo.create_workspace('scale', 'active').api_key}"}


def raw(stack: LocalStack, request: str) -> bytes:
    """Send bytes that no client library would leave alone."""
    host, port = stack.origin.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("DELETE", LINES),
        ("HEAD", LINES),
        ("GET", f"{LINES}/a/b"),
        ("GET", f"{LINES}/"),
        ("GET", "/a%0Ab"),
        ("GET", "/_local/nowhere"),
        ("POST", "/"),
    ],
)
def test_an_unknown_route_is_api_gateways_404(stack: LocalStack, method: str, path: str) -> None:
    answer = ask(method, stack.origin + path)
    assert answer.status_code == 404
    assert method == "HEAD" or answer.json() == {"message": "Not Found"}


def test_a_path_is_passed_on_as_it_was_sent(stack: LocalStack) -> None:
    assert b" 404 " in raw(stack, f"GET /x/..{LINES} HTTP/1.1\nHost: x\nConnection: close\n\n")
    assert b"Invalid line request id" not in raw(stack, f"GET {LINES}/%2e%2e HTTP/1.1\nHost: x\nConnection: close\n\n")


def test_a_repeated_header_reaches_the_function_joined(stack: LocalStack, authorized: dict[str, str]) -> None:
    headers = [*authorized.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    body = {"firstName": "A", "lastName": "B", "channelType": "phone"}
    first = ask("POST", stack.origin + LINES, headers=headers, json=body)
    again = ask("POST", stack.origin + LINES, headers=authorized | {"Idempotency-Key": "a"}, json=body)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


def test_broken_utf_8_reaches_the_function_as_it_is(stack: LocalStack, authorized: dict[str, str]) -> None:
    body = b'{"firstName":"\xff","lastName":"B","channelType":"phone"}'
    headers = authorized | {"Content-Type": "application/json"}
    assert ask("POST", stack.origin + LINES, headers=headers, content=body).status_code == 400


def test_a_body_without_a_content_type_is_a_body(stack: LocalStack, authorized: dict[str, str]) -> None:
    body = '{"firstName":"Zoë","lastName":"B","channelType":"phone"}'.encode()
    answer = ask("POST", stack.origin + LINES, headers=authorized, content=body)
    assert answer.status_code == 201
    assert answer.json()["line"]["firstName"] == "Zoë"


def test_a_body_over_ten_megabytes_is_refused_by_the_edge(stack: LocalStack) -> None:
    answer = ask("POST", stack.origin + LINES, content=b" " * (gateway.MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()) == (413, {"message": "Request Entity Too Large"})


@pytest.mark.parametrize(("origin", "allowed"), [(AUTHORIZED_PARTY, True), ("https://elsewhere.test", False)])
def test_browsers_are_answered_by_the_parameter(stack: LocalStack, origin: str, *, allowed: bool) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = ask("OPTIONS", stack.origin + LINES, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers.get("access-control-allow-origin") == (origin if allowed else None)
    answer = ask("GET", stack.origin + LINES, headers={"Origin": origin})
    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)


def test_parallel_requests_are_answered_in_parallel(stack: LocalStack, authorized: dict[str, str]) -> None:
    """While one waits for a Stripe that hangs, others are answered."""
    body = {"firstName": "A", "lastName": "B", "channelType": "phone"}
    workspace = {"Authorization": f"Bearer {stack.demo.create_workspace('starter', 'active').api_key}"}
    assert ask("POST", stack.origin + LINES, headers=workspace, json=body).status_code == 201
    workspace["Idempotency-Key"] = "k"
    ask("POST", f"{stack.origin}/_local/stripe/faults", json={"kind": "timeout_after", "count": 1000})
    with httpx.Client(base_url=stack.origin, headers=authorized, timeout=30) as client, ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(ask, "POST", stack.origin + LINES, headers=workspace, json=body)
        while not any(call.fault == "timeout_after" for call in stack.double.request_log[-1:]):
            time.sleep(0.02)
        statuses = list(pool.map(lambda _: client.get(LINES).status_code, range(8)))
        assert set(statuses) == {200}
        assert not waiting.done()
        ask("POST", f"{stack.origin}/_local/stripe/faults", json={"kind": "error_before", "count": 0})
    waiting.result()  # 503 if its time is over, and then the same key finishes it
    assert ask("POST", stack.origin + LINES, headers=workspace, json=body).status_code == 201


def test_many_requests_at_once_are_all_answered(stack: LocalStack, authorized: dict[str, str]) -> None:
    with httpx.Client(base_url=stack.origin, headers=authorized, timeout=30) as client, ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: client.get(LINES).status_code, range(64)))
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("ministack", "aws"),
    [
        (
            (502, [], b'{"errorMessage": "secret", "errorType": "KeyError"}'),
            (500, b'{"message":"Internal Server Error"}'),
        ),
        ((502, [], b'{"error": "ours"}'), (502, b'{"error": "ours"}')),
        ((500, [], b'{"message": "No integration configured"}'), (500, b'{"message": "No integration configured"}')),
    ],
)
def test_a_functions_failure_is_told_as_aws_tells_it(ministack: Any, aws: Any) -> None:  # noqa: ANN401 - answers
    status, _, body = gateway._as_aws_answers("POST", ministack)  # noqa: SLF001 - no deployed function fails like this
    assert (status, body) == aws
